#include "cpu/float64_scheme.h"

namespace infonce::cpu {
namespace {
constexpr int64_t kStepRows = 8192;  // of the other side in one go: a multiple of kFloat64Columns
}

Float64Scheme::Float64Scheme(const Request &request, const Kernels &kernels, const Pairs &pairs, ThreadPool &pool)
    : request_(request),
      problem_(request.problem),
      kernels_(kernels),
      pool_(pool),
      passes_(request, kernels, pairs, pool),
      counts_apart_(passes_.counts_apart(request.in_parts)),
      scratch_(pool.threads()) {}

void Float64Scheme::take_scratch(Workspace::Cursor &cursor) {
  passes_.take_scratch(cursor, false);
  for (ThreadScratch &scratch : scratch_) {
    scratch.logits = cursor.take<double>(kFloat64Scratch);
    scratch.accumulators = cursor.take<double>(accumulator_doubles());
    scratch.guide_dots = passes_.has_guides() ? cursor.take<double>(kFloat64Scratch) : nullptr;
  }
}

void Float64Scheme::take_gradient(Workspace::Cursor &cursor) {
  for (int m = 0; m < problem_.matrix_count; ++m)
    if (passes_.rows_of_parts() >> m & 1) standing_[m] = cursor.take<double>(doubles_of(m));
}

Outcome Float64Scheme::open() {
  if (const BadRow bad = passes_.prepare(); bad.row >= 0) return {true, bad};
  passes_.rank();
  passes_.sum_large_classes();
  passes_.sum_smoothed();
  passes_.weigh_positives();
  for (int s = 0; s < passes_.softmax_count(); ++s) {
    std::fill_n(passes_.softmaxes[s].offset, passes_.padded_rows(), -std::numeric_limits<double>::infinity());
    std::fill_n(passes_.softmaxes[s].sum, passes_.padded_rows(), 0.0);
  }
  if (SoftmaxRows<double> *weights = passes_.weights_of_negatives()) {
    std::fill_n(weights->offset, passes_.padded_rows(), -std::numeric_limits<double>::infinity());
    std::fill_n(weights->sum, passes_.padded_rows(), 0.0);
  }
  for (const Block<double> &block : passes_.blocks()) {
    log_sum_exp({&block.rows, &block.columns, block.scale, block.by_threshold});
    if (block.columns.softmax && !block.is_triangle)
      log_sum_exp({&block.columns, &block.rows, block.scale, block.by_threshold});
  }
  return {};
}

BadRow Float64Scheme::add() {
  if (const BadRow bad = passes_.prepare_part(); bad.row >= 0) return bad;
  if (passes_.adds_terms()) return passes_.meet_terms(), BadRow();
  const Block<double> &part = *passes_.part();
  log_sum_exp({&part.rows, &part.columns, part.scale, part.by_threshold});
  passes_.smooth_part();
  if (part.columns.softmax) {
    passes_.begin_column_sums(-std::numeric_limits<double>::infinity());
    log_sum_exp({&part.columns, &part.rows, part.scale});
    passes_.end_column_sums();
  }
  passes_.meet_positives();
  return {};
}

Outcome Float64Scheme::close(infonce_result *result) {
  passes_.losses();
  passes_.write_losses(result);
  return {};
}

void Float64Scheme::open_gradient() {
  passes_.resume();
  along_parts_ = 0;
  for (int m = 0; m < problem_.matrix_count && request_.in_parts; ++m)
    if (passes_.rows_of_parts() >> m & 1) std::fill_n(standing_[m], doubles_of(m), 0.0);
}

BadRow Float64Scheme::add_gradient(float *output) {
  if (const BadRow bad = passes_.prepare_part(); bad.row >= 0) return bad;
  const Block<double> &part = *passes_.part();
  passes_.weigh_columns(0);
  passes_.weigh_large_classes_of_part();
  passes_.begin_smoothing_of_part();
  pool_.parallel(blocks_of(passes_.rows(), kFloat64Rows), [&](int64_t t, int thread) {
    double *accumulators = standing_[part.rows.matrix] + t * accumulator_doubles();
    accumulate({&part.rows, &part.columns, part.scale, part.by_threshold}, t, accumulators, thread);
    if (passes_.part_has_positives())
      passes_.add_met_positives(true, t * kFloat64Rows, kFloat64Rows, accumulators, kFloat64Rows, thread);
    passes_.add_smoothing_of_part(true, t * kFloat64Rows, kFloat64Rows, accumulators, kFloat64Rows);
  });
  const bool counts = passes_.counts_part();
  if (!output && !counts) return {};
  const double along = gradient(kPart, part.columns.rows, output).first;
  if (counts) along_parts_ += passes_.weight_of_parts() * along;
  return {};
}

void Float64Scheme::close_gradient(infonce_result *result) {
  const Layout &layout = passes_.layout();
  passes_.begin_gradients(*result);
  std::pair<double, double> along(0, 0);
  for (int k = 0; k < layout.count(); ++k) {
    const int matrix = layout.matrix(k);
    const bool is_counted = matrix == layout.anchors() || passes_.counts_all();
    if (!request_.wants(matrix) && !is_counted) continue;
    float *output = request_.wants(matrix) ? result->gradients[matrix].data : nullptr;
    const auto [of_matrix, apart] = gradient(matrix, layout.rows(matrix), output);
    if (is_counted) along.first += of_matrix, along.second += apart;
  }
  result->scalars.grad_scale = passes_.grad_scale(along.first + along_parts_, along.second);
}

// Goes on from what the owner's rows hold.
void Float64Scheme::log_sum_exp(const Meeting &meeting) {
  const SoftmaxRows<double> &softmax = *meeting.owner->softmax;
  pool_.parallel(blocks_of(meeting.owner->rows, kFloat64Rows), [&](int64_t t, int thread) {
    const int64_t first = t * kFloat64Rows;
    Float64LogSumExp rows;
    static_cast<Float64Rows &>(rows) = float64_rows(meeting, first, thread);
    rows.owner_rank = softmax.rank;
    rows.maximum = softmax.offset + first;
    rows.sum = softmax.sum + first;
    rows.above = problem_.ranks ? softmax.above + first : nullptr;
    rows.scale *= 1 + passes_.beta();
    walk(rows, kernels_.float64_log_sum_exp);
    const SoftmaxRows<double> *weights = passes_.weights_of_negatives(*meeting.owner);
    if (!weights) return;
    rows.maximum = weights->offset + first;
    rows.sum = weights->sum + first;
    rows.above = nullptr;
    rows.scale = problem_.scale * passes_.beta();
    walk(rows, kernels_.float64_log_sum_exp);
  });
}

// In steps, so that a cancelled call soon ends.
template <class Rows> void Float64Scheme::walk(Rows rows, void (*kernel)(const Rows &)) const {
  const int64_t end = rows.other_end;
  for (int64_t first = 0; first < end && !pool_.cancelled(); first += kStepRows) {
    rows.other_first = first;
    rows.other_end = std::min(first + kStepRows, end);
    kernel(rows);
  }
}

// Blocks from the last to the first, the triangle being the first.
std::vector<Float64Scheme::Meeting> Float64Scheme::meetings_of(int matrix, bool triangles) const {
  std::vector<Meeting> meetings;
  if (matrix == kPart && !triangles)
    meetings.push_back(
        {&passes_.part()->columns, &passes_.part()->rows, passes_.part()->scale, passes_.part()->by_threshold});
  const std::vector<Block<double>> &blocks = passes_.blocks();
  for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) {
    if (block->is_triangle != triangles) continue;
    if (block->rows.matrix == matrix)
      meetings.push_back({&block->rows, &block->columns, block->scale, block->by_threshold});
    else if (block->columns.matrix == matrix)
      meetings.push_back({&block->columns, &block->rows, block->scale, block->by_threshold});
  }
  return meetings;
}

void Float64Scheme::accumulate(const Meeting &meeting, int64_t task, double *accumulators, int thread) {
  Float64Gradient rows{};
  static_cast<Float64Rows &>(rows) = float64_rows(meeting, task * kFloat64Rows, thread);
  if (const SoftmaxRows<double> *softmax = meeting.owner->softmax)
    rows.owner_lse = softmax->log_sum_exp, rows.owner_weight = softmax->weight;
  if (const SoftmaxRows<double> *softmax = meeting.other->softmax)
    rows.other_lse = softmax->log_sum_exp, rows.other_weight = softmax->weight;
  rows.accumulators = accumulators;
  rows.accumulator_rows = kFloat64Rows;
  rows.scale *= 1 + passes_.beta();
  walk(rows, kernels_.float64_gradient);
  if (!passes_.weights_of_negatives()) return;
  const SoftmaxRows<double> &own = *passes_.weights_of_negatives(*meeting.owner);
  const SoftmaxRows<double> &others = *passes_.weights_of_negatives(*meeting.other);
  rows.owner_lse = own.log_sum_exp;
  rows.owner_weight = own.weight;
  rows.other_lse = others.log_sum_exp;
  rows.other_weight = others.weight;
  rows.scale = problem_.scale * passes_.beta();
  walk(rows, kernels_.float64_gradient);
}

// Returns the sum of <u, d loss / d u> over the rows, and that of what is counted apart.
std::pair<double, double> Float64Scheme::gradient(int matrix, int64_t rows, float *output) {
  const bool of_anchors = matrix == passes_.layout().anchors(), counts_apart = of_anchors && counts_apart_;
  const std::vector<Meeting> others = meetings_of(matrix, false), own = meetings_of(matrix, true);
  const int64_t tasks = blocks_of(rows, kFloat64Rows);
  std::vector<double> radial(tasks, 0.0), radial_apart(tasks, 0.0);
  pool_.parallel(tasks, [&](int64_t t, int thread) {
    const int64_t first = t * kFloat64Rows, count = std::min<int64_t>(kFloat64Rows, rows - first);
    double *accumulators = scratch_[thread].accumulators;
    if (matrix != kPart && standing_[matrix]) accumulators = standing_[matrix] + t * accumulator_doubles();
    else std::fill_n(accumulators, accumulator_doubles(), 0.0);
    for (const Meeting &meeting : others) accumulate(meeting, t, accumulators, thread);
    if (counts_apart) radial_apart[t] = passes_.count_apart(first, count, accumulators, kFloat64Rows, thread);
    for (const Meeting &meeting : own) accumulate(meeting, t, accumulators, thread);
    radial[t] = passes_.finish(matrix, counts_apart, first, count, accumulators, kFloat64Rows, output, thread);
  });
  double along = 0, along_apart = 0;
  for (int64_t t = 0; t < tasks; ++t) along += radial[t], along_apart += radial_apart[t];
  return {along, along_apart};
}

Float64Rows Float64Scheme::float64_rows(const Meeting &meeting, int64_t first, int thread) {
  const Side<double> &owner = *meeting.owner, &other = *meeting.other;
  const bool by_id = owner.ids && other.ids;
  Float64Rows rows{};
  rows.owner = &passes_.operand(owner.matrix, thread);
  rows.other = &passes_.operand(other.matrix, thread);
  rows.first = first;
  rows.count = int(std::min<int64_t>(kFloat64Rows, owner.rows - first));
  rows.other_end = other.rows;
  rows.scale = meeting.scale;
  rows.owner_group = owner.groups;
  rows.other_group = other.groups;
  rows.owner_id = by_id ? owner.ids : nullptr;
  rows.other_id = by_id ? other.ids : nullptr;
  rows.owner_bias = owner.bias;
  rows.other_bias = other.bias;
  rows.scratch = scratch_[thread].logits;
  if (!meeting.by_threshold) return rows;
  Thresholds<double> &thresholds = *passes_.thresholds();
  (owner.matrix == passes_.layout().anchors() ? rows.owner_most : rows.other_most) = thresholds.most(other.matrix);
  if (!thresholds.by_guide()) return rows;
  rows.owner_guide = &thresholds.guide(owner.matrix, thread);
  rows.other_guide = &thresholds.guide(other.matrix, thread);
  rows.guide_scratch = scratch_[thread].guide_dots;
  return rows;
}

}  // namespace infonce::cpu
