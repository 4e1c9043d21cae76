// Pairwise tests: sizes on both sides of the boundaries of tiles, temperatures on both sides of every change of method,
// and every option.
#include <doctest/doctest.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "test/agreement.h"
#include "test/all_pairs.h"
#include "test/backend.h"
#include "test/case.h"
#include "test/context.h"

namespace infonce::test {

namespace {

constexpr infonce_precision kPrecisions[] = {INFONCE_PRECISION_HIGHEST, INFONCE_PRECISION_HIGH,
                                             INFONCE_PRECISION_MEDIUM};
constexpr infonce_reduction kReductions[] = {INFONCE_REDUCTION_MEAN, INFONCE_REDUCTION_SUM, INFONCE_REDUCTION_NONE};
constexpr int64_t kRows[] = {1, 2, 127, 128, 129, 200};
constexpr int64_t kDims[] = {1, 63, 64, 65, 128, 129, 256, 257, 384, 520};
// Float32 sums with a constant shift, with an online maximum from 1 / 70, and float64.
constexpr double kTemperatures[] = {1, 0.1, 0.05, 0.02, 0.0125, 0.005, 0.001, 1e-10};

// An emulated processor is spared those of the largest dimensions, which stand last.
int dims() { return on_cpu() && simulated() ? 6 : static_cast<int>(std::size(kDims)); }

template <class T, size_t size> constexpr int count(const T (&)[size]) { return static_cast<int>(size); }

// One context for each instruction set and precision.
class Contexts {
 public:
  Contexts() : sets_(instruction_sets()) {
    for (const std::string &set : sets_) {
      for (const infonce_precision precision : kPrecisions) {
        contexts_.push_back(std::make_unique<Context>(set, precision, thread_counts().back()));
      }
    }
  }

  void check(const Settings &settings, infonce_precision precision) const {
    const Case problem(settings);
    const Expectation expected(problem, precision);
    INFO(describe(settings));
    CAPTURE(precision);
    for (size_t set = 0; set < sets_.size(); ++set) {
      CAPTURE(sets_[set]);
      Output got(problem);
      infonce_failure failure = empty_failure();
      const Context &context = *contexts_[set * count(kPrecisions) + precision];
      CHECK_MESSAGE(context.run(problem.problem, got.result, failure) == INFONCE_OK, failure.message);
      expected.check(got);
    }
  }

 private:
  std::vector<std::string> sets_;
  std::vector<std::unique_ptr<Context>> contexts_;
};

int64_t smallest_divisor(int64_t rows) {
  int64_t divisor = 2;
  while (rows % divisor != 0) {
    ++divisor;
  }
  return divisor;
}

// Keeps a case with own negatives, N x M rows of them, as cheap as the others.
int64_t affordable_negatives(const Settings &settings, int64_t wanted) {
  constexpr int64_t kMostNumbers = 1 << 20;
  const bool own = settings.loss == Loss::kInfoNcePaired;
  return own && settings.rows * settings.dim * wanted > kMostNumbers ? 2 : wanted;
}

// Every combination of loss, precision and gradient meets every value of the other factors.
struct Kind {
  Loss loss;
  infonce_precision precision;
  bool gradient;
};

std::vector<Kind> kinds() {
  std::vector<Kind> all;
  for (const Loss loss : kLosses) {
    for (const infonce_precision precision : kPrecisions) {
      for (const bool gradient : {true, false}) {
        all.push_back({loss, precision, gradient});
      }
    }
  }
  return all;
}

struct Request {
  Settings settings;
  infonce_precision precision;
};

Request request_of(const Kind &kind, const std::vector<int> &rest) {
  Settings settings;
  settings.loss = kind.loss;
  settings.gradient = kind.gradient;
  settings.dim = kDims[rest[0]];
  settings.temperature = kTemperatures[rest[1]];
  settings.rows = std::max<int64_t>(kRows[rest[2]], has_views(kind.loss) ? 2 : 1);
  settings.views = has_views(kind.loss) ? smallest_divisor(settings.rows) : 1;
  settings.negative_rows = affordable_negatives(settings, kRows[rest[3]]);
  settings.reduction = kReductions[rest[4]];
  const int64_t counts[] = {0, 1, settings.reduction == INFONCE_REDUCTION_NONE ? settings.rows : 1};
  settings.grad_output_count = counts[rest[5]];
  settings.normalize = rest[6] == 0;
  settings.offset = static_cast<size_t>(rest[7]);
  return {settings, kind.precision};
}

std::vector<Request> requests() {
  const std::vector<Kind> each = kinds();
  const std::vector<int> sizes = {static_cast<int>(each.size()),
                                  dims(),
                                  count(kTemperatures),
                                  count(kRows),
                                  count(kRows),
                                  count(kReductions),
                                  3,
                                  2,
                                  2};
  std::vector<Request> all;
  for (const std::vector<int> &chosen : all_pairs(sizes)) {
    all.push_back(request_of(each[static_cast<size_t>(chosen[0])], {chosen.begin() + 1, chosen.end()}));
  }
  return all;
}

}  // namespace

TEST_CASE("every loss matches the reference on both sides of every boundary") {
  const Contexts contexts;
  for (const Request &request : requests()) {
    contexts.check(request.settings, request.precision);
  }
}

TEST_CASE("classes of any size match the reference") {
  const Contexts contexts;
  Settings settings;
  settings.dim = 70;
  settings.reduction = INFONCE_REDUCTION_NONE;
  for (const Loss loss : {Loss::kSupCon, Loss::kSupConMemory}) {
    for (const Classes classes : {Classes::kOne, Classes::kMixed}) {
      for (const infonce_precision precision : kPrecisions) {
        for (const double temperature : {0.1, 0.02, 0.001}) {
          settings.loss = loss;
          settings.classes = classes;
          settings.temperature = temperature;
          settings.rows = loss == Loss::kSupCon ? 200 : 90;
          settings.negative_rows = 110;
          settings.grad_output_count = classes == Classes::kMixed ? settings.rows : 0;
          contexts.check(settings, precision);
        }
      }
    }
  }
}

TEST_CASE("as many views as the largest class that is treated pair by pair, and one more, match the reference") {
  const Contexts contexts;
  Settings settings;
  settings.dim = 33;
  for (const Loss loss : {Loss::kNtXentFirst, Loss::kNtXentAll}) {
    for (const int64_t views : {17, 18}) {
      for (const infonce_precision precision : kPrecisions) {
        settings.loss = loss;
        settings.views = views;
        settings.rows = 8 * views;
        contexts.check(settings, precision);
      }
    }
  }
}

}  // namespace infonce::test
