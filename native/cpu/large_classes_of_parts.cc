// Positives by label in a part, of classes with many pairs there: the mean of their logits comes from sums over the rows of
// the class. Where positives are in the denominator, their pairs stay in the matrix part.
#include <cmath>
#include <numeric>

#include "cpu/passes.h"

namespace infonce::cpu {
namespace {

// Whether sums over a class, a pass over the rows of either side, cost less than its pairs one by one.
bool are_many(int64_t anchors, int64_t rows) {
  constexpr int64_t kPairsOfARow = 8;
  return anchors * rows > kPairsOfARow * (anchors + rows);
}

}  // namespace

template <class Scalar> void Passes<Scalar>::find_large_classes_of_part() {
  if (!part_->has_positives || !has_classes_) return;
  LargeClasses &anchors = part_->anchors_of_classes, &rows = part_->rows_of_classes;
  anchors.start.assign(1, 0);
  rows.start.assign(1, 0);
  bool share_others = false;  // classes that go pair by pair
  // Within a class p - 1 / positives cancels: no place for bfloat16 logits.
  const bool may_be_large = needs_mean_of_positives(row_loss()) && !(in_bfloat16_ && has_positives(row_loss()));
  auto anchor = anchors_by_id_.begin();
  for (auto row = part_->by_id.begin(); row != part_->by_id.end();) {
    const int32_t id = row->first;
    const auto behind = std::find_if(row, part_->by_id.end(), [id](const RowOfId &other) { return other.first != id; });
    const size_t anchors_before = anchors.rows.size(), rows_before = rows.rows.size();
    anchor = std::lower_bound(anchor, anchors_by_id_.end(), RowOfId(id, 0));
    for (; anchor != anchors_by_id_.end() && anchor->first == id; ++anchor)
      if (is_met(anchor->second)) anchors.rows.push_back(anchor->second);
    for (; row != behind; ++row) rows.rows.push_back(row->second);
    const auto met = int64_t(anchors.rows.size() - anchors_before);
    if (may_be_large && are_many(met, int64_t(rows.rows.size() - rows_before))) {
      anchors.start.push_back(int32_t(anchors.rows.size()));
      rows.start.push_back(int32_t(rows.rows.size()));
      continue;
    }
    share_others |= met > 0;
    anchors.rows.resize(anchors_before);
    rows.rows.resize(rows_before);
  }
  const int64_t classes = int64_t(rows.start.size()) - 1;
  for (LargeClasses *side : {&anchors, &rows}) {
    side->plain.assign(classes * problem_.dim, 0.0);
    side->squares.assign(classes, 0.0);
  }
  pool_.parallel(classes, [&](int64_t c, int) { sum_class_of_part(c); });
  anchors.class_of.assign(classes > 0 ? part_->block.rows.padded_rows : 0, -1);
  rows.class_of.assign(classes > 0 ? part_->block.columns.padded_rows : 0, -1);
  for (int64_t c = 0; c < classes; ++c) {
    if (large_classes_are_taken_off() && is_tight_in_part(c)) {
      share_others = true;
      continue;
    }
    for (LargeClasses *side : {&anchors, &rows})
      for (int32_t k = side->start[c]; k < side->start[c + 1]; ++k) side->class_of[side->rows[k]] = int32_t(c);
  }
  if (!has_positives(row_loss())) return;
  // Their pairs are not left out: none of the anchors has the id that their rows get.
  if (!share_others) part_->block.rows.ids = part_->block.columns.ids = nullptr;
  int32_t unused = std::numeric_limits<int32_t>::min();
  for (const RowOfId &of : anchors_by_id_) unused += of.first == unused ? 1 : 0;
  part_->ids_of_pairs = part_->ids;
  for (size_t j = 0; j < rows.class_of.size(); ++j)
    if (rows.class_of[j] >= 0) part_->ids_of_pairs[j] = unused;
  if (share_others) part_->block.columns.ids = part_->ids_of_pairs.data();
}

template <class Scalar> void Passes<Scalar>::sum_class_of_part(int64_t c) {
  const int64_t dim = problem_.dim, panel = kernels_.panel;
  for (const bool of_anchors : {true, false}) {
    LargeClasses &side = of_anchors ? part_->anchors_of_classes : part_->rows_of_classes;
    const Operand<Scalar> &rows = operand(of_anchors ? layout_.anchors() : kPart, 0);
    double *sums = side.plain.data() + c * dim;
    for (int32_t k = side.start[c]; k < side.start[c + 1]; ++k)
      for (int64_t first = 0; first < dim; first += panel) {
        const Scalar *numbers = rows.row_panels + (first / panel * rows.padded_rows + side.rows[k]) * panel;
        for (int64_t d = 0; d < std::min(panel, dim - first); ++d) {
          const double u = numbers[d];
          sums[first + d] += u;
          side.squares[c] += u * u;
        }
      }
  }
}

// As has_tight_class has it.
template <class Scalar> bool Passes<Scalar>::is_tight_in_part(int64_t c) const {
  const LargeClasses &anchors = part_->anchors_of_classes, &rows = part_->rows_of_classes;
  double square_of_sum = 0;
  for (int64_t k = c * problem_.dim; k < (c + 1) * problem_.dim; ++k) {
    const double sum = anchors.plain[k] + rows.plain[k];
    square_of_sum += sum * sum;
  }
  return is_tight(double(anchors.count(c) + rows.count(c)), square_of_sum, anchors.squares[c] + rows.squares[c]);
}

template <class Scalar> void Passes<Scalar>::meet_large_class(bool of_anchors, int64_t row, Met *met, int thread) {
  const LargeClasses &own = of_anchors ? part_->anchors_of_classes : part_->rows_of_classes;
  const LargeClasses &others = of_anchors ? part_->rows_of_classes : part_->anchors_of_classes;
  if (!own.exist() || own.class_of[row] < 0) return;
  const int64_t c = own.class_of[row];
  const Operand<Scalar> &rows = operand(of_anchors ? layout_.anchors() : kPart, thread);
  const double dots = dot_with_sum(rows, row, others.plain.data() + c * problem_.dim);
  met->add(others.count(c), problem_.scale * dots, -std::numeric_limits<double>::infinity());
}

template <class Scalar> void Passes<Scalar>::weigh_large_classes_of_part() {
  LargeClasses &anchors = part_->anchors_of_classes, &rows = part_->rows_of_classes;
  if (!anchors.exist()) return;
  const infonce_travelling_rows &given = part_->given->columns;
  const auto target = [&](double g, int64_t positives) {
    return positives > 0 ? g * (1 - smoothing()) / double(positives) : 0;
  };
  const auto target_of = [&](bool of_anchors, int64_t row) {
    if (of_anchors) return target(upstream_.relative(row), all_positives(0, row));
    return part_->block.columns.softmax ? target(given.weight[row] / upstream_.largest, given.all_positives[row]) : 0;
  };
  for (const bool of_anchors : {true, false}) {
    LargeClasses &side = of_anchors ? anchors : rows;
    side.targets.assign(side.class_of.size(), 0);
    for (size_t row = 0; row < side.class_of.size(); ++row)
      if (side.class_of[row] >= 0) side.targets[row] = Scalar(target_of(of_anchors, int64_t(row)));
  }
  if (large_classes_are_taken_off()) {
    part_->block.rows.large_classes = anchors.class_of.data();
    part_->block.rows.targets = anchors.targets.data();
    part_->block.columns.large_classes = rows.class_of.data();
    part_->block.columns.targets = rows.targets.data();
    return;
  }
  const int64_t dim = problem_.dim, panel = kernels_.panel;
  for (LargeClasses *side : {&anchors, &rows}) side->weighted.assign(side->plain.size(), 0.0);
  pool_.parallel(int64_t(rows.squares.size()), [&](int64_t c, int) {
    for (const bool of_anchors : {true, false}) {
      LargeClasses &side = of_anchors ? anchors : rows;
      const Operand<Scalar> &from = operand(of_anchors ? layout_.anchors() : kPart, 0);
      for (int32_t k = side.start[c]; k < side.start[c + 1]; ++k)
        for (int64_t d = 0; d < dim; ++d)
          side.weighted[c * dim + d] +=
              double(side.targets[side.rows[k]]) *
              double(from.row_panels[(d / panel * from.padded_rows + side.rows[k]) * panel + d % panel]);
    }
  });
}

// Where tiles do not take it off.
template <class Scalar>
void Passes<Scalar>::add_large_class_of_part(bool of_anchors, int64_t row, Scalar *accumulators,
                                             int64_t accumulator_rows) {
  const LargeClasses &own = of_anchors ? part_->anchors_of_classes : part_->rows_of_classes;
  const LargeClasses &others = of_anchors ? part_->rows_of_classes : part_->anchors_of_classes;
  if (!own.exist() || own.class_of[row] < 0 || large_classes_are_taken_off()) return;
  const int64_t dim = problem_.dim, first = own.class_of[row] * dim;
  kernels_.add_vector(accumulators, accumulator_rows, -double(own.targets[row]), others.plain.data() + first, dim);
  kernels_.add_vector(accumulators, accumulator_rows, -1, others.weighted.data() + first, dim);
}

#define INFONCE_LARGE_CLASSES_OF_PARTS(Scalar) \
  template void Passes<Scalar>::find_large_classes_of_part(); \
  template void Passes<Scalar>::sum_class_of_part(int64_t); \
  template bool Passes<Scalar>::is_tight_in_part(int64_t) const; \
  template void Passes<Scalar>::meet_large_class(bool, int64_t, Met *, int); \
  template void Passes<Scalar>::weigh_large_classes_of_part(); \
  template void Passes<Scalar>::add_large_class_of_part(bool, int64_t, Scalar *, int64_t);
INFONCE_LARGE_CLASSES_OF_PARTS(float)
INFONCE_LARGE_CLASSES_OF_PARTS(double)

}  // namespace infonce::cpu
