#include "cuda/buffers.h"

#include <algorithm>

#include "cuda/work.h"

namespace infonce::cuda {
namespace {

void take_softmax(Workspace::Cursor &cursor, int64_t rows, Direction *softmax) {
  softmax->rank = cursor.take<float>(rows);
  softmax->all_above = cursor.take<int32_t>(rows);
  softmax->upstream = cursor.take<double>(rows);
  softmax->log_sum_exp = cursor.take<double>(rows);
  softmax->weight = cursor.take<float>(rows);
  softmax->log2_sum = cursor.take<float>(rows);
  softmax->target = cursor.take<float>(rows);
  softmax->rest_share = cursor.take<double>(rows);
  softmax->loss = cursor.take<double>(rows);
}

void take_classes(Workspace::Cursor &cursor, Work *work) {
  const Classes &classes = work->classes;
  Buffers &buffers = work->buffers;
  const int64_t large = int64_t(classes.large.size());
  const auto take = [&](auto **to, const auto &vector) {
    *to = cursor.take<std::remove_reference_t<decltype(**to)>>(int64_t(vector.size()));
  };
  take(&buffers.classes.order, classes.order);
  buffers.classes.apart = cursor.take<Range>(work->anchor_tower().padded_rows);
  take(&buffers.classes.members, classes.members);
  take(&buffers.classes.class_of, classes.class_of);
  take(&buffers.classes.large, classes.large);
  take(&buffers.classes.targets, classes.targets);
  take(&buffers.classes.anchors_of_keys, classes.anchors_of_keys);
  buffers.class_sums.sums = cursor.take<double>(large * work->problem.dim);
  buffers.class_sums.squares = cursor.take<double>(large * work->problem.dim);
  take(&buffers.classes.memory_order, classes.memory_order);
  take(&buffers.classes.memory_apart, classes.memory_apart);
  take(&buffers.classes.memory_members, classes.memory_members);
  take(&buffers.classes.memory_large, classes.memory_large);
  take(&buffers.classes.firsts, classes.firsts);
}

// Whether kernels read the caller's rows. Those that could be read four numbers at a time, but for their stride, are
// copied: some sums would have another order.
bool are_in_place(const Work &work, const infonce_matrix &matrix, int64_t dim) {
  const bool are_float32 = matrix.residence == INFONCE_ON_DEVICE && matrix.type == INFONCE_FLOAT32;
  return are_float32 && !work.phase.keeps && (dim % 4 != 0 || row_stride_of(matrix, dim) % 4 == 0);
}

// Of the matrices whose rows this call brings, in float32 and as operands.
void take_inputs(Workspace::Cursor &cursor, Work *work) {
  const infonce_problem &problem = work->problem;
  work->for_each_brought_matrix([&](int m) {
    const bool in_place = are_in_place(*work, problem.matrices[m], problem.dim);
    work->buffers.inputs[m].rows = in_place ? nullptr : cursor.take<float>(work->size_of(m));
  });
  work->for_each_brought_guide([&](int m) {
    const bool in_place = are_in_place(*work, guide_of(problem.matrices[m]), problem.guide_dim);
    work->buffers.guide_inputs[m].rows = in_place ? nullptr : cursor.take<float>(work->guide_size_of(m));
  });
}

void take_masks(Workspace::Cursor &cursor, Work *work) {
  work->for_each_brought_matrix([&](int m) {
    const int64_t rows = work->tower(m).rows;
    work->buffers.ids[m] = work->needs_ids(m) ? cursor.take<int32_t>(rows) : nullptr;
    work->buffers.bias[m] = work->needs_bias(m) ? cursor.take<float>(rows) : nullptr;
    if (m == work->choice.own)
      work->buffers.own_counts = work->problem.matrices[m].counts ? cursor.take<int32_t>(work->rows()) : nullptr;
  });
}

void take_operands(Workspace::Cursor &cursor, Work *work) {
  work->for_each_brought_matrix([&](int m) {
    if (m == work->choice.own) return;
    Tower &tower = work->buffers.towers[m];
    tower.planes = cursor.take<__nv_bfloat16>(int64_t(work->choice.planes) * tower.plane_size());
    tower.inverse_norm = cursor.take<double>(tower.padded_rows);
  });
  work->for_each_brought_guide([&](int m) {
    Tower &guide = work->buffers.guides[m];
    guide = work->tower(m);
    guide.planes = nullptr;
    guide.dim = work->problem.guide_dim;
    guide.padded_dim = 0;
    guide.normalize = true;
    guide.inverse_norm = cursor.take<double>(guide.padded_rows);
  });
  if (threshold_of(work->problem) && !work->phase.is_part)
    work->buffers.most = cursor.take<double>(work->anchor_tower().padded_rows);
}

void take_halves(Workspace::Cursor &cursor, Work *work) {
  work->for_each_brought_matrix([&](int m) {
    const infonce_matrix &matrix = work->problem.matrices[m];
    const bool is_half = matrix.type != INFONCE_FLOAT32 && matrix.residence == INFONCE_ON_HOST;
    work->buffers.inputs[m].halves = is_half ? cursor.take<uint16_t>(work->size_of(m)) : nullptr;
  });
  work->for_each_brought_guide([&](int m) {
    const infonce_matrix guide = guide_of(work->problem.matrices[m]);
    const bool is_half = guide.type != INFONCE_FLOAT32 && guide.residence == INFONCE_ON_HOST;
    work->buffers.guide_inputs[m].halves = is_half ? cursor.take<uint16_t>(work->guide_size_of(m)) : nullptr;
  });
}

void take_sums(Workspace::Cursor &cursor, int64_t rows, Direction *softmax) {
  softmax->sum = cursor.take<double>(rows);
  softmax->offset = cursor.take<double>(rows);
  softmax->above = cursor.take<int32_t>(rows);
}

void take_terms(Workspace::Cursor &cursor, int64_t rows, FurtherSums *sums) {
  sums->term_losses = cursor.take<double>(rows);
  sums->term_shares = cursor.take<double>(rows);
}

FurtherSums take_further(Workspace::Cursor &cursor, int64_t rows, bool have_terms) {
  FurtherSums sums{};
  sums.log_sum_exp = cursor.take<double>(rows);
  sums.sum = cursor.take<double>(rows);
  if (have_terms) take_terms(cursor, rows, &sums);
  sums.count = cursor.take<int32_t>(rows);
  return sums;
}

// Of a part's columns, or of the anchors that it meets alone: what its passes read beside the sums.
void take_weights(Workspace::Cursor &cursor, int64_t rows, Direction *softmax) {
  softmax->rank = cursor.take<float>(rows);
  softmax->upstream = cursor.take<double>(rows);
  softmax->log_sum_exp = cursor.take<double>(rows);
  softmax->weight = cursor.take<float>(rows);
  softmax->log2_sum = cursor.take<float>(rows);
  softmax->rest_share = cursor.take<double>(rows);
}

void take_sums_of_rows(Workspace::Cursor &cursor, Work *work) {
  work->for_each_matrix([&](int m) {
    work->buffers.row_sums[m] = cursor.take<double>(work->problem.dim);
    work->buffers.weighted_row_sums[m] = cursor.take<double>(work->problem.dim);
  });
}

// What a part has of a call's own.
void take_part(Workspace::Cursor &cursor, Work *work) {
  Buffers &buffers = work->buffers;
  const Block &block = work->choice.blocks[0];
  const bool has_columns = work->has_columns_of_part(), has_some = !work->some_anchors.rows.empty();
  const int64_t anchors = work->anchor_tower().padded_rows, columns = work->tower(block.columns).padded_rows;
  const bool has_weights = work->problem.softmaxes[0].beta != 0;
  Direction *const of_some = &buffers.softmaxes[block.row_softmax];
  take_inputs(cursor, work);
  const size_t zeros = cursor.used();
  buffers.report = cursor.take<Report>(1);
  buffers.no_weight = cursor.take<float>(work->choice.longest_rows());
  if (has_columns) take_sums(cursor, columns, &buffers.softmax_of_columns);
  if (has_columns && work->has_further_positives(block))
    buffers.further_of_columns = take_further(cursor, columns, work->has_terms());
  if (has_columns && work->is_smoothed()) buffers.logit_sums_of_columns = cursor.take<double>(columns);
  if (has_columns && has_weights) take_sums(cursor, columns, &buffers.weights_of_columns);
  if (has_some) take_sums(cursor, anchors, of_some);
  if (has_some && has_weights) take_sums(cursor, anchors, &buffers.softmaxes[1]);
  buffers.zeroed = reinterpret_cast<unsigned char *>(buffers.report);
  buffers.zeroed_bytes = cursor.used() - zeros;
  take_masks(cursor, work);
  take_operands(cursor, work);
  if (has_columns) {
    take_weights(cursor, columns, &buffers.softmax_of_columns);
    buffers.positive_logit_of_columns = cursor.take<double>(columns);
  }
  if (has_columns && has_weights) take_weights(cursor, columns, &buffers.weights_of_columns);
  if (work->is_smoothed()) take_sums_of_rows(cursor, work);
  if (!has_some) return;
  take_weights(cursor, anchors, of_some);
  if (has_weights) take_weights(cursor, anchors, &buffers.softmaxes[1]);
  buffers.softmaxes[0].rank = of_some->rank;
  buffers.pair_logits.first = cursor.take<double>(anchors);
  if (work->some_anchors.ids) buffers.ids[work->anchors()] = cursor.take<int32_t>(work->rows());
  if (work->some_anchors.targets) buffers.target_numbers = cursor.take<int32_t>(work->rows());
  if (work->some_anchors.most) buffers.most = cursor.take<double>(anchors);
  if (has_guides(work->problem)) buffers.guides[work->anchors()].inverse_norm = cursor.take<double>(anchors);
  Tower &tower = buffers.towers[work->anchors()];
  tower.planes = cursor.take<__nv_bfloat16>(int64_t(work->choice.planes) * tower.plane_size());
  tower.inverse_norm = cursor.take<double>(anchors);
}

void take_statistics(Workspace::Cursor &cursor, Work *work) {
  const Choice &choice = work->choice;
  const int64_t rows_of_tile = rows_of(choice.shape);
  int64_t of_rows = int64_t(choice.flash_splits) * choice.flash_rows, of_columns = 0;
  for (const Sweep &sweep : choice.sweeps) {
    of_rows = std::max(of_rows, int64_t(sweep.plan.runs) * sweep.plan.strip * rows_of_tile);
    if (sweep.block.column_softmax == kNone) continue;
    const int64_t sums = int64_t(sweep.plan.strip) * (rows_of_tile / rows_of_column_sums(choice.shape));
    of_columns = std::max(of_columns, sums * work->tower(sweep.block.columns).padded_rows);
  }
  Buffers &buffers = work->buffers;
  buffers.by_row.sum = cursor.take<float>(of_rows);
  buffers.by_row.above = cursor.take<int32_t>(of_rows);
  buffers.by_row.maximum = choice.terms() == Terms::kExponentials ? nullptr : cursor.take<float>(of_rows);
  buffers.by_column.sum = cursor.take<float>(of_columns);
  buffers.by_column.above = cursor.take<int32_t>(of_columns);
}

void take_accumulators(Workspace::Cursor &cursor, Work *work) {
  int64_t floats = 0, floats_of_columns = 0, doubles = 0, panel = 0;
  for (const MatrixGradient &gradient : work->gradients) {
    const int64_t plane = work->tower(gradient.matrix).plane_size();
    // A gradient that is that of pairs alone has one as well.
    const bool has_own = work->own_beside() && gradient.matrix == work->anchors();
    const int64_t least = std::max<int64_t>(1, int64_t(gradient.parts.size()) + has_own);
    int64_t splits = 0, first = 0;
    for (const GradientPart &part : gradient.parts) {
      splits += part.splits;
      if (gradient.from_columns) first = part.of_columns;
      panel = std::max(panel, part.panel.elements(work->choice.shape));
    }
    int64_t &most = gradient.from_columns ? floats_of_columns : floats;
    most = std::max(most, first + std::max(splits, least) * plane);
    doubles = std::max(doubles, (work->problem.softmaxes[0].beta != 0 ? 2 : 1) * least * plane);
  }
  Buffers &buffers = work->buffers;
  if (work->in_float32) {
    buffers.accumulators = cursor.take<float>(floats);
    buffers.accumulators_of_columns = cursor.take<float>(floats_of_columns);
    buffers.panel = cursor.take<__nv_bfloat16>(int64_t(work->choice.planes) * panel);
  }
  if (work->in_float64) {
    buffers.float64_accumulators = cursor.take<double>(doubles);
    buffers.float64_panel = cursor.take<double>(float64_panel_elements(*work));
  }
}

void take_smoothing(Workspace::Cursor &cursor, Work *work) {
  if (!work->choice.opened) take_sums_of_rows(cursor, work);
  for (int s = 0; s < work->problem.softmax_count; ++s)
    work->buffers.mean_logits[s] = cursor.take<double>(work->rows());
}

}  // namespace

int64_t float64_panel_elements(const Work &work) {
  constexpr int64_t kMost = int64_t(4) << 20;
  return std::min(kMost, work.choice.longest_rows() * work.choice.longest_rows());
}

void take_kept(Workspace::Cursor &cursor, Work *work) {
  const Choice &choice = work->choice;
  Buffers &buffers = work->buffers;
  const int64_t rows = work->anchor_tower().padded_rows;
  take_inputs(cursor, work);
  buffers.radial = cursor.take<double>(rows);

  // What begins with zeros stands together.
  const size_t zeros = cursor.used();
  buffers.report = cursor.take<Report>(1);
  for (Direction &softmax : buffers.softmaxes) take_sums(cursor, rows, &softmax);
  const bool has_further = has_further_positives(work->problem) || choice.meets_by_id;
  for (int s = 0; s < work->problem.softmax_count && has_further; ++s)
    buffers.further[s] = take_further(cursor, rows, work->has_terms());
  for (int s = 0; s < work->problem.softmax_count && choice.opened && work->is_smoothed(); ++s)
    buffers.logit_sums[s] = cursor.take<double>(rows);
  const int64_t longest = choice.longest_rows();
  buffers.no_weight = cursor.take<float>(longest);
  buffers.zeroed = reinterpret_cast<unsigned char *>(buffers.report);
  buffers.zeroed_bytes = cursor.used() - zeros;
  buffers.no_log2_sum = cursor.take<float>(longest);
  for (Direction &softmax : buffers.softmaxes) take_softmax(cursor, rows, &softmax);
  take_masks(cursor, work);
  if (has_own_candidates_alone(work->problem)) return;

  if (const infonce_block *own = work->own_beside())
    buffers.own_pairs = cursor.take<double2>(work->problem.matrices[own->candidates].rows);
  take_operands(cursor, work);
  if (leaves_out_target(work->problem)) buffers.target_numbers = cursor.take<int32_t>(work->rows());
  if (choice.opened && work->is_smoothed()) take_sums_of_rows(cursor, work);
  buffers.flash_accumulators = cursor.take<float>(choice.flash_splits * work->anchor_tower().plane_size());
  take_classes(cursor, work);
  const int64_t most_pairs = work->classes.most_partners;
  buffers.pair_logits.first = cursor.take<double>(rows);
  buffers.pair_logits.slots = cursor.take<double>(most_pairs * rows);
  buffers.pair_logits.stride = rows;
  buffers.pair_logits.most_pairs = most_pairs;
}

void take_sums_of_parts(Workspace::Cursor &cursor, Work *work) {
  Buffers &buffers = work->buffers;
  buffers.has_sums_of_triangle = work->choice.has_triangle();
  const size_t begin = cursor.used();
  buffers.all_sums_of_parts = nullptr;
  for (int b = 0; b < work->problem.block_count; ++b) {
    const int rows = work->problem.blocks[b].anchors;
    if (std::find_if(work->problem.blocks, work->problem.blocks + b,
                     [&](const infonce_block &other) { return other.anchors == rows; }) != work->problem.blocks + b)
      continue;
    const int planes = rows == work->anchors() && buffers.has_sums_of_triangle ? 2 : 1;
    buffers.sums_of_parts[rows] = cursor.take<double>(planes * work->tower(rows).plane_size());
    if (!buffers.all_sums_of_parts) buffers.all_sums_of_parts = buffers.sums_of_parts[rows];
  }
  buffers.sums_of_parts_bytes = cursor.used() - begin;
}

void take_scratch(Workspace::Cursor &cursor, Work *work) {
  Buffers &buffers = work->buffers;
  if (work->phase.is_part) take_part(cursor, work);
  for (Output &output : work->outputs)
    if (output.count > 0) output.device = output.on_device() ? output.caller.data : cursor.take<float>(output.count);
  const infonce_grad_output &upstream = work->problem.grad_output;
  const bool is_there = upstream.residence == INFONCE_ON_DEVICE;
  if (work->phase.has_losses) buffers.grad_output = is_there ? upstream.data : cursor.take<float>(upstream.count);
  take_halves(cursor, work);
  if (has_own_candidates_alone(work->problem)) {
    const int negatives = work->problem.blocks[0].candidates;
    return work->paired_negatives.take_scratch(cursor, work->problem.matrices[negatives].rows);
  }
  if (work->in_float32 && work->phase.sums) take_statistics(cursor, work);
  if (work->computes_gradient()) take_accumulators(cursor, work);
  if (const infonce_block *own = work->own_beside(); own && work->computes_gradient())
    buffers.own_shares = cursor.take<double2>(work->problem.matrices[own->candidates].rows);
  if (work->is_smoothed() && work->phase.has_losses) take_smoothing(cursor, work);
  if (work->has_terms() && work->phase.has_losses)
    take_terms(cursor, work->anchor_tower().padded_rows, &buffers.all_terms);
  if (work->has_positive_weights() && work->phase.has_losses)
    buffers.positive_weights = cursor.take<double>(work->rows());
}

}  // namespace infonce::cuda
