#include "common/call.h"

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <limits>

#include "common/row_loss.h"

namespace infonce {
namespace {

constexpr int64_t kMostRows = int64_t(1) << 30;  // row numbers are 32-bit in places

constexpr int32_t kMostParts = 1 << 16;  // that have a number

constexpr char kWrongSize[] = "struct_size does not match this library's";
constexpr char kTooLarge[] = "the problem is too large";
constexpr char kOwnStay[] = "candidates of their own do not come in parts";
constexpr char kNotAllSmoothed[] = "label smoothing is for candidates that all rows have";

bool is_residence(int32_t residence) { return residence == INFONCE_ON_HOST || residence == INFONCE_ON_DEVICE; }

bool is_type(int32_t type) { return type >= INFONCE_FLOAT32 && type <= INFONCE_BFLOAT16; }

const char *wrong_matrix(const infonce_matrix &matrix, int64_t least_rows, int64_t most_rows, int64_t dim) {
  constexpr double kMostNumbers = 1LL << 48;
  if (matrix.rows < least_rows) return "a matrix has no rows";
  if (matrix.row_stride != 0 && matrix.row_stride < dim) return "row_stride must be 0 or at least dim";
  const double stride = double(row_stride_of(matrix, dim));
  if (matrix.rows > most_rows || double(matrix.rows) * stride >= kMostNumbers) return kTooLarge;
  if (!matrix.data && matrix.rows > 0) return "a matrix is missing";
  if (!is_type(matrix.type)) return "unknown element type";
  if (!is_residence(matrix.residence)) return "unknown residence";
  return nullptr;
}

bool is_candidate_alone(const infonce_problem &p, int matrix) {
  for (int s = 0; s < p.softmax_count; ++s)
    if (p.softmaxes[s].anchors == matrix || (p.softmaxes[s].positive_matrices >> matrix & 1)) return false;
  return true;
}

// Whether some are an anchor's own in a block that looks at that.
bool has_own_rows(const infonce_problem &p, int matrix) {
  for (int b = 0; b < p.block_count; ++b)
    if (p.blocks[b].candidates == matrix && (p.blocks[b].own || tells_own(p.blocks[b]))) return true;
  return false;
}

const char *wrong_matrices(const infonce_problem &p, bool opened) {
  if (p.dim < 1) return "dim is out of range";
  if (p.guide_dim < 0) return "guide_dim is out of range";
  const int own = own_candidates_of(p);
  const int64_t anchors = p.matrices[p.softmaxes[0].anchors].rows;
  int64_t all_rows = 0;
  for (int m = 0; m < p.matrix_count; ++m) {
    const infonce_matrix &matrix = p.matrices[m];
    const bool are_own = m == own;
    const int64_t least_rows = opened && (is_candidate_alone(p, m) || m == memory_of(p)) ? 0 : 1;
    if (const char *wrong = wrong_matrix(matrix, least_rows, are_own ? INT64_MAX : kMostRows, p.dim)) return wrong;
    if (has_own_rows(p, m) && matrix.rows % anchors != 0) return "anchors must divide their own candidates";
    if (are_own && matrix.rows / anchors > kMostRows) return kTooLarge;
    for (int64_t i = 0; matrix.counts && i < anchors; ++i)
      if (matrix.counts[i] < 0 || matrix.counts[i] > matrix.rows / anchors)
        return "counts must be 0 to the number of an anchor's own candidates";
    if (!are_own) all_rows += matrix.rows;
    if (!matrix.guide) continue;
    const infonce_matrix guide = guide_of(matrix);
    if (const char *wrong = wrong_matrix(guide, least_rows, kMostRows, p.guide_dim)) return wrong;
  }
  return memory_of(p) != kNone && all_rows > kMostRows ? kTooLarge : nullptr;
}

// Whether these rows have this id.
bool have_id(const infonce_matrix &matrix, int32_t id) {
  return std::all_of(matrix.ids, matrix.ids + matrix.rows, [id](int32_t other) { return other == id; });
}

// Whether all candidates are positives of all anchors, as far as sizes and ids tell.
bool has_positives_alone(const infonce_problem &p, const infonce_softmax &softmax) {
  const infonce_matrix &anchors = p.matrices[softmax.anchors];
  if (softmax.positive == INFONCE_POSITIVE_SAME_ID) {
    const int elsewhere = positives_elsewhere(softmax);
    const int64_t others = elsewhere == kNone ? 0 : p.matrices[elsewhere].rows;
    if (p.block_count > (elsewhere == kNone ? 1 : 2) || anchors.rows + others == 1 || !anchors.ids) return false;
    if (others > 0 && !p.matrices[elsewhere].ids) return false;
    return have_id(anchors, anchors.ids[0]) && (others == 0 || have_id(p.matrices[elsewhere], anchors.ids[0]));
  }
  if (p.block_count > 1 || softmax.positive > INFONCE_POSITIVE_ALL_VIEWS) return false;
  return anchors.rows == anchors.views && (anchors.views == 2 || softmax.positive == INFONCE_POSITIVE_ALL_VIEWS);
}

// Those in other calls.
const char *wrong_first_positives(const infonce_problem &p, bool opened) {
  const int matrix = first_positives_in(p);
  if (matrix == kNone) return nullptr;
  if (!opened) return "first positives in other calls are those of a call that is opened";
  const int32_t *first = p.softmaxes[0].first_positives;
  const bool are_rows = std::all_of(first, first + rows_of(p, 0),
                                    [&](int32_t row) { return row >= -1 && row < p.matrices[matrix].rows; });
  return are_rows ? nullptr : "first positives in other calls must be rows of their matrix";
}

// Those of other calls included.
const char *wrong_negatives(const infonce_problem &p, const infonce_softmax &softmax, bool opened) {
  if (softmax.negatives == 0) return nullptr;
  if (!opened) return "negatives in other calls are those of a call that is opened";
  return softmax.negatives < rows_of(p, 0) - 2 ? "there are more negatives in this call alone" : nullptr;
}

const char *wrong_positives(const infonce_problem &p, const infonce_softmax &softmax) {
  const infonce_matrix &anchors = p.matrices[softmax.anchors];
  const int elsewhere = positives_elsewhere(softmax);
  switch (softmax.positive) {
    case INFONCE_POSITIVE_FIRST_VIEW:
    case INFONCE_POSITIVE_ALL_VIEWS:
      if (anchors.views < 2 || anchors.rows % anchors.views != 0) return "views must divide rows and be at least 2";
      if (softmax.row_loss == INFONCE_ROW_LOSS_DEBIASED && anchors.views != 2) return "debiased losses have two views";
      if (softmax.mises_fisher_sigma != 0 && anchors.views != 2) return "weights of positives are for two views";
      return nullptr;
    case INFONCE_POSITIVE_SAME_ID:
      return anchors.ids && (elsewhere == kNone || p.matrices[elsewhere].ids || p.matrices[elsewhere].rows == 0)
                 ? nullptr
                 : "ids are missing";
    case INFONCE_POSITIVE_SAME_INDEX:
      if (p.matrices[elsewhere].rows < anchors.rows) return "there are fewer keys than anchors";
      if (p.matrices[elsewhere].rows > anchors.rows &&
          (p.softmax_count > 1 || has_own_candidates_alone(p) || joins_sides(p)))
        return "there must be as many keys as anchors";
      return nullptr;
    case INFONCE_POSITIVE_SAME_ID_ELSEWHERE:
      if (!anchors.ids || !p.matrices[elsewhere].ids) return "ids are missing";
      return p.matrices[elsewhere].rows < anchors.rows ? "there are fewer keys than anchors" : nullptr;
    case INFONCE_POSITIVE_NONE:
      return p.ranks ? "there are no ranks without positives" : nullptr;
    default:
      for (int64_t i = 0; i < anchors.rows; ++i)
        if (softmax.targets[i] < 0 || softmax.targets[i] >= p.matrices[elsewhere].rows)
          return "targets must be rows of the positives";
      return nullptr;
  }
}

const char *wrong_upstream(const infonce_problem &p) {
  const infonce_grad_output &upstream = p.grad_output;
  if (!is_residence(upstream.residence)) return "unknown residence";
  if (upstream.count == 0) return nullptr;
  const bool one_each = upstream.count == rows_of(p, 0) && p.reduction == INFONCE_REDUCTION_NONE;
  return upstream.data && (upstream.count == 1 || one_each) ? nullptr : "grad_output is missing or its count wrong";
}

bool leaves_out_by_bias(const infonce_matrix &matrix) {
  const auto is_out = [](float bias) { return std::isinf(bias); };
  return matrix.bias && std::any_of(matrix.bias, matrix.bias + matrix.rows, is_out);
}

// Smoothing is over all candidates.
bool leaves_out_smoothed(const infonce_problem &p) {
  for (int m = 0; m < p.matrix_count && p.softmaxes[0].label_smoothing != 0; ++m)
    if (leaves_out_by_bias(p.matrices[m])) return true;
  return false;
}

// Of anything but the arrays of results.
const char *wrong_problem(const infonce_problem &p, bool opened) {
  if (p.struct_size != sizeof p) return kWrongSize;
  if (const char *wrong = what_is_wrong_with_form(p)) return wrong;
  if (const char *wrong = wrong_matrices(p, opened)) return wrong;
  for (int s = 0; s < p.softmax_count; ++s)
    if (const char *wrong = wrong_positives(p, p.softmaxes[s])) return wrong;
  if (const char *wrong = wrong_first_positives(p, opened)) return wrong;
  if (const char *wrong = wrong_negatives(p, p.softmaxes[0], opened)) return wrong;
  if (!opened && needs_candidates(p)) return kNoCandidate;
  if (leaves_out_smoothed(p)) return kNotAllSmoothed;
  if (!opened && meets_parts_alone(p)) return "parts are those of a call that is opened";
  if (!opened && leaves_out_target(p)) return "targets are left out of calls that are opened";
  for (int s = 0; s < p.softmax_count && !opened; ++s)
    if (p.softmaxes[s].further_candidates != 0) return "further candidates are those of a call that is opened";
  if (p.reduction < INFONCE_REDUCTION_MEAN || p.reduction > INFONCE_REDUCTION_NONE) return "unknown reduction";
  if (!(p.scale > 0) || p.scale > 1e30) return "scale must be positive and at most 1e30";
  if (is_sigmoid(p) ? !(std::fabs(p.bias) <= 1e30) : p.bias != 0)
    return "bias is a number of the sigmoid loss, at most 1e30";
  return wrong_upstream(p);
}

}  // namespace

bool needs_candidates(const infonce_problem &p) {
  if (meets_parts_alone(p)) return false;
  for (int s = 0; s < p.softmax_count; ++s)
    if (p.softmaxes[s].row_loss == INFONCE_ROW_LOSS_DECOUPLED && has_positives_alone(p, p.softmaxes[s])) return true;
  return false;
}

infonce_status fail(infonce_failure *failure, infonce_status status, int32_t matrix, int64_t row, const char *format,
                    ...) {
  if (failure && failure->struct_size == sizeof *failure) {
    failure->matrix = matrix;
    failure->row = row;
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(failure->message, sizeof failure->message, format, arguments);
    va_end(arguments);
  }
  return status;
}

OutOfMemory::OutOfMemory(int64_t needed, int64_t available) : needed_(needed) {
  constexpr double kMebibyte = 1 << 20;
  std::snprintf(message_, sizeof message_, "the call needs %.1f MiB of working memory, and %.1f MiB are left",
                double(needed) / kMebibyte, double(available) / kMebibyte);
}

infonce_status invalid(infonce_failure *failure, const char *what) {
  return fail(failure, INFONCE_INVALID_ARGUMENT, INFONCE_NO_MATRIX, -1, "%s", what);
}

infonce_status non_finite(infonce_failure *failure, int32_t matrix, int64_t row) {
  return fail(failure, INFONCE_NON_FINITE, matrix, row, "row %lld of the input holds NaN or infinity",
              static_cast<long long>(row));
}

bool all_on_device(const infonce_problem &p, const infonce_result &r) {
  for (int m = 0; m < p.matrix_count; ++m)
    if (p.matrices[m].residence != INFONCE_ON_DEVICE) return false;
  for (int m = 0; m < p.matrix_count; ++m)
    if (p.matrices[m].guide && p.matrices[m].guide_residence != INFONCE_ON_DEVICE) return false;
  if (p.grad_output.count > 0 && p.grad_output.residence != INFONCE_ON_DEVICE) return false;
  bool on_device = true;
  const auto look = [&](const infonce_output &output, int64_t) { on_device &= output.residence == INFONCE_ON_DEVICE; };
  for_each_result(p, r, look);
  return on_device;
}

namespace {
int64_t first_bad_bias(const infonce_matrix &matrix) {
  for (int64_t j = 0; matrix.bias && j < matrix.rows; ++j)
    if (!(matrix.bias[j] <= std::numeric_limits<float>::max())) return j;
  return -1;
}

constexpr double kMost = std::numeric_limits<double>::max();

int64_t first_bad_sum(const infonce_travelling_rows &rows, int64_t count) {
  for (int64_t i = 0; i < count && rows.term_losses && !rows.log_sum; ++i)
    if (!(rows.term_losses[i] <= kMost) || !(rows.term_shares[i] <= kMost)) return i;
  for (int64_t i = 0; i < count && rows.log_sum; ++i)
    if (!(rows.log_sum[i] <= kMost) || (rows.weights_log_sum && !(rows.weights_log_sum[i] <= kMost))) return i;
  return -1;
}
}  // namespace

const char *what_is_wrong_with_step(Stage stage, Step step) {
  const bool opened = step == Step::kAdd || step == Step::kClose;
  const bool in_gradient = step == Step::kAddGradient || step == Step::kCloseGradient;
  const bool follows = opened ? stage == Stage::kOpen : in_gradient ? stage == Stage::kGradient : stage != Stage::kOpen;
  return follows ? nullptr : "this step does not follow the one before";
}

Stage stage_after(Step step) {
  if (step == Step::kAdd) return Stage::kOpen;
  return step == Step::kOpenGradient || step == Step::kAddGradient ? Stage::kGradient : Stage::kClosed;
}

BadRow first_bad_bias(const infonce_problem &p) {
  for (int m = 0; m < p.matrix_count; ++m)
    if (const int64_t row = first_bad_bias(p.matrices[m]); row >= 0) return {m, row};
  return {};
}

BadRow first_bad_number(const infonce_problem &p, const infonce_part &part, Pass pass) {
  const int matrix = p.blocks[part.block].candidates;
  if (const int64_t row = first_bad_bias(part.candidates); row >= 0 || !columns_travel(p, part)) return {matrix, row};
  const infonce_travelling_rows &columns = part.columns;
  if (pass == Pass::kSums) return {matrix, first_bad_sum(columns, part.candidates.rows)};
  for (int64_t j = 0; j < part.candidates.rows; ++j)
    if (!(std::fabs(columns.weight[j]) <= kMost) || !(columns.log_sum_exp[j] >= -kMost) ||
        (columns.weights_log_sum_exp && !(columns.weights_log_sum_exp[j] >= -kMost)))
      return {matrix, j};
  return {};
}

BadRow first_bad_sum(const infonce_problem &p, int32_t softmax, const infonce_travelling_rows &rows) {
  return {p.softmaxes[softmax].anchors, first_bad_sum(rows, rows_of(p, softmax))};
}

const char *what_is_wrong_with_losses(const infonce_problem &p, const infonce_result &r) {
  if (r.struct_size != sizeof r) return kWrongSize;
  if (p.reduction == INFONCE_REDUCTION_NONE && !r.row_loss.data) return "row_loss is missing";
  return is_residence(r.row_loss.residence) ? nullptr : "unknown residence";
}

const char *what_is_wrong_with_gradients(const infonce_problem &p, const infonce_result &r) {
  if (r.struct_size != sizeof r) return kWrongSize;
  for (int s = 0; s < p.softmax_count; ++s) {
    const infonce_softmax &softmax = p.softmaxes[s];
    const int elsewhere = positives_elsewhere(softmax);
    if (!r.gradients[softmax.anchors].data) return "a gradient array is missing";
    if (elsewhere == kNone) continue;
    if (positives_are_anchors(softmax) && r.gradients[elsewhere].data) return "a memory has no gradient";
    if (!positives_are_anchors(softmax) && !r.gradients[elsewhere].data) return "a gradient array is missing";
  }
  for (int m = 0; m < p.matrix_count; ++m)
    if (!is_residence(r.gradients[m].residence)) return "unknown residence";
  return nullptr;
}

const char *what_is_wrong(const infonce_problem &p, const infonce_result &r) {
  if (const char *wrong = wrong_problem(p, false)) return wrong;
  if (const char *wrong = what_is_wrong_with_losses(p, r)) return wrong;
  if (const char *wrong = p.gradient ? what_is_wrong_with_gradients(p, r) : nullptr) return wrong;
  if (!r.device_scalars) return nullptr;
  for (int s = 0; s < p.softmax_count; ++s)
    if (r.rows[s].loss || r.rows[s].above) return "what rows came to is for calls that wait";
  return all_on_device(p, r) ? nullptr : "device_scalars are for calls with all arrays on the device";
}

const char *what_is_wrong_with_logits(infonce_problem *problem, const infonce_output &logits) {
  problem->gradient = 0;
  problem->reduction = INFONCE_REDUCTION_MEAN;
  if (const char *wrong = wrong_problem(*problem, false)) return wrong;
  if (!is_residence(logits.residence)) return "unknown residence";
  const int32_t positive = problem->softmaxes[0].positive;
  const bool has_views = positive == INFONCE_POSITIVE_FIRST_VIEW || positive == INFONCE_POSITIVE_ALL_VIEWS;
  const bool is_plain = problem->block_count == 1 && problem->blocks[0].left_out == INFONCE_LEAVE_OUT_SAME_ROW;
  return has_views && is_plain && logits.data ? nullptr : "logits are those of one matrix with views";
}

const char *what_is_wrong_with_forward(infonce_problem *problem, const infonce_result &result) {
  problem->gradient = 0;
  problem->grad_output = {};
  return what_is_wrong(*problem, result);
}

const char *what_is_wrong_with_open(infonce_problem *problem) {
  problem->gradient = 0;
  problem->grad_output = {};
  if (const char *wrong = wrong_problem(*problem, true)) return wrong;
  return has_own_candidates_alone(*problem) ? kOwnStay : nullptr;
}

namespace {
// What travels with a part's columns.
const char *wrong_columns(const infonce_problem &p, const infonce_part &part, Pass pass) {
  const infonce_travelling_rows &columns = part.columns;
  const infonce_softmax &softmax = p.softmaxes[0];
  const bool have_positives = columns_have_positives(p, p.blocks[part.block]);
  if (part.terms) return columns.log_sum && columns.term_losses && columns.term_shares ? nullptr : "terms are missing";
  if (softmax.row_loss == INFONCE_ROW_LOSS_DEBIASED && softmax.negatives == 0)
    return "debiased losses know how many candidates there are";
  static constexpr char kMissing[] = "positives of a part's columns are missing";
  if (softmax.beta != 0 && !(pass == Pass::kGradient ? columns.weights_log_sum_exp : columns.weights_log_sum))
    return "sums of weights of a part's columns are missing";
  if (pass == Pass::kGradient) {
    if (!columns.log_sum_exp || !columns.weight) return "log_sum_exp or weight of a part's columns is missing";
    return !have_positives || (columns.all_positives && columns.rest_share) ? nullptr : kMissing;
  }
  if (have_positives && (!columns.positives || !columns.positive_sum || !columns.positive_log_sum)) return kMissing;
  if (!columns.log_sum) return "log_sum of a part's columns is missing";
  if (softmax.label_smoothing != 0 && !columns.logit_sum) return "logit_sum of a part's columns is missing";
  return !p.ranks || (columns.rank && columns.above) ? nullptr : "rank or above of a part's columns is missing";
}

// Of positives by id, which are anchors, and of the terms that they may have of their own.
const char *wrong_positives_of_part(const infonce_problem &p, const infonce_part &part, Pass pass) {
  const infonce_softmax &softmax = p.softmaxes[0];
  const bool by_id = has_positives_by_label(p, p.blocks[part.block]);
  if (by_id && p.ranks && !softmax.first_positives)
    return "the first positives of rows that travel may be elsewhere: there are no ranks without them";
  const bool have_terms = by_id && softmax.row_loss == INFONCE_ROW_LOSS_POSITIVE_AND_NEGATIVES && pass == Pass::kSums;
  return part.terms == 0 || (part.terms == 1 && have_terms)
             ? nullptr
             : "terms are those of sums of positives by id that have their own";
}
}  // namespace

const char *what_is_wrong_with_part(const infonce_problem &p, const infonce_part &part, Pass pass) {
  if (part.struct_size != sizeof part) return kWrongSize;
  if (part.block < 0 || part.block >= p.block_count) return "a part of an unknown block";
  const infonce_block &block = p.blocks[part.block];
  if (block.own == INFONCE_OWN_ALONE) return kOwnStay;
  if (const char *wrong = wrong_positives_of_part(p, part, pass)) return wrong;
  if (columns_travel(p, part))
    if (const char *wrong = wrong_columns(p, part, pass)) return wrong;
  const bool by_id = leaves_out_by_id(block) || positives_are_elsewhere_by_id(p) || has_positives_by_label(p, block);
  if (by_id && !part.candidates.ids) return "ids are missing";
  const int64_t anchors = p.matrices[block.anchors].rows;
  if (part.first_anchor < 0 || part.anchor_count < 0 || part.first_anchor > anchors - part.anchor_count)
    return "a part of unknown anchors";
  if (part.number < 0 || part.number > kMostParts) return "the number of a part is out of range";
  if (part.anchor_count > 0 && is_sigmoid(p)) return "a part of the sigmoid loss meets all anchors";
  if (part.candidates.bias && !p.matrices[block.candidates].bias) return "the block's candidates have no bias";
  if (const char *wrong = wrong_matrix(part.candidates, 1, kMostRows, p.dim)) return wrong;
  if ((part.candidates.guide != nullptr) != has_guides(p)) return "by guide parts have one, else none";
  if (const char *wrong = has_guides(p) ? wrong_matrix(guide_of(part.candidates), 1, kMostRows, p.guide_dim) : nullptr)
    return wrong;
  return p.softmaxes[0].label_smoothing != 0 && leaves_out_by_bias(part.candidates) ? kNotAllSmoothed : nullptr;
}

namespace {
const char *wrong_travelling_softmax(const infonce_problem &p, int32_t softmax) {
  return softmax >= 0 && softmax < p.softmax_count ? nullptr : "rows of an unknown softmax";
}
}  // namespace

const char *what_is_wrong_with_rows(const infonce_problem &p, int32_t softmax, const infonce_travelling_rows &rows) {
  if (const char *wrong = wrong_travelling_softmax(p, softmax)) return wrong;
  return (rows.rank || rows.above) && !p.ranks ? "there are no ranks to be read" : nullptr;
}

namespace {
const char *wrong_visitors(const infonce_problem &p, const infonce_travelling_rows &rows) {
  const infonce_softmax &of = p.softmaxes[0];
  if (meets_parts_alone(p))
    return have_weights(rows) && rows.weight ? nullptr : "rows without a loss have weights alone";
  bool is_plain = p.softmax_count == 1 && of.positive == INFONCE_POSITIVE_SAME_INDEX &&
                  of.row_loss == INFONCE_ROW_LOSS_CROSS_ENTROPY && of.margin == 0;
  for (int b = 0; b < p.block_count; ++b) {
    const infonce_block &block = p.blocks[b];
    is_plain &= !block.own && !(block.left_out & ~INFONCE_LEAVE_OUT_SAME_ID) && block.column_softmax == kNone;
    is_plain &= block.anchors == of.anchors && !(of.positive_matrices >> block.candidates & 1);
  }
  if (!is_plain) return "rows visit in a cross-entropy of blocks without positives";
  if (have_weights(rows)) return rows.weight ? nullptr : "weight of rows that visit is missing";
  return p.ranks ? nullptr : "there are no ranks to be taken";
}
}  // namespace

const char *what_is_wrong_with_joined_rows(const infonce_problem &p, int32_t softmax,
                                           const infonce_travelling_rows &rows) {
  if (const char *wrong = wrong_travelling_softmax(p, softmax)) return wrong;
  if (are_visitors(rows)) return wrong_visitors(p, rows);
  if (rows.term_losses) {
    const bool has_terms = p.softmaxes[0].row_loss == INFONCE_ROW_LOSS_POSITIVE_AND_NEGATIVES && rows.term_shares;
    return has_terms ? nullptr : "terms of rows that came home are missing";
  }
  if (!rows.log_sum) return "log_sum of rows that came home is missing";
  if (travels_with_positives(p, softmax) && (!rows.positives || !rows.positive_sum || !rows.positive_log_sum))
    return "positives of rows that came home are missing";
  if (p.softmaxes[0].label_smoothing != 0 && !rows.logit_sum) return "logit_sum of rows that came home is missing";
  if (p.softmaxes[0].beta != 0 && !rows.weights_log_sum) return "weights_log_sum of rows that came home is missing";
  if (p.softmaxes[0].mises_fisher_sigma != 0 && !rows.positives_log_mean)
    return "positives_log_mean of all rows is missing";
  return !p.ranks || rows.above ? nullptr : "above of rows that came home is missing";
}

const char *what_is_wrong_with_upstream(infonce_problem *forward, const infonce_upstream &upstream) {
  if (upstream.struct_size != sizeof upstream) return kWrongSize;
  forward->gradient = 1;
  forward->grad_output = upstream.grad_output;
  forward->cancelled = upstream.cancelled;
  return wrong_upstream(*forward);
}

const char *what_is_wrong_with_backward(infonce_problem *forward, const infonce_upstream &upstream,
                                        const infonce_result &result) {
  if (const char *wrong = what_is_wrong_with_upstream(forward, upstream)) return wrong;
  return what_is_wrong_with_gradients(*forward, result);
}

}  // namespace infonce
