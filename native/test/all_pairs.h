#pragma once

#include <vector>

namespace infonce::test {

// Indices of one value for each factor, case by case, such that any two values of any two factors meet in some case.
// All combinations would be too many; most faults need no more than two things to come together.
std::vector<std::vector<int>> all_pairs(const std::vector<int> &sizes);

}  // namespace infonce::test
