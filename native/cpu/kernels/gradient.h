// One panel of the gradient product: W_ij = e_ij (row_weight_i + column_weight_j) packed from stored exponentials, then
// multiplied with the other side's rows. The owner's rows are accumulated by one thread only: no atomics, same bits.
#pragma once

#include "cpu/kernels/kernels.h"
#include "cpu/kernels/tile.h"

namespace infonce::cpu::INFONCE_KERNEL_NAMESPACE {

// e (x_weight + y_weight), less the targets of both within a class.
template <bool kClasses>
INFONCE_INLINE Floats weigh(const float *e, Floats x_weight, const float *y_weight, int32_t x_class,
                            const int32_t *y_class, Floats x_target, const float *y_target) {
  const Floats w = load(e) * (x_weight + load(y_weight));
  if (!kClasses) return w;
  const Ints same = x_class - Ints{} == load_ints(y_class);
  return w - (Floats)((Ints)(x_target + load(y_target)) & same);
}

// Owner rows are block rows: W keeps their order, [owner][kGradientStride].
template <bool kClasses> void pack_rows(const GradientPanel &panel) {
  for (int b = 0; b < panel.block_count; ++b) {
    const int start = b * panel.block_rows;
    const int columns = b + 1 < panel.block_count ? panel.block_rows : panel.other_count - start;
    for (int x = 0; x < panel.owner_count; ++x) {
      const Floats weight = broadcast(panel.owner_weight[x]),
                   target = broadcast(kClasses ? panel.owner_target[x] : 0.0f);
      for (int y = 0; y < columns; y += kLanes)
        store(panel.scratch + x * kGradientStride + start + y,
              weigh<kClasses>(panel.exponentials[b] + x * panel.stride + y, weight, panel.other_weight + start + y,
                              kClasses ? panel.owner_class[x] : 0, kClasses ? panel.other_class + start + y : nullptr,
                              target, kClasses ? panel.other_target + start + y : nullptr));
    }
  }
}

// Owner rows are block columns: W is read as it lies, [other][block columns and a pad].
INFONCE_INLINE int column_stride(const GradientPanel &panel) { return panel.stride + kGradientPad; }

template <bool kClasses> void pack_columns(const GradientPanel &panel) {
  const int stride = column_stride(panel);
  for (int b = 0; b < panel.block_count; ++b) {
    const int start = b * panel.block_rows;
    const int rows = b + 1 < panel.block_count ? panel.block_rows : panel.other_count - start;
    for (int x = 0; x < rows; ++x) {
      const Floats weight = broadcast(panel.other_weight[start + x]);
      const Floats target = broadcast(kClasses ? panel.other_target[start + x] : 0.0f);
      for (int y = 0; y < panel.owner_count; y += kLanes)
        store(panel.scratch + (start + x) * stride + y,
              weigh<kClasses>(panel.exponentials[b] + x * panel.stride + y, weight, panel.owner_weight + y,
                              kClasses ? panel.other_class[start + x] : 0, kClasses ? panel.owner_class + y : nullptr,
                              target, kClasses ? panel.owner_target + y : nullptr));
    }
  }
}

template <int R, int kRowStride>
INFONCE_NOINLINE void gradient_tile(const float *w, int64_t stride, const float *other, int64_t depth,
                                    float *accumulators, bool accumulate, Prefetch next) {
  constexpr int kSteps = 4;  // divides every panel
  Tile<float, R> sum;
  sum.clear();
  for (int64_t k = 0; k < depth; k += kSteps) {
    next.line();
    sum.template multiply<kRowStride>(w + (kRowStride ? k : k * stride), stride, other + k * kPanel, kSteps);
  }
  if (accumulate) sum.add_to(accumulators);
  else sum.store_to(accumulators);
}

template <bool kOwnerIsRow> void gradient_tiles(const GradientPanel &panel) {
  const Operand<float> &other = *panel.other;
  const int depth_panels = int(other.padded_dim / kPanel), tiles = depth_panels * tile_count(panel.owner_count);
  const int64_t block_bytes = int64_t(panel.stride) * panel.stride * int64_t(sizeof(float));
  const int lines_a_tile = int(block_bytes / kCacheLine) * panel.next_count / tiles + 1;
  Prefetch next;
  int next_block = 0;
  for (int d = 0; d < depth_panels; ++d) {
    const float *b = other.row_panels + (d * other.padded_rows + panel.other_first) * kPanel;
    float *out = panel.accumulators + d * panel.accumulator_rows * kPanel;
    for_each_tile(panel.owner_count, [&](int row, auto height) {
      constexpr int kStride = kOwnerIsRow ? kGradientStride : 0;
      if (next.lines() == 0 && next_block < panel.next_count) next = Prefetch(panel.next[next_block++], block_bytes);
      gradient_tile<decltype(height)::value, kStride>(panel.scratch + (kOwnerIsRow ? row * kGradientStride : row),
                                                      column_stride(panel), b, panel.other_count, out + row * kPanel,
                                                      panel.accumulate, next.take(lines_a_tile));
    });
  }
}

inline void gradient_panel(const GradientPanel &panel) {
  if (panel.owner_is_row) {
    if (panel.owner_class) pack_rows<true>(panel);
    else pack_rows<false>(panel);
    gradient_tiles<true>(panel);
  } else {
    if (panel.owner_class) pack_columns<true>(panel);
    else pack_columns<false>(panel);
    gradient_tiles<false>(panel);
  }
}

}  // namespace infonce::cpu::INFONCE_KERNEL_NAMESPACE
