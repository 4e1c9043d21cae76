#pragma once

#include <cstddef>
#include <cstdint>

#include "infonce/infonce.h"
#include "test/buffer.h"

namespace infonce::test {

// A 16-bit format of numbers.
struct Format {
  const char *name;
  infonce_type type;
  int mantissa_bits;
  int bias;
};

constexpr Format kFormats[] = {{"float16", INFONCE_FLOAT16, 10, 15}, {"bfloat16", INFONCE_BFLOAT16, 7, 127}};

bool is_finite(const Format &format, uint16_t bits);

// By the definition of the format.
float value_of(const Format &format, uint16_t bits);

// The 16-bit numbers next to those of `source`, which then holds their values.
Buffer<uint16_t> round_to(const Format &format, const Buffer<float> &source, size_t offset);

}  // namespace infonce::test
