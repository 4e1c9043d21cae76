#include "cpu/simclr_logits.h"

namespace infonce::cpu {

BadRow simclr_logits(const infonce_problem &problem, const Kernels &kernels, ThreadPool &pool, Workspace &workspace,
                     float *logits) {
  const Pairs no_pairs;
  const Request request = {problem, 0, false};
  Passes<float> passes(request, kernels, no_pairs, pool);
  workspace.lay_out([&](Workspace::Cursor &cursor) {
    passes.take_kept(cursor, false);
    passes.take_scratch(cursor);
  });
  const BadRow bad = passes.prepare();
  if (bad.row >= 0) return bad;
  const infonce_matrix &matrix = problem.matrices[passes.matrix_of(kAnchors)];
  const int64_t rows = matrix.rows, samples = rows / matrix.views;
  pool.parallel(rows, [&](int64_t i, int thread) {
    const Operand<float> &features = passes.operand(kAnchors, thread);
    float *positive = logits + i * (rows - 1), *negative = positive + matrix.views - 1;
    for (int64_t j = 0; j < rows; ++j) {
      if (j == i) continue;
      float *&out = j % samples == i % samples ? positive : negative;
      *out++ = float(problem.scale * kernels.single.dot(features, i, features, j));
    }
  });
  return {};
}

}  // namespace infonce::cpu
