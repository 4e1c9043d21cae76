#include "cpu/simclr_logits.h"

namespace infonce::cpu {

BadRow simclr_logits(const infonce_problem &problem, const Kernels &kernels, ThreadPool &pool, Workspace &workspace,
                     float *logits) {
  const Request request = {problem, 0, false, false};
  const Layout layout(problem);
  Operands<float> operands(request, layout, kernels, pool);
  workspace.lay_out([&](Workspace::Cursor &cursor) {
    operands.take_kept(cursor, false);
    operands.take_scratch(cursor, false, nullptr);
  });
  const BadRow bad = operands.prepare();
  if (bad.row >= 0) return bad;
  const infonce_matrix &matrix = problem.matrices[layout.anchors()];
  const int64_t rows = matrix.rows, samples = rows / matrix.views;
  pool.parallel(rows, [&](int64_t i, int thread) {
    const Operand<float> &features = operands.at(layout.anchors(), thread);
    float *positive = logits + i * (rows - 1), *negative = positive + matrix.views - 1;
    for (int64_t j = 0; j < rows; ++j) {
      if (j == i) continue;
      float *&out = j % samples == i % samples ? positive : negative;
      *out++ = float(problem.scale * kernels.float32.dot(features, i, features, j));
    }
  });
  return {};
}

}  // namespace infonce::cpu
