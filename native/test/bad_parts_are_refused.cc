// Parts, and calls to be opened, that are wrong, not finite or cancelled.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <utility>

#include "test/context.h"
#include "test/forms.h"
#include "test/parts.h"

namespace infonce::test {

namespace {

// The block of the only further matrix.
int block_of_further(const infonce_problem &problem) {
  for (int b = 0; b < problem.block_count; ++b) {
    if (is_candidate_alone(problem, problem.blocks[b].candidates)) {
      return b;
    }
  }
  return -1;
}

int matrix_of_further(const infonce_problem &problem) { return problem.blocks[block_of_further(problem)].candidates; }

Context make_context() { return {instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2}; }

void check_refused(const Inputs &whole, const std::string &what, const std::function<void(infonce_part &)> &spoil) {
  CAPTURE(what);
  const Context context = make_context();
  Split split = in_one_part(whole);
  split.parts.resize(1);
  for (const bool in_gradient : {false, true}) {
    const OpenedCall call(context, whole, split);
    Part part(whole, split.parts.front());
    infonce_failure failure = empty_failure();
    if (!in_gradient) {
      spoil(part.part);
      CHECK(call.add(part.part, failure) == INFONCE_INVALID_ARGUMENT);
    } else {
      call.add_parts();
      Output output(whole);
      call.close(output);
      infonce_upstream upstream{};
      upstream.struct_size = sizeof(upstream);
      REQUIRE(backend().open_gradient(context.handle(), call.handle(), &upstream, &failure) == INFONCE_OK);
      spoil(part.part);
      const infonce_output nothing{};
      CHECK(backend().add_gradient(context.handle(), call.handle(), &part.part, &nothing, &failure) ==
            INFONCE_INVALID_ARGUMENT);
    }
    CHECK(failure.matrix == INFONCE_NO_MATRIX);
    CHECK(std::string(failure.message) != "");
  }
}

#define REFUSES_PART(whole, ...) check_refused(whole, #__VA_ARGS__, [&](infonce_part &part) { __VA_ARGS__; })

int block_of_own(const infonce_problem &problem) {
  for (int b = 0; b < problem.block_count; ++b) {
    if (problem.blocks[b].own != INFONCE_OWN_NONE) {
      return b;
    }
  }
  return -1;
}

int block_with_columns(const infonce_problem &problem) {
  for (int b = 0; b < problem.block_count; ++b) {
    if (problem.blocks[b].column_softmax >= 0) {
      return b;
    }
  }
  return -1;
}

}  // namespace

TEST_CASE("bad parts are refused") {
  for (const bool one_tower : {true, false}) {
    Form form = form_in_parts(one_tower);
    form.positive = one_tower ? form.positive : INFONCE_POSITIVE_SAME_INDEX;
    form.other_anchors = !one_tower;
    const Inputs whole = inputs_of(form);
    REFUSES_PART(whole, part.struct_size = 0);
    REFUSES_PART(whole, part.block = -1);
    REFUSES_PART(whole, part.block = whole.problem.block_count);
    REFUSES_PART(whole, part.block = INT32_MAX);
    REFUSES_PART(whole, part.block = block_with_columns(whole.problem));
    REFUSES_PART(whole, part.candidates.rows = 0);
    REFUSES_PART(whole, part.candidates.rows = -1);
    REFUSES_PART(whole, part.candidates.rows = INT64_MAX);
    REFUSES_PART(whole, part.candidates.row_stride = whole.problem.dim - 1);
    REFUSES_PART(whole, part.candidates.row_stride = INT64_MAX);
    REFUSES_PART(whole, part.candidates.data = nullptr);
    REFUSES_PART(whole, part.candidates.type = 3);
    REFUSES_PART(whole, part.candidates.residence = 2);
    const Buffer<float> bias(130);
    form.bias = false;
    const Inputs without = inputs_of(form);
    REFUSES_PART(without, part.candidates.bias = bias.data());
    Inputs by_id = inputs_of(form);
    const int further = block_of_further(by_id.problem);
    by_id.problem.blocks[further].left_out = INFONCE_LEAVE_OUT_SAME_ID;
    REFUSES_PART(by_id, part.block = further; part.candidates.ids = nullptr);
  }
  Form form;
  form.positive = INFONCE_POSITIVE_SAME_ID;
  form.rows = form.memory = 20;
  form.further = {9};
  form.dim = 3;
  const Inputs whole = inputs_of(form);
  REFUSES_PART(whole, part.block = 1);  // the memory's
}

TEST_CASE("bad parts where there are thresholds, smoothing or candidates of an anchor's own are refused") {
  Form form = form_in_parts(false);
  form.ids = 0;
  form.threshold = INFONCE_THRESHOLD_ABSOLUTE;
  const Inputs without = inputs_of(form);
  REFUSES_PART(without, part.candidates.guide = part.candidates.data);
  form.by_guide = true;
  const Inputs by_guide = inputs_of(form);
  REFUSES_PART(by_guide, part.candidates.guide = nullptr);
  REFUSES_PART(by_guide, part.candidates.guide_type = 3);
  form = form_in_parts(false);
  form.ids = 0;
  form.label_smoothing = 0.25;
  form.bias = false;
  Inputs smoothed = inputs_of(form);
  const int further = matrix_of_further(smoothed.problem);
  smoothed.bias[further] = Buffer<float>(100);
  smoothed.problem.matrices[further].bias = smoothed.bias[further].data();
  Buffer<float> left_out(130);
  std::fill(left_out.begin(), left_out.end(), -INFINITY);
  REFUSES_PART(smoothed, part.block = block_of_further(smoothed.problem); part.candidates.bias = left_out.data());
  form.label_smoothing = 0;
  form.own = 3;
  const Inputs own = inputs_of(form);
  REFUSES_PART(own, part.block = block_of_own(own.problem));
}

TEST_CASE("steps out of order are refused, and the call goes on") {
  const Context context = make_context();
  const Inputs whole = inputs_of(form_in_parts(false));
  Split split = in_one_part(whole);
  const Part part(whole, split.parts.front());
  const OpenedCall call(context, whole, split);
  Output output(whole);
  infonce_upstream upstream{};
  upstream.struct_size = sizeof(upstream);
  upstream.grad_output = whole.problem.grad_output;
  const infonce_output nothing{};
  infonce_failure failure = empty_failure();
  const auto refuses = [&](infonce_status status) {
    CHECK(status == INFONCE_INVALID_ARGUMENT);
    CHECK(std::string(failure.message) == "this step does not follow the one before");
    failure = empty_failure();
  };
  const auto add = [&] { return call.add(part.part, failure); };
  const auto close = [&] { return backend().close(context.handle(), call.handle(), &output.result, &failure); };
  const auto open_gradient = [&] {
    return backend().open_gradient(context.handle(), call.handle(), &upstream, &failure);
  };
  const auto add_gradient = [&] {
    return backend().add_gradient(context.handle(), call.handle(), &part.part, &nothing, &failure);
  };
  const auto close_gradient = [&] {
    return backend().close_gradient(context.handle(), call.handle(), &output.result, &failure);
  };
  const auto backward = [&] {
    return backend().backward(context.handle(), call.handle(), &upstream, &output.result, &failure);
  };
  refuses(open_gradient());
  refuses(add_gradient());
  refuses(close_gradient());
  refuses(backward());
  call.add_parts();
  CHECK(close() == INFONCE_OK);
  refuses(add());
  refuses(close());
  refuses(add_gradient());
  refuses(close_gradient());
  CHECK(open_gradient() == INFONCE_OK);
  refuses(add());
  refuses(close());
  CHECK(open_gradient() == INFONCE_OK);  // the pass begun anew
  CHECK(add_gradient() == INFONCE_OK);
  CHECK(close_gradient() == INFONCE_OK);
  refuses(close_gradient());
}

TEST_CASE("calls that cannot be opened are refused") {
  const Context context = make_context();
  const auto check = [&context](const infonce_problem &problem) {
    infonce_saved *saved = nullptr;
    infonce_failure failure = empty_failure();
    CHECK(backend().open(context.handle(), &problem, &saved, &failure) == INFONCE_INVALID_ARGUMENT);
    CHECK(saved == nullptr);
    CHECK(std::string(failure.message) != "");
  };
  Settings settings;
  settings.loss = Loss::kInfoNcePaired;
  settings.rows = 12;
  settings.dim = 5;
  settings.negative_rows = 3;
  check(Case(settings).problem);
  const Inputs whole = inputs_of(form_in_parts(false));
  for (int m = 0; m < whole.problem.matrix_count; ++m) {
    if (!is_candidate_alone(whole.problem, m)) {
      infonce_problem problem = whole.problem;
      problem.matrices[m].rows = 0;
      check(problem);
    }
  }
  infonce_problem problem = whole.problem;
  problem.struct_size = 0;
  check(problem);
  const auto open = [&context](infonce_problem &by_index, const std::function<void(infonce_problem &)> &spoil) {
    spoil(by_index);
    infonce_saved *saved = nullptr;
    infonce_failure failure = empty_failure();
    const infonce_status status = backend().open(context.handle(), &by_index, &saved, &failure);
    if (saved) {
      backend().saved_destroy(context.handle(), saved);
    }
    return status;
  };
  Form form;
  form.rows = form.keys = 12;
  form.further = {9};
  form.dim = 5;
  const Inputs by_index = inputs_of(form);
  const Buffer<int32_t> numbers(12);
  const int further = block_of_further(by_index.problem);
  const auto check_targets = [&](infonce_status expected, const std::function<void(infonce_problem &)> &spoil) {
    infonce_problem targets = by_index.problem;
    targets.softmaxes[0].targets = numbers.data();
    targets.blocks[further].left_out = INFONCE_LEAVE_OUT_TARGET;
    CHECK(open(targets, spoil) == expected);
  };
  check_targets(INFONCE_OK, [](infonce_problem &) {});
  check_targets(INFONCE_INVALID_ARGUMENT, [](infonce_problem &p) { p.softmaxes[0].targets = nullptr; });
  check_targets(INFONCE_INVALID_ARGUMENT, [&](infonce_problem &p) { p.blocks[further].left_out = 0; });
  check_targets(INFONCE_INVALID_ARGUMENT,
                [&](infonce_problem &p) { p.blocks[1 - further].left_out = INFONCE_LEAVE_OUT_TARGET; });
  check_targets(INFONCE_INVALID_ARGUMENT, [&](infonce_problem &p) { p.blocks[1 - further].column_softmax = 0; });
}

TEST_CASE("NaN and infinity in a part are reported with its block's matrix and its row, or make every result NaN") {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const Context context = make_context();
  for (const bool one_tower : {true, false}) {
    Form form = form_in_parts(one_tower);
    while (block_of_further(inputs_of(form).problem) == matrix_of_further(inputs_of(form).problem)) {
      ++form.seed;
    }
    Inputs whole = inputs_of(form);
    const int block = block_of_further(whole.problem);
    const int matrix = matrix_of_further(whole.problem);
    Split split = all_opened(whole);
    split.opened[matrix] = 0;
    split.parts = split.gradient_parts = {{block, 0, 30}, {block, 30, 70}};
    const auto check_reported = [&](float *number, float value) {
      const float before = std::exchange(*number, value);
      const OpenedCall call(context, whole, split);
      infonce_failure failure = empty_failure();
      CHECK_MESSAGE(call.add(Part(whole, split.parts[0]).part, failure) == INFONCE_OK, failure.message);
      CHECK(call.add(Part(whole, split.parts[1]).part, failure) == INFONCE_NON_FINITE);
      CHECK(failure.matrix == matrix);
      CHECK(failure.row == 47);
      *number = before;
    };
    float *const element = &whole.matrices[matrix][static_cast<size_t>(77 * whole.problem.dim + 63)];
    check_reported(element, kNan);
    check_reported(element, -kInfinity);
    whole.bias[matrix] = Buffer<float>(100);
    whole.problem.matrices[matrix].bias = whole.bias[matrix].data();
    check_reported(&whole.bias[matrix][77], kNan);
    check_reported(&whole.bias[matrix][77], kInfinity);

    *element = kNan;
    whole.problem.propagate_non_finite = 1;
    const Output got = run_in_parts(context, whole, split);
    CHECK(std::isnan(got.result.scalars.loss));
    CHECK(std::isnan(got.result.scalars.grad_scale));
    CHECK(std::isnan(got.result.scalars.top1));
    CHECK(all_nan(got.row_loss));
    CHECK(std::all_of(got.gradients.begin(), got.gradients.end(), all_nan));
  }
}

TEST_CASE("a step that is cancelled before it begins ends") {
  const Context context = make_context();
  const Inputs whole = inputs_of(form_in_parts(false));
  const Split split = in_one_part(whole);
  const OpenedCall call(context, whole, split);
  Part part(whole, split.parts.front());
  const int32_t cancelled = 1;
  part.part.cancelled = &cancelled;
  infonce_failure failure = empty_failure();
  CHECK(call.add(part.part, failure) == INFONCE_CANCELLED);
  CHECK(std::string(failure.message) != "");

  infonce_problem problem = whole.problem;
  problem.cancelled = &cancelled;
  infonce_saved *nothing = nullptr;
  CHECK(backend().open(context.handle(), &problem, &nothing, &failure) == INFONCE_CANCELLED);
  CHECK(nothing == nullptr);
}

}  // namespace infonce::test
