#include "test/half.h"

#include <cmath>

namespace infonce::test {

namespace {

int exponent_bits(const Format &format) { return 15 - format.mantissa_bits; }

// Towards zero; which of the neighbours it is does not matter here.
uint16_t bits_of(const Format &format, float value) {
  uint16_t bits = 0;
  for (int bit = 14; bit >= 0; --bit) {
    const auto larger = static_cast<uint16_t>(bits | 1 << bit);
    if (is_finite(format, larger) && value_of(format, larger) <= std::abs(value)) {
      bits = larger;
    }
  }
  return std::signbit(value) ? bits | 0x8000 : bits;
}

}  // namespace

bool is_finite(const Format &format, uint16_t bits) {
  const int all = (1 << exponent_bits(format)) - 1;
  return (bits >> format.mantissa_bits & all) != all;
}

float value_of(const Format &format, uint16_t bits) {
  const int exponent = bits >> format.mantissa_bits & ((1 << exponent_bits(format)) - 1);
  const int mantissa = bits & ((1 << format.mantissa_bits) - 1);
  const int implicit = exponent > 0 ? 1 << format.mantissa_bits : 0;
  const int power = (exponent > 0 ? exponent : 1) - format.bias - format.mantissa_bits;
  const float size = std::ldexp(static_cast<float>(implicit + mantissa), power);
  return bits >> 15 ? -size : size;
}

Buffer<uint16_t> round_to(const Format &format, const Buffer<float> &source, size_t offset) {
  Buffer<uint16_t> bits(source.size(), offset);
  for (size_t i = 0; i < source.size(); ++i) {
    bits[i] = bits_of(format, source[i]);
    source[i] = value_of(format, bits[i]);
  }
  return bits;
}

}  // namespace infonce::test
