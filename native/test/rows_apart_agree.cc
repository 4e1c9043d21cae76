// Matrices whose rows stand apart give the bits of those whose rows follow each other. What lies between is never read.
#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "test/case.h"
#include "test/context.h"
#include "test/forms.h"
#include "test/parts.h"

namespace infonce::test {

namespace {

constexpr unsigned char kNan = 0xff;  // every byte of a number of any type
constexpr uint32_t kAll = ~uint32_t{0};

Context make_context(const std::string &set = instruction_sets().front()) {
  return {set, INFONCE_PRECISION_HIGHEST, 2};
}

// Gaps of one number, of a vector, and of others.
int64_t gap_of(uint32_t seed, int matrix) { return std::vector<int64_t>{1, 4, 7, 12}[(seed + matrix) % 4]; }

// A matrix of the host with NaN between its rows, and perhaps in memory of the device.
class Apart {
 public:
  Apart(const Context &context, infonce_matrix *matrix, int64_t dim, int64_t gap, size_t offset, bool on_device)
      : context_(context.handle()) {
    const size_t element = matrix->type == INFONCE_FLOAT32 ? sizeof(float) : sizeof(uint16_t);
    const auto row = static_cast<size_t>(dim) * element;
    const size_t stride = row + static_cast<size_t>(gap) * element;
    bytes_ = Buffer<unsigned char>(static_cast<size_t>(matrix->rows - 1) * stride + row, offset * element);
    std::memset(bytes_.data(), kNan, bytes_.size());
    const auto *from = static_cast<const unsigned char *>(matrix->data);
    for (size_t r = 0; r < static_cast<size_t>(matrix->rows); ++r) {
      std::memcpy(bytes_.data() + r * stride, from + r * row, row);
    }
    matrix->row_stride = dim + gap;
    matrix->data = bytes_.data();
    if (on_device) {
      infonce_failure failure = empty_failure();
      REQUIRE(backend().allocate(context_, size(), &memory_, &failure) == INFONCE_OK);
      upload();
      matrix->data = memory_;
      matrix->residence = INFONCE_ON_DEVICE;
    }
  }
  ~Apart() {
    if (memory_) {
      backend().release(context_, memory_);
    }
  }
  Apart(Apart &&other) noexcept : context_(other.context_), bytes_(std::move(other.bytes_)), memory_(other.memory_) {
    other.memory_ = nullptr;
  }
  Apart(const Apart &) = delete;
  Apart &operator=(const Apart &) = delete;

  void spoil() const {
    std::memset(bytes_.data(), kNan, bytes_.size());
    if (memory_) {
      upload();
    }
  }

 private:
  int64_t size() const { return static_cast<int64_t>(bytes_.size()); }
  void upload() const {
    infonce_failure failure = empty_failure();
    REQUIRE(backend().copy(context_, memory_, bytes_.data(), size(), INFONCE_COPY_TO_DEVICE, &failure) == INFONCE_OK);
  }

  infonce_context *context_;
  Buffer<unsigned char> bytes_;
  void *memory_ = nullptr;
};

// A problem of which the matrices in `mask` are such.
struct ProblemApart {
  ProblemApart(const Context &context, const Inputs &from, uint32_t seed, bool on_device, uint32_t mask = kAll)
      : problem(from.problem) {
    for (int m = 0; m < problem.matrix_count; ++m) {
      if (mask & bit_of(m)) {
        apart.emplace_back(context, &problem.matrices[m], problem.dim, gap_of(seed, m), from.offset, on_device);
      }
    }
  }

  infonce_problem problem;
  std::vector<Apart> apart;
};

Output run_apart(const Context &context, const Inputs &from, const ProblemApart &apart) {
  Output output(from);
  output.want_rows(from);
  infonce_failure failure = empty_failure();
  REQUIRE_MESSAGE(context.run(apart.problem, output.result, failure) == INFONCE_OK, failure.message);
  return output;
}

// Of inputs that are gone before the gradients are computed.
Output run_in_halves(const Context &context, const Inputs &from, const ProblemApart &apart) {
  Output output(from);
  output.want_rows(from);
  infonce_saved *saved = nullptr;
  infonce_failure failure = empty_failure();
  infonce_status status = backend().forward(context.handle(), &apart.problem, &output.result, &saved, &failure);
  REQUIRE_MESSAGE(status == INFONCE_OK, failure.message);
  for (const Apart &matrix : apart.apart) {
    matrix.spoil();
  }
  infonce_upstream upstream{};
  upstream.struct_size = sizeof(upstream);
  upstream.grad_output = from.problem.grad_output;
  status = backend().backward(context.handle(), saved, &upstream, &output.result, &failure);
  backend().saved_destroy(context.handle(), saved);
  REQUIRE_MESSAGE(status == INFONCE_OK, failure.message);
  return output;
}

void check_form(const Context &context, const Form &form) {
  INFO(describe(form));
  const Inputs inputs = inputs_of(form);
  const Output expected = run_with_rows(context, inputs);
  for (const bool on_device : {false, true}) {
    CAPTURE(on_device);
    const ProblemApart apart(context, inputs, form.seed, on_device);
    CHECK(identical(run_apart(context, inputs, apart), expected));
    if (form.gradient) {
      CHECK(identical(run_in_halves(context, inputs, apart), expected));
    }
  }
}

Output run_in_parts_apart(const Context &context, const Inputs &whole, const Split &split, bool on_device) {
  const int64_t dim = whole.problem.dim;
  Output output(whole);
  output.want_rows(whole);
  const OpenedCall call(context, whole, split);
  infonce_failure failure = empty_failure();
  for (const Slice &slice : split.parts) {
    Part part(whole, slice);
    const Apart apart(context, &part.part.candidates, dim, 5, 0, on_device);
    REQUIRE_MESSAGE(call.add(part.part, failure) == INFONCE_OK, failure.message);
  }
  call.close(output);
  call.gradients(output, [&](Part &part, const Buffer<float> &gradient) {
    const Apart apart(context, &part.part.candidates, dim, 3, 0, on_device);
    const infonce_output to = {gradient.size() > 0 ? gradient.data() : nullptr, INFONCE_ON_HOST};
    const infonce_status status = backend().add_gradient(context.handle(), call.handle(), &part.part, &to, &failure);
    REQUIRE_MESSAGE(status == INFONCE_OK, failure.message);
  });
  return output;
}

}  // namespace

TEST_CASE("rows that stand apart, of one matrix or all, give the bits of others") {
  for (const std::string &set : instruction_sets()) {
    const Context context = make_context(set);
    for (const Loss loss : kLosses) {
      for (const int64_t rows : kRowsAroundBlocks) {
        if (rows > 1000 && (simulated() || set != instruction_sets().front())) {
          continue;
        }
        Settings settings = settings_around_blocks(loss, rows, 36);
        settings.normalize = rows != 130;
        const Case inputs(settings);
        INFO(describe(settings));
        const Output expected = run_with_rows(context, inputs);
        // All of them, then one by one: a simulated GPU of the smallest alone.
        const bool one_by_one = rows == 6 || !simulated();
        for (uint32_t mask = kAll; mask != 0;
             mask = mask == kAll ? (one_by_one ? bit_of(inputs.problem.matrix_count - 1) : 0) : mask / 2) {
          CAPTURE(mask);
          const ProblemApart apart(context, inputs, static_cast<uint32_t>(rows), rows == 130, mask);
          CHECK(identical(run_apart(context, inputs, apart), expected));
        }
      }
    }
  }
}

TEST_CASE("rows that stand apart, in problems of any form and numbers of any type, give the bits of others") {
  const Context context = make_context();
  for (uint32_t seed = 9000; seed < (simulated() ? 9008 : 9060); ++seed) {
    Form form = random_form(seed);
    form.halves = seed % 2 == 0;
    check_form(context, form);
  }
}

TEST_CASE("rows that stand apart have the thresholds of others") {
  const Context context = make_context();
  for (uint32_t seed = 9100; seed < (simulated() ? 9104 : 9120); ++seed) {
    check_form(context, random_form_with_threshold(seed, seed % 2 == 0));
  }
}

TEST_CASE("rows of parts that stand apart give the bits of others") {
  const Context context = make_context();
  for (uint32_t seed = 9200; seed < (simulated() ? 9204 : 9220); ++seed) {
    const Form form = random_form_with_gradients_in_parts(seed);
    INFO(describe(form));
    const Inputs whole = inputs_of(form);
    const Split split = in_random_parts(whole, seed);
    const Output expected = run_in_parts(context, whole, split);
    CHECK(identical(run_in_parts_apart(context, whole, split, seed % 4 < 2), expected));
  }
}

TEST_CASE("rows that stand apart have the logits of others") {
  const Context context = make_context();
  Settings settings;
  settings.rows = 24;
  settings.dim = 17;
  const Case inputs(settings);
  const auto logits_of = [&](const infonce_problem &problem) {
    Buffer<float> logits(static_cast<size_t>(settings.rows * (settings.rows - 1)));
    const infonce_output output = {logits.data(), INFONCE_ON_HOST};
    infonce_failure failure = empty_failure();
    REQUIRE(backend().logits(context.handle(), &problem, &output, &failure) == INFONCE_OK);
    return logits;
  };
  const Buffer<float> expected = logits_of(inputs.problem);
  const Buffer<float> actual = logits_of(ProblemApart(context, inputs, 1, false).problem);
  CHECK(std::memcmp(actual.data(), expected.data(), expected.size() * sizeof(float)) == 0);
}

TEST_CASE("a row that is not finite is reported with its number, whatever stands between rows") {
  const Context context = make_context();
  Settings settings;
  settings.loss = Loss::kInfoNceUnpaired;
  settings.rows = 40;
  settings.dim = 8;
  settings.negative_rows = 50;
  const Case inputs(settings);
  inputs.matrices[kNegatives][static_cast<size_t>(33 * settings.dim + 7)] = std::numeric_limits<float>::infinity();
  for (const bool on_device : {false, true}) {
    const ProblemApart apart(context, inputs, 2, on_device);
    Output output(inputs);
    infonce_failure failure = empty_failure();
    CHECK(context.run(apart.problem, output.result, failure) == INFONCE_NON_FINITE);
    CHECK(failure.matrix == kNegatives);
    CHECK(failure.row == 33);
  }
}

}  // namespace infonce::test
