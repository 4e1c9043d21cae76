#include "test/case.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <sstream>

namespace infonce::test {

namespace {

struct Rules {
  const char *name;
  infonce_denominator denominator;
  infonce_positive positive;
};

Rules rules_of(Loss loss) {
  switch (loss) {
    case Loss::kNtXentFirst:
      return {"ntXent first", INFONCE_DENOMINATOR_OTHER_ANCHORS, INFONCE_POSITIVE_FIRST_VIEW};
    case Loss::kNtXentAll:
      return {"ntXent all", INFONCE_DENOMINATOR_OTHER_ANCHORS, INFONCE_POSITIVE_ALL_VIEWS};
    case Loss::kSupCon:
      return {"supCon", INFONCE_DENOMINATOR_OTHER_ANCHORS, INFONCE_POSITIVE_SAME_LABEL};
    case Loss::kSupConMemory:
      return {"supCon with memory", INFONCE_DENOMINATOR_OTHER_ANCHORS, INFONCE_POSITIVE_SAME_LABEL};
    case Loss::kInfoNceInBatch:
      return {"infoNCE in-batch", INFONCE_DENOMINATOR_ALL_KEYS, INFONCE_POSITIVE_SAME_INDEX};
    case Loss::kInfoNceUnpaired:
      return {"infoNCE unpaired", INFONCE_DENOMINATOR_SHARED_NEGATIVES, INFONCE_POSITIVE_SAME_INDEX};
    case Loss::kInfoNcePaired:
      return {"infoNCE paired", INFONCE_DENOMINATOR_OWN_NEGATIVES, INFONCE_POSITIVE_SAME_INDEX};
    case Loss::kClip:
      return {"clip", INFONCE_DENOMINATOR_ALL_KEYS, INFONCE_POSITIVE_SAME_INDEX};
  }
  return {};
}

// Rows of length 0.5 to 1, so that without normalisation too no logit exceeds the scale.
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

void fill_mixed_classes(std::mt19937 &random, const Buffer<int32_t> &labels) {
  std::iota(labels.begin(), labels.end(), 0);
  int32_t *row = labels.begin();
  for (const int32_t size : {3, 16, 17, 18, 40}) {
    int32_t *end = row + std::min<int64_t>(size, labels.end() - row);
    std::fill(row, end, -size);
    row = end;
  }
  std::shuffle(labels.begin(), labels.end(), random);
}

Buffer<int32_t> random_labels(std::mt19937 &random, Classes classes, int64_t rows, size_t offset) {
  Buffer<int32_t> buffer(static_cast<size_t>(rows), offset);
  if (classes == Classes::kMixed) {
    fill_mixed_classes(random, buffer);
  } else if (classes == Classes::kPairs) {
    std::uniform_int_distribution<int32_t> label(-3, static_cast<int32_t>(rows / 2));
    std::generate(buffer.begin(), buffer.end(), [&] { return label(random); });
    buffer[0] = 1 << 30;  // one without company
  }
  return buffer;
}

void plant_special_rows(const Buffer<float> &matrix, int64_t rows, int64_t dim) {
  if (rows < 6) {
    return;
  }
  std::copy_n(matrix.data() + dim, dim, matrix.data() + 4 * dim);
  std::fill_n(matrix.data() + 5 * dim, dim, 0.0F);
}

bool same_bits(const Buffer<float> &a, const Buffer<float> &b) {
  return a.size() == b.size() && (a.size() == 0 || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

bool same_bits(double a, double b) { return std::memcmp(&a, &b, sizeof(a)) == 0; }

}  // namespace

std::string describe(const Settings &settings) {
  std::ostringstream text;
  text << rules_of(settings.loss).name << " N=" << settings.rows << " D=" << settings.dim
       << " M=" << settings.negative_rows << " views=" << settings.views
       << " classes=" << static_cast<int>(settings.classes) << " temperature=" << settings.temperature
       << " reduction=" << settings.reduction << " normalize=" << settings.normalize
       << " gradient=" << settings.gradient << " ranks=" << settings.ranks << " gradOutput=" << settings.grad_output_count;
  return text.str();
}

Case::Case(const Settings &from) : settings(from) {
  const Rules rules = rules_of(settings.loss);
  std::mt19937 random(static_cast<uint32_t>(settings.rows * 7919 + settings.dim * 31 + settings.negative_rows));
  problem.struct_size = sizeof(problem);
  problem.denominator = rules.denominator;
  problem.positive = rules.positive;
  problem.reduction = settings.reduction;
  problem.both_directions = settings.loss == Loss::kClip;
  problem.normalize = settings.normalize;
  problem.gradient = settings.gradient;
  problem.ranks = settings.ranks;
  problem.rows = settings.rows;
  problem.dim = settings.dim;
  problem.views = settings.views;
  problem.scale = 1 / settings.temperature;

  anchors = random_rows(random, settings.rows, settings.dim, settings.offset);
  plant_special_rows(anchors, settings.rows, settings.dim);
  if (has_keys()) {
    keys = random_rows(random, settings.rows, settings.dim, settings.offset);
    plant_special_rows(keys, settings.rows, settings.dim);
  }
  if (rules.denominator == INFONCE_DENOMINATOR_SHARED_NEGATIVES ||
      rules.denominator == INFONCE_DENOMINATOR_OWN_NEGATIVES || settings.loss == Loss::kSupConMemory) {
    const int64_t owners = rules.denominator == INFONCE_DENOMINATOR_OWN_NEGATIVES ? settings.rows : 1;
    problem.negative_rows = settings.negative_rows;
    negatives = random_rows(random, owners * settings.negative_rows, settings.dim, settings.offset);
    plant_special_rows(negatives, owners * settings.negative_rows, settings.dim);
  }
  if (rules.positive == INFONCE_POSITIVE_SAME_LABEL) {
    labels = random_labels(random, settings.classes, settings.rows + problem.negative_rows, settings.offset);
  }
  if (settings.grad_output_count > 0) {
    grad_output = random_weights(random, settings.grad_output_count, settings.offset);
  }
  problem.anchors = anchors.data();
  problem.keys = keys.data();
  problem.negatives = negatives.data();
  problem.labels = labels.data();
  problem.grad_output = grad_output.data();
  problem.grad_output_count = settings.grad_output_count;
}

Output::Output(const Case &from) {
  const size_t offset = from.settings.offset;
  result.struct_size = sizeof(result);
  if (from.settings.reduction == INFONCE_REDUCTION_NONE) {
    row_loss = Buffer<float>(static_cast<size_t>(from.settings.rows), offset);
  }
  if (from.settings.gradient) {
    grad_anchors = Buffer<float>(from.anchors.size(), offset);
    if (from.has_keys()) {
      grad_keys = Buffer<float>(from.keys.size(), offset);
    }
    if (from.has_negatives() && !from.has_memory()) {
      grad_negatives = Buffer<float>(from.negatives.size(), offset);
    }
  }
  result.row_loss = row_loss.data();
  result.grad_anchors = grad_anchors.data();
  result.grad_keys = grad_keys.data();
  result.grad_negatives = grad_negatives.data();
}

bool identical(const Output &a, const Output &b) {
  return same_bits(a.result.loss, b.result.loss) && same_bits(a.result.grad_scale, b.result.grad_scale) &&
         same_bits(a.result.top1, b.result.top1) && same_bits(a.result.top5, b.result.top5) &&
         same_bits(a.row_loss, b.row_loss) && same_bits(a.grad_anchors, b.grad_anchors) &&
         same_bits(a.grad_keys, b.grad_keys) && same_bits(a.grad_negatives, b.grad_negatives);
}

}  // namespace infonce::test
