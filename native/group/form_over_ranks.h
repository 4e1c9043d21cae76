// Which problems are computed over ranks, and which of their properties have to be the same on all.
#pragma once

#include <cstdint>
#include <vector>

#include "group/agreement.h"
#include "infonce/infonce.h"

namespace infonce::group {

// Why a group does not compute this problem, or null.
const char *what_is_wrong_over_ranks(const infonce_problem &problem, const infonce_result &result);

// The same of all rows, when everyone's records are known.
const char *what_is_wrong_with_all_rows(const infonce_problem &problem, const std::vector<Record> &records);

// Without a memory that has no rows, which only ranks beside others may have.
void leave_out_empty_memory(infonce_problem *problem);

// Of what has to be the same, but for scale, bias and dimension, which are told by name. `upstream`: that of all rows.
uint64_t hash_of_form(const infonce_problem &problem, const infonce_result &result, float upstream);

}  // namespace infonce::group
