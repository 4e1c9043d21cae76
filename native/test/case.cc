#include "test/case.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <numeric>
#include <random>
#include <sstream>

namespace infonce::test {

namespace {

void set_one_tower(infonce_problem *problem, infonce_positive positive) {
  problem->matrix_count = problem->block_count = problem->softmax_count = 1;
  problem->blocks[0] = block_of(kAnchors, kAnchors, 0, 0, INFONCE_LEAVE_OUT_SAME_ROW);
  problem->softmaxes[0] = softmax_of(kAnchors, positive, bit_of(kAnchors));
}

void add_memory(infonce_problem *problem) {
  problem->matrix_count = problem->block_count = 2;
  problem->blocks[1] = block_of(kAnchors, kMemory, 0, -1);
  problem->softmaxes[0].positive_matrices |= bit_of(kMemory);
}

void set_two_towers(infonce_problem *problem, int candidates, bool own) {
  problem->matrix_count = candidates + 1;
  problem->block_count = problem->softmax_count = 1;
  problem->blocks[0] = block_of(kAnchors, candidates, 0, -1, 0, own);
  problem->softmaxes[0] = softmax_of(kAnchors, INFONCE_POSITIVE_SAME_INDEX, bit_of(kKeys));
}

void add_other_direction(infonce_problem *problem) {
  problem->softmax_count = 2;
  problem->blocks[0].column_softmax = 1;
  problem->softmaxes[1] = problem->softmaxes[0];
  problem->softmaxes[1].anchors = kKeys;
  problem->softmaxes[1].positive_matrices = bit_of(kAnchors);
  problem->softmaxes[0].weight = problem->softmaxes[1].weight = 0.5;
}

// By Loss, in the order of its enumerators.
struct Preset {
  const char *name;
  void (*set)(infonce_problem *problem);
};
constexpr Preset kPresets[] = {
    {"ntXent first", [](infonce_problem *problem) { set_one_tower(problem, INFONCE_POSITIVE_FIRST_VIEW); }},
    {"ntXent all", [](infonce_problem *problem) { set_one_tower(problem, INFONCE_POSITIVE_ALL_VIEWS); }},
    {"supCon", [](infonce_problem *problem) { set_one_tower(problem, INFONCE_POSITIVE_SAME_ID); }},
    {"supCon with memory",
     [](infonce_problem *problem) {
       set_one_tower(problem, INFONCE_POSITIVE_SAME_ID);
       add_memory(problem);
     }},
    {"infoNCE in-batch", [](infonce_problem *problem) { set_two_towers(problem, kKeys, false); }},
    {"infoNCE unpaired", [](infonce_problem *problem) { set_two_towers(problem, kNegatives, false); }},
    {"infoNCE paired", [](infonce_problem *problem) { set_two_towers(problem, kNegatives, true); }},
    {"clip",
     [](infonce_problem *problem) {
       set_two_towers(problem, kKeys, false);
       add_other_direction(problem);
     }},
};
static_assert(std::size(kPresets) == std::size(kLosses), "a preset for each loss");

const Preset &preset_of(Loss loss) { return kPresets[static_cast<size_t>(loss)]; }

void fill_mixed_classes(std::mt19937 &random, const Buffer<int32_t> &ids) {
  std::iota(ids.begin(), ids.end(), 0);
  int32_t *row = ids.begin();
  for (const int32_t size : {3, 16, 17, 18, 40}) {
    int32_t *end = row + std::min<int64_t>(size, ids.end() - row);
    std::fill(row, end, -size);
    row = end;
  }
  std::shuffle(ids.begin(), ids.end(), random);
}

Buffer<int32_t> random_ids(std::mt19937 &random, Classes classes, int64_t rows) {
  Buffer<int32_t> buffer(static_cast<size_t>(rows));
  if (classes == Classes::kMixed) {
    fill_mixed_classes(random, buffer);
  } else if (classes == Classes::kPairs) {
    std::uniform_int_distribution<int32_t> id(-3, static_cast<int32_t>(rows / 2));
    std::generate(buffer.begin(), buffer.end(), [&] { return id(random); });
    buffer[0] = 1 << 30;  // one without company
  }
  return buffer;
}

constexpr auto same_bits = [](const auto &a, const auto &b) {
  return a.size() == b.size() && (a.size() == 0 || std::memcmp(a.data(), b.data(), a.size() * sizeof(a[0])) == 0);
};

void fill(const Context &context, const Inputs &from, Output &output) {
  infonce_failure failure = empty_failure();
  REQUIRE_MESSAGE(context.run(from.problem, output.result, failure) == INFONCE_OK, failure.message);
}

template <class Arrays> bool all_same_bits(const Arrays &a, const Arrays &b) {
  return std::equal(a.begin(), a.end(), b.begin(), same_bits);
}

}  // namespace

int64_t row_count(const infonce_problem &problem) { return problem.matrices[problem.softmaxes[0].anchors].rows; }

Buffer<float> random_rows(std::mt19937 &random, int64_t rows, int64_t dim, size_t offset) {
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<float> length(0.5F, 1);
  Buffer<float> buffer(static_cast<size_t>(rows * dim), offset);
  for (float *row = buffer.begin(); row != buffer.end(); row += dim) {
    std::generate(row, row + dim, [&] { return normal(random); });
    const float factor = length(random) / std::sqrt(std::inner_product(row, row + dim, row, 0.0F));
    std::transform(row, row + dim, row, [factor](float value) { return factor * value; });
  }
  return buffer;
}

Buffer<float> random_weights(std::mt19937 &random, int64_t count, size_t offset) {
  std::uniform_real_distribution<float> uniform(-1, 2);
  Buffer<float> buffer(static_cast<size_t>(count), offset);
  std::generate(buffer.begin(), buffer.end(), [&] { return uniform(random); });
  return buffer;
}

void plant_special_rows(const Buffer<float> &matrix, int64_t rows, int64_t dim) {
  if (rows < 6) {
    return;
  }
  std::copy_n(matrix.data() + dim, dim, matrix.data() + 4 * dim);
  std::fill_n(matrix.data() + 5 * dim, dim, 0.0F);
}

bool has_views(Loss loss) { return loss == Loss::kNtXentFirst || loss == Loss::kNtXentAll; }

void set_loss(Loss loss, infonce_problem *problem) { preset_of(loss).set(problem); }

Settings settings_around_blocks(Loss loss, int64_t rows, int64_t dim) {
  Settings settings;
  settings.loss = loss;
  settings.rows = rows;
  settings.dim = rows > 1000 ? 130 : dim;
  settings.negative_rows = rows > 1000 ? 3 : 60;
  settings.temperature = rows == 6 ? 0.005 : 0.1;  // of the float64 scheme
  return settings;
}

std::string describe(const Settings &settings) {
  std::ostringstream text;
  text << preset_of(settings.loss).name << " N=" << settings.rows << " D=" << settings.dim
       << " M=" << settings.negative_rows << " views=" << settings.views
       << " classes=" << static_cast<int>(settings.classes) << " temperature=" << settings.temperature
       << " reduction=" << settings.reduction << " normalize=" << settings.normalize
       << " gradient=" << settings.gradient << " ranks=" << settings.ranks
       << " gradOutput=" << settings.grad_output_count;
  return text.str();
}

Case::Case(const Settings &from) : settings(from) {
  std::mt19937 random(static_cast<uint32_t>(settings.rows * 7919 + settings.dim * 31 + settings.negative_rows));
  problem.struct_size = sizeof(problem);
  set_loss(settings.loss, &problem);
  problem.reduction = settings.reduction;
  problem.normalize = settings.normalize;
  problem.gradient = settings.gradient;
  problem.ranks = settings.ranks;
  problem.dim = settings.dim;
  problem.scale = 1 / settings.temperature;

  offset = settings.offset;
  unwanted = settings.loss == Loss::kSupConMemory ? bit_of(kMemory) : 0;
  int64_t all_rows = 0;
  for (int m = 0; m < problem.matrix_count; ++m) {
    infonce_matrix &matrix = problem.matrices[m];
    const bool negatives = (unwanted & bit_of(m)) || m == kNegatives;
    matrix.rows = negatives ? settings.negative_rows : settings.rows;
    matrix.rows *= negatives && settings.loss == Loss::kInfoNcePaired ? settings.rows : 1;
    matrix.views = has_views(settings.loss) ? settings.views : 1;
    matrices[m] = random_rows(random, matrix.rows, settings.dim, settings.offset);
    plant_special_rows(matrices[m], matrix.rows, settings.dim);
    matrix.data = matrices[m].data();
    all_rows += matrix.rows;
  }
  if (problem.softmaxes[0].positive == INFONCE_POSITIVE_SAME_ID) {
    const Buffer<int32_t> all = random_ids(random, settings.classes, all_rows);
    const int32_t *next = all.begin();
    for (int m = 0; m < problem.matrix_count; ++m) {
      ids[m] = Buffer<int32_t>(static_cast<size_t>(problem.matrices[m].rows), settings.offset);
      std::copy_n(next, ids[m].size(), ids[m].begin());
      next += ids[m].size();
      problem.matrices[m].ids = ids[m].data();
    }
  }
  if (settings.grad_output_count > 0) {
    grad_output = random_weights(random, settings.grad_output_count, settings.offset);
  }
  problem.grad_output = {grad_output.data(), settings.grad_output_count, INFONCE_ON_HOST};
}

Output::Output(const Inputs &from) {
  const infonce_problem &problem = from.problem;
  result.struct_size = sizeof(result);
  if (problem.reduction == INFONCE_REDUCTION_NONE) {
    row_loss = Buffer<float>(static_cast<size_t>(row_count(problem)), from.offset);
  }
  result.row_loss.data = row_loss.data();
  for (int m = 0; m < problem.matrix_count && problem.gradient; ++m) {
    if (!(from.unwanted & bit_of(m))) {
      gradients[m] = Buffer<float>(from.matrices[m].size(), from.offset);
      result.gradients[m].data = gradients[m].data();
    }
  }
}

void Output::want_rows(const Inputs &from) {
  for (int s = 0; s < from.problem.softmax_count; ++s) {
    const auto rows = static_cast<size_t>(from.problem.matrices[from.problem.softmaxes[s].anchors].rows);
    losses[s] = Buffer<double>(rows);
    above[s] = Buffer<int32_t>(from.problem.ranks ? rows : 0);
    result.rows[s] = {losses[s].data(), from.problem.ranks ? above[s].data() : nullptr};
  }
}

Output run(const Context &context, const Inputs &from) {
  Output output(from);
  fill(context, from, output);
  return output;
}

void check_that_it_runs(const Context &context, const Inputs &good) {
  static int refusals = 0;
  if (!simulated() || refusals++ % 8 == 0) {
    run(context, good);
  }
}

Output run_with_rows(const Context &context, const Inputs &from) {
  Output output(from);
  output.want_rows(from);
  fill(context, from, output);
  return output;
}

bool identical(const Output &a, const Output &b) {
  return std::memcmp(&a.result.scalars, &b.result.scalars, sizeof(infonce_scalars)) == 0 &&
         same_bits(a.row_loss, b.row_loss) && all_same_bits(a.gradients, b.gradients) &&
         all_same_bits(a.losses, b.losses) && all_same_bits(a.above, b.above);
}

bool all_zero(const Buffer<float> &buffer) {
  return std::all_of(buffer.begin(), buffer.end(), [](float value) { return value == 0; });
}

bool all_nan(const Buffer<float> &buffer) {
  return std::all_of(buffer.begin(), buffer.end(), [](float value) { return std::isnan(value); });
}

}  // namespace infonce::test
