// The kernel table of one instruction set; compiled once for each, with its flags and its namespace.
#include "cpu/kernels/gradient.h"
#include "cpu/kernels/half.h"
#include "cpu/kernels/kernels.h"
#include "cpu/kernels/logits.h"
#include "cpu/kernels/peak.h"
#include "cpu/kernels/prepare.h"
#include "cpu/kernels/rows.h"
#include "cpu/kernels/float64.h"
#include "cpu/kernels/sigmoid.h"

#define INFONCE_QUOTE(x) #x
#define INFONCE_NAME_OF(x) INFONCE_QUOTE(x)

namespace infonce::cpu::INFONCE_KERNEL_NAMESPACE {

template <class Scalar> constexpr ScalarKernels<Scalar> scalar_kernels() {
  return {2 * kLanesOf<Scalar>, prepare_rows<Scalar>, ranking_dots<Scalar>, dot<Scalar>,
          add_row<Scalar>,      add_vector<Scalar>,   finish_rows<Scalar>};
}

const Kernels &kernels() {
  static constexpr Kernels table = {INFONCE_NAME_OF(INFONCE_KERNEL_NAMESPACE),
                                    false,
                                    scalar_kernels<float>(),
                                    scalar_kernels<double>(),
                                    logits_block<FloatProduct>,
                                    sigmoid_block<FloatProduct>,
                                    gradient_panel,
                                    float64_log_sum_exp,
                                    float64_gradient,
                                    row_dot,
                                    widen_row<Float16>,
                                    widen_row<Bfloat16>,
                                    peak_of<FloatStep>()};
  return table;
}

}  // namespace infonce::cpu::INFONCE_KERNEL_NAMESPACE
