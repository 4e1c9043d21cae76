// Random forms of problems, by every instruction set, precision and thread count, against float64; and the reference
// against finite differences of itself.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "test/agreement.h"
#include "test/context.h"
#include "test/engines.h"
#include "test/forms.h"
#include "test/reference.h"

namespace infonce::test {

namespace {

void check_inputs(const std::vector<Engine> &engines, const Inputs &inputs) {
  const Reference exact = reference(inputs);
  std::map<infonce_precision, Expectation> expected;
  for (const Engine &engine : engines) {
    CAPTURE(engine.name);
    const Output got = run_with_rows(*engine.context, inputs);
    expected.try_emplace(engine.precision, inputs, engine.precision, exact).first->second.check(got);
  }
}

void check_form(const std::vector<Engine> &engines, const Form &form) {
  INFO(describe(form));
  check_inputs(engines, inputs_of(form));
}

double loss_of(const Inputs &inputs) {
  const std::vector<double> rows = reference(inputs).row_loss;
  const Buffer<float> &upstream = inputs.grad_output;
  double loss = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    loss += rows[i] * (upstream.size() == 0 ? 1 : upstream[upstream.size() == 1 ? 0 : i]);
  }
  const bool mean = inputs.problem.reduction == INFONCE_REDUCTION_MEAN;
  return mean ? loss / static_cast<double>(rows.size()) : loss;
}

// The matrix in steps along and against its gradient: (the difference of the losses, what the gradient predicts).
void check_slope(const Inputs &inputs, int m, const std::vector<double> &gradient) {
  constexpr double kStep = 1.0 / 512;
  double length = 0;
  for (const double value : gradient) {
    length = std::hypot(length, value);
  }
  const Buffer<float> &matrix = inputs.matrices[m];
  const std::vector<float> before(matrix.begin(), matrix.end());
  const auto move = [&](double step) {
    for (size_t k = 0; k < matrix.size(); ++k) {
      matrix[k] = static_cast<float>(before[k] + step * gradient[k] / length);
    }
    return std::vector<float>(matrix.begin(), matrix.end());
  };
  const std::vector<float> behind = move(-kStep);
  const double loss_behind = loss_of(inputs);
  const std::vector<float> ahead = move(kStep);
  const double loss_ahead = loss_of(inputs);
  std::copy(before.begin(), before.end(), matrix.begin());
  double predicted = 0;
  for (size_t k = 0; k < gradient.size(); ++k) {
    predicted += gradient[k] * (static_cast<double>(ahead[k]) - behind[k]);
  }
  CAPTURE(m);
  CHECK(std::abs(loss_ahead - loss_behind - predicted) <= 1e-4 * predicted);
}

}  // namespace

TEST_CASE("the reference's gradients are its slopes") {
  for (uint32_t seed = 0; seed < 32; ++seed) {
    Form form = random_form(seed);
    form.temperature = 0.5;
    form.halves = form.counted = false;
    form.stretch = 0;  // which has no gradient
    INFO(describe(form));
    Inputs inputs = inputs_of(form);
    const Reference exact = reference(inputs);
    for (int m = 0; m < inputs.problem.matrix_count; ++m) {
      // Of one candidate, or in one dimension, the gradient is 0.
      if (std::abs(exact.loss) > 1e-9 && form.dim > 1) {
        check_slope(inputs, m, exact.gradients[static_cast<size_t>(m)]);
      }
    }
    constexpr double kStep = 1e-4;
    inputs.problem.scale += kStep;
    const double ahead = loss_of(inputs);
    inputs.problem.scale -= 2 * kStep;
    const double slope = (ahead - loss_of(inputs)) / (2 * kStep);
    CHECK(std::abs(slope - exact.grad_scale) <= 1e-6 * exact.grad_scale_size + 1e-9);
  }
}

TEST_CASE("random forms match the reference") {
  const std::vector<Engine> all = engines();
  const uint32_t count = simulated() ? 16 : 240;
  for (uint32_t seed = 0; seed < count; ++seed) {
    check_form(all, random_form(seed));
  }
}

TEST_CASE("forms of many tiles match the reference" * doctest::skip(simulated())) {
  const std::vector<Engine> best = best_engines({INFONCE_PRECISION_HIGHEST, INFONCE_PRECISION_MEDIUM});
  for (uint32_t seed = 500; seed < 508; ++seed) {
    Form form = random_form(seed);
    // All at once in some of them: 2048 rows of anchors, keys and further candidates, and more.
    const int64_t views = form.views;
    form.rows = seed % 3 == 0 ? 300 : 2100 / views * views;
    form.keys = form.one_tower() ? 0 : form.rows + (form.both_directions || form.joins_sides() ? 0 : 350);
    form.further.resize(1 + seed % 2, 2500);
    form.memory = form.memory > 0 ? 2200 : 0;
    form.dim = 3 + seed % 5;
    form.ids = form.ids > 0 ? 30 : 0;
    form.grad_output_count = form.reduction == INFONCE_REDUCTION_NONE ? form.rows : 1;
    check_form(best, form);
  }
}

TEST_CASE("positives by id beside those by index match the reference") {
  const std::vector<Engine> all = engines();
  uint32_t seed = 16;  // of forms whose rows of equal id may be further positives
  for (const bool in_batch : {true, false}) {
    for (const auto positive : {INFONCE_POSITIVE_SAME_INDEX, INFONCE_POSITIVE_TARGET}) {
      for (const bool both : {false, true}) {
        if (both && (!in_batch || positive == INFONCE_POSITIVE_TARGET)) {
          continue;
        }
        // All of one id, a few large classes, pairs of rows, none.
        for (const int32_t ids : {1, 4, 90, 5000}) {
          Form form;
          form.seed = seed;
          form.positive = positive;
          form.rows = simulated() ? 34 : 130;
          form.keys = form.rows + (both ? 0 : 20);
          form.in_batch = in_batch;
          form.both_directions = both;
          form.further = {70, 9};
          form.dim = 24;
          form.ids = ids;
          form.bias = ids == 4;
          form.reduction = ids == 90 ? INFONCE_REDUCTION_NONE : INFONCE_REDUCTION_MEAN;
          form.grad_output_count = ids == 90 ? form.rows : 0;
          check_form(all, form);
          seed = 16 + (seed + 1) % 4;  // another order of the matrices and blocks
        }
      }
    }
  }
}

TEST_CASE("as many matrices and blocks as there may be match the reference") {
  const std::vector<Engine> all = engines_for_rules();
  for (const infonce_positive positive : {INFONCE_POSITIVE_ALL_VIEWS, INFONCE_POSITIVE_SAME_INDEX}) {
    Form form;
    form.positive = positive;
    form.rows = 66;
    form.views = form.one_tower() ? 2 : 1;
    form.keys = form.one_tower() ? 0 : 71;
    form.other_anchors = !form.one_tower();
    form.further = {3, 64, 1, 17, 40, 65};
    form.further.resize(form.one_tower() ? 7 : 6, 9);
    form.dim = 37;
    form.ids = 20;
    form.bias = true;
    check_form(all, form);
  }
}

TEST_CASE("a key that is the positive of many anchors, and of none, matches the reference") {
  const std::vector<Engine> all = engines_for_rules();
  for (const int64_t keys : {1, 2, 200}) {
    Form form;
    form.positive = INFONCE_POSITIVE_TARGET;
    form.rows = 200;
    form.keys = keys;
    form.further = {30};
    form.dim = 64;
    for (const bool in_batch : {true, false}) {
      form.in_batch = in_batch;
      INFO(describe(form));
      const Inputs inputs = inputs_of(form);
      for (int32_t &target : inputs.targets) {
        target %= 2;
      }
      check_inputs(all, inputs);
    }
  }
}

namespace {

// With a bias of every further candidate.
Inputs with_bias(const Form &form, float (*bias_of)(size_t row)) {
  Inputs inputs = inputs_of(form);
  for (int m = 0; m < inputs.problem.matrix_count; ++m) {
    if (is_candidate_alone(inputs.problem, m)) {
      inputs.bias[m] = Buffer<float>(static_cast<size_t>(inputs.problem.matrices[m].rows));
      for (size_t j = 0; j < inputs.bias[m].size(); ++j) {
        inputs.bias[m][j] = bias_of(j);
      }
      inputs.problem.matrices[m].bias = inputs.bias[m].data();
    }
  }
  return inputs;
}

Form form_with_further(infonce_positive positive) {
  Form form;
  form.positive = positive;
  form.rows = 66;
  form.views = positive == INFONCE_POSITIVE_SAME_ID || !form.one_tower() ? 1 : 2;
  form.keys = form.one_tower() ? 0 : 70;
  form.further = {65};
  form.dim = 64;
  return form;
}

constexpr infonce_positive kPositives[] = {INFONCE_POSITIVE_FIRST_VIEW, INFONCE_POSITIVE_ALL_VIEWS,
                                           INFONCE_POSITIVE_SAME_ID, INFONCE_POSITIVE_SAME_INDEX,
                                           INFONCE_POSITIVE_TARGET};

}  // namespace

TEST_CASE("a bias far beyond the logits matches the reference") {
  const std::vector<Engine> all = engines_for_rules();
  for (const infonce_positive positive : kPositives) {
    for (const double temperature : {0.5, 0.07, 0.01}) {
      Form form = form_with_further(positive);
      form.temperature = temperature;
      INFO(describe(form));
      check_inputs(all, with_bias(form, [](size_t j) { return j % 8 == 0 ? 64.0F : 0.0F; }));
      check_inputs(all, with_bias(form, [](size_t j) { return j % 8 == 0 ? -256.0F : 1.0F; }));
      check_inputs(all, with_bias(form, [](size_t) { return -1024.0F; }));
    }
  }
}

TEST_CASE("candidates that a bias of -infinity leaves out have no effect") {
  const std::vector<Engine> all = engines_for_rules();
  for (const infonce_positive positive : kPositives) {
    const Form form = form_with_further(positive);
    INFO(describe(form));
    const Inputs inputs = with_bias(form, [](size_t) { return -INFINITY; });
    check_inputs(all, inputs);
    for (const Engine &engine : all) {
      const Output got = run(*engine.context, inputs);
      for (int m = 0; m < inputs.problem.matrix_count; ++m) {
        const Buffer<float> &gradient = got.gradients[m];
        CHECK(all_zero(gradient) == is_candidate_alone(inputs.problem, m));
      }
    }
  }
}

TEST_CASE("a row whose every candidate but its positive is left out has a loss and gradients of zero") {
  const std::vector<Engine> all = engines_for_rules();
  for (const infonce_positive positive : {INFONCE_POSITIVE_SAME_INDEX, INFONCE_POSITIVE_TARGET}) {
    for (const double temperature : {0.1, 0.001}) {
      Form form = form_with_further(positive);
      form.further = {};
      form.ids = 1;
      form.temperature = temperature;
      form.reduction = INFONCE_REDUCTION_NONE;
      INFO(describe(form));
      const Inputs inputs = inputs_of(form);
      for (const Engine &engine : all) {
        CAPTURE(engine.name);
        const Output got = run_with_rows(*engine.context, inputs);
        CHECK(got.result.scalars.loss == 0);
        CHECK(got.result.scalars.grad_scale == 0);
        CHECK(got.result.scalars.top1 == 1);
        CHECK(all_zero(got.row_loss));
        for (const Buffer<float> &gradient : got.gradients) {
          CHECK(all_zero(gradient));
        }
      }
    }
  }
}

TEST_CASE("a finite bias is smoothed with the rest of its logits") {
  const std::vector<Engine> all = engines_for_rules();
  for (const infonce_positive positive :
       {INFONCE_POSITIVE_FIRST_VIEW, INFONCE_POSITIVE_SAME_INDEX, INFONCE_POSITIVE_TARGET}) {
    for (const bool in_batch : {true, false}) {
      Form form = form_with_further(positive);
      form.in_batch = in_batch;
      Inputs inputs = with_bias(form, [](size_t j) { return static_cast<float>(j % 3); });
      inputs.problem.softmaxes[0].label_smoothing = 0.25;
      INFO(describe(form));
      check_inputs(all, inputs);
    }
  }
}

TEST_CASE("debiased losses match the reference where their estimate is clamped and where it is not") {
  const std::vector<Engine> all = engines_for_rules();
  for (const double tau_plus : {0.0, 0.1, 0.9}) {
    for (const double temperature : {0.5, 0.07, 0.002}) {
      Form form = form_with_further(INFONCE_POSITIVE_ALL_VIEWS);
      form.further = {};
      form.temperature = temperature;
      Inputs inputs = inputs_of(form);
      inputs.problem.softmaxes[0].row_loss = INFONCE_ROW_LOSS_DEBIASED;
      inputs.problem.softmaxes[0].tau_plus = tau_plus;
      CAPTURE(tau_plus);
      INFO(describe(form));
      for (const double beta : {0.0, 0.5, 2.0}) {
        CAPTURE(beta);
        inputs.problem.softmaxes[0].beta = beta;
        check_inputs(all, inputs);
      }
    }
  }
}

TEST_CASE("decoupled losses with weights of their positives match the reference") {
  const std::vector<Engine> all = engines_for_rules();
  for (const infonce_positive positive : {INFONCE_POSITIVE_FIRST_VIEW, INFONCE_POSITIVE_ALL_VIEWS}) {
    for (const double temperature : {0.5, 0.07, 0.002}) {
      Form form = form_with_further(positive);
      form.views = 2;
      form.temperature = temperature;
      if (positive == INFONCE_POSITIVE_FIRST_VIEW) form.further = {};
      Inputs inputs = inputs_of(form);
      inputs.problem.softmaxes[0].row_loss = INFONCE_ROW_LOSS_DECOUPLED;
      INFO(describe(form));
      for (const double sigma : {0.5, 0.02, 0.001, 1e-30, 1e30}) {
        CAPTURE(sigma);
        inputs.problem.softmaxes[0].mises_fisher_sigma = sigma;
        check_inputs(all, inputs);
      }
    }
  }
}

TEST_CASE("a mean inside the logarithm and smoothing match the reference, of few and of many positives") {
  const std::vector<Engine> all = engines_for_rules();
  for (const infonce_positive positive : {INFONCE_POSITIVE_ALL_VIEWS, INFONCE_POSITIVE_SAME_ID}) {
    for (const double temperature : {0.5, 0.07, 0.002}) {
      for (const bool normalize : {true, false}) {
        Form form = form_with_further(positive);
        form.views = positive == INFONCE_POSITIVE_ALL_VIEWS ? 22 : 1;
        form.temperature = temperature;
        form.normalize = normalize;
        Inputs inputs = inputs_of(form);
        INFO(describe(form));
        inputs.problem.softmaxes[0].row_loss = INFONCE_ROW_LOSS_MEAN_INSIDE;
        check_inputs(all, inputs);
        inputs.problem.softmaxes[0].row_loss = INFONCE_ROW_LOSS_CROSS_ENTROPY;
        inputs.problem.softmaxes[0].label_smoothing = 0.25;
        check_inputs(all, inputs);
      }
    }
  }
}

TEST_CASE("own candidates and keys with a bias match the reference") {
  const std::vector<Engine> all = engines_for_rules();
  Settings settings;
  settings.loss = Loss::kInfoNcePaired;
  settings.rows = 66;
  settings.dim = 64;
  settings.negative_rows = 7;
  Case problem(settings);
  Buffer<float> &bias = problem.bias[kKeys];
  bias = Buffer<float>(66);
  for (size_t j = 0; j < bias.size(); ++j) {
    bias[j] = static_cast<float>(j % 5) - 2;
  }
  problem.problem.matrices[kKeys].bias = bias.data();
  check_inputs(all, problem);
  problem.problem.softmaxes[0].margin = 0.25;
  check_inputs(all, problem);
  problem.problem.matrices[kKeys].bias = nullptr;
  check_inputs(all, problem);
}

TEST_CASE("own candidates alone, fewer of some anchors and with hardness, match the reference") {
  const std::vector<Engine> all = engines_for_rules();
  Settings settings;
  settings.loss = Loss::kInfoNcePaired;
  settings.rows = 66;
  settings.negative_rows = 7;
  for (const int64_t dim : {5, 64}) {
    settings.dim = dim;
    Case problem(settings);
    problem.problem.blocks[0].stretch = 5;
    check_inputs(all, problem);
    problem.counts = Buffer<int32_t>(66);
    for (size_t i = 0; i < problem.counts.size(); ++i) {
      problem.counts[i] = static_cast<int32_t>(i % 8);
      float *own = problem.matrices[kNegatives].data() + i * 7 * static_cast<size_t>(dim);
      std::fill(own + problem.counts[i] * dim, own + 7 * dim, NAN);
    }
    problem.problem.matrices[kNegatives].counts = problem.counts.data();
    check_inputs(all, problem);
  }
}

TEST_CASE("counts of all own candidates change no bit, and a stretch of 0 is none") {
  const std::vector<Engine> all = engines_for_rules();
  for (const int64_t further : {0, 30}) {
    Form form;
    form.rows = form.keys = 66;
    form.dim = 64;
    form.own = 3;
    form.further.resize(further > 0 ? 1 : 0, further);
    const Inputs without = inputs_of(form);
    Inputs with = inputs_of(form);
    Buffer<int32_t> counts(66);
    std::fill(counts.begin(), counts.end(), 3);
    for (int m = 0; m < with.problem.matrix_count; ++m) {
      with.problem.matrices[m].counts = with.problem.matrices[m].rows == 198 ? counts.data() : nullptr;
    }
    for (const Engine &engine : all) {
      CHECK(identical(run(*engine.context, without), run(*engine.context, with)));
    }
  }
}

}  // namespace infonce::test
