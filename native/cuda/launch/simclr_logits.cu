#include "cuda/launch/simclr_logits.h"

#include "cuda/kernels/simclr_logits.cuh"
#include "cuda/launch/launch.h"

namespace infonce::cuda {

void simclr_logits(Stream &stream, const Tower &anchors, double scale, float *logits) {
  // 65535 tile columns are 8 million rows, whose logits no memory holds.
  const dim3 grid(blocks_of(anchors.rows, DoubleTile::kRows), blocks_of(anchors.rows, DoubleTile::kColumns));
  const double rows = double(anchors.rows);
  stream.launch_in_parts({2 * rows * rows * double(anchors.dim), true}, "simclr_logits_tile", simclr_logits_tile, grid,
                         DoubleTile::kThreads, 0, anchors, scale, logits);
}

}  // namespace infonce::cuda
