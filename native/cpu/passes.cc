#include "cpu/passes.h"

namespace infonce::cpu {
namespace {
constexpr double kNoLogSumExp = std::numeric_limits<double>::infinity();  // of a row without loss: every p is 0
}

Upstream upstream_of(const infonce_problem &problem) {
  Upstream upstream;
  const infonce_softmax &softmax = problem.softmaxes[0];  // another one has as many rows and the same weight
  const infonce_grad_output &given = problem.grad_output;
  const double rows = double(problem.matrices[softmax.anchors].rows);
  double base = (problem.reduction == INFONCE_REDUCTION_MEAN ? 1 / rows : 1) * softmax.weight;
  if (given.count == 1) {
    upstream.sign_of_all = given.data[0] < 0 ? -1 : 1;
    base *= std::fabs(given.data[0]);
  } else if (given.count > 1) {
    upstream.rows = given.data;
    upstream.largest_row = 0;
    for (int64_t i = 0; i < given.count; ++i)
      upstream.largest_row = std::max(upstream.largest_row, double(std::fabs(given.data[i])));
    base *= upstream.largest_row;
  }
  upstream.largest = base;
  return upstream;
}

template <class Scalar>
Passes<Scalar>::Passes(const Request &request, const Kernels &kernels, const Pairs &pairs, ThreadPool &pool)
    : Towers(request.problem),
      problem_(request.problem),
      kernels_(scalar_kernels<Scalar>(kernels)),
      pairs_(pairs),
      pool_(pool),
      inputs_{{problem_, matrix_of(kAnchors), kernels},
              {problem_, matrix_of(kKeys), kernels},
              {problem_, matrix_of(kNegatives), kernels}},
      upstream_(upstream_of(problem_)),
      room_(pool.active_threads()) {
  copies_.resize(small() && !request.in_halves ? pool.active_threads() : 1);
}

template <class Scalar> bool Passes<Scalar>::small() const {
  constexpr int64_t kSmallBytes = int64_t(1) << 20;  // in each of two layouts: both stay in a processor's own cache
  int64_t rows = 0;
  for (const Tower tower : {kAnchors, kKeys, kNegatives})
    if (has(tower)) rows += padded_rows_of(tower);
  return rows * padded_dim() * int64_t(sizeof(Scalar)) <= kSmallBytes;
}

template <class Scalar>
void Passes<Scalar>::take_operand(Workspace::Cursor &cursor, Operand<Scalar> &operand, Tower tower, bool bfloat16) {
  operand.dim = problem_.dim;
  operand.padded_rows = padded_rows_of(tower);
  operand.padded_dim = padded_dim();
  const int64_t size = operand.padded_rows * operand.padded_dim;
  operand.row_panels = cursor.take<Scalar>(size);
  if (bfloat16) {
    operand.row_pairs = cursor.take<uint32_t>(size / 2);
    operand.depth_pairs = cursor.take<uint32_t>(size / 2);
  } else {
    operand.depth_panels = cursor.take<Scalar>(size);
  }
  operand.inverse_norm = cursor.take<double>(operand.padded_rows);
  operand.radial = cursor.take<float>(operand.padded_rows);
}

template <class Scalar> void Passes<Scalar>::take_kept(Workspace::Cursor &cursor, bool bfloat16) {
  for (Copy &copy : copies_) {
    copy.ready = false;
    for (const Tower tower : {kAnchors, kKeys, kNegatives})
      if (has(tower)) take_operand(cursor, copy.towers[tower], tower, bfloat16);
  }
  const bool ranks = problem_.ranks != 0;
  rows.take(cursor, padded_rows_of(kAnchors), ranks);
  if (has_columns()) columns.take(cursor, padded_rows_of(kKeys), ranks);
  if (pairs_.has_large_classes())
    class_sums_ = cursor.take<double>(pairs_.large_class_count() * ClassSums::size(problem_.dim));
}

template <class Scalar> void Passes<Scalar>::take_scratch(Workspace::Cursor &cursor) {
  bool needs_room = false;
  for (const Input &input : inputs_) needs_room |= input.needs_room();
  for (float *&room : room_) room = needs_room ? cursor.take<float>(kPassRows * problem_.dim) : nullptr;
}

template <class Scalar>
PreparedRows Passes<Scalar>::prepare_block(Operand<Scalar> &operand, Tower tower, int64_t block, int thread) {
  const int64_t first = block * kPassRows, count = std::min(kPassRows, operand.padded_rows - first);
  const int64_t rows = std::min(count, std::max<int64_t>(0, end_of_part(tower, first) - first));
  const bool of_memory = tower == kAnchors && first >= memory_first();
  const float *source = of_memory ? inputs_[kNegatives].rows(first - memory_first(), rows, room_[thread])
                                  : inputs_[tower].rows(first, rows, room_[thread]);
  return kernels_.prepare(source, rows, problem_.normalize != 0, &operand, first, count);
}

template <class Scalar> void Passes<Scalar>::note(Tower tower, const PreparedRows &prepared) {
  const int64_t bad = prepared.first_bad_row;
  if (bad_.row < 0 && bad >= 0) {
    const bool of_memory = tower == kAnchors && bad >= memory_first();
    bad_ = of_memory ? BadRow{matrix_of(kNegatives), bad - memory_first()} : BadRow{matrix_of(tower), bad};
  }
  norm_[tower] = std::max(norm_[tower], prepared.largest_norm);
}

template <class Scalar> void Passes<Scalar>::prepare_copy(Copy &copy, int thread) {
  for (const Tower tower : {kAnchors, kKeys, kNegatives}) {
    if (!has(tower)) continue;
    for (int64_t block = 0; block < blocks_of(padded_rows_of(tower), kPassRows); ++block) {
      const PreparedRows prepared = prepare_block(copy.towers[tower], tower, block, thread);
      if (&copy == &copies_[0]) note(tower, prepared);  // the caller's: that of the others says the same
    }
  }
  copy.ready = true;
}

template <class Scalar> void Passes<Scalar>::prepare_shared(Copy &copy) {
  for (const Tower tower : {kAnchors, kKeys, kNegatives}) {
    if (!has(tower)) continue;
    const int64_t tasks = blocks_of(padded_rows_of(tower), kPassRows);
    prepared_.resize(tasks);
    pool_.parallel(tasks, [&](int64_t block, int thread) {
      prepared_[block] = prepare_block(copy.towers[tower], tower, block, thread);
    });
    for (const PreparedRows &block : prepared_) note(tower, block);
  }
  copy.ready = true;
}

template <class Scalar> BadRow Passes<Scalar>::prepare() {
  if (small()) {
    // Workers that are awake prepare theirs meanwhile; one that comes late does so with its first task.
    pool_.parallel(int64_t(copies_.size()), [&](int64_t, int thread) { operand(kAnchors, thread); });
    operand(kAnchors, 0);
  } else {
    prepare_shared(copies_[0]);
  }
  return bad_;
}

template <class Scalar> const Operand<Scalar> &Passes<Scalar>::operand(Tower tower, int thread) {
  Copy &copy = copies_[copies_.size() > 1 ? thread : 0];
  if (!copy.ready) prepare_copy(copy, thread);
  return copy.towers[tower];
}

template <class Scalar> double Passes<Scalar>::largest_logit() const {
  const double candidates = one_tower() ? norm_[kAnchors] : std::max(norm_[kKeys], norm_[kNegatives]);
  return std::fabs(problem_.scale) * norm_[kAnchors] * candidates;
}

template <class Scalar> void Passes<Scalar>::rank() {
  if (!problem_.ranks) return;
  const int64_t end = rows_of(kAnchors), padded_rows = padded_rows_of(kAnchors);
  const auto rank_block = [&](int64_t t, int thread) {
    const Operand<Scalar> &anchors = operand(kAnchors, thread);
    const int64_t first = t * kPassRows, count = std::min(kPassRows, padded_rows - first);
    if (first < end)
      kernels_.ranking_dots(anchors, first, int(count), operand(positives(), thread), pairs_.first_positives() + first,
                            rows.rank + first);
    for (int64_t i = first; i < first + count; ++i) {
      if (pairs_.first_positives()[i] < 0) rows.rank[i] = std::numeric_limits<Scalar>::infinity();
      rows.above[i] = 0;
      // The dot product of a pair is the same from both sides.
      if (has_columns()) columns.rank[i] = rows.rank[i], columns.above[i] = 0;
    }
    if (pairs_.largest_partner_count() < 2 || first >= end) return;
    // Partners slot by slot: each anchor's next partner, all anchors of the block at once.
    int64_t partner[kPassRows];
    Scalar dots[kPassRows];
    for (int64_t slot = 0; slot < pairs_.largest_partner_count(); ++slot) {
      for (int64_t r = 0; r < count; ++r) partner[r] = first + r < end ? pairs_.partner(first + r, slot) : -1;
      kernels_.ranking_dots(anchors, first, int(count), anchors, partner, dots);
      for (int64_t r = 0; r < count; ++r) rows.above[first + r] += partner[r] >= 0 && dots[r] > rows.rank[first + r];
    }
  };
  const int64_t tasks = blocks_of(padded_rows, kPassRows);
  constexpr int64_t kFewRows = 1024;
  if (padded_rows > kFewRows) return pool_.parallel(tasks, rank_block);
  // Few rows: sooner done than shared out.
  for (int64_t t = 0; t < tasks; ++t) rank_block(t, 0);
}

template <class Scalar> void Passes<Scalar>::sum_large_classes() {
  const int64_t dim = problem_.dim, panel = kernels_.panel;
  pool_.parallel(pairs_.large_class_count(), [&](int64_t c, int thread) {
    const Operand<Scalar> &anchors = operand(kAnchors, thread);
    const ClassSums sums = class_sums(c);
    std::fill(sums.plain, sums.plain + ClassSums::size(dim), 0.0);
    pairs_.for_each_member(c, [&](int64_t i) {
      if (pool_.cancelled()) return;
      const bool in_memory = i >= memory_first();
      const double g = in_memory ? 0 : upstream_.relative(i);
      for (int64_t d = 0; d < dim; ++d) {
        const double u = anchors.row_panels[(d / panel * anchors.padded_rows + i) * panel + d % panel];
        sums.plain[d] += u;
        if (in_memory) sums.memory[d] += u;
        sums.weighted[d] += g * u;
        *sums.squares += u * u;
      }
    });
  });
}

template <class Scalar> bool Passes<Scalar>::has_tight_class() const {
  constexpr double kLeastSpread = 0.018;  // at which float32 gradients were measured to be right to 1e-5
  for (int64_t c = 0; c < pairs_.large_class_count(); ++c) {
    const ClassSums sums = class_sums(c);
    int64_t members = 0;
    pairs_.for_each_member(c, [&](int64_t) { ++members; });
    double square_of_sum = 0;
    for (int64_t d = 0; d < problem_.dim; ++d) square_of_sum += sums.plain[d] * sums.plain[d];
    const double mean_square = *sums.squares / double(members);
    const double spread = 1 - square_of_sum / (double(members) * *sums.squares);
    if (!(spread >= kLeastSpread * (1 + 1 / (problem_.scale * mean_square)))) return true;
  }
  return false;
}

template <class Scalar> double Passes<Scalar>::logit(int64_t i, int64_t j, int thread) {
  return problem_.scale * kernels_.dot(operand(kAnchors, thread), i, operand(positives(), thread), j);
}

// <u_i, sum of the other rows of its large class>, from the sum of all.
template <class Scalar> double Passes<Scalar>::dot_with_class(int64_t i, int64_t large_class, int thread) {
  const Operand<Scalar> &anchors = operand(kAnchors, thread);
  const int64_t panel = kernels_.panel;
  const double *sum = class_sums(large_class).plain;
  double along = -kernels_.dot(anchors, i, anchors, i);
  for (int64_t d = 0; d < problem_.dim; ++d)
    along += sum[d] * anchors.row_panels[(d / panel * anchors.padded_rows + i) * panel + d % panel];
  return along;
}

// Adds what anchor i has outside the matrix part.
template <class Scalar> void Passes<Scalar>::add_pairs_to_loss(int64_t i, bool transposed, RowLoss *row, int thread) {
  const int64_t large_class = pairs_.large_class(i);
  if (large_class >= 0) {
    const double sum = problem_.scale * dot_with_class(i, large_class, thread);
    return row->close_with_mean(sum / double(pairs_.positive_count(i)));
  }
  pairs_.for_each_partner(i, [&](int64_t j, bool is_positive) {
    row->add(transposed ? logit(j, i, thread) : logit(i, j, thread), is_positive);
  });
  row->close();
}

template <class Scalar>
void Passes<Scalar>::losses_of(Direction<Scalar> &direction, int64_t first, int64_t count, int thread) {
  // The panel scheme stores exponentials, the wide one works with probabilities from the log-sum-exp.
  constexpr bool kStoresExponentials = sizeof(Scalar) == sizeof(float);
  const bool lse_is_read = !kStoresExponentials || pairs_.largest_partner_count() > 1;
  for (int64_t i = first; i < first + count; ++i) {
    const int64_t positive_count = pairs_.positive_count(i);
    if (positive_count == 0) {
      direction.loss[i] = direction.rest_share[i] = 0;
      direction.weight[i] = direction.target[i] = 0;
      direction.log_sum_exp[i] = kNoLogSumExp;
      continue;
    }
    RowLoss row(direction.sum[i], direction.offset[i], positive_count);
    add_pairs_to_loss(i, &direction == &columns, &row, thread);
    direction.loss[i] = row.loss();
    direction.rest_share[i] = row.rest_share();
    direction.log_sum_exp[i] = lse_is_read ? row.log_sum_exp() : 0;
    const double g = upstream_.relative(i);
    direction.weight[i] = Scalar(kStoresExponentials ? g * row.matrix_weight() : g);
    direction.target[i] = Scalar(pairs_.large_class(i) >= 0 ? g / double(positive_count) : 0);
  }
}

template <class Scalar> void Passes<Scalar>::losses() {
  const int64_t padded_rows = padded_rows_of(kAnchors);
  pool_.parallel(blocks_of(padded_rows, kPassRows), [&](int64_t t, int thread) {
    losses(t * kPassRows, std::min(kPassRows, padded_rows - t * kPassRows), thread);
  });
}

template <class Scalar> void Passes<Scalar>::losses(int64_t first, int64_t count, int thread) {
  losses_of(rows, first, count, thread);
  if (has_columns()) losses_of(columns, first, count, thread);
}

template <class Scalar> void Passes<Scalar>::resume() {
  upstream_ = upstream_of(problem_);
  sum_large_classes();
  losses();
}

template <class Scalar> void Passes<Scalar>::write_losses(infonce_result *result) const {
  double total = 0, top1 = 0, top5 = 0;
  const int directions = has_columns() ? 2 : 1;
  for (int64_t i = 0; i < rows_of(kAnchors); ++i) {
    double loss = rows.loss[i];
    if (has_columns()) loss = (loss + columns.loss[i]) / 2;
    total += loss;
    if (problem_.reduction == INFONCE_REDUCTION_NONE) result->row_loss.data[i] = float(loss);
    if (!problem_.ranks || pairs_.first_positives()[i] < 0) continue;
    for (int d = 0; d < directions; ++d) {
      const double above = d == 0 ? rows.above[i] : columns.above[i];
      top1 += above < 1;
      top5 += above < 5;
    }
  }
  const double count = double(rows_of(kAnchors));
  result->scalars.loss = problem_.reduction == INFONCE_REDUCTION_MEAN ? total / count : total;
  if (!problem_.ranks) return;
  result->scalars.top1 = top1 / (count * directions);
  result->scalars.top5 = top5 / (count * directions);
}

// d (loss of row i) / d (logit of one of its pairs outside the matrix), times row i's upstream gradient.
template <class Scalar> double Passes<Scalar>::pair_weight(int64_t i, bool is_positive, double logit) const {
  const int64_t positive_count = pairs_.positive_count(i);
  if (positive_count == 0) return 0;  // a row of the memory, too, which has no upstream gradient to look at
  return upstream_.relative(i) *
         RowLoss::pair_weight(is_positive, positive_count, logit, rows.log_sum_exp[i], rows.rest_share[i]);
}

// Of two towers: anchor and key of the same index.
template <class Scalar>
void Passes<Scalar>::add_own_pair(Tower tower, int64_t i, Scalar *accumulators, int64_t accumulator_rows, int thread) {
  if (tower == kNegatives) return;
  const double g = upstream_.relative(i);
  double weight = g * RowLoss::only_positive_weight(rows.rest_share[i]);
  if (has_columns()) weight += g * RowLoss::only_positive_weight(columns.rest_share[i]);
  const Tower other = tower == kAnchors ? kKeys : kAnchors;
  kernels_.add_row(accumulators, accumulator_rows, weight, operand(other, thread), i);
}

template <class Scalar>
void Passes<Scalar>::add_large_class(int64_t i, Partners partners, Scalar *accumulators, int64_t accumulator_rows,
                                     int thread) {
  // The panel scheme took the class off its matrix already, with the row itself.
  constexpr bool kTakenOff = sizeof(Scalar) == sizeof(float);
  const ClassSums sums = class_sums(pairs_.large_class(i));
  const double g = upstream_.relative(i), each = 1.0 / double(pairs_.positive_count(i));
  if (partners == Partners::kInMemory) {
    if (!kTakenOff) kernels_.add_vector(accumulators, accumulator_rows, -g * each, sums.memory, problem_.dim);
    return;
  }
  if (!kTakenOff) {
    kernels_.add_vector(accumulators, accumulator_rows, -g * each, sums.plain, problem_.dim);
    if (has_memory()) kernels_.add_vector(accumulators, accumulator_rows, g * each, sums.memory, problem_.dim);
    kernels_.add_vector(accumulators, accumulator_rows, -each, sums.weighted, problem_.dim);
  }
  kernels_.add_row(accumulators, accumulator_rows, 2 * g * each, operand(kAnchors, thread), i);
}

template <class Scalar>
void Passes<Scalar>::add_pairs(int64_t i, Partners partners, Scalar *accumulators, int64_t accumulator_rows,
                               int thread) {
  if (pairs_.large_class(i) >= 0) return add_large_class(i, partners, accumulators, accumulator_rows, thread);
  pairs_.for_each_partner(i, [&](int64_t j, bool is_positive) {
    if ((j >= memory_first()) != (partners == Partners::kInMemory)) return;
    const bool is_positive_of_partner = pairs_.first_positives()[j] == i || pairs_.positive_count(j) > 1;
    const bool logit_is_read = pairs_.largest_partner_count() > 1;
    const double s = logit_is_read ? logit(i, j, thread) : 0;
    const double weight = pair_weight(i, is_positive, s) + pair_weight(j, is_positive_of_partner, s);
    kernels_.add_row(accumulators, accumulator_rows, weight, operand(kAnchors, thread), j);
  });
}

template <class Scalar>
double Passes<Scalar>::finish_memory(int64_t first, int64_t count, Scalar *accumulators, int64_t accumulator_rows,
                                     int thread) {
  Operand<Scalar> sums;  // the accumulators as rows
  sums.row_panels = accumulators;
  sums.padded_rows = accumulator_rows;
  double along = 0;
  for (int64_t r = 0; r < count; ++r) {
    add_pairs(first + r, Partners::kInMemory, accumulators + r * kernels_.panel, accumulator_rows, thread);
    along += kernels_.dot(operand(kAnchors, thread), first + r, sums, r);
  }
  return along * problem_.scale * upstream_.largest;
}

template <class Scalar>
double Passes<Scalar>::finish(Tower tower, int64_t first, int64_t count, Scalar *accumulators, int64_t accumulator_rows,
                              float *gradient, int thread) {
  for (int64_t r = 0; r < count; ++r) {
    Scalar *row = accumulators + r * kernels_.panel;
    if (one_tower()) add_pairs(first + r, Partners::kOthers, row, accumulator_rows, thread);
    else add_own_pair(tower, first + r, row, accumulator_rows, thread);
  }
  return kernels_.finish({&operand(tower, thread), first, int(count), accumulators, accumulator_rows,
                          problem_.scale * upstream_.largest, gradient});
}

template class Passes<float>;
template class Passes<double>;

}  // namespace infonce::cpu
