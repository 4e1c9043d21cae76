#include "cuda/plan.h"

namespace infonce::cuda {
namespace {

// Beside what else the second-level cache has to hold. Of a cache that is too small for any panel the size matters
// little.
int64_t panel_bytes(const Hardware &hardware) {
  constexpr int64_t kLeast = int64_t(4) << 20;
  return std::max(kLeast, int64_t(hardware.cache) * 12 / 25);
}

}  // namespace

int64_t tiles_of_panel(const Hardware &hardware, Planes planes, int64_t bytes_of_tile, int64_t rows_of_tile,
                       int64_t columns_of_tile, int64_t padded_dim) {
  const double tiles = double(panel_bytes(hardware) / bytes_of_tile);
  const Operations operations = operations_of(planes, int64_t(tiles) * rows_of_tile, columns_of_tile, padded_dim);
  return int64_t(tiles * hardware.share_of_launch(operations));
}

int32_t splits_for(int64_t blocks, int64_t slots, int64_t parts, int64_t bytes_of_split) {
  constexpr double kEnough = 0.9;
  const int64_t most = std::max<int64_t>(1, std::min(parts, kSplitBytes / bytes_of_split));
  int64_t best = 1;
  double most_busy = 0;
  for (int64_t splits = 1; splits <= most && most_busy < kEnough; ++splits) {
    const int64_t all = blocks * splits, rounds = (all + slots - 1) / slots;
    const double busy = double(all) / double(rounds * slots);
    if (busy > most_busy) most_busy = busy, best = splits;
  }
  return int32_t(best);
}

}  // namespace infonce::cuda
