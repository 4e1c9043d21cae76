// The instructions of compute capability 8.0 that the tensor-core kernels are made of: asynchronous copies into shared
// memory, matrix loads from it, bfloat16 matrix products.
#pragma once

#include <cstdint>

namespace infonce::cuda {

#define INFONCE_DEVICE __device__ __forceinline__

INFONCE_DEVICE uint32_t shared_address(const void *pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// Reads the thread's index anew. What is derived from it is computed where it is used; from threadIdx.x the compiler
// would derive all addresses of a loop before it and hold them in registers that the accumulators need.
INFONCE_DEVICE int thread_index() {
  int index;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(index));
  return index;
}

INFONCE_DEVICE void copy_async16(uint32_t to, const void *from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}

// 16 bytes of zeros instead if not `real`.
INFONCE_DEVICE void copy_async16_or_zeros(uint32_t to, const void *from, bool real) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(real ? 16 : 0) : "memory");
}

INFONCE_DEVICE void copy_async4(uint32_t to, const void *from) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(to), "l"(from) : "memory");
}

INFONCE_DEVICE void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Until at most `kPending` of this thread's groups of copies are under way.
template <int kPending> INFONCE_DEVICE void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// One store of 16 bytes, which the compiler is free to take apart if it is not told.
INFONCE_DEVICE void store16(void *to, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(a), "r"(b), "r"(c), "r"(d) : "memory");
}

INFONCE_DEVICE void store_shared4(uint32_t to, uint32_t value) {
  asm volatile("st.shared.b32 [%0], %1;" ::"r"(to), "r"(value) : "memory");
}

INFONCE_DEVICE void store_shared8(uint32_t to, float a, float b) {
  asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(to), "f"(a), "f"(b) : "memory");
}

// Four 8x8 matrices of bfloat16; lane l gives the address of row l % 8 of matrix l / 8.
INFONCE_DEVICE void load_matrices(uint32_t (&matrices)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(matrices[0]), "=r"(matrices[1]), "=r"(matrices[2]), "=r"(matrices[3])
               : "r"(address)
               : "memory");
}

INFONCE_DEVICE void load_matrices_transposed(uint32_t (&matrices)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(matrices[0]), "=r"(matrices[1]), "=r"(matrices[2]), "=r"(matrices[3])
               : "r"(address)
               : "memory");
}

// sum [16x8] += a [16x16] * b [16x8]. Lane l holds rows l / 4 and l / 4 + 8, columns 2 (l % 4) and the next, of the
// sum.
INFONCE_DEVICE void multiply_add(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

INFONCE_DEVICE float power_of_two(float exponent) {
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(exponent));
  return power;
}

INFONCE_DEVICE uint32_t pack_bfloat16(float low, float high) {
  uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

// x and y as sums of bfloat16 numbers, each plane the rounding of what the planes before it left.
template <int kPlanes> INFONCE_DEVICE void split(float x, float y, uint32_t (&planes)[kPlanes]) {
#pragma unroll
  for (int p = 0; p < kPlanes; ++p) {
    planes[p] = pack_bfloat16(x, y);
    x -= __uint_as_float(planes[p] << 16);
    y -= __uint_as_float(planes[p] & 0xffff0000u);
  }
}

}  // namespace infonce::cuda
