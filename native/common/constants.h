// Constants that all backends compute with, on hosts and devices.
#pragma once

#include <cstdint>

namespace infonce {

constexpr double kLog2E = 1.4426950408889634;  // log2(e)
// torch.nn.functional.normalize's eps: rows shorter than this are divided by it.
constexpr double kSmallestNorm = 1e-12;

// e^70 times a million rows, and its reciprocal, are normal float32 numbers.
constexpr double kSafeLogit = 70;
// Above, float32 has too few digits for a logit of level 'highest'.
constexpr double kLargestLogit = 110;
// The spread of a class, 1 - |sum|^2 / (members * sum of squares), at which float32 gradients were measured to be right to
// 1e-5.
constexpr double kLeastSpread = 0.018;
// Of a row in its class: with more of them the mean of its positives costs less through the sum of the class.
constexpr int64_t kMostPartners = 16;

}  // namespace infonce
