// Numbers of packed rows, of any element type.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "infonce/infonce.h"

namespace infonce::group {

// Bytes of a number.
inline size_t size_of(int32_t type) { return type == INFONCE_FLOAT32 ? 4 : 2; }

inline bool is_finite(const char *row, int32_t type, int64_t dim) {
  if (type == INFONCE_FLOAT32) {
    const auto *numbers = reinterpret_cast<const float *>(row);
    return std::all_of(numbers, numbers + dim, [](float number) { return std::isfinite(number); });
  }
  const uint16_t exponent = type == INFONCE_FLOAT16 ? 0x7c00 : 0x7f80;
  const auto *numbers = reinterpret_cast<const uint16_t *>(row);
  return std::all_of(numbers, numbers + dim, [=](uint16_t number) { return (number & exponent) != exponent; });
}

// A half-precision number, exactly.
inline float widened(uint16_t bits, int32_t type) {
  if (type == INFONCE_BFLOAT16) {
    const uint32_t upper = uint32_t(bits) << 16;
    float number;
    std::memcpy(&number, &upper, sizeof number);
    return number;
  }
  const int exponent = bits >> 10 & 31, fraction = bits & 0x3ff;
  float size = exponent == 0 ? std::ldexp(float(fraction), -24) : std::ldexp(float(1024 + fraction), exponent - 25);
  if (exponent == 31)
    size = fraction ? std::numeric_limits<float>::quiet_NaN() : std::numeric_limits<float>::infinity();
  return bits >> 15 ? -size : size;
}

// Copies a row of one type as one of that type or of float32.
inline void copy_row(const char *from, int32_t type, int64_t dim, char *to, int32_t to_type) {
  if (type == to_type) {
    std::memcpy(to, from, size_t(dim) * size_of(type));
    return;
  }
  const auto *numbers = reinterpret_cast<const uint16_t *>(from);
  std::transform(numbers, numbers + dim, reinterpret_cast<float *>(to),
                 [type](uint16_t number) { return widened(number, type); });
}

}  // namespace infonce::group
