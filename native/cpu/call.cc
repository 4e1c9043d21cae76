#include "cpu/call.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "cpu/paired_negatives.h"
#include "cpu/panel_scheme.h"
#include "cpu/simclr_logits.h"
#include "cpu/float64_scheme.h"

namespace infonce::cpu {
namespace {

constexpr double kParallelProducts = 4e6;  // multiply-adds; below, one thread is done before a second has woken
constexpr double kTinyProducts = 1 << 15;  // up to here float64 costs about a microsecond, and gives all digits

double products_of(const infonce_problem &p) {
  double pairs = 0;
  const int64_t dim = p.dim + p.guide_dim;
  for (int b = 0; b < p.block_count; ++b) {
    const infonce_block &block = p.blocks[b];
    // Own candidates are met by their anchor alone.
    pairs += (block.own == INFONCE_OWN_ALONE ? 1 : double(p.matrices[block.anchors].rows)) *
             double(p.matrices[block.candidates].rows);
  }
  return pairs * double(dim);
}

void begin_call(ThreadPool &pool, const infonce_problem &p, double products, const int32_t *cancelled) {
  pool.begin_call(products * (p.gradient ? 1.5 : 0.5) < kParallelProducts, cancelled);
}
void begin_call(ThreadPool &pool, const infonce_problem &p) { begin_call(pool, p, products_of(p), p.cancelled); }

double products_of(const infonce_problem &p, const infonce_part &part) {
  return double(rows_of(p, 0)) * double(part.candidates.rows) * double(p.dim);
}

// Whether the rounding of unit rows to float32 moves the weights of positives by more than it may move a loss.
bool has_sharp_weights(const infonce_problem &p) {
  constexpr double kLeastSigma = 0.01;
  const double sigma = p.softmaxes[0].mises_fisher_sigma;
  return p.normalize && sigma > 0 && sigma < kLeastSigma;
}

enum class Kind { kPairedNegatives, kPanel, kFloat64 };

// Tried in turn; the last one always serves.
std::vector<Kind> kinds_for(const Request &request, const Pairs &pairs) {
  const infonce_problem &p = request.problem;
  if (has_own_candidates_alone(p)) return {Kind::kPairedNegatives};
  if (is_sigmoid(p)) return {Kind::kPanel};
  const infonce_problem &whole = p.share_of ? *p.share_of : p;
  const double scale = largest_scale(whole);
  if (p.softmaxes[0].beta != 0) return {Kind::kFloat64};  // two exponentials of each logit
  if (has_sharp_weights(p)) return {Kind::kFloat64};
  // Unit rows bound the logits by the scale, except for biases.
  const bool is_bounded = p.normalize && PanelScheme::surely_holds(scale) && !has_bias(whole);
  if (request.in_parts && !is_bounded) return {Kind::kFloat64};
  // Nothing is prepared if that is already too much.
  const bool bounded_too_high = p.normalize && !PanelScheme::can_hold(scale);
  if ((products_of(p) <= kTinyProducts && !request.in_parts) || bounded_too_high) return {Kind::kFloat64};
  if (is_bounded && !pairs.has_large_classes()) return {Kind::kPanel};
  return {Kind::kPanel, Kind::kFloat64};
}

std::unique_ptr<Scheme> make_scheme(Kind kind, infonce_context &c, const Request &request, const Pairs &pairs) {
  switch (kind) {
    case Kind::kPairedNegatives:
      return std::make_unique<PairedNegatives>(request, c.kernels, c.pool);
    case Kind::kPanel: {
      // Within a class p - 1 / positives cancels: no place for bfloat16 logits.
      const Kernels &kernels = pairs.has_large_classes() ? *c.instruction_set.kernels : c.kernels;
      return std::make_unique<PanelScheme>(request, kernels, pairs, c.pool);
    }
    default:
      return std::make_unique<Float64Scheme>(request, c.kernels, pairs, c.pool);
  }
}

void build_pairs(const infonce_problem &p, Pairs *pairs) {
  if (has_own_candidates_alone(p)) *pairs = Pairs();
  else pairs->build(p, Layout(p));
}

struct Opened {
  std::unique_ptr<Scheme> scheme;
  BadRow bad;
};

// `memory`: where what the gradients need is to stay, or null with all else. `result`: null if parts are to come.
Opened open(infonce_context &c, const Request &request, Pairs &pairs, SavedMemory *memory, infonce_result *result) {
  if (const BadRow bad = first_bad_bias(request.problem); bad.row >= 0) return {nullptr, bad};
  build_pairs(request.problem, &pairs);
  Opened opened;
  for (const Kind kind : kinds_for(request, pairs)) {
    opened.scheme = make_scheme(kind, c, request, pairs);
    Scheme &scheme = *opened.scheme;
    if (memory) memory->kept.lay_out([&](Workspace::Cursor &cursor) { scheme.take_kept(cursor); });
    if (request.keeps) memory->panels[0].lay_out([&](Workspace::Cursor &cursor) { scheme.take_panel(cursor); });
    c.workspace.lay_out([&](Workspace::Cursor &cursor) {
      if (!memory) scheme.take_kept(cursor);
      scheme.take_scratch(cursor);
    });
    Outcome outcome = scheme.open();
    if (result && outcome.served && outcome.bad.row < 0) outcome = scheme.close(result);
    opened.bad = outcome.bad;
    if (outcome.served) break;
  }
  return opened;
}

void without_ranks(infonce_result *result) {
  result->scalars.top1 = result->scalars.top5 = std::numeric_limits<double>::quiet_NaN();
}

// The scratch of a step on a call that was opened.
Scheme &take_scratch(infonce_context &c, infonce_saved &saved, const infonce_part *part, bool wants_gradient) {
  Scheme &scheme = *saved.scheme;
  scheme.take_up(part, wants_gradient);
  if (saved.request.keeps && part && part->number > 0)
    saved.memory->panels[part->number].lay_out([&](Workspace::Cursor &cursor) { scheme.take_panel(cursor); });
  c.workspace.lay_out([&](Workspace::Cursor &cursor) { scheme.take_scratch(cursor); });
  return scheme;
}

// Without the positives, which decoupled losses do not count.
bool has_candidates(const infonce_saved &saved, const infonce_part &part) {
  const infonce_matrix &candidates = part.candidates;
  if (saved.request.problem.softmaxes[0].positive != INFONCE_POSITIVE_SAME_ID || !candidates.ids) return true;
  return std::any_of(candidates.ids, candidates.ids + candidates.rows, [&](int32_t id) { return id != saved.only_id; });
}

BadRow first_bad_upstream(const infonce_problem &p) {
  for (int64_t i = 0; i < p.grad_output.count; ++i)
    if (!(std::fabs(p.grad_output.data[i]) <= std::numeric_limits<float>::max())) return {INFONCE_IN_GRAD_OUTPUT, i};
  return {};
}

// Bits by matrix.
uint32_t gradients_of(const infonce_result &result) {
  uint32_t gradients = 0;
  for (int m = 0; m < INFONCE_MOST_MATRICES; ++m) gradients |= uint32_t(result.gradients[m].data != nullptr) << m;
  return gradients;
}

}  // namespace

BadRow compute(infonce_context &c, const infonce_problem &problem, infonce_result *result) {
  if (const BadRow bad = first_bad_upstream(problem); bad.row >= 0) return bad;
  begin_call(c.pool, problem);
  without_ranks(result);
  const Request request = {problem, gradients_of(*result), false, false};
  const Opened opened = open(c, request, c.pairs, nullptr, result);
  if (opened.bad.row < 0 && problem.gradient) opened.scheme->close_gradient(result);
  return opened.bad;
}

BadRow compute_forward(infonce_context &c, const infonce_problem &problem, infonce_result *result, infonce_saved *saved,
                       bool keeps) {
  begin_call(c.pool, problem);
  if (result) without_ranks(result);
  saved->request = {problem, 0, true, result == nullptr, keeps};
  if (!result) saved->memory = std::move(c.spare);
  if (!saved->memory) saved->memory = std::make_unique<SavedMemory>();
  saved->needs_candidates = needs_candidates(problem);
  const int32_t *ids = problem.matrices[problem.softmaxes[0].anchors].ids;
  if (saved->needs_candidates && ids) saved->only_id = ids[0];
  Opened opened = open(c, saved->request, saved->pairs, saved->memory.get(), result);
  if (opened.bad.row < 0) saved->scheme = std::move(opened.scheme);
  infonce_problem &p = saved->request.problem;
  // Whether there are biases and first positives stays to be seen by what parts are allowed.
  for (infonce_matrix &matrix : p.matrices) matrix.data = matrix.guide = nullptr, matrix.ids = matrix.counts = nullptr;
  for (infonce_softmax &softmax : p.softmaxes) softmax.targets = nullptr;
  p.cancelled = nullptr;
  return opened.bad;
}

BadRow compute_part(infonce_context &c, infonce_saved &saved, const infonce_part &part) {
  const infonce_problem &p = saved.request.problem;
  if (const BadRow bad = first_bad_number(p, part, Pass::kSums); bad.row >= 0) return bad;
  begin_call(c.pool, p, products_of(p, part), part.cancelled);
  const BadRow bad = take_scratch(c, saved, &part, false).add();
  if (bad.row < 0 && has_candidates(saved, part)) saved.needs_candidates = false;
  return bad;
}

void compute_losses(infonce_context &c, infonce_saved &saved, infonce_result *result) {
  begin_call(c.pool, saved.request.problem, 0, nullptr);
  without_ranks(result);
  take_scratch(c, saved, nullptr, false).close(result);
}

BadRow join(infonce_saved &saved, int32_t softmax, const infonce_travelling_rows &rows) {
  const infonce_problem &p = saved.request.problem;
  if (const BadRow bad = first_bad_sum(p, softmax, rows); bad.row >= 0) return bad;
  saved.scheme->join_rows(softmax, rows);
  if (rows.term_losses || are_visitors(rows)) return {};
  const auto is_of_some = [](double log_sum) { return !std::isinf(log_sum); };
  if (std::any_of(rows.log_sum, rows.log_sum + rows_of(p, softmax), is_of_some)) saved.needs_candidates = false;
  return {};
}

BadRow begin_gradient(infonce_context &c, infonce_saved &saved, const infonce_problem &problem) {
  saved.gradient_is_nan = false;
  if (const BadRow bad = first_bad_upstream(problem); bad.row >= 0) return bad;
  begin_call(c.pool, problem);
  saved.request.problem = problem;
  if (saved.request.in_parts) {
    infonce_grad_output &upstream = saved.request.problem.grad_output;
    saved.grad_output.assign(upstream.data, upstream.data + upstream.count);
    upstream.data = saved.grad_output.data();
    saved.memory->gradient.lay_out([&](Workspace::Cursor &cursor) { saved.scheme->take_gradient(cursor); });
  }
  saved.scheme->take_up(nullptr, false);
  saved.scheme->open_gradient();
  return {};
}

BadRow compute_part_gradient(infonce_context &c, infonce_saved &saved, const infonce_part &part, float *gradient) {
  const infonce_problem &p = saved.request.problem;
  if (const BadRow bad = first_bad_number(p, part, Pass::kGradient); bad.row >= 0) return bad;
  begin_call(c.pool, p, products_of(p, part), part.cancelled);
  return take_scratch(c, saved, &part, gradient != nullptr).add_gradient(gradient);
}

void compute_gradients(infonce_context &c, infonce_saved &saved, infonce_result *result) {
  begin_call(c.pool, saved.request.problem);
  saved.request.gradients = gradients_of(*result);
  take_scratch(c, saved, nullptr, false).close_gradient(result);
}

BadRow compute_backward(infonce_context &c, infonce_saved &saved, const infonce_problem &problem,
                        infonce_result *result) {
  const BadRow bad = begin_gradient(c, saved, problem);
  if (bad.row < 0) compute_gradients(c, saved, result);
  return bad;
}

BadRow compute_logits(infonce_context &c, const infonce_problem &problem, const infonce_output &logits) {
  begin_call(c.pool, problem);
  return simclr_logits(problem, c.kernels, c.pool, c.workspace, logits.data);
}

int64_t bytes_of_run(infonce_context &c, const infonce_problem &problem, uint32_t gradients) {
  begin_call(c.pool, problem);
  // A memory has none. Those of anchors and of positives by index are always written.
  if (const int memory = memory_of(problem); memory != kNone) gradients &= ~(uint32_t(1) << memory);
  for (int s = 0; s < problem.softmax_count; ++s) {
    gradients |= uint32_t(1) << problem.softmaxes[s].anchors;
    if (!positives_are_anchors(problem.softmaxes[s])) gradients |= problem.softmaxes[s].positive_matrices;
  }
  const Request request = {problem, gradients, false, false};
  build_pairs(problem, &c.pairs);
  int64_t most = 0;
  for (const Kind kind : kinds_for(request, c.pairs)) {
    const std::unique_ptr<Scheme> scheme = make_scheme(kind, c, request, c.pairs);
    Workspace::Cursor count(nullptr);
    scheme->take_kept(count);
    scheme->take_scratch(count);
    most = std::max(most, int64_t(count.used()) + scheme->tables());
  }
  return most + c.pairs.bytes();
}

}  // namespace infonce::cpu
