#include "cpu/passes.h"

#include <numeric>

#include "common/constants.h"
#include "common/smoothing.h"

namespace infonce::cpu {
namespace {
constexpr double kNoLogSumExp = std::numeric_limits<double>::infinity();  // of a row without loss: every p is 0
}

Upstream upstream_of(const infonce_problem &problem, bool shared) {
  Upstream upstream;
  const infonce_softmax &softmax = problem.softmaxes[0];  // another one has as many rows and the same weight
  const infonce_grad_output &given = problem.grad_output;
  const double rows = double(problem.matrices[softmax.anchors].rows);
  double base = (problem.reduction == INFONCE_REDUCTION_MEAN ? 1 / rows : 1) * softmax.weight;
  if (given.count == 1) {
    const bool stays = shared && given.data[0] == 0;
    upstream.sign_of_all = stays ? 0 : given.data[0] < 0 ? -1 : 1;
    if (!stays) base *= std::fabs(given.data[0]);
  } else if (given.count > 1) {
    upstream.rows = given.data;
    upstream.largest_row = 0;
    for (int64_t i = 0; i < given.count; ++i)
      upstream.largest_row = std::max(upstream.largest_row, double(std::fabs(given.data[i])));
    if (!shared || upstream.largest_row > 0) base *= upstream.largest_row;
  }
  upstream.largest = base;
  return upstream;
}

template <class Scalar>
Passes<Scalar>::Passes(const Request &request, const Kernels &kernels, const Pairs &pairs, ThreadPool &pool)
    : problem_(request.problem),
      layout_(problem_),
      kernels_(scalar_kernels<Scalar>(kernels)),
      pairs_(pairs),
      pool_(pool),
      has_classes_(positives_are_anchors(problem_.softmaxes[0])),
      counts_all_(has_block_beside_anchors(problem_)),
      in_parts_(request.in_parts),
      travels_(in_parts_ && has_columns(problem_)),
      operands_(request, layout_, kernels, pool),
      own_(request, layout_, kernels, pairs, pool),
      upstream_(upstream_of(problem_, travels_)) {
  if (threshold_of(problem_))
    thresholds_ = std::make_unique<Thresholds<Scalar>>(request, layout_, kernels, pairs, operands_, pool);
  const bool by_label = travels_ && problem_.softmaxes[0].positive == INFONCE_POSITIVE_SAME_ID;
  if (by_label || (request.in_parts && has_further_positives(problem_))) {
    const int32_t *ids = problem_.matrices[layout_.anchors()].ids;
    meeting_ids_.assign(padded_rows(), 0);
    std::copy_n(ids, rows(), meeting_ids_.begin());
    for (int64_t i = 0; i < rows(); ++i) anchors_by_id_.emplace_back(meeting_ids_[i], int32_t(i));
    std::sort(anchors_by_id_.begin(), anchors_by_id_.end());
    for (int s = 0; s < softmax_count(); ++s) met_[s].resize(rows());
  }
  if (const int32_t *first = problem_.softmaxes[0].first_positives; first && problem_.ranks) {
    first_elsewhere_.assign(padded_rows(), -1);
    std::copy_n(first, rows(), first_elsewhere_.begin());
  }
  for (const bool triangles : {true, false})
    for (int b = 0; b < problem_.block_count; ++b)
      if (is_triangle(problem_.blocks[b]) == triangles && problem_.blocks[b].own != INFONCE_OWN_ALONE) add_block(b);
}

template <class Scalar> void Passes<Scalar>::add_block(int index) {
  const infonce_block &block = problem_.blocks[index];
  const bool by_id = leaves_out_by_id(block);
  const auto side = [&](int matrix, int softmax) {
    Side<Scalar> side;
    const int64_t first = layout_.first(matrix);
    side.matrix = matrix;
    side.rows = layout_.rows(matrix);
    side.padded_rows = layout_.padded_rows(matrix);
    side.groups = pairs_.groups() + first;
    if (by_id) side.ids = pairs_.ids() + first;
    if (pairs_.has_large_classes() && has_positives(row_loss())) side.large_classes = pairs_.large_classes() + first;
    if (softmax != kNone) side.softmax = &softmaxes[softmax];
    return side;
  };
  const bool meets_itself = infonce::is_triangle(block) && !block.meets_parts_alone;
  blocks_.push_back({side(block.anchors, block.row_softmax), side(block.candidates, block.column_softmax), index,
                     meets_itself, scale_of(problem_, block), tells_own(block),
                     block.threshold != INFONCE_THRESHOLD_NONE});
  if (block.meets_parts_alone) blocks_.back().columns.rows = blocks_.back().columns.padded_rows = 0;
  if (leaves_out_target(block)) blocks_.back().first_number = problem_.matrices[block.candidates].first_number;
  if (tells_own(block)) blocks_.back().columns.groups = pairs_.groups_of_own() + layout_.first(block.candidates);
}

template <class Scalar> void Passes<Scalar>::take_kept(Workspace::Cursor &cursor, bool bfloat16) {
  in_bfloat16_ = bfloat16;
  operands_.take_kept(cursor, bfloat16);
  own_.take_kept(cursor);
  if (thresholds_) thresholds_->take_kept(cursor, bfloat16);
  for (int s = 0; s < softmax_count(); ++s)
    softmaxes[s].take(cursor, padded_rows(), problem_.ranks != 0, is_sigmoid(problem_), in_parts_ && smoothing() != 0);
  if (SoftmaxRows<Scalar> *weights = weights_of_negatives()) weights->take(cursor, padded_rows(), false, false, false);
  if (pairs_.has_large_classes())
    class_sums_ = cursor.take<double>(pairs_.large_class_count() * ClassSums::size(problem_.dim));
  row_sums_ = cursor.take<double>(smoothing() == 0 ? 0 : 2 * problem_.matrix_count * problem_.dim);
  positive_weights_ = sigma() == 0 ? nullptr : cursor.take<double>(padded_rows());
  bias_ = pairs_.has_bias() ? cursor.take<Scalar>(layout_.end()) : nullptr;
  for (Block<Scalar> &block : blocks_) {
    const int matrix = block.columns.matrix;
    block.columns.bias = bias_ && problem_.matrices[matrix].bias ? bias_ + layout_.first(matrix) : nullptr;
  }
}

template <class Scalar> BadRow Passes<Scalar>::prepare() {
  // -infinity is left to the groups.
  for (int64_t j = 0; bias_ && j < layout_.end(); ++j)
    bias_[j] = std::isinf(pairs_.bias(j)) ? 0 : Scalar(pairs_.bias(j) / problem_.scale);
  for (int s = 0; s < softmax_count(); ++s)
    if (softmaxes[s].logit_sum) std::fill_n(softmaxes[s].logit_sum, padded_rows(), 0.0);
  if (const BadRow bad = operands_.prepare(); bad.row >= 0) return bad;
  if (const BadRow bad = own_.measure(); bad.row >= 0) return bad;
  return thresholds_ ? thresholds_->prepare() : BadRow();
}

template <class Scalar> void Passes<Scalar>::take_up(const infonce_part *given) {
  part_.reset();
  if (!given) return;
  const infonce_matrix &candidates = given->candidates;
  part_ = std::make_unique<Part>();
  part_->given = given;
  part_->row_softmax = problem_.blocks[given->block].row_softmax;
  part_->column_softmax = problem_.blocks[given->block].column_softmax;
  part_->first_anchor = given->anchor_count == 0 ? 0 : given->first_anchor;
  part_->end_anchor = given->anchor_count == 0 ? rows() : given->first_anchor + given->anchor_count;
  for (const Block<Scalar> &own : blocks_)
    if (own.index == given->block)
      part_->block.rows = own.rows, part_->block.scale = own.scale, part_->block.by_threshold = own.by_threshold;
  part_->block.rows.large_classes = nullptr;
  Side<Scalar> &side = part_->block.columns;
  side.matrix = kPart;
  side.rows = candidates.rows;
  side.padded_rows = round_up(candidates.rows, kRowMultiple);
  if (columns_travel(problem_, *given)) side.softmax = &part_->softmax;
  part_->groups.assign(side.padded_rows, -1);
  std::fill_n(part_->groups.begin(), candidates.rows, Pairs::kNoGroup);
  if (leaves_out_target(problem_.blocks[given->block])) {
    part_->block.first_number = candidates.first_number;
    std::iota(part_->groups.begin(), part_->groups.begin() + candidates.rows, int32_t(candidates.first_number));
  }
  for (int64_t j = 0; j < candidates.rows && positives_are_elsewhere_by_id(problem_); ++j)
    part_->groups[j] = pairs_.group_of_id(candidates.ids[j]);
  const infonce_block &block = problem_.blocks[given->block];
  part_->has_positives =
      !meeting_ids_.empty() && (has_further_positives(block) || has_positives_by_label(problem_, block));
  if (part_->has_positives) part_->block.rows.ids = meeting_ids_.data();
  if (part_->block.rows.ids) {
    part_->ids.assign(side.padded_rows, 0);
    std::copy_n(candidates.ids, candidates.rows, part_->ids.begin());
    side.ids = part_->ids.data();
  }
  if (candidates.bias) {
    part_->bias.assign(side.padded_rows, 0);
    for (int64_t j = 0; j < candidates.rows; ++j) {
      const float bias = candidates.bias[j];
      if (std::isinf(bias)) part_->groups[j] = -1;
      else part_->bias[j] = Scalar(bias / problem_.scale);
    }
    side.bias = part_->bias.data();
  }
  for (int64_t j = 0; j < candidates.rows && part_->has_positives; ++j)
    if (part_->groups[j] >= 0) part_->by_id.emplace_back(candidates.ids[j], int32_t(j));
  std::sort(part_->by_id.begin(), part_->by_id.end());
  side.groups = part_->groups.data();
  if (given->anchor_count == 0) return;
  // The others are as padding.
  Side<Scalar> &anchors = part_->block.rows;
  part_->anchor_groups.assign(anchors.padded_rows, -1);
  std::copy_n(anchors.groups + given->first_anchor, given->anchor_count,
              part_->anchor_groups.begin() + given->first_anchor);
  anchors.groups = part_->anchor_groups.data();
}

template <class Scalar> uint32_t Passes<Scalar>::rows_of_parts() const {
  uint32_t matrices = uint32_t(1) << layout_.anchors();
  for (const Block<Scalar> &block : blocks_)
    if (in_parts_) matrices |= uint32_t(1) << block.rows.matrix;
  return matrices;
}

template <class Scalar> double Passes<Scalar>::largest_logit() const {
  const double anchors = operands_.largest_norm(layout_.anchors());
  double candidates = has_triangle() || counts_all_ ? anchors : 0, bias = 0;
  for (int k = 1; k < layout_.count(); ++k)
    candidates = std::max(candidates, operands_.largest_norm(layout_.matrix(k)));
  for (int64_t j = 0; pairs_.has_bias() && j < layout_.end(); ++j)
    if (!std::isinf(pairs_.bias(j))) bias = std::max(bias, std::fabs(pairs_.bias(j)));
  return std::fabs(largest_scale(problem_)) * (has_classes_ || counts_all_ ? candidates : anchors) * candidates + bias;
}

// With partners as rows of the layout; -1: any number comes of it.
template <class Scalar>
void Passes<Scalar>::ranking_dots(int64_t first, int64_t count, const int64_t *partners, Scalar *dots, int thread) {
  const Operand<Scalar> &anchors = operand(layout_.anchors(), thread);
  if (layout_.elsewhere() == kNone) return kernels_.ranking_dots(anchors, first, int(count), anchors, partners, dots);
  int64_t among[kPassRows], elsewhere[kPassRows];
  bool any_among = false, any_elsewhere = false;
  for (int64_t r = 0; r < count; ++r) {
    const bool is_elsewhere = partners[r] >= 0 && layout_.is_elsewhere(partners[r]);
    among[r] = is_elsewhere ? -1 : partners[r];
    elsewhere[r] = is_elsewhere ? layout_.place_of(partners[r]).row : -1;
    any_among |= among[r] >= 0;
    any_elsewhere |= is_elsewhere;
  }
  if (any_among || !any_elsewhere) kernels_.ranking_dots(anchors, first, int(count), anchors, among, dots);
  if (!any_elsewhere) return;
  const Operand<Scalar> &others = operand(layout_.elsewhere(), thread);
  if (!any_among) return kernels_.ranking_dots(anchors, first, int(count), others, elsewhere, dots);
  Scalar of_others[kPassRows];
  kernels_.ranking_dots(anchors, first, int(count), others, elsewhere, of_others);
  for (int64_t r = 0; r < count; ++r)
    if (elsewhere[r] >= 0) dots[r] = of_others[r];
}

template <class Scalar> void Passes<Scalar>::rank_by_first_elsewhere(int64_t first, int64_t count, int thread) {
  if (first_elsewhere_.empty()) return;
  const int64_t *rows = first_elsewhere_.data() + first;
  if (std::all_of(rows, rows + count, [](int64_t row) { return row < 0; })) return;
  Scalar dots[kPassRows];
  kernels_.ranking_dots(operand(layout_.anchors(), thread), first, int(count),
                        operand(first_positives_in(problem_), thread), rows, dots);
  for (int64_t r = 0; r < count; ++r)
    if (rows[r] >= 0) softmaxes[0].rank[first + r] = dots[r];
}

template <class Scalar> void Passes<Scalar>::rank_rows(int64_t first, int64_t count, int thread) {
  SoftmaxRows<Scalar> &softmax = softmaxes[0];
  const int64_t *positives = pairs_.first_positives() + first;
  if (first < rows()) ranking_dots(first, count, positives, softmax.rank + first, thread);
  for (int64_t r = 0; r < count; ++r) {
    const int64_t i = first + r, j = positives[r];
    if (j < 0) softmax.rank[i] = std::numeric_limits<Scalar>::infinity();
    else if (bias_) softmax.rank[i] += bias_[j];
    softmax.rank[i] -= Scalar(margin());
    softmax.above[i] = 0;
    // The dot product of a pair is the same from both sides.
    for (int s = 1; s < softmax_count(); ++s) softmaxes[s].rank[i] = softmax.rank[i], softmaxes[s].above[i] = 0;
  }
  rank_by_first_elsewhere(first, count, thread);
  if ((pairs_.largest_partner_count() < 2 && first_elsewhere_.empty()) || first >= rows()) return;
  if (pairs_.all_positive() && !has_positives(row_loss())) return;
  // Partners slot by slot: each anchor's next partner, all anchors of the block at once.
  int64_t partner[kPassRows];
  Scalar dots[kPassRows];
  for (int64_t slot = 0; slot < pairs_.largest_partner_count(); ++slot) {
    for (int64_t r = 0; r < count; ++r) partner[r] = first + r < rows() ? pairs_.partner(first + r, slot) : -1;
    ranking_dots(first, count, partner, dots, thread);
    for (int64_t r = 0; r < count; ++r) {
      const int64_t i = first + r, j = partner[r];
      if (j < 0 || !pairs_.counts(i, j, false) || (pairs_.is_positive(i, j) && !has_positives(row_loss()))) continue;
      if (bias_) dots[r] += bias_[j];
      softmax.above[i] += dots[r] > softmax.rank[i];
    }
  }
}

template <class Scalar> void Passes<Scalar>::rank() {
  if (!problem_.ranks) return;
  const auto rank_block = [&](int64_t t, int thread) {
    const int64_t first = t * kPassRows;
    rank_rows(first, std::min(kPassRows, padded_rows() - first), thread);
    for (int64_t i = first; own_.exist() && i < std::min(first + kPassRows, rows()); ++i)
      softmaxes[0].above[i] += own_.above(i);
  };
  const int64_t tasks = blocks_of(padded_rows(), kPassRows);
  constexpr int64_t kFewRows = 1024;
  if (padded_rows() > kFewRows) return pool_.parallel(tasks, rank_block);
  // Few rows: sooner done than shared out.
  for (int64_t t = 0; t < tasks; ++t) rank_block(t, 0);
}

template <class Scalar> void Passes<Scalar>::sum_large_classes() {
  const int64_t dim = problem_.dim, panel = kernels_.panel;
  pool_.parallel(pairs_.large_class_count(), [&](int64_t c, int thread) {
    const ClassSums sums = class_sums(c);
    std::fill(sums.plain, sums.plain + ClassSums::size(dim), 0.0);
    pairs_.for_each_member(c, [&](int64_t i) {
      if (pool_.cancelled()) return;
      const bool in_memory = layout_.is_elsewhere(i);
      const double g = in_memory ? 0 : upstream_.relative(i);
      const auto [matrix, row] = layout_.place_of(i);
      const Operand<Scalar> &rows = operand(matrix, thread);
      for (int64_t d = 0; d < dim; ++d) {
        const double u = rows.row_panels[(d / panel * rows.padded_rows + row) * panel + d % panel];
        sums.plain[d] += u;
        if (in_memory) sums.memory[d] += u;
        sums.weighted[d] += g * u;
        *sums.squares += u * u;
      }
      *sums.bias += pairs_.bias(i);
    });
  });
}

template <class Scalar> void Passes<Scalar>::weigh_positives() {
  if (!positive_weights_) return;
  pool_.parallel(blocks_of(rows(), kPassRows), [&](int64_t t, int thread) {
    for (int64_t i = t * kPassRows; i < std::min((t + 1) * kPassRows, rows()); ++i)
      positive_weights_[i] = logit(i, pairs_.first_positives()[i], thread) / problem_.scale / sigma();
  });
  const double largest = *std::max_element(positive_weights_, positive_weights_ + rows());
  double sum = 0;
  if (travels_) positive_exponents_.assign(positive_weights_, positive_weights_ + rows());
  for (int64_t i = 0; i < rows(); ++i) sum += positive_weights_[i] = std::exp(positive_weights_[i] - largest);
  positives_log_mean_ = largest + std::log(sum / double(rows()));
  for (int64_t i = 0; i < rows(); ++i)
    positive_weights_[i] = mises_fisher_weight(positive_weights_[i], sum / double(rows()));
}

// Of a class: its members, the squared length of their sum, and the sum of their squared lengths.
template <class Scalar> bool Passes<Scalar>::is_tight(double members, double square_of_sum, double squares) const {
  const double spread = 1 - square_of_sum / (members * squares);
  return !(spread >= kLeastSpread * (1 + 1 / (problem_.scale * squares / members)));
}

template <class Scalar> bool Passes<Scalar>::has_tight_class() const {
  if (!has_positives(row_loss())) return false;
  for (int64_t c = 0; c < pairs_.large_class_count(); ++c) {
    const ClassSums sums = class_sums(c);
    int64_t members = 0;
    pairs_.for_each_member(c, [&](int64_t) { ++members; });
    double square_of_sum = 0;
    for (int64_t d = 0; d < problem_.dim; ++d) square_of_sum += sums.plain[d] * sums.plain[d];
    if (is_tight(double(members), square_of_sum, *sums.squares)) return true;
  }
  return false;
}

template <class Scalar> double Passes<Scalar>::logit(int64_t i, int64_t j, int thread) {
  const Layout::Place at = layout_.place_of(j);
  const double dot = kernels_.dot(operand(layout_.anchors(), thread), i, operand(at.matrix, thread), at.row);
  return problem_.scale * dot + pairs_.bias(j);
}

template <class Scalar> double Passes<Scalar>::logit_of_any(int64_t i, int64_t j, int thread) {
  const Layout::Place at = layout_.place_of_any(j);
  const double dot = kernels_.dot(operand(layout_.anchors(), thread), i, operand(at.matrix, thread), at.row);
  return problem_.scale * dot + pairs_.bias(j);
}

// <u_i, sum of the other rows of its large class>, from the sum of all.
template <class Scalar> double Passes<Scalar>::dot_with_class(int64_t i, int64_t large_class, int thread) {
  const Operand<Scalar> &anchors = operand(layout_.anchors(), thread);
  return dot_with_sum(anchors, i, class_sums(large_class).plain) - kernels_.dot(anchors, i, anchors, i);
}

template <class Scalar>
double Passes<Scalar>::dot_with_sum(const Operand<Scalar> &rows, int64_t i, const double *sum) const {
  const int64_t panel = kernels_.panel;
  double dot = 0;
  for (int64_t d = 0; d < problem_.dim; ++d)
    dot += sum[d] * rows.row_panels[(d / panel * rows.padded_rows + i) * panel + d % panel];
  return dot;
}

// Adds what row i of a softmax has outside the matrix part. The pairs of every softmax are those of the first, from
// one side or the other; candidates that anchors have of their own are the first's alone.
template <class Scalar>
template <class Row>
void Passes<Scalar>::add_pairs_to_loss(int64_t i, Row *row, int thread, bool own, const double *only_logit) {
  const int64_t large_class = pairs_.large_class(i);
  if (large_class >= 0) {
    double sum = problem_.scale * dot_with_class(i, large_class, thread) + *class_sums(large_class).bias;
    if (!met_[0].empty()) sum += met_[0][i].sum;
    return row->close_with_mean(sum / double(positive_count(i)));
  }
  if (own) own_.add_to_loss(i, row);
  pairs_.for_each_partner(i, [&](int64_t j, bool is_positive) {
    const double off = is_positive ? problem_.scale * margin() : 0;
    if (pairs_.counts(i, j, is_positive)) row->add((only_logit ? *only_logit : logit(i, j, thread)) - off, is_positive);
  });
  row->close();
}

// Where no anchor has two partners: the logit of each with its own. In a loop of their own the dot products of several
// rows are under way at once.
template <class Scalar> bool Passes<Scalar>::only_logits(int64_t first, int64_t count, double *logits, int thread) {
  if (pairs_.largest_partner_count() != 1) return false;
  for (int64_t i = first; i < first + count; ++i)
    if (positive_count(i) > 0)
      pairs_.for_each_partner(i, [&](int64_t j, bool) { logits[i - first] = logit(i, j, thread); });
  return true;
}

// visit(anchor of the first softmax, row of the layout) for each further positive of row i of a softmax: that of the
// columns has the pairs of its row.
template <class Scalar>
template <class Visit>
void Passes<Scalar>::for_each_further(int softmax, int64_t i, Visit &&visit) const {
  const int64_t row = layout_.first(problem_.softmaxes[softmax].anchors) + i;
  if (softmax == 0) pairs_.further().for_each_of(i, [&](int64_t j) { visit(i, j); });
  else pairs_.further().for_each_anchor_of(row, [&](int64_t anchor) { visit(anchor, row); });
}

template <class Scalar>
template <int32_t kRowLoss>
void Passes<Scalar>::losses_of(int index, int64_t first, int64_t count, int thread) {
  // The panel scheme stores exponentials, the float64 one works with probabilities from the log-sum-exp.
  constexpr bool kStoresExponentials = sizeof(Scalar) == sizeof(float);
  SoftmaxRows<Scalar> &softmax = softmaxes[index];
  const Debiasing debiasing = kRowLoss == INFONCE_ROW_LOSS_DEBIASED ? debiasing_of(problem_) : Debiasing();
  const bool own = own_.exist() && index == 0;
  const double multiplicity = multiplicity_of_positive(problem_, index);
  const bool lse_is_read =
      !kStoresExponentials || pairs_.largest_partner_count() > 1 || own || pairs_.further().exist() || in_parts_;
  double logits[kPassRows];
  const bool are_known = only_logits(first, count, logits, thread);
  for (int64_t i = first; i < first + count; ++i) {
    const int64_t positive_count = this->positive_count(i);
    if (positive_count == 0) {
      softmax.loss[i] = softmax.rest_share[i] = 0;
      softmax.weight[i] = softmax.target[i] = 0;
      softmax.log_sum_exp[i] = kNoLogSumExp;
      continue;
    }
    const int64_t further = further_count(index, i), all = positive_count + further;
    RowLoss<kRowLoss> row(softmax.sum[i], softmax.offset[i], all, debiasing, multiplicity);
    if (kRowLoss == INFONCE_ROW_LOSS_DECOUPLED && positive_weights_) row.weigh_positives(positive_weights_[i]);
    if (further > 0)
      for_each_further(index, i, [&](int64_t a, int64_t j) { row.add(logit_of_any(a, j, thread), true); });
    if (met_count(index, i) > 0) {
      const Met &met = met_[index][i];
      if (all == 1) row.add(met.sum, true);
      else row.add_positives(met.log_sum, met.sum);
      row.add_terms(met.terms);
    }
    add_pairs_to_loss(i, &row, thread, own, are_known ? &logits[i - first] : nullptr);
    softmax.loss[i] = row.loss();
    softmax.rest_share[i] = row.rest_share();
    // Of one by index beside others, too, minus what its logit weighs.
    if (further > 0) {
      const double s = logit(i, pairs_.first_positives()[i], thread);
      softmax.rest_share[i] = -RowLoss<kRowLoss>::pair_weight(true, all, s, row.log_sum_exp(), 0);
    }
    softmax.log_sum_exp[i] = lse_is_read ? row.log_sum_exp() : 0;
    const double g = upstream_.relative(i);
    softmax.weight[i] = Scalar(kStoresExponentials ? g * row.matrix_weight() : g);
    softmax.target[i] = Scalar(pairs_.large_class(i) >= 0 ? g * (1 - smoothing()) / double(positive_count) : 0);
    if (smoothing() != 0) smooth(index, i, row.positive_logit(), thread);
  }
}

template <class Scalar> void Passes<Scalar>::losses() {
  pool_.parallel(blocks_of(padded_rows(), kPassRows), [&](int64_t t, int thread) {
    losses(t * kPassRows, std::min(kPassRows, padded_rows() - t * kPassRows), thread);
  });
}

// All pairs are in the matrix part, whose sums these are.
template <class Scalar> void Passes<Scalar>::sigmoid_losses(int64_t first, int64_t count) {
  SoftmaxRows<Scalar> &rows_of_loss = softmaxes[0];
  for (int64_t i = first; i < first + count; ++i) {
    const bool has_loss = i < rows();
    rows_of_loss.loss[i] = has_loss ? rows_of_loss.sum[i] : 0;
    rows_of_loss.weight[i] = Scalar(has_loss ? upstream_.relative(i) : 0);
    rows_of_loss.target[i] = 0;
  }
}

template <class Scalar> double Passes<Scalar>::grad_bias() const {
  double sum = 0;
  for (int64_t i = 0; i < rows(); ++i) sum += upstream_.relative(i) * softmaxes[0].slope[i];
  return sum * upstream_.largest;
}

// Debiased losses whose harder negatives count more, in the float64 scheme.
template <class Scalar> void Passes<Scalar>::hard_losses(int64_t first, int64_t count, int thread) {
  const Debiasing debiasing = debiasing_of(problem_);
  SoftmaxRows<Scalar> &hard = softmaxes[0], &weights = softmaxes[1];
  for (int64_t i = first; i < std::min(first + count, rows()); ++i) {
    const bool has_negatives = hard.sum[i] > 0;
    const HardSums sums = {hard.offset[i] + std::log(hard.sum[i]), weights.offset[i] + std::log(weights.sum[i])};
    const double offset = has_negatives ? sums.log_sum(debiasing.negatives) : hard.offset[i];
    RowLoss<INFONCE_ROW_LOSS_DEBIASED> row(has_negatives ? 1 : 0, offset, 1, debiasing);
    add_pairs_to_loss(i, &row, thread, false, nullptr);
    const double g = upstream_.relative(i), lse = row.log_sum_exp();
    hard.loss[i] = row.loss();
    hard.rest_share[i] = row.rest_share();
    hard.log_sum_exp[i] = has_negatives ? sums.first(debiasing.negatives, debiasing.beta, lse) : kNoLogSumExp;
    weights.log_sum_exp[i] = has_negatives ? sums.second(debiasing.negatives, debiasing.beta, lse) : kNoLogSumExp;
    hard.weight[i] = Scalar(g);
    weights.weight[i] = Scalar(-g);
  }
  for (int64_t i = std::max(first, rows()); i < first + count; ++i) {
    hard.loss[i] = hard.rest_share[i] = 0;
    hard.weight[i] = weights.weight[i] = 0;
    hard.log_sum_exp[i] = weights.log_sum_exp[i] = kNoLogSumExp;
  }
}

template <class Scalar> void Passes<Scalar>::losses(int64_t first, int64_t count, int thread) {
  if (is_sigmoid(problem_)) return sigmoid_losses(first, count);
  if (beta() != 0) return hard_losses(first, count, thread);
  with_row_loss(row_loss(), [&](auto kind) {
    for (int64_t i = first; i < first + count; i += kPassRows)
      for (int s = 0; s < softmax_count(); ++s) losses_of<kind()>(s, i, std::min(kPassRows, first + count - i), thread);
  });
}

template <class Scalar> void Passes<Scalar>::resume() {
  upstream_ = upstream_of(problem_, travels_);
  sum_large_classes();
  sum_smoothed();
  losses();
}

template <class Scalar> void Passes<Scalar>::write_losses(infonce_result *result) const {
  const double weight = problem_.softmaxes[0].weight, count = double(rows());  // every softmax has this weight
  double total = 0;
  for (int64_t i = 0; i < rows(); ++i) {
    double loss = softmaxes[0].loss[i];
    for (int s = 1; s < softmax_count(); ++s) loss += softmaxes[s].loss[i];
    total += loss * weight;
    if (problem_.reduction == INFONCE_REDUCTION_NONE) result->row_loss.data[i] = float(loss * weight);
  }
  result->scalars.loss = problem_.reduction == INFONCE_REDUCTION_MEAN ? total / count : total;
  for (int s = 0; s < softmax_count(); ++s)
    if (double *loss = result->rows[s].loss) std::copy_n(softmaxes[s].loss, rows(), loss);
  if (!problem_.ranks) return;
  int64_t top1 = 0, top5 = 0;
  for (int s = 0; s < softmax_count(); ++s) {
    const double *above = softmaxes[s].above;
    int32_t *out = result->rows[s].above;
    for (int64_t i = 0; i < rows(); ++i) {
      const bool has_positive = has_first_positive(i);
      top1 += has_positive && above[i] < 1;
      top5 += has_positive && above[i] < 5;
      if (out) out[i] = has_positive ? int32_t(above[i]) : -1;
    }
  }
  result->scalars.top1 = double(top1) / (count * softmax_count());
  result->scalars.top5 = double(top5) / (count * softmax_count());
}

template class Passes<float>;
template class Passes<double>;

}  // namespace infonce::cpu
