// What the processors of this machine can do at most, measured: several figures each, because clocks vary. None of it is
// used by the losses. Throws std::system_error if the system starts no more threads.
#pragma once

#include <vector>

#include "cpu/kernels/kernels.h"

namespace infonce::cpu {

// FLOP/s, 2 for each multiply-add, of these kernels' instructions on all threads together.
std::vector<double> multiply_add_rates(const Kernels &kernels, int threads);

// Bytes read and written per second by threads that copy memory too large for any cache. Throws std::bad_alloc.
std::vector<double> copy_rates(int threads);

// Seconds that a cache line takes from one processor to another and back. There must be two.
std::vector<double> handover_times();

}  // namespace infonce::cpu
