// 16-bit floating point to float32, exactly: subnormals, infinities and NaN included, whatever the processor's mode.
#pragma once

#include "cpu/kernels/simd.h"

namespace infonce::cpu::INFONCE_KERNEL_NAMESPACE {

typedef uint16_t Halves __attribute__((vector_size(kLanes * 2)));

struct Float16 {
  static INFONCE_INLINE Floats widen(Ints bits) {
    const Ints magnitude = bits & 0x7fff, sign = (bits & 0x8000) << 16;
    const Ints normal = (magnitude << 13) + (112 << 23);  // the exponent's bias is 127 instead of 15
    const Ints special = (magnitude << 13) | 0x7f800000;
    // As an integer: a processor told to flush subnormal floats has none to flush here.
    const Ints subnormal = (Ints)(__builtin_convertvector(magnitude, Floats) * broadcast(0x1p-24f));
    const Ints is_special = magnitude >= 0x7c00, is_subnormal = magnitude < 0x0400;
    const Ints is_normal = ~(is_special | is_subnormal);
    return (Floats)(sign | (is_special & special) | (is_subnormal & subnormal) | (is_normal & normal));
  }
};

struct Bfloat16 {
  static INFONCE_INLINE Floats widen(Ints bits) { return (Floats)(bits << 16); }
};

template <class Half> void widen_row(const uint16_t *from, float *to, int64_t count) {
  const auto widen = [](const uint16_t *p) {
    Halves halves;
    memcpy(&halves, p, sizeof halves);
    return Half::widen(__builtin_convertvector(halves, Ints));
  };
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(to + i, widen(from + i));
  if (i == count) return;
  uint16_t rest[kLanes] = {};
  memcpy(rest, from + i, (count - i) * sizeof *from);
  const Floats wide = widen(rest);
  memcpy(to + i, &wide, (count - i) * sizeof *to);
}

}  // namespace infonce::cpu::INFONCE_KERNEL_NAMESPACE
