// Rows that have their losses in one call and meet anchors as columns of another's parts, and anchors of which a part meets
// some alone: what a few numbers a row are on their way between host and device, and how sums of them are joined.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "cuda/steps/steps.h"

namespace infonce::cuda::steps {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Numbers of device arrays by row.
template <class T> std::vector<T> fetch(const Work &work, const T *from, int64_t rows) {
  std::vector<T> numbers(static_cast<size_t>(rows));
  work.lane->copy(numbers.data(), from, numbers.size() * sizeof(T), cudaMemcpyDeviceToHost);
  return numbers;
}

template <class T> void bring(const Work &work, T *to, const std::vector<T> &numbers) {
  work.lane->staging.upload(work.stream(), to, numbers.data(), numbers.size() * sizeof(T));
}

// number_of(row) of so many rows, and `beyond` of their padding.
template <class T, class NumberOf>
void bring(const Work &work, T *to, const Tower &tower, T beyond, NumberOf &&number_of) {
  std::vector<T> numbers(static_cast<size_t>(tower.padded_rows), beyond);
  for (int64_t i = 0; i < tower.rows; ++i) numbers[static_cast<size_t>(i)] = T(number_of(i));
  bring(work, to, numbers);
}

// A row's sum of exponentials, sum * e^offset. Where the kernels' shift is constant the offset stays.
double log_of_both(double a, double b) {
  const double larger = std::max(a, b), smaller = std::min(a, b);
  return std::isinf(smaller) ? larger : larger + std::log1p(std::exp(smaller - larger));
}

struct Sums {
  std::vector<double> sum, offset;
  std::vector<int32_t> above;
  bool moves;

  // `is_summed`: whether there is anything yet.
  Sums(const Work &work, const Direction &from, int64_t rows, bool is_summed)
      : sum(fetch(work, from.sum, rows)),
        offset(fetch(work, from.offset, rows)),
        above(fetch(work, from.above, rows)),
        moves(work.in_float64) {
    if (moves && !is_summed) std::fill(offset.begin(), offset.end(), -kInfinity);
  }
  void add(size_t row, double other_sum, double other_offset, int32_t other_above) {
    above[row] += other_above;
    if (other_sum == 0) return;
    if (moves && other_offset > offset[row]) {
      sum[row] = sum[row] == 0 ? 0 : sum[row] * std::exp(offset[row] - other_offset);
      offset[row] = other_offset;
    }
    sum[row] += other_sum * std::exp(other_offset - offset[row]);
  }
  void bring_back(const Work &work, const Direction &to) const {
    bring(work, to.sum, sum);
    bring(work, to.offset, offset);
    bring(work, to.above, above);
    work.lane->stream.synchronize();
  }
};

// Positives by id.
struct Further {
  std::vector<int32_t> count;
  std::vector<double> log_sums, sum;

  Further(const Work &work, const FurtherSums &from, int64_t rows)
      : count(fetch(work, from.count, rows)),
        log_sums(fetch(work, from.log_sum_exp, rows)),
        sum(fetch(work, from.sum, rows)) {}
  double log_sum(size_t row) const { return count[row] > 0 ? log_sums[row] : -kInfinity; }
  void bring_back(const Work &work, const FurtherSums &to) const {
    bring(work, to.count, count);
    bring(work, to.log_sum_exp, log_sums);
    bring(work, to.sum, sum);
    work.lane->stream.synchronize();
  }
};

// Adds to numbers of the device, by row of the input.
void add_to(const Work &work, double *numbers, const double *others) {
  std::vector<double> sums = fetch(work, numbers, work.rows());
  for (size_t r = 0; r < sums.size(); ++r) sums[r] += others[work.source_row(work.anchors(), int64_t(r))];
  bring(work, numbers, sums);
  work.lane->stream.synchronize();
}

// The dot product that becomes this logit again, to the last bit where there is one: elsewhere, too, a row that equals the
// positive does not outrank it.
double dot_of(double logit, double scale) {
  const double dot = logit / scale;
  for (const double near : {dot, std::nextafter(dot, kInfinity), std::nextafter(dot, -kInfinity)})
    if (near * scale == logit) return near;
  return dot;
}

// What weights of positives are made of.
double log_mean_of_positives(const Work &work) {
  const infonce_problem &problem = work.problem;
  std::vector<double> exponents = fetch(work, work.buffers.pair_logits.first, work.rows());
  for (double &exponent : exponents) exponent /= problem.scale * problem.softmaxes[0].mises_fisher_sigma;
  const double largest = *std::max_element(exponents.begin(), exponents.end());
  double sum = 0;
  for (const double exponent : exponents) sum += std::exp(exponent - largest);
  return largest + std::log(sum / double(exponents.size()));
}

// What weights are made of, by row of the tower: by its upstream gradient, relative to that of the call.
template <class Upstream, class LogSumExp>
void bring_weights(const Work &work, const Direction &to, const Tower &tower, Upstream &&upstream, LogSumExp &&lse) {
  bring<double>(work, to.upstream, tower, 0, upstream);
  bring<double>(work, to.log_sum_exp, tower, kInfinity, lse);
  // In float32 the shift is constant here.
  bring<float>(work, to.weight, tower, 0, [&](int64_t i) { return upstream(i) * std::exp(-lse(i)); });
  bring<float>(work, to.log2_sum, tower, 0, [](int64_t) { return 0; });
}

void upload_columns(const Work &work) {
  const Block &block = work.choice.blocks[0];
  const Tower &tower = work.tower(block.columns);
  const infonce_travelling_rows &columns = work.columns;
  const Direction &to = work.buffers.softmax_of_columns;
  if (work.phase.sums) {
    const auto rank = [&](int64_t j) { return work.problem.ranks ? columns.rank[j] : kInfinity; };
    bring<float>(work, to.rank, tower, std::numeric_limits<float>::infinity(), rank);
    bring<double>(work, work.buffers.positive_logit_of_columns, tower, kInfinity,
                  [&](int64_t j) { return block.scale * rank(j); });
  } else if (work.phase.adds_terms) {
    const auto is_sum = [&](int64_t j) { return columns.log_sum[j] > -kInfinity; };
    bring<double>(work, to.sum, tower, 0, is_sum);
    bring<double>(work, to.offset, tower, 0, [&](int64_t j) { return is_sum(j) ? columns.log_sum[j] : 0; });
  } else {
    bring_weights(
        work, to, tower, [&](int64_t j) { return columns.weight[j] / work.upstream_scale; },
        [&](int64_t j) { return columns.log_sum_exp[j]; });
    if (columns.weights_log_sum_exp && work.problem.softmaxes[0].beta != 0)
      bring_weights(
          work, work.buffers.weights_of_columns, tower,
          [&](int64_t j) { return -columns.weight[j] / work.upstream_scale; },
          [&](int64_t j) { return columns.weights_log_sum_exp[j]; });
    if (!work.has_further_positives(block)) return;
    const int32_t by_index = work.choice.meets_by_id ? 0 : 1;
    bring<int32_t>(work, work.buffers.further_of_columns.count, tower, 0,
                   [&](int64_t j) { return columns.all_positives[j] - by_index; });
    bring<double>(work, to.rest_share, tower, 0, [&](int64_t j) { return columns.rest_share[j]; });
  }
}

// In the order of the input, what the call has in its own.
void upload_some_anchors(const Work &work) {
  const SomeAnchors &some = work.some_anchors;
  const Tower &tower = work.anchor_tower();
  const int64_t all = work.anchors_of_call.rows;
  const Direction &to = *work.softmax(work.choice.blocks[0].row_softmax);
  const auto in_order = [&](const auto &numbers) {
    return [&](int64_t i) { return numbers[static_cast<size_t>(some.rows[static_cast<size_t>(i)])]; };
  };
  const auto bring_some = [&](int32_t *numbers, const int32_t *from) {
    if (!from) return;
    const std::vector<int32_t> of_all = fetch(work, from, all);
    std::vector<int32_t> of_some(some.rows.size());
    std::transform(some.rows.begin(), some.rows.end(), of_some.begin(),
                   [&](int32_t row) { return of_all[size_t(row)]; });
    bring(work, numbers, of_some);
  };
  bring_some(work.buffers.ids[work.anchors()], some.ids);
  bring_some(work.buffers.target_numbers, some.targets);
  if (some.most) {
    const std::vector<double> most = fetch(work, some.most, all);
    bring<double>(work, work.buffers.most, tower, kInfinity, in_order(most));
  }
  if (work.phase.sums) {
    const std::vector<float> ranks = fetch(work, some.softmax.rank, all);
    const std::vector<double> logits = fetch(work, some.positive_logit, all);
    bring<float>(work, to.rank, tower, std::numeric_limits<float>::infinity(), in_order(ranks));
    bring<double>(work, work.buffers.pair_logits.first, tower, kInfinity, in_order(logits));
  } else if (work.phase.has_gradients) {
    const std::vector<double> upstream = fetch(work, some.softmax.upstream, all);
    const std::vector<double> log_sum_exp = fetch(work, some.softmax.log_sum_exp, all);
    bring_weights(work, to, tower, in_order(upstream), in_order(log_sum_exp));
    if (work.problem.softmaxes[0].beta == 0) return;
    const std::vector<double> of_weights = fetch(work, some.weights.log_sum_exp, all);
    bring_weights(
        work, work.buffers.softmaxes[1], tower, [&](int64_t i) { return -in_order(upstream)(i); },
        in_order(of_weights));
  }
}

}  // namespace

void upload_softmaxes_of_part(const Work &work) {
  if (work.has_columns_of_part()) upload_columns(work);
  if (!work.some_anchors.rows.empty()) upload_some_anchors(work);
}

void deliver_sums_of_part(const Work &work, bool are_bad) {
  const Block &block = work.choice.blocks[0];
  const SomeAnchors &some = work.some_anchors;
  const bool has_weights = work.problem.softmaxes[0].beta != 0;
  const auto join_some = [&](const Direction &of_part, const Direction &of_call) {
    const Sums part(work, of_part, int64_t(some.rows.size()), true);
    Sums call(work, of_call, work.anchors_of_call.rows, some.are_summed);
    for (size_t i = 0; i < some.rows.size(); ++i)
      call.add(size_t(some.rows[i]), part.sum[i], part.offset[i], part.above[i]);
    call.bring_back(work, of_call);
  };
  if (!some.rows.empty()) join_some(*work.softmax(block.row_softmax), some.softmax);
  if (!some.rows.empty() && has_weights) join_some(*work.weights(block.row_softmax), some.weights);
  if (!work.has_columns_of_part()) return;
  const infonce_travelling_rows &to = work.columns;
  const int64_t rows = work.tower(block.columns).rows;
  const Sums met(work, work.buffers.softmax_of_columns, rows, true);
  for (int64_t j = 0; j < rows; ++j) {
    const size_t at = size_t(j);
    if (are_bad) {
      to.log_sum[j] = kNaN;
    } else if (met.sum[at] > 0) {
      to.log_sum[j] = log_of_both(to.log_sum[j], met.offset[at] + std::log(met.sum[at]));
    }
    if (work.problem.ranks) to.above[j] += met.above[at];
  }
  if (has_weights) {
    const Sums weights(work, work.buffers.weights_of_columns, rows, true);
    for (int64_t j = 0; j < rows; ++j) {
      const size_t at = size_t(j);
      const double log_sum = weights.sum[at] > 0 ? weights.offset[at] + std::log(weights.sum[at]) : -kInfinity;
      to.weights_log_sum[j] = are_bad ? kNaN : log_of_both(to.weights_log_sum[j], log_sum);
    }
  }
  if (const double *from = work.buffers.logit_sums_of_columns) {
    const std::vector<double> sums = fetch(work, from, rows);
    for (int64_t j = 0; j < rows; ++j) to.logit_sum[j] += sums[size_t(j)];
  }
  if (!work.has_further_positives(block)) return;
  const Further further(work, work.buffers.further_of_columns, rows);
  for (int64_t j = 0; j < rows; ++j) {
    to.positives[j] += further.count[size_t(j)];
    to.positive_sum[j] += further.sum[size_t(j)];
    to.positive_log_sum[j] = log_of_both(to.positive_log_sum[j], further.log_sum(size_t(j)));
  }
}

void deliver_terms_of_part(const Work &work, bool are_bad) {
  if (!work.has_columns_of_part()) return;
  const FurtherSums &from = work.buffers.further_of_columns;
  const infonce_travelling_rows &to = work.columns;
  const int64_t rows = work.tower(work.choice.blocks[0].columns).rows;
  const std::vector<double> losses = fetch(work, from.term_losses, rows), shares = fetch(work, from.term_shares, rows);
  for (int64_t j = 0; j < rows; ++j) {
    to.term_losses[j] += are_bad ? kNaN : losses[size_t(j)];
    to.term_shares[j] += are_bad ? kNaN : shares[size_t(j)];
  }
}

// What is relative to none is so to 1, of the call and of what comes from elsewhere.
void settle_upstream(Work *work) {
  const Upstream &upstream = work->upstream;
  double largest = 1;
  if (upstream.count > 0) {
    largest = work->lane->report.get()->largest_upstream;
    if (!(largest > 0)) {
      const float one = 1;
      work->lane->copy(&work->buffers.report->largest_upstream, &one, sizeof one, cudaMemcpyHostToDevice);
      largest = 1;
    }
  }
  work->upstream_scale = upstream.factor * largest;
}

void read_travelling_rows(const Work &work, int softmax, const infonce_travelling_rows &to, bool are_bad) {
  const int64_t rows = work.rows();
  const Buffers &buffers = work.buffers;
  const Direction &from = buffers.softmaxes[softmax];
  const auto fill = [&](double *numbers, const auto &prepared, double factor) {
    for (int64_t r = 0; r < rows; ++r)
      numbers[work.source_row(work.anchors(), r)] = are_bad ? kNaN : double(prepared[size_t(r)]) * factor;
  };
  // The dot product of a pair is that of both softmaxes.
  if (to.rank && work.in_float64) {
    std::vector<double> dots = fetch(work, buffers.pair_logits.first, rows);
    for (double &dot : dots) dot = dot_of(dot, work.choice.scale);
    fill(to.rank, dots, 1);
  } else if (to.rank) {
    fill(to.rank, fetch(work, buffers.softmaxes[0].rank, rows), 1);
  }
  if (to.log_sum) {
    const Sums sums(work, from, rows, work.is_summed[softmax]);
    std::vector<double> log_sum(static_cast<size_t>(rows));
    for (size_t r = 0; r < log_sum.size(); ++r)
      log_sum[r] = sums.sum[r] > 0 ? sums.offset[r] + std::log(sums.sum[r]) : -kInfinity;
    fill(to.log_sum, log_sum, 1);
  }
  if (to.above) {
    const std::vector<int32_t> above = fetch(work, from.above, rows);
    for (int64_t r = 0; r < rows; ++r) to.above[work.source_row(work.anchors(), r)] = above[size_t(r)];
  }
  if (to.logit_sum) fill(to.logit_sum, fetch(work, buffers.logit_sums[softmax], rows), 1);
  if (to.log_sum_exp) fill(to.log_sum_exp, fetch(work, from.log_sum_exp, rows), 1);
  if (to.weight) fill(to.weight, fetch(work, from.upstream, rows), work.upstream_scale);
  if (to.weights_log_sum_exp && work.problem.softmaxes[0].beta != 0)
    fill(to.weights_log_sum_exp, fetch(work, buffers.softmaxes[1].log_sum_exp, rows), 1);
  if (to.rest_share) fill(to.rest_share, fetch(work, from.rest_share, rows), 1);
  if (to.all_positives) {
    const int32_t *further = buffers.further[softmax].count;
    const std::vector<int32_t> counts = further ? fetch(work, further, rows) : std::vector<int32_t>(size_t(rows));
    const bool all_views = work.problem.softmaxes[softmax].positive == INFONCE_POSITIVE_ALL_VIEWS;
    const int64_t others = work.choice.meets_by_id ? 0 : all_views ? work.anchor_tower().views - 1 : 1;
    for (int64_t r = 0; r < rows; ++r)
      to.all_positives[work.source_row(work.anchors(), r)] = counts[size_t(r)] + int32_t(others);
  }
  if (to.positives_log_mean) *to.positives_log_mean = are_bad ? kNaN : log_mean_of_positives(work);
}

namespace {

// In place of what the rows are here, where their losses are elsewhere.
void take_ranks(const Work &work, const double *ranks) {
  const Buffers &buffers = work.buffers;
  const auto rank = [&](int64_t r) { return ranks[work.source_row(work.anchors(), r)]; };
  bring<float>(work, buffers.softmaxes[0].rank, work.anchor_tower(), std::numeric_limits<float>::infinity(), rank);
  bring<double>(work, buffers.pair_logits.first, work.anchor_tower(), kInfinity,
                [&](int64_t r) { return work.choice.scale * rank(r); });
  work.lane->stream.synchronize();
}

// Positives have the share of the rest for weight. Rows without any candidates have nothing to pass on.
void take_weights(const Work &work, const infonce_travelling_rows &from) {
  const Direction &to = work.buffers.softmaxes[0];
  const Tower &tower = work.anchor_tower();
  const auto row = [&](int64_t r) { return work.source_row(work.anchors(), r); };
  const auto is_empty = [&](int64_t r) { return std::isinf(from.log_sum_exp[row(r)]); };
  bring_weights(
      work, to, tower, [&](int64_t r) { return is_empty(r) ? 0 : from.weight[row(r)] / work.upstream_scale; },
      [&](int64_t r) { return is_empty(r) ? kInfinity : from.log_sum_exp[row(r)]; });
  bring<double>(work, to.rest_share, tower, 0, [](int64_t) { return 0; });
  work.lane->stream.synchronize();
}

}  // namespace

void join_travelling_rows(Work *work, int softmax, const infonce_travelling_rows &from) {
  const int64_t rows = work->rows();
  const Buffers &buffers = work->buffers;
  if (have_weights(from)) return take_weights(*work, from);
  if (have_ranks_alone(from)) return take_ranks(*work, from.rank);
  if (from.term_losses) {
    add_to(*work, buffers.further[softmax].term_losses, from.term_losses);
    add_to(*work, buffers.further[softmax].term_shares, from.term_shares);
    return;
  }
  const auto join = [&](const Direction &to, const double *log_sum, const int32_t *above) {
    Sums sums(*work, to, rows, work->is_summed[softmax]);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t i = work->source_row(work->anchors(), r);
      const bool is_of_some = !std::isinf(log_sum[i]);
      sums.add(size_t(r), is_of_some ? 1 : 0, log_sum[i], above ? above[i] : 0);
      if (is_of_some) work->lacks_candidates = false;
    }
    sums.bring_back(*work, to);
  };
  join(buffers.softmaxes[softmax], from.log_sum, work->problem.ranks ? from.above : nullptr);
  if (work->problem.softmaxes[0].beta != 0) join(buffers.softmaxes[1], from.weights_log_sum, nullptr);
  work->is_summed[softmax] = true;
  if (work->is_smoothed()) add_to(*work, buffers.logit_sums[softmax], from.logit_sum);
  if (work->has_positive_weights()) {
    work->has_log_mean = true;
    work->positives_log_mean = *from.positives_log_mean;
  }
  if (!travels_with_positives(work->problem, softmax)) return;
  Further further(*work, buffers.further[softmax], rows);
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t i = work->source_row(work->anchors(), r);
    if (from.positives[i] == 0) continue;
    const size_t at = size_t(r);
    further.log_sums[at] = log_of_both(further.log_sum(at), from.positive_log_sum[i]);
    further.count[at] += from.positives[i];
    further.sum[at] += from.positive_sum[i];
  }
  further.bring_back(*work, buffers.further[softmax]);
}

}  // namespace infonce::cuda::steps
