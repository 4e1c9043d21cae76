// The peak rate of multiply-adds of a thread: independent chains that never leave the registers.
#pragma once

#include "cpu/kernels/kernels.h"
#include "cpu/kernels/simd.h"

namespace infonce::cpu::INFONCE_KERNEL_NAMESPACE {

// More chains than latency times issue width, so that none waits, and two registers left for the factors, so that nothing
// is spilled.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kChains = 24;
#else
constexpr int kChains = 14;
#endif

// `Step` is made of two factors that the compiler does not know, or it might fold the chain, and continues a sum by one
// instruction's worth of multiply-adds.
template <class Step> float run_chains(int64_t iterations, float factor, float addend) {
  const Step step(factor, addend);
  Floats chains[kChains];
  INFONCE_UNROLL for (int i = 0; i < kChains; ++i) chains[i] = broadcast(addend + float(i));
  for (int64_t k = 0; k < iterations; ++k) {
    INFONCE_UNROLL for (int i = 0; i < kChains; ++i) chains[i] = step(chains[i]);
  }
  Floats total{};
  INFONCE_UNROLL for (int i = 0; i < kChains; ++i) total += chains[i];
  return float(sum(total));
}

// Where there is no fused instruction, a multiplication and an addition.
struct FloatStep {
  static constexpr int kFlops = 2 * kLanes;
  Floats a, b;
  FloatStep(float factor, float addend) : a(broadcast(factor)), b(broadcast(addend)) {}
  INFONCE_INLINE Floats operator()(Floats x) const { return x * a + b; }
};

template <class Step> constexpr Peak peak_of() { return {run_chains<Step>, kChains * Step::kFlops}; }

}  // namespace infonce::cpu::INFONCE_KERNEL_NAMESPACE
