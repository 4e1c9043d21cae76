#include "group/travellers.h"

#include <algorithm>
#include <cstring>

#include "common/form.h"
#include "group/numbers.h"
#include "group/smaller_side.h"

namespace infonce::group {
namespace {

constexpr size_t kAlignment = 64;
constexpr Travellers::Sizes kBegin{0, kAlignment};  // behind the word of who has failed

size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// Zeros where a piece will end, up to the next. What lies between them is sent as well, and a tool that looks for bytes which
// nothing has written would report that copy, or whatever comes to lie in host memory that they went through.
infonce_status clear_gap(const infonce_backend &backend, infonce_context *context, char *rows, size_t end,
                         infonce_failure *failure) {
  if (end % kAlignment == 0) return INFONCE_OK;
  auto *const last = reinterpret_cast<float *>(rows + end / kAlignment * kAlignment);
  return backend.combine(context, last, nullptr, kAlignment / sizeof *last, 0, 0, failure);
}

}  // namespace

Traveller Travellers::traveller_of(const infonce_problem &problem, int m) {
  const infonce_matrix &matrix = problem.matrices[m];
  Traveller traveller{};
  traveller.matrix = traveller.rows_as = m;
  traveller.type = matrix.type;
  traveller.has_ids = matrix.ids != nullptr;
  traveller.has_bias = matrix.bias != nullptr;
  traveller.has_guide = matrix.guide != nullptr;
  traveller.guide_type = matrix.guide_type;
  traveller.softmax = kNone;
  return traveller;
}

Travellers::Travellers(const infonce_problem &problem, int ranks) : dim_(problem.dim), guide_dim_(problem.guide_dim) {
  for (int m = 0; m < problem.matrix_count; ++m) {
    Traveller traveller = traveller_of(problem, m);
    traveller.columns.are_hard = problem.softmaxes[0].beta != 0;
    traveller.columns.logits = problem.softmaxes[0].label_smoothing != 0;
    for (int b = 0; b < problem.block_count; ++b) {
      const infonce_block &block = problem.blocks[b];
      if (block.candidates != m || block.own == INFONCE_OWN_ALONE) continue;
      traveller.blocks.push_back(b);
      if (block.column_softmax != kNone) traveller.softmax = block.column_softmax;
      // Of two ranks, either may meet the other's rows of a matrix and itself.
      traveller.hops = std::max(traveller.hops, is_triangle(block) ? ranks / 2 : ranks - 1);
      traveller.columns.positives |= columns_have_positives(problem, block);
    }
    if (!traveller.blocks.empty()) all_.push_back(traveller);
  }
  sort();
}

void Travellers::sort() {
  const auto is_farther = [](const Traveller &a, const Traveller &b) { return a.hops > b.hops; };
  std::stable_sort(all_.begin(), all_.end(), is_farther);
}

void Travellers::let_stay(uint32_t matrices, const infonce_problem &problem, int ranks) {
  if (matrices == 0) return;
  const infonce_softmax &softmax = problem.softmaxes[0];
  const auto stays = [matrices](const Traveller &each) { return (matrices >> each.matrix & 1) != 0; };
  all_.erase(std::remove_if(all_.begin(), all_.end(), stays), all_.end());
  if (positives_are_anchors(softmax)) {
    // They travel already, and meet a memory on every rank.
    for (Traveller &each : all_)
      if (each.matrix == softmax.anchors) each.hops = ranks - 1;
    return sort();
  }
  Traveller anchors = traveller_of(problem, softmax.anchors);
  anchors.softmax = 0;
  anchors.hops = ranks - 1;
  anchors.are_anchors = true;
  anchors.columns.logits = softmax.label_smoothing != 0;
  for (int b = 0; b < problem.block_count; ++b)
    if (matrices >> problem.blocks[b].candidates & 1) anchors.blocks.push_back(b);
  const int keys = positives_elsewhere(softmax);
  const auto are_keys = [keys](const Traveller &each) { return each.matrix == keys; };
  if (visit_with_positives(problem) && std::none_of(all_.begin(), all_.end(), are_keys)) {
    Traveller positives = traveller_of(problem, keys);
    positives.rows_as = softmax.anchors;
    positives.has_ids = positives.has_bias = false;
    positives.has_guide = has_guides(problem);  // a rank without anchors has fetched none
    positives.hops = ranks - 1;
    positives.go_along = true;
    all_.push_back(positives);
  }
  all_.push_back(anchors);
  sort();
}

int Travellers::weights() const {
  int most = 0;
  for (const Traveller &traveller : all_)
    most = std::max(most, traveller.columns.positives ? 4 : traveller.columns.are_hard ? 3 : 2);
  return most;
}

void Travellers::want_gradients(const infonce_result &result) {
  for (Traveller &traveller : all_)
    traveller.has_gradient = !traveller.go_along && result.gradients[traveller.matrix].data != nullptr;
}

Travellers::Place Travellers::place_of(const Record &owner, const Traveller &traveller, const Sizes &begin) const {
  const size_t rows = size_t(owner.rows[traveller.rows_as]);
  Place place{begin.rows, 0, begin.notes, 0, {}};
  place.guide = aligned(place.rows + rows * size_t(dim_) * size_of(traveller.type));
  const size_t of_guide = traveller.has_guide ? rows * size_t(guide_dim_) * size_of(traveller.guide_type) : 0;
  place.end.rows = aligned(place.guide + of_guide);
  place.bias = aligned(place.ids + (traveller.has_ids ? rows * sizeof(int32_t) : 0));
  place.end.notes = aligned(place.bias + (traveller.has_bias ? rows * sizeof(float) : 0));
  return place;
}

Travellers::Sizes Travellers::sizes(const Record &owner, int hop) const {
  Sizes end = kBegin;
  for (const Traveller &traveller : all_)
    if (traveller.hops >= hop) end = place_of(owner, traveller, end).end;
  return end;
}

size_t Travellers::column_bytes(const Record &owner, int hop, int arrays) const {
  int64_t rows = 0;
  for (const Traveller &traveller : all_)
    if (traveller.hops >= hop && traveller.softmax != kNone) rows += owner.rows[traveller.matrix];
  return size_t(rows) * size_t(arrays) * sizeof(double);
}

double *Travellers::columns_in(char *columns, const Record &owner, const Traveller &traveller, int arrays) const {
  double *first = reinterpret_cast<double *>(columns);
  for (const Traveller &other : all_) {
    if (&other == &traveller) break;
    if (other.softmax != kNone) first += owner.rows[other.matrix] * arrays;
  }
  return first;
}

infonce_status pack_rows(const infonce_matrix &matrix, int64_t dim, const infonce_backend &backend,
                         infonce_context *context, char *packed, infonce_failure *failure, int32_t residence) {
  const size_t row_bytes = size_t(dim) * size_of(matrix.type);
  const size_t stride = size_t(row_stride_of(matrix, dim)) * size_of(matrix.type);
  const char *from = static_cast<const char *>(matrix.data);
  const bool has_gaps = stride != row_bytes, comes_from_host = matrix.residence == INFONCE_ON_HOST;
  std::vector<char> without;
  if (has_gaps && comes_from_host && residence == INFONCE_ON_DEVICE) {
    without.resize(size_t(matrix.rows) * row_bytes);
    pack_rows(matrix, dim, backend, context, without.data(), failure);
    const auto bytes = int64_t(without.size());
    return backend.copy(context, packed, without.data(), bytes, INFONCE_COPY_TO_DEVICE, failure);
  }
  const infonce_copy direction = residence == INFONCE_ON_HOST ? INFONCE_COPY_FROM_DEVICE
                                 : comes_from_host            ? INFONCE_COPY_TO_DEVICE
                                                              : INFONCE_COPY_WITHIN_DEVICE;
  // As few copies as there are gaps.
  const int64_t together = has_gaps ? 1 : std::max<int64_t>(matrix.rows, 1);
  for (int64_t i = 0; i < matrix.rows; i += together) {
    char *to = packed + size_t(i) * row_bytes;
    const size_t count = row_bytes * size_t(together);
    if (comes_from_host && residence == INFONCE_ON_HOST) {
      std::memcpy(to, from + size_t(i) * stride, count);
      continue;
    }
    const infonce_status status =
        backend.copy(context, to, from + size_t(i) * stride, int64_t(count), direction, failure);
    if (status != INFONCE_OK) return status;
  }
  return INFONCE_OK;
}

infonce_status Travellers::pack(const infonce_problem &problem, const infonce_backend &backend,
                                infonce_context *context, const Packed &packed, infonce_failure *failure) const {
  Record own;
  for (int m = 0; m < problem.matrix_count; ++m) own.rows[m] = problem.matrices[m].rows;
  const auto pack_piece = [&](const infonce_matrix &piece, int64_t dim, size_t begin) {
    const size_t end = begin + size_t(piece.rows) * size_t(dim) * size_of(piece.type);
    const infonce_status status =
        packed.residence == INFONCE_ON_DEVICE ? clear_gap(backend, context, packed.rows, end, failure) : INFONCE_OK;
    return status == INFONCE_OK
               ? pack_rows(piece, dim, backend, context, packed.rows + begin, failure, packed.residence)
               : status;
  };
  Sizes end = kBegin;
  for (const Traveller &traveller : all_) {
    const infonce_matrix &matrix = problem.matrices[traveller.matrix];
    const Place place = place_of(own, traveller, end);
    end = place.end;
    infonce_status status = pack_piece(matrix, dim_, place.rows);
    if (status == INFONCE_OK && traveller.has_guide) status = pack_piece(guide_of(matrix), guide_dim_, place.guide);
    if (status != INFONCE_OK) return status;
    if (matrix.rows == 0) continue;
    if (traveller.has_ids) std::memcpy(packed.notes + place.ids, matrix.ids, size_t(matrix.rows) * sizeof(int32_t));
    if (traveller.has_bias) std::memcpy(packed.notes + place.bias, matrix.bias, size_t(matrix.rows) * sizeof(float));
  }
  return INFONCE_OK;
}

infonce_matrix Travellers::matrix_in(const Packed &packed, const Record &owner, const Traveller &traveller,
                                     int64_t first) const {
  Sizes end = kBegin;
  for (const Traveller &other : all_) {
    const Place place = place_of(owner, other, end);
    end = place.end;
    if (&other != &traveller) continue;
    infonce_matrix matrix{};
    matrix.data = packed.rows + place.rows + size_t(first * dim_) * size_of(other.type);
    matrix.type = other.type;
    matrix.residence = packed.residence;
    matrix.rows = owner.rows[other.rows_as] - first;
    matrix.views = 1;
    if (other.has_ids) matrix.ids = reinterpret_cast<const int32_t *>(packed.notes + place.ids) + first;
    if (other.has_bias) matrix.bias = reinterpret_cast<const float *>(packed.notes + place.bias) + first;
    if (other.has_guide)
      matrix.guide = packed.rows + place.guide + size_t(first * guide_dim_) * size_of(other.guide_type);
    matrix.guide_type = other.guide_type;
    matrix.guide_residence = packed.residence;
    return matrix;
  }
  return {};
}

}  // namespace infonce::group
