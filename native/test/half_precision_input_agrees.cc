// 16-bit matrices give the bits of the float32 call with the same numbers.
#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "test/case.h"
#include "test/context.h"
#include "test/forms.h"
#include "test/half.h"

namespace infonce::test {

namespace {

// All matrices of 16 bits, then each alone.
void check_case(const Context &context, const Settings &settings, const Format &format) {
  Case problem(settings);
  INFO(describe(settings));
  CAPTURE(format.name);
  const int count = problem.problem.matrix_count;
  PerMatrix<uint16_t> bits;
  for (int m = 0; m < count; ++m) {
    bits[m] = round_to(format, problem.matrices[m], settings.offset);
  }
  const Output expected = run(context, problem);
  const infonce_problem in_float32 = problem.problem;
  for (int chosen = -1; chosen < count; ++chosen) {
    CAPTURE(chosen);
    for (int m = 0; m < count; ++m) {
      if (chosen == -1 || chosen == m) {
        problem.problem.matrices[m].data = bits[m].data();
        problem.problem.matrices[m].type = format.type;
      }
    }
    CHECK(identical(run(context, problem), expected));
    problem.problem = in_float32;
  }
}

std::vector<uint16_t> finite_numbers(const Format &format) {
  std::vector<uint16_t> all;
  for (int bits = 0; bits < 1 << 16; ++bits) {
    if (is_finite(format, static_cast<uint16_t>(bits))) {
      all.push_back(static_cast<uint16_t>(bits));
    }
  }
  return all;
}

}  // namespace

TEST_CASE("16-bit matrices give the bits of the float32 call") {
  for (const std::string &set : instruction_sets()) {
    const Context context(set, INFONCE_PRECISION_HIGHEST, 2);
    for (const Format &format : kFormats) {
      for (const Loss loss : kLosses) {
        for (const int64_t rows : kRowsAroundBlocks) {
          if (rows > 1000 && (simulated() || set != instruction_sets().front())) {
            continue;
          }
          Settings settings = settings_around_blocks(loss, rows, 37);
          settings.offset = static_cast<size_t>(rows % 4);
          settings.normalize = rows != 130 || format.type == INFONCE_FLOAT16;
          check_case(context, settings, format);
        }
      }
    }
  }
}

TEST_CASE("16-bit matrices of any form give the bits of the float32 call") {
  for (const std::string &set : instruction_sets()) {
    const Context context(set, INFONCE_PRECISION_HIGHEST, 2);
    for (uint32_t seed = 5000; seed < (simulated() ? 5006 : 5040); ++seed) {
      Form form = random_form(seed);
      form.halves = true;
      INFO(describe(form));
      Inputs inputs = inputs_of(form);
      const Output expected = run_with_rows(context, inputs);
      for (int m = 0; m < inputs.problem.matrix_count; ++m) {
        inputs.problem.matrices[m].data = inputs.matrices[m].data();
        inputs.problem.matrices[m].type = INFONCE_FLOAT32;
      }
      CHECK(identical(run_with_rows(context, inputs), expected));
    }
  }
}

TEST_CASE("every 16-bit number is read exactly") {
  for (const std::string &set : instruction_sets()) {
    const Context context(set, INFONCE_PRECISION_HIGHEST, 1);
    for (const Format &format : kFormats) {
      CAPTURE(set);
      CAPTURE(format.name);
      const std::vector<uint16_t> numbers = finite_numbers(format);
      Settings settings;
      settings.loss = Loss::kInfoNceInBatch;
      settings.dim = 509;  // prime, so that each row is ragged and begins elsewhere
      settings.rows = static_cast<int64_t>(numbers.size()) / settings.dim + 1;
      Case problem(settings);
      const Buffer<float> &anchors = problem.matrices[kAnchors];
      Buffer<uint16_t> bits(anchors.size());
      for (size_t i = 0; i < bits.size(); ++i) {
        bits[i] = numbers[i % numbers.size()];
        anchors[i] = value_of(format, bits[i]);
      }
      const Output expected = run(context, problem);
      problem.problem.matrices[kAnchors].data = bits.data();
      problem.problem.matrices[kAnchors].type = format.type;
      CHECK(identical(run(context, problem), expected));
    }
  }
}

TEST_CASE("NaN and infinity of 16 bits are reported with matrix and row") {
  const uint16_t bad_numbers[2][4] = {{0x7c00, 0xfc00, 0x7e00, 0xfc01}, {0x7f80, 0xff80, 0x7fc0, 0xff81}};
  for (const std::string &set : instruction_sets()) {
    const Context context(set, INFONCE_PRECISION_HIGHEST, 2);
    for (const Loss loss : {Loss::kNtXentAll, Loss::kInfoNceUnpaired, Loss::kInfoNcePaired}) {
      for (size_t f = 0; f < 2; ++f) {
        Settings settings;
        settings.loss = loss;
        settings.rows = 70;
        settings.dim = 11;
        settings.negative_rows = 4;
        Case problem(settings);
        INFO(describe(settings));
        const int matrix = problem.problem.matrix_count - 1;
        const Buffer<float> &source = problem.matrices[matrix];
        for (const uint16_t bad : bad_numbers[f]) {
          CAPTURE(bad);
          const Buffer<uint16_t> bits = round_to(kFormats[f], source, 0);
          const int64_t row = static_cast<int64_t>(bits.size()) / settings.dim - 2;
          bits[static_cast<size_t>(row * settings.dim + 10)] = bad;
          problem.problem.matrices[matrix].data = bits.data();
          problem.problem.matrices[matrix].type = kFormats[f].type;
          Output output(problem);
          infonce_failure failure = empty_failure();
          CHECK(context.run(problem.problem, output.result, failure) == INFONCE_NON_FINITE);
          CHECK(failure.matrix == matrix);
          CHECK(failure.row == row);
        }
      }
    }
  }
}

}  // namespace infonce::test
