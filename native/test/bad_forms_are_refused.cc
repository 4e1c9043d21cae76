// Blocks, softmaxes, targets, ids and biases that the contract does not allow.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <string>

#include "test/context.h"
#include "test/forms.h"

namespace infonce::test {

namespace {

// Matrices by what they are in a problem.
struct Named {
  Inputs inputs;
  int anchors = 0;
  int keys = -1;  // or a memory
  int further = -1;
  int further_block = -1;
  int keys_block = -1;
};

Named named(const Form &form) {
  Named all;
  all.inputs = inputs_of(form);
  const infonce_problem &problem = all.inputs.problem;
  all.anchors = problem.softmaxes[0].anchors;
  for (int m = 0; m < problem.matrix_count; ++m) {
    (is_candidate_alone(problem, m) ? all.further : m == all.anchors ? all.anchors : all.keys) = m;
  }
  for (int b = 0; b < problem.block_count; ++b) {
    const int candidates = problem.blocks[b].candidates;
    all.further_block = candidates == all.further ? b : all.further_block;
    all.keys_block = candidates == all.keys ? b : all.keys_block;
  }
  return all;
}

Form form_of(infonce_positive positive) {
  Form form;
  form.positive = positive;
  form.rows = 12;
  form.views = positive == INFONCE_POSITIVE_ALL_VIEWS ? 3 : 1;
  form.memory = positive == INFONCE_POSITIVE_SAME_ID ? 8 : 0;
  form.keys = form.one_tower() ? 0 : 15;
  form.further = {9};
  form.dim = 5;
  form.ids = form.memory > 0 ? 0 : 4;
  return form;
}

using Spoil = std::function<void(infonce_problem &, infonce_result &)>;

// Runs the problem with one thing wrong, then as it should be.
void check_refused(const Inputs &good, const std::string &what, const Spoil &spoil) {
  CAPTURE(what);
  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2);
  Output output(good);
  infonce_problem problem = good.problem;
  infonce_result result = output.result;
  spoil(problem, result);
  infonce_failure failure = empty_failure();
  CHECK(context.run(problem, result, failure) == INFONCE_INVALID_ARGUMENT);
  CHECK(failure.matrix == INFONCE_NO_MATRIX);
  CHECK(std::string(failure.message) != "");
  check_that_it_runs(context, good);
}

#define REFUSES(all, ...) \
  check_refused((all).inputs, #__VA_ARGS__, [&](infonce_problem &problem, infonce_result &result) { \
    (void)problem; \
    (void)result; \
    __VA_ARGS__; \
  })

constexpr infonce_positive kPositives[] = {INFONCE_POSITIVE_ALL_VIEWS, INFONCE_POSITIVE_SAME_ID,
                                           INFONCE_POSITIVE_SAME_INDEX, INFONCE_POSITIVE_TARGET};

}  // namespace

TEST_CASE("targets that are no rows of the positives are refused") {
  const Named all = named(form_of(INFONCE_POSITIVE_TARGET));
  Buffer<int32_t> targets(12);
  std::copy(all.inputs.targets.begin(), all.inputs.targets.end(), targets.begin());
  for (const int32_t target : {-1, 15, INT32_MAX, INT32_MIN}) {
    targets[11] = target;
    REFUSES(all, problem.softmaxes[0].targets = targets.data());
  }
  REFUSES(all, problem.softmaxes[0].targets = nullptr);
  REFUSES(all, problem.softmaxes[0].positive = INFONCE_POSITIVE_SAME_INDEX);
  REFUSES(all, result.gradients[all.keys].data = nullptr);
  REFUSES(all,
          problem.blocks[problem.block_count++] = block_of(all.anchors, all.anchors, 0, 0, INFONCE_LEAVE_OUT_SAME_ROW));
  const Named by_index = named(form_of(INFONCE_POSITIVE_SAME_INDEX));
  targets[11] = 0;
  REFUSES(by_index, problem.softmaxes[0].targets = targets.data());
  // Numbers of candidates are for calls that are opened.
  REFUSES(by_index, problem.softmaxes[0].targets = targets.data();
          problem.blocks[by_index.further_block].left_out |= INFONCE_LEAVE_OUT_TARGET);
  REFUSES(by_index, problem.blocks[by_index.further_block].left_out |= INFONCE_LEAVE_OUT_TARGET);
}

// Of calls that are opened, and there of one matrix with positives by id.
TEST_CASE("rows that meet parts alone are refused where there are none, or other pairs") {
  for (const infonce_positive positive : kPositives) {
    const Named all = named(form_of(positive));
    CAPTURE(positive);
    for (int b = 0; b < all.inputs.problem.block_count; ++b) REFUSES(all, problem.blocks[b].meets_parts_alone = 1);
  }
  Form tower = form_of(INFONCE_POSITIVE_SAME_ID);
  tower.memory = 0;
  tower.further.clear();
  REFUSES(named(tower), problem.blocks[0].meets_parts_alone = 1);
  REFUSES(named(tower), problem.blocks[0].meets_parts_alone = 2);
}

TEST_CASE("matrices and blocks that do not match are refused in any form") {
  for (const infonce_positive positive : kPositives) {
    const Named all = named(form_of(positive));
    CAPTURE(positive);
    REFUSES(all, problem.matrix_count = 8);  // matrices that nothing uses
    REFUSES(all, problem.blocks[all.further_block] = problem.blocks[--problem.block_count]);
    REFUSES(all, problem.blocks[problem.block_count++] = problem.blocks[all.further_block]);
    REFUSES(all, problem.matrices[all.further].rows = 0);
    REFUSES(all, problem.matrices[all.further].rows = (int64_t(1) << 30) + 1);
    REFUSES(all, problem.matrices[all.further].data = nullptr);
    REFUSES(all, result.gradients[all.further].residence = 2);
    REFUSES(all, problem.blocks[all.further_block].anchors = all.further);
    REFUSES(all, problem.blocks[all.further_block].column_softmax = 0);
    REFUSES(all, problem.blocks[all.further_block].row_softmax = 1);
    REFUSES(all, problem.blocks[all.further_block].own = 1);  // beside others
    REFUSES(all, problem.blocks[all.further_block].left_out |= INFONCE_LEAVE_OUT_SAME_ROW);
    REFUSES(all, problem.blocks[all.further_block].left_out |= 8);
    REFUSES(all, problem.softmaxes[0].positive_matrices |= bit_of(all.anchors) | bit_of(all.further));
  }
}

TEST_CASE("keys that do not match the anchors are refused") {
  const Named more = named(form_of(INFONCE_POSITIVE_SAME_INDEX));
  REFUSES(more, problem.matrices[more.keys].rows = 11);
  Form form = form_of(INFONCE_POSITIVE_SAME_INDEX);
  form.both_directions = true;
  form.keys = 12;
  const Named both = named(form);
  REFUSES(both, problem.matrices[both.keys].rows = 11);
}

TEST_CASE("a second softmax is the first the other way round") {
  Form form = form_of(INFONCE_POSITIVE_SAME_INDEX);
  form.both_directions = true;
  form.keys = 12;
  const Named all = named(form);
  Buffer<int32_t> targets(12);
  REFUSES(all, problem.softmaxes[1].anchors = all.anchors);
  REFUSES(all, problem.softmaxes[1].anchors = all.further);
  REFUSES(all, problem.softmaxes[1].positive_matrices = bit_of(all.keys));
  REFUSES(all, problem.softmaxes[1].positive_matrices = bit_of(all.further));
  REFUSES(all, problem.softmaxes[0].positive_matrices = bit_of(all.further));
  REFUSES(all, problem.softmaxes[0].margin = 0.1);
  REFUSES(all, problem.softmaxes[1].row_loss = INFONCE_ROW_LOSS_DECOUPLED);
  REFUSES(all, problem.softmaxes[0].weight = 0.75; problem.softmaxes[1].weight = 0.25);
  REFUSES(all, problem.softmaxes[1].positive = INFONCE_POSITIVE_TARGET; problem.softmaxes[1].targets = targets.data());
  REFUSES(all, problem.softmaxes[0].positive = problem.softmaxes[1].positive = INFONCE_POSITIVE_TARGET;
          problem.softmaxes[0].targets = problem.softmaxes[1].targets = targets.data());
  REFUSES(all, problem.blocks[all.keys_block].column_softmax = -1);  // which leaves it without candidates
  REFUSES(all, problem.softmax_count = 1);
}

TEST_CASE("joined sides go with as many keys, by index, without a bias, smoothing or candidates that one anchor sees") {
  Form form = form_of(INFONCE_POSITIVE_SAME_INDEX);
  form.keys = 12;
  form.joint = form.other_keys = form.keys_to_further = true;
  form.further = {24};
  const Named all = named(form);
  const Buffer<float> bias(24);
  Buffer<int32_t> targets(12);
  REFUSES(all, problem.matrices[all.further].bias = bias.data());
  REFUSES(all, problem.softmaxes[0].row_loss = INFONCE_ROW_LOSS_POSITIVE_AND_NEGATIVES);
  REFUSES(all, problem.softmaxes[0].positive = INFONCE_POSITIVE_TARGET; problem.softmaxes[0].targets = targets.data());
  REFUSES(all, problem.matrices[all.further].rows = 23);
  REFUSES(all, problem.blocks[all.keys_block].left_out ^= INFONCE_LEAVE_OUT_SAME_ROW);
  REFUSES(all, problem.blocks[all.keys_block].left_out |= 8);
  for (int b = 0; b < all.inputs.problem.block_count; ++b) {
    const infonce_block &block = all.inputs.problem.blocks[b];
    REFUSES(all, problem.blocks[b].row_softmax = 1);
    if (block.candidates != all.further) {
      REFUSES(all, problem.blocks[b].left_out |= INFONCE_LEAVE_OUT_OWN);
      continue;
    }
    REFUSES(all, problem.blocks[b].column_softmax = 0);
    REFUSES(all, problem.blocks[b].left_out = 0; problem.blocks[b].own = INFONCE_OWN_ALONE);
  }
  form.ids = 0;
  const Named without_ids = named(form);
  REFUSES(without_ids, problem.softmaxes[0].label_smoothing = 0.1);
  form.keys = 15;
  form.joint = form.other_keys = form.keys_to_further = false;
  const Named more = named(form);
  REFUSES(more, problem.blocks[more.keys_block].column_softmax = 0);
}

TEST_CASE("ids that are missing, or that positives have, leave nothing out") {
  for (const infonce_positive positive : kPositives) {
    const Named all = named(form_of(positive));
    CAPTURE(positive);
    if (positive == INFONCE_POSITIVE_SAME_ID) {
      for (int b = 0; b < all.inputs.problem.block_count; ++b) {
        REFUSES(all, problem.blocks[b].left_out |= INFONCE_LEAVE_OUT_SAME_ID);
      }
      continue;
    }
    const auto leave_out = [&](infonce_problem &problem) -> infonce_matrix & {
      problem.blocks[all.further_block].left_out |= INFONCE_LEAVE_OUT_SAME_ID;
      return problem.matrices[all.further];
    };
    REFUSES(all, leave_out(problem).ids = nullptr);
    REFUSES(all, leave_out(problem); problem.matrices[all.anchors].ids = nullptr);
  }
}

TEST_CASE("positives by id are refused with options that they cannot be combined with") {
  const auto add = [](infonce_problem &problem, const Named &all) -> infonce_block & {
    problem.blocks[all.further_block].left_out |= INFONCE_LEAVE_OUT_SAME_ID_POSITIVE;
    return problem.blocks[all.further_block];
  };
  for (const infonce_positive positive : kPositives) {
    Form form = form_of(positive);
    form.ids = form.one_tower() ? 0 : 4;
    form.stretch = 0;
    form.own = 0;
    form.bias = false;
    const Named all = named(form);
    CAPTURE(positive);
    if (form.one_tower() || form.other_anchors) {
      REFUSES(all, add(problem, all));
      continue;
    }
    REFUSES(all, add(problem, all).left_out |= INFONCE_LEAVE_OUT_SAME_ID);
    REFUSES(all, add(problem, all); problem.matrices[all.further].ids = nullptr);
    REFUSES(all, add(problem, all); problem.matrices[all.anchors].ids = nullptr);
    REFUSES(all, add(problem, all); problem.softmaxes[0].margin = 0.1);
    REFUSES(all, add(problem, all); problem.softmaxes[0].label_smoothing = 0.1);
    REFUSES(all, add(problem, all); problem.softmaxes[0].row_loss = INFONCE_ROW_LOSS_DECOUPLED);
    REFUSES(all, add(problem, all); problem.blocks[0].stretch = 1);
    REFUSES(all, add(problem, all).own = INFONCE_OWN_AMONG);
  }
}

TEST_CASE("parameters of a row loss that are out of range, or belong to another one, are refused") {
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  for (const infonce_positive positive : kPositives) {
    Form form = form_of(positive);
    form.ids = 0;
    const Named all = named(form);
    REFUSES(all, problem.softmaxes[0].row_loss = INFONCE_ROW_LOSSES);
    REFUSES(all, problem.softmaxes[0].margin = kNaN);
    REFUSES(all, problem.softmaxes[0].margin = INFINITY);
    REFUSES(all, problem.softmaxes[0].tau_plus = 0.1);
    REFUSES(all, problem.softmaxes[0].beta = 1);
    REFUSES(all, problem.softmaxes[0].mises_fisher_sigma = 0.5);
    REFUSES(all, problem.softmaxes[0].row_loss = INFONCE_ROW_LOSS_DEBIASED);  // of three views, or several blocks
    REFUSES(all, problem.softmaxes[0].further_candidates = 1);
    REFUSES(all, problem.softmaxes[0].label_smoothing = 0.1; problem.softmaxes[0].further_candidates = 1);
    REFUSES(all, problem.softmaxes[0].label_smoothing = 0.1; problem.softmaxes[0].further_candidates = -1);
    for (const double amount : {-0.1, 1.0, kNaN}) {
      REFUSES(all, problem.softmaxes[0].label_smoothing = amount);
    }
    REFUSES(all, problem.softmaxes[0].label_smoothing = 0.1;
            problem.softmaxes[0].row_loss = INFONCE_ROW_LOSS_POSITIVE_AND_NEGATIVES);
    if (form.one_tower()) {
      REFUSES(all, problem.softmaxes[0].margin = 0.1);
      REFUSES(all, problem.softmaxes[0].label_smoothing = 0.1;
              problem.softmaxes[0].row_loss = INFONCE_ROW_LOSS_MEAN_INSIDE);
    } else {
      Buffer<float> bias(15);
      bias[3] = -INFINITY;
      REFUSES(all, problem.softmaxes[0].label_smoothing = 0.1; problem.matrices[all.keys].bias = bias.data());
      const Named by_ids = named(form_of(positive));
      REFUSES(by_ids, problem.softmaxes[0].label_smoothing = 0.1);
    }
  }
  Form form = form_of(INFONCE_POSITIVE_ALL_VIEWS);
  form.views = 2;
  form.ids = 0;
  form.further = {};
  Named debiased = named(form);
  debiased.inputs.problem.softmaxes[0].row_loss = INFONCE_ROW_LOSS_DEBIASED;
  for (const double tau_plus : {-0.1, 1.0, kNaN}) {
    REFUSES(debiased, problem.softmaxes[0].tau_plus = tau_plus);
  }
  for (const double beta : {-0.1, 1e4, kNaN}) {
    REFUSES(debiased, problem.softmaxes[0].beta = beta);
  }
  REFUSES(debiased, problem.softmaxes[0].mises_fisher_sigma = 0.5);
  Named decoupled = named(form);
  decoupled.inputs.problem.softmaxes[0].row_loss = INFONCE_ROW_LOSS_DECOUPLED;
  for (const double sigma : {-0.5, 1e-31, 1e31, kNaN}) {
    REFUSES(decoupled, problem.softmaxes[0].mises_fisher_sigma = sigma);
  }
  decoupled.inputs.problem.softmaxes[0].mises_fisher_sigma = 0.5;
  REFUSES(decoupled, problem.matrices[0].views = 3);
  REFUSES(decoupled, problem.softmaxes[0].row_loss = INFONCE_ROW_LOSS_CROSS_ENTROPY);
}

TEST_CASE("rows that are all of one class have no decoupled loss") {
  Form form = form_of(INFONCE_POSITIVE_SAME_ID);
  form.further = {};
  const Named all = named(form);
  const Buffer<int32_t> same(12);
  REFUSES(all, problem.softmaxes[0].row_loss = INFONCE_ROW_LOSS_DECOUPLED;
          for (infonce_matrix &matrix
               : problem.matrices) matrix.ids = same.data());
}

TEST_CASE("a bias of candidates whose columns feed a softmax is refused") {
  const Buffer<float> bias(20);
  for (const auto positive : {INFONCE_POSITIVE_ALL_VIEWS, INFONCE_POSITIVE_SAME_ID, INFONCE_POSITIVE_SAME_INDEX}) {
    Form form = form_of(positive);
    form.other_anchors = !form.one_tower();
    const Named all = named(form);
    CAPTURE(positive);
    REFUSES(all, problem.matrices[all.anchors].bias = bias.data());
  }
  const Named two_towers = named(form_of(INFONCE_POSITIVE_SAME_INDEX));
  REFUSES(two_towers, problem.matrices[two_towers.anchors].bias = bias.data());
  Form form = form_of(INFONCE_POSITIVE_SAME_INDEX);
  form.both_directions = true;
  form.keys = 12;
  const Named both = named(form);
  REFUSES(both, problem.matrices[both.keys].bias = bias.data());
}

TEST_CASE("a gradient of a memory is refused with further candidates, too") {
  const Named all = named(form_of(INFONCE_POSITIVE_SAME_ID));
  const Buffer<float> gradient(40);
  REFUSES(all, result.gradients[all.keys].data = gradient.data());
}

// Anchors that see candidates of their own alone.
struct OwnAlone {
  Case inputs;

  OwnAlone() : inputs(settings()) {}
  static Settings settings() {
    Settings settings;
    settings.loss = Loss::kInfoNcePaired;
    settings.rows = 12;
    settings.dim = 5;
    settings.negative_rows = 3;
    return settings;
  }
};

TEST_CASE("own candidates go with no bias, no ids that leave out, no positives, and alone with no targets") {
  const OwnAlone all;
  const Buffer<float> bias(36);
  const Buffer<int32_t> ids(36);
  REFUSES(all, problem.matrices[kNegatives].bias = bias.data());
  REFUSES(all, problem.blocks[0].left_out = INFONCE_LEAVE_OUT_SAME_ID;
          problem.matrices[kAnchors].ids = problem.matrices[kNegatives].ids = ids.data());
  REFUSES(all, problem.softmaxes[0].positive = INFONCE_POSITIVE_TARGET; problem.softmaxes[0].targets = ids.data());
  REFUSES(all, problem.softmaxes[0].row_loss = INFONCE_ROW_LOSS_DECOUPLED);
  REFUSES(all, problem.matrices[kKeys].rows = 13);

  Form form = form_of(INFONCE_POSITIVE_SAME_INDEX);
  form.further = {12, 24};
  const Named beside = named(form);
  const auto set_own = [](infonce_problem &problem, int64_t rows) -> infonce_block & {
    int b = 0;
    while (problem.matrices[problem.blocks[b].candidates].rows != rows) {
      ++b;
    }
    problem.blocks[b].own = INFONCE_OWN_ALONE;
    return problem.blocks[b];
  };
  for (const int32_t own : {-1, 3}) {
    REFUSES(beside, set_own(problem, 24).own = own);
  }
  REFUSES(beside, set_own(problem, 24).own_stretch = 1);
  REFUSES(beside, set_own(problem, 24).own = INFONCE_OWN_AMONG; set_own(problem, 12));
  REFUSES(beside, infonce_block &block = set_own(problem, 24); block.own = INFONCE_OWN_AMONG;
          problem.matrices[block.candidates].rows = 25);
  REFUSES(beside, set_own(problem, 12); set_own(problem, 24));
  REFUSES(beside, problem.matrices[set_own(problem, 24).candidates].bias = bias.data());
  REFUSES(beside, set_own(problem, 24).column_softmax = 0);
  REFUSES(beside, set_own(problem, 24).left_out = INFONCE_LEAVE_OUT_SAME_ROW);
  REFUSES(beside, problem.matrices[set_own(problem, 24).candidates].rows = 25);
  form.positive = INFONCE_POSITIVE_TARGET;
  const Named by_target = named(form);
  REFUSES(by_target, set_own(problem, 24).own = INFONCE_OWN_AMONG);
  REFUSES(beside, problem.softmaxes[0].positive_matrices = bit_of(set_own(problem, 24).candidates));
}

TEST_CASE("counts are of own candidates, and no more than there are") {
  const OwnAlone all;
  Buffer<int32_t> counts(12);
  for (const int32_t count : {-1, 4, INT32_MAX, INT32_MIN}) {
    counts[11] = count;
    REFUSES(all, problem.matrices[kNegatives].counts = counts.data());
  }
  counts[11] = 0;
  REFUSES(all, problem.matrices[kAnchors].counts = counts.data());
  REFUSES(all, problem.matrices[kKeys].counts = counts.data());
}

TEST_CASE("a stretch of logits that two rows share, or that have a bias, is refused") {
  const Buffer<float> bias(40);
  for (const infonce_positive positive : kPositives) {
    Form form = form_of(positive);
    form.other_anchors = positive == INFONCE_POSITIVE_SAME_INDEX;
    const Named all = named(form);
    CAPTURE(positive);
    for (const double stretch : std::initializer_list<double>{-1, -INFINITY, INFINITY, NAN, 1e31}) {
      REFUSES(all, problem.blocks[all.further_block].stretch = stretch);
    }
    if (form.one_tower()) {
      REFUSES(all, problem.blocks[all.further_block].stretch = 1);
      continue;
    }
    REFUSES(all, problem.blocks[all.further_block].stretch = 1; problem.matrices[all.further].bias = bias.data());
    REFUSES(all, problem.blocks[all.further_block].stretch = 1;
            problem.softmaxes[0].row_loss = INFONCE_ROW_LOSS_DECOUPLED);
    for (int b = 0; b < all.inputs.problem.block_count; ++b) {
      if (all.inputs.problem.blocks[b].column_softmax >= 0) {
        REFUSES(all, problem.blocks[b].stretch = 1);
      }
    }
  }
}

}  // namespace infonce::test
