#include "cpu/call.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "cpu/paired_negatives.h"
#include "cpu/panel_scheme.h"
#include "cpu/simclr_logits.h"
#include "cpu/wide_scheme.h"

namespace infonce::cpu {
namespace {

constexpr double kParallelProducts = 4e6;  // multiply-adds; below, one thread is done before a second has woken
constexpr double kTinyProducts = 1 << 15;  // up to here float64 costs about a microsecond, and gives all digits

double products_of(const infonce_problem &p) {
  const Towers towers(p);
  const int64_t memory = towers.has_memory() ? towers.rows_of(kNegatives) : 0;
  const int64_t candidates = towers.rows_of(towers.candidates()) + memory;
  return double(towers.rows_of(kAnchors)) * double(candidates) * double(p.dim);
}

void begin_call(ThreadPool &pool, const infonce_problem &p) {
  pool.begin_call(products_of(p) * (p.gradient ? 1.5 : 0.5) < kParallelProducts, p.cancelled);
}

enum class Kind { kPairedNegatives, kPanel, kWide };

// To be tried in turn; the last one serves in any case.
std::vector<Kind> kinds_for(const infonce_problem &p, const Pairs &pairs) {
  if (roles_of(p).own_negatives()) return {Kind::kPairedNegatives};
  // Unit rows bound the logits by the scale: nothing to prepare where that is already too much.
  const bool bounded_too_high = p.normalize && !PanelScheme::can_hold(p.scale);
  if (products_of(p) <= kTinyProducts || bounded_too_high) return {Kind::kWide};
  const bool bounded = p.normalize && PanelScheme::surely_holds(p.scale);
  if (bounded && !pairs.has_large_classes()) return {Kind::kPanel};
  return {Kind::kPanel, Kind::kWide};
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
      return std::make_unique<WideScheme>(request, c.kernels, pairs, c.pool);
  }
}

void build_pairs(const infonce_problem &p, Pairs *pairs) {
  if (!roles_of(p).own_negatives()) pairs->build(p);
}

struct Served {
  std::unique_ptr<Scheme> scheme;
  BadRow bad;
};

// `kept`: where what the gradients need is to stay, or null with all else.
Served forward(infonce_context &c, const Request &request, Pairs &pairs, Workspace *kept, infonce_result *result) {
  build_pairs(request.problem, &pairs);
  result->scalars.top1 = result->scalars.top5 = std::numeric_limits<double>::quiet_NaN();  // without ranks
  Served served;
  for (const Kind kind : kinds_for(request.problem, pairs)) {
    served.scheme = make_scheme(kind, c, request, pairs);
    Scheme &scheme = *served.scheme;
    if (kept) kept->lay_out([&](Workspace::Cursor &cursor) { scheme.take_kept(cursor); });
    c.workspace.lay_out([&](Workspace::Cursor &cursor) {
      if (!kept) scheme.take_kept(cursor);
      scheme.take_scratch(cursor);
    });
    const Outcome outcome = scheme.forward(result);
    served.bad = outcome.bad;
    if (outcome.served) break;
  }
  return served;
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
  const Request request = {problem, gradients_of(*result), false};
  const Served served = forward(c, request, c.pairs, nullptr, result);
  if (served.bad.row < 0 && problem.gradient) served.scheme->backward(result);
  return served.bad;
}

BadRow compute_forward(infonce_context &c, const infonce_problem &problem, infonce_result *result,
                       infonce_saved *saved) {
  begin_call(c.pool, problem);
  saved->request = {problem, 0, true};
  Served served = forward(c, saved->request, saved->pairs, &saved->kept, result);
  if (served.bad.row < 0) saved->scheme = std::move(served.scheme);
  infonce_problem &p = saved->request.problem;
  for (infonce_matrix &matrix : p.matrices) matrix.data = nullptr, matrix.ids = nullptr;
  p.cancelled = nullptr;
  return served.bad;
}

BadRow compute_backward(infonce_context &c, infonce_saved &saved, const infonce_problem &problem,
                        infonce_result *result) {
  if (const BadRow bad = first_bad_upstream(problem); bad.row >= 0) return bad;
  begin_call(c.pool, problem);
  saved.request.problem = problem;
  saved.request.gradients = gradients_of(*result);
  Scheme &scheme = *saved.scheme;
  c.workspace.lay_out([&](Workspace::Cursor &cursor) { scheme.take_scratch(cursor); });
  scheme.resume();
  scheme.backward(result);
  return {};
}

BadRow compute_logits(infonce_context &c, const infonce_problem &problem, const infonce_output &logits) {
  begin_call(c.pool, problem);
  return simclr_logits(problem, c.kernels, c.pool, c.workspace, logits.data);
}

int64_t bytes_of_run(infonce_context &c, const infonce_problem &problem, uint32_t gradients) {
  begin_call(c.pool, problem);
  const Request request = {problem, gradients, false};
  build_pairs(problem, &c.pairs);
  int64_t most = 0;
  for (const Kind kind : kinds_for(problem, c.pairs)) {
    const std::unique_ptr<Scheme> scheme = make_scheme(kind, c, request, c.pairs);
    Workspace::Cursor count(nullptr);
    scheme->take_kept(count);
    scheme->take_scratch(count);
    most = std::max(most, int64_t(count.used()) + scheme->tables());
  }
  return most + c.pairs.bytes();
}

}  // namespace infonce::cpu
