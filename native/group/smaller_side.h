// Which side goes round the ring: candidates, or the anchors that they meet, which then visit them.
#pragma once

#include <cstdint>
#include <vector>

#include "group/agreement.h"
#include "infonce/infonce.h"

namespace infonce::group {

// Bits by matrix: candidates that stay on their ranks, as the anchors are fewer bytes. The same on all ranks, and whether or
// not a gradient is wanted. `records`: everyone's, with their numbers of rows.
uint32_t matrices_that_stay(const infonce_problem &problem, const std::vector<Record> &records);

// Whether visitors need their positives with them.
bool visit_with_positives(const infonce_problem &problem);

// The call in which anchors of another rank meet the candidates of these blocks, all of which come as parts: a share of
// `problem`, which has to stay until it is opened. Matrix 0 has the anchors, matrix 1 their positives, matrix 2 + k, as block k,
// the candidates of blocks[k].
infonce_problem problem_of_visitors(const infonce_problem &problem, const std::vector<int> &blocks,
                                    const infonce_matrix &anchors, const infonce_matrix &positives);

}  // namespace infonce::group
