// Matrix products of a warpgroup on compute capability 9.0 (wgmma), bfloat16 to float32, and the tiles in shared memory
// that they read. A product of 64 rows is asynchronous: between its begin() and its end() neither its sums nor operands
// in registers may be touched, and shared operands must stay.
//
// Operands lie in boxes as copies with the 128-byte swizzle leave them: rows of 64 elements, one after the other,
// beginning at a multiple of 1024 bytes. A wider tile is several boxes.
#pragma once

#include "cuda/kernels/sm90_async.cuh"

namespace infonce::cuda {

constexpr int kBoxDepth = 64;        // elements of a row of a box
constexpr int kBoxRowBytes = 128;    // and their bytes
constexpr int kBoxAlignment = 1024;  // eight rows, after which the swizzle repeats
constexpr int kProductDepth = 16;    // of one product
constexpr int kStepBytes = 32;       // and its bytes in a row

// What a warpgroup accumulates: kBlocks times 64 rows by 8 kFragments positions. A lane holds two neighbouring
// positions of each eight. Which column of the tile stands at which position is up to the copy: those that `Columns`
// describes.
template <int kBlocks, int kFragments, class Columns> struct WarpgroupSums {
  static constexpr int kRowFragments = kBlocks, kColumnFragments = kFragments;
  static constexpr int kRows = 64 * kBlocks, kColumns = 8 * kFragments;
  static constexpr int kThreads = kWarpgroup;
  float at[kBlocks][kFragments][4];

  INFONCE_DEVICE void clear() {
    for_each([](float &value, int, int, int) { value = 0; });
  }
  // visit(value, m, n, q)
  template <class Visit> INFONCE_DEVICE void for_each(Visit &&visit) {
#pragma unroll
    for (int m = 0; m < kBlocks; ++m)
#pragma unroll
      for (int n = 0; n < kFragments; ++n)
#pragma unroll
        for (int q = 0; q < 4; ++q) visit(at[m][n][q], m, n, q);
  }
  INFONCE_DEVICE void add(const WarpgroupSums &other) {
    for_each([&](float &value, int m, int n, int q) { value += other.at[m][n][q]; });
  }
  // The row of element q in block m and its column in fragment n, of the thread with this index in its warpgroup.
  static INFONCE_DEVICE int row(int thread, int m, int q) {
    return m * 64 + (thread >> 5) * 16 + (q >> 1) * 8 + ((thread & 31) >> 2);
  }
  static INFONCE_DEVICE int column(int thread, int n, int q) { return Columns::at(thread & 3, n, q & 1); }
};

// Columns in their own order.
struct ColumnsInOrder {
  static INFONCE_DEVICE int at(int lane_of_row, int n, int side) { return n * 8 + lane_of_row * 2 + side; }
};

// Of each 32 columns, the eight that a lane holds are neighbours: it reads and writes 16 or 32 bytes at once.
struct ColumnsByLane {
  static INFONCE_DEVICE int at(int lane_of_row, int n, int side) {
    return (n & ~3) * 8 + lane_of_row * 8 + (n & 3) * 2 + side;
  }
};

// --- Descriptors of shared operands ---

// In two words, of which steps through an operand change only the lower one.
struct Descriptor {
  uint32_t low, high;

  INFONCE_DEVICE Descriptor further(uint32_t bytes) const { return {low + (bytes >> 4), high}; }
  INFONCE_DEVICE uint64_t word() const { return uint64_t(high) << 32 | low; }
};

INFONCE_DEVICE Descriptor describe(uint32_t box, uint32_t leading_bytes) {
  constexpr uint32_t kSwizzle128 = uint32_t(1) << 30, kEightRows = kBoxAlignment >> 4;
  return {(box & 0x3ffff) >> 4 | leading_bytes >> 4 << 16, kEightRows | kSwizzle128};
}

// An operand whose rows run along the depth (K-major): step k of 16 is 32 bytes further, the next box after four.
INFONCE_DEVICE Descriptor describe_rows(uint32_t box) { return describe(box, 16); }

// One whose rows are steps of the depth (MN-major): step k of 16 is 16 rows further. `box_bytes` lie between boxes side
// by side.
INFONCE_DEVICE Descriptor describe_transposed(uint32_t box, uint32_t box_bytes) { return describe(box, box_bytes); }

// --- Order ---

// Before the first product after registers that it reads or adds to were written.
INFONCE_DEVICE void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
INFONCE_DEVICE void commit_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Until at most kPending committed groups are under way.
template <int kPending> INFONCE_DEVICE void wait_for_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// Sums may be read after wait_for_products and this, which the compiler does not move reads across.
template <int kFragments> INFONCE_DEVICE void receive(float (&sums)[kFragments][4]) {
#pragma unroll
  for (int n = 0; n < kFragments; ++n)
#pragma unroll
    for (int q = 0; q < 4; ++q) asm volatile("" : "+f"(sums[n][q])::"memory");
}
template <class Sums> INFONCE_DEVICE void receive(Sums &sums) {
#pragma unroll
  for (int m = 0; m < Sums::kRowFragments; ++m) receive(sums.at[m]);
}

// Left operands in registers stay there until here, after the wait for their products.
template <int kSteps> INFONCE_DEVICE void keep_until_here(uint32_t (&operand)[kSteps][4]) {
#pragma unroll
  for (int k = 0; k < kSteps; ++k)
#pragma unroll
    for (int r = 0; r < 4; ++r) asm volatile("" ::"r"(operand[k][r]));
}

// --- Products: sums = a b, or += if `add` is not 0. kTransposedA, kTransposedB: that operand is described transposed.
// The same for every size but in the number of registers, which inline assembly wants written out. ---

// clang-format off
#define INFONCE_4_SUMS(n) "+f"(sums[n][0]), "+f"(sums[n][1]), "+f"(sums[n][2]), "+f"(sums[n][3])
#define INFONCE_16_SUMS(n) INFONCE_4_SUMS(n), INFONCE_4_SUMS(n + 1), INFONCE_4_SUMS(n + 2), INFONCE_4_SUMS(n + 3)
#define INFONCE_SUMS_32 INFONCE_16_SUMS(0), INFONCE_16_SUMS(4)
#define INFONCE_SUMS_40 INFONCE_SUMS_32, INFONCE_4_SUMS(8), INFONCE_4_SUMS(9)
#define INFONCE_SUMS_48 INFONCE_SUMS_32, INFONCE_16_SUMS(8)
#define INFONCE_SUMS_64 INFONCE_SUMS_48, INFONCE_16_SUMS(12)
#define INFONCE_SUMS_96 INFONCE_SUMS_64, INFONCE_16_SUMS(16), INFONCE_16_SUMS(20)
#define INFONCE_SUMS_128 INFONCE_SUMS_96, INFONCE_16_SUMS(24), INFONCE_16_SUMS(28)
#define INFONCE_REGISTERS_32 \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15," \
  "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define INFONCE_REGISTERS_40 INFONCE_REGISTERS_32 ",%32,%33,%34,%35,%36,%37,%38,%39"
#define INFONCE_REGISTERS_48 INFONCE_REGISTERS_32 "," \
  "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47"
#define INFONCE_REGISTERS_64 INFONCE_REGISTERS_48 "," \
  "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define INFONCE_REGISTERS_96 INFONCE_REGISTERS_64 "," \
  "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79," \
  "%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95"
#define INFONCE_REGISTERS_128 INFONCE_REGISTERS_96 "," \
  "%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111," \
  "%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"

// size: columns of the product; count: registers of its sums; p0 ...: the operands' numbers after those.
#define INFONCE_PRODUCTS(size, count, p0, p1, p2, p3, p4, p5, p6)                                                     \
  template <bool kTransposedA, bool kTransposedB>                                                                     \
  INFONCE_DEVICE void multiply(float (&sums)[count / 4][4], Descriptor a, Descriptor b, int add) {                    \
    asm volatile("{\n.reg .pred adds;\nsetp.ne.b32 adds, %" #p2 ", 0;\n"                                              \
                 "wgmma.mma_async.sync.aligned.m64n" #size "k16.f32.bf16.bf16 {" INFONCE_REGISTERS_##count "}, "      \
                 "%" #p0 ", %" #p1 ", adds, 1, 1, %" #p3 ", %" #p4 ";\n}"                                             \
                 : INFONCE_SUMS_##count                                                                               \
                 : "l"(a.word()), "l"(b.word()), "r"(add), "n"(int(kTransposedA)), "n"(int(kTransposedB)));           \
  }                                                                                                                   \
  template <bool kTransposedB>                                                                                        \
  INFONCE_DEVICE void multiply(float (&sums)[count / 4][4], const uint32_t (&a)[4], Descriptor b, int add) {          \
    asm volatile("{\n.reg .pred adds;\nsetp.ne.b32 adds, %" #p5 ", 0;\n"                                              \
                 "wgmma.mma_async.sync.aligned.m64n" #size "k16.f32.bf16.bf16 {" INFONCE_REGISTERS_##count "}, "      \
                 "{%" #p0 ", %" #p1 ", %" #p2 ", %" #p3 "}, %" #p4 ", adds, 1, 1, %" #p6 ";\n}"                       \
                 : INFONCE_SUMS_##count                                                                               \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b.word()), "r"(add), "n"(int(kTransposedB)));      \
  }

INFONCE_PRODUCTS(64, 32, 32, 33, 34, 35, 36, 37, 38)
INFONCE_PRODUCTS(80, 40, 40, 41, 42, 43, 44, 45, 46)
INFONCE_PRODUCTS(96, 48, 48, 49, 50, 51, 52, 53, 54)
INFONCE_PRODUCTS(128, 64, 64, 65, 66, 67, 68, 69, 70)
INFONCE_PRODUCTS(192, 96, 96, 97, 98, 99, 100, 101, 102)
INFONCE_PRODUCTS(256, 128, 128, 129, 130, 131, 132, 133, 134)

#undef INFONCE_PRODUCTS
// clang-format on

}  // namespace infonce::cuda
