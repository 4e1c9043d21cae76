// Measures the limits of this machine's processors. The losses do not use them.
#pragma once

#include "infonce/infonce.h"

namespace infonce::cpu {

// `measure` of the C contract, with at most `processors` threads.
infonce_status measure(const infonce_context_options &options, int processors, int32_t limit,
                       double figures[INFONCE_FIGURES], infonce_failure *failure);

}  // namespace infonce::cpu
