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

// Whether a call of visitors is given ids that leave nothing out, 0 for them and 1 for candidates, because other blocks leave
// out by id: backends then compute logits, and compare ranks, as at home.
bool have_ids_apart(const infonce_problem &problem, const std::vector<int> &blocks);

// The call in which anchors of another rank meet the candidates of these blocks, all of which come as parts. Matrix 0 has the
// anchors, matrix 1 their positives, matrix 2 + k, as block k, the candidates of blocks[k].
infonce_problem problem_of_visitors(const infonce_problem &problem, const std::vector<int> &blocks,
                                    const infonce_matrix &anchors, const infonce_matrix &positives);

}  // namespace infonce::group
