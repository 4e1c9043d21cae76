#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <string>

#include "test/case.h"
#include "test/context.h"

namespace infonce::test {

namespace {

using Spoil = std::function<void(infonce_problem &, infonce_result &)>;

Settings settings_of(Loss loss) {
  Settings settings;
  settings.loss = loss;
  settings.rows = 12;
  settings.dim = 5;
  settings.negative_rows = 3;
  settings.reduction = INFONCE_REDUCTION_NONE;
  settings.grad_output_count = 12;
  return settings;
}

void check_invalid(infonce_status status, const infonce_failure &failure) {
  CHECK(status == INFONCE_INVALID_ARGUMENT);
  CHECK(failure.matrix == INFONCE_NO_MATRIX);
  CHECK(std::string(failure.message) != "");
}

// Runs the case with one thing wrong, then as it should be.
void check_refused(Loss loss, const std::string &what, const Spoil &spoil) {
  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 2);
  const Case good(settings_of(loss));
  Output output(good);
  infonce_problem problem = good.problem;
  infonce_result result = output.result;
  spoil(problem, result);

  INFO(describe(good.settings));
  CAPTURE(what);
  infonce_failure failure = empty_failure();
  check_invalid(context.run(problem, result, failure), failure);
  check_that_it_runs(context, good);
}

#define REFUSES(loss, ...) \
  check_refused(loss, #__VA_ARGS__, [=](infonce_problem &problem, infonce_result &result) { \
    (void)problem; \
    (void)result; \
    __VA_ARGS__; \
  })

constexpr Loss kOfOneTower[] = {Loss::kNtXentFirst, Loss::kNtXentAll, Loss::kSupCon, Loss::kSupConMemory};
constexpr Loss kOfTwoTowers[] = {Loss::kInfoNceInBatch, Loss::kInfoNceUnpaired, Loss::kInfoNcePaired, Loss::kClip};
constexpr Loss kOfNegatives[] = {Loss::kInfoNceUnpaired, Loss::kInfoNcePaired};

int matrices_of(Loss loss) { return Case(settings_of(loss)).problem.matrix_count; }

}  // namespace

TEST_CASE("sizes that are out of range or do not match are refused") {
  for (const Loss loss : kLosses) {
    REFUSES(loss, problem.struct_size = 0);
    REFUSES(loss, result.struct_size = 0);
    REFUSES(loss, problem.dim = 0);
    REFUSES(loss, problem.dim = -1);
    REFUSES(loss, problem.dim = INT64_MAX / 2);
    REFUSES(loss, problem.grad_output.count = 7);
    REFUSES(loss, problem.grad_output.count = -1);
    REFUSES(loss, problem.reduction = INFONCE_REDUCTION_SUM);  // with an upstream gradient for each row
    for (int m = 0; m < matrices_of(loss); ++m) {
      REFUSES(loss, problem.matrices[m].rows = 0);
      REFUSES(loss, problem.matrices[m].rows = -12);
      REFUSES(loss, problem.matrices[m].rows = INT64_MAX);
      REFUSES(loss, problem.matrices[m].row_stride = 4);
      REFUSES(loss, problem.matrices[m].row_stride = -1);
      REFUSES(loss, problem.matrices[m].row_stride = INT64_MAX);
    }
  }
  for (const Loss loss : {Loss::kNtXentFirst, Loss::kNtXentAll}) {
    REFUSES(loss, problem.matrices[kAnchors].views = 0);
    REFUSES(loss, problem.matrices[kAnchors].views = 1);
    REFUSES(loss, problem.matrices[kAnchors].views = 5);
    REFUSES(loss, problem.matrices[kAnchors].views = -2);
  }
  for (const Loss loss : kOfTwoTowers) {
    REFUSES(loss, problem.matrices[kKeys].rows = 11);
  }
  REFUSES(Loss::kInfoNcePaired, problem.matrices[kNegatives].rows = 35);
  REFUSES(Loss::kInfoNceUnpaired, problem.matrices[kNegatives].rows = (int64_t(1) << 30) + 1);
  REFUSES(Loss::kInfoNcePaired,
          problem.matrices[kNegatives].rows = problem.matrices[kAnchors].rows * ((int64_t(1) << 30) + 1));
  REFUSES(Loss::kSupConMemory, problem.matrices[kMemory].rows = int64_t(1) << 30);
}

TEST_CASE("counts that are out of range are refused") {
  for (const Loss loss : kLosses) {
    for (const int32_t count : {0, -1, 5, INT32_MAX, INT32_MIN}) {
      REFUSES(loss, problem.matrix_count = count);
      REFUSES(loss, problem.block_count = count);
      REFUSES(loss, problem.softmax_count = count);
    }
    REFUSES(loss, problem.softmax_count = INFONCE_MOST_SOFTMAXES + 1);
  }
}

TEST_CASE("matrices that a problem does not have are refused") {
  for (const Loss loss : kLosses) {
    for (const int32_t matrix : {-1, matrices_of(loss), INT32_MAX, INT32_MIN}) {
      REFUSES(loss, problem.blocks[0].anchors = matrix);
      REFUSES(loss, problem.blocks[0].candidates = matrix);
      REFUSES(loss, problem.softmaxes[0].anchors = matrix);
    }
    REFUSES(loss, problem.softmaxes[0].positive_matrices = uint32_t(1) << matrices_of(loss));
  }
  REFUSES(Loss::kSupConMemory, problem.blocks[1].candidates = 2);
  REFUSES(Loss::kClip, problem.softmaxes[1].anchors = 2);
}

TEST_CASE("types and residences that are unknown are refused") {
  for (const Loss loss : kLosses) {
    REFUSES(loss, problem.grad_output.residence = 2);
    REFUSES(loss, result.row_loss.residence = 2);
    for (int m = 0; m < matrices_of(loss); ++m) {
      REFUSES(loss, problem.matrices[m].type = 3);
      REFUSES(loss, problem.matrices[m].type = -1);
      REFUSES(loss, problem.matrices[m].residence = 2);
      REFUSES(loss, problem.matrices[m].residence = -1);
      REFUSES(loss, result.gradients[m].residence = 2);
    }
  }
}

TEST_CASE("missing arrays are refused") {
  for (const Loss loss : kLosses) {
    REFUSES(loss, problem.grad_output.data = nullptr);
    REFUSES(loss, result.row_loss.data = nullptr);
    REFUSES(loss, result.gradients[kAnchors].data = nullptr);
    for (int m = 0; m < matrices_of(loss); ++m) {
      REFUSES(loss, problem.matrices[m].data = nullptr);
    }
  }
  for (const Loss loss : kOfTwoTowers) {
    REFUSES(loss, result.gradients[kKeys].data = nullptr);
  }
  REFUSES(Loss::kSupCon, problem.matrices[kAnchors].ids = nullptr);
  REFUSES(Loss::kSupConMemory, problem.matrices[kAnchors].ids = nullptr);
  REFUSES(Loss::kSupConMemory, problem.matrices[kMemory].ids = nullptr);
}

TEST_CASE("arrays that a call cannot fill are refused") {
  const float gradient[15] = {};
  const infonce_scalars scalars{};
  REFUSES(Loss::kSupConMemory, result.gradients[kMemory].data = const_cast<float *>(gradient));
  for (const Loss loss : kLosses) {
    REFUSES(loss, result.device_scalars = const_cast<infonce_scalars *>(&scalars));  // with arrays on the host
  }
}

TEST_CASE("rules that are unknown are refused") {
  for (const Loss loss : kLosses) {
    REFUSES(loss, problem.softmaxes[0].positive = 4);
    REFUSES(loss, problem.softmaxes[0].positive = -1);
    REFUSES(loss, problem.softmaxes[0].row_loss = INFONCE_ROW_LOSSES);
    REFUSES(loss, problem.softmaxes[0].row_loss = -1);
    REFUSES(loss, problem.reduction = 3);
    REFUSES(loss, problem.reduction = -1);
    REFUSES(loss, problem.scale = 0);
    REFUSES(loss, problem.scale = -1);
    REFUSES(loss, problem.scale = 1e31);
    REFUSES(loss, problem.scale = std::numeric_limits<double>::quiet_NaN());
  }
}

TEST_CASE("blocks and softmaxes that do not go together are refused") {
  for (const Loss loss : kLosses) {
    REFUSES(loss, ++problem.matrix_count);  // a matrix that nothing uses
    REFUSES(loss, problem.softmaxes[0].weight = 0.25);
    REFUSES(loss, problem.softmaxes[0].positive_matrices = 0);
    REFUSES(loss, problem.blocks[0].row_softmax = 1);
    REFUSES(loss, problem.blocks[0].row_softmax = -1);
    REFUSES(loss, problem.blocks[0].left_out ^= INFONCE_LEAVE_OUT_SAME_ROW);
    REFUSES(loss, problem.blocks[0].left_out |= 2);
  }
  for (const Loss loss : kOfOneTower) {
    REFUSES(loss, problem.softmaxes[0].positive = INFONCE_POSITIVE_SAME_INDEX);
    REFUSES(loss, problem.blocks[0].column_softmax = -1);
    REFUSES(loss, problem.blocks[0].own = 1);
    REFUSES(loss, problem.softmax_count = 2; problem.softmaxes[1] = problem.softmaxes[0]);
    REFUSES(loss, problem.blocks[problem.block_count++] = problem.blocks[0]);
  }
  for (const Loss loss : kOfTwoTowers) {
    REFUSES(loss, problem.softmaxes[0].positive = INFONCE_POSITIVE_FIRST_VIEW);
    REFUSES(loss, problem.softmaxes[0].positive = INFONCE_POSITIVE_SAME_ID);
    REFUSES(loss, problem.softmaxes[0].anchors = kKeys);
    REFUSES(loss, problem.block_count = 2; problem.blocks[1] = problem.blocks[0]);
  }
  for (const Loss loss : kOfNegatives) {
    REFUSES(loss, problem.blocks[0].column_softmax = 0);
    REFUSES(loss, problem.softmaxes[0].positive_matrices |= uint32_t(1) << kNegatives);
    REFUSES(loss, problem.softmax_count = 2; problem.softmaxes[1] = problem.softmaxes[0]);
  }
  REFUSES(Loss::kSupConMemory, problem.blocks[1].column_softmax = 0);
  REFUSES(Loss::kSupConMemory, problem.blocks[1].own = 1);
  REFUSES(Loss::kInfoNceInBatch, problem.blocks[0].column_softmax = 1);
  REFUSES(Loss::kInfoNceInBatch, problem.blocks[0].own = 1);
  REFUSES(Loss::kClip, problem.softmax_count = 1);
  REFUSES(Loss::kClip, problem.blocks[0].column_softmax = -1);
  REFUSES(Loss::kClip, problem.softmaxes[1].anchors = kAnchors);
  REFUSES(Loss::kClip, problem.softmaxes[1].weight = 1);
  REFUSES(Loss::kClip, problem.softmaxes[1].positive = INFONCE_POSITIVE_SAME_ID);
}

TEST_CASE("logits are refused unless the problem is one matrix with views") {
  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 1);
  const Buffer<float> room(12 * 11);
  for (const Loss loss : kLosses) {
    Settings settings = settings_of(loss);
    settings.grad_output_count = 0;
    INFO(describe(settings));
    const Case problem(settings);
    const auto call = [&](const infonce_output &logits, infonce_failure &failure) {
      return backend().logits(context.handle(), &problem.problem, &logits, &failure);
    };
    infonce_failure failure = empty_failure();
    if (has_views(loss)) {
      CHECK_MESSAGE(call({room.data(), INFONCE_ON_HOST}, failure) == INFONCE_OK, failure.message);
      check_invalid(call({nullptr, INFONCE_ON_HOST}, failure), failure);
      check_invalid(call({room.data(), 2}, failure), failure);
    } else {
      check_invalid(call({room.data(), INFONCE_ON_HOST}, failure), failure);
    }
  }
}

TEST_CASE("a context that cannot be made is refused") {
  infonce_context_options options{};
  options.struct_size = sizeof(options);
  options.trace = 1;
  const auto check = [&options](infonce_status expected) {
    infonce_context *context = nullptr;
    infonce_failure failure = empty_failure();
    CHECK(backend().context_create(&options, &context, &failure) == expected);
    CHECK(context == nullptr);
    CHECK(std::string(failure.message) != "");
  };
  if (on_cpu()) {
    options.threads = -1;
    check(INFONCE_INVALID_ARGUMENT);
  }
  options.threads = 1;
  options.precision = 3;
  check(INFONCE_INVALID_ARGUMENT);
  options.precision = INFONCE_PRECISION_HIGHEST;
  options.instruction_set = "mmx";
  check(INFONCE_DEVICE_UNAVAILABLE);
}

}  // namespace infonce::test
