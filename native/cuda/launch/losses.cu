#include "cuda/kernels/losses.cuh"

#include <algorithm>

#include "cuda/launch/launch.h"

namespace infonce::cuda {
namespace {
constexpr int kThreads = 128;
}

void losses(Stream &stream, int32_t row_loss, const AddStatisticsTask &sums, const LossesTask &task,
            const TotalsTask &totals) {
  const int64_t threads = std::max({task.anchors.padded_rows, end_of_rows(sums), sums.columns});
  with_row_loss(row_loss, [&](auto kind) {
    stream.launch("losses", losses<kind()>, blocks_of(threads, kLossesThreads), kLossesThreads, 0, sums, task, totals);
  });
}

void weigh_positives(Stream &stream, const PositiveWeightsTask &task) {
  stream.launch("weigh_positives", weigh_positives, 1, kTotalsThreads, 0, task);
}

void write_row_losses(Stream &stream, const double *loss, float *row_loss, int64_t rows) {
  stream.launch("write_row_losses", write_row_losses, blocks_of(rows, kThreads), kThreads, 0, loss, row_loss, rows);
}

void totals(Stream &stream, const TotalsTask &task) { stream.launch("totals", totals, 1, kTotalsThreads, 0, task); }

void fill_with_nan(Stream &stream, const Report *report, const Results &results) {
  stream.launch("fill_with_nan", fill_with_nan, unsigned(2 * stream.multiprocessors()), kThreads, 0, report, results);
}

}  // namespace infonce::cuda
