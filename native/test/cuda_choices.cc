// What the CUDA backend runs, and how it cuts it, on devices that are made up: nothing here needs one.
#include <doctest/doctest.h>

#include <vector>

#include "cuda/choice.h"
#include "test/case.h"

namespace infonce::test {
namespace {

using cuda::Architecture;
using cuda::Block;
using cuda::Choice;
using cuda::Hardware;
using cuda::MatrixGradient;
using cuda::PanelUse;
using cuda::Planes;
using cuda::UseOfSm90;

// Of the size of an A100 or, with kernels for compute capability 9.0, an H100.
Hardware hardware_with(UseOfSm90 sm90) {
  Hardware hardware;
  hardware.sm90 = sm90;
  hardware.multiprocessors = sm90 == UseOfSm90::kNever ? 108 : 132;
  hardware.shared_memory = size_t(sm90 == UseOfSm90::kNever ? 163 : 227) << 10;
  hardware.cache = size_t(sm90 == UseOfSm90::kNever ? 40 : 50) << 20;
  hardware.occupancy = [](const char *, const void *, int, size_t) { return 2; };
  return hardware;
}

// A problem of these sizes, which has no arrays.
struct Sizes {
  Loss loss;
  int64_t rows, dim;
  double temperature = 0.1;
  bool normalize = true;
};
infonce_problem problem_of(const Sizes &sizes) {
  Settings settings;
  settings.loss = sizes.loss;
  settings.rows = 4;
  settings.dim = 2;
  settings.negative_rows = 8;
  settings.temperature = sizes.temperature;
  settings.normalize = sizes.normalize;
  infonce_problem problem = Case(settings).problem;
  problem.dim = sizes.dim;
  for (int m = 0; m < problem.matrix_count; ++m) {
    infonce_matrix &matrix = problem.matrices[m];
    matrix.data = matrix.ids = nullptr;
    matrix.rows = m == (sizes.loss == Loss::kSupConMemory ? kMemory : kNegatives) ? 2 * sizes.rows : sizes.rows;
  }
  return problem;
}

Choice choice_for(const infonce_problem &problem, infonce_precision precision, UseOfSm90 sm90,
                  bool has_large_classes = false) {
  return choose(problem, precision, has_large_classes, hardware_with(sm90));
}

std::vector<MatrixGradient> gradients_of(const Choice &choice, UseOfSm90 sm90, uint32_t wanted = 7) {
  uint32_t there = 0;
  for (int m = 0; m < INFONCE_MOST_MATRICES; ++m) there |= uint32_t(choice.rows(m) > 0) << m;
  return plan_gradients(choice, there & wanted, choice.in_float32, hardware_with(sm90));
}

constexpr infonce_precision kPrecisions[] = {INFONCE_PRECISION_HIGHEST, INFONCE_PRECISION_HIGH,
                                             INFONCE_PRECISION_MEDIUM};

TEST_CASE("kernels for compute capability 9.0 are chosen for 2048 by 2048 logits and more") {
  const auto chosen = [](int64_t rows, UseOfSm90 use) {
    return choice_for(problem_of({Loss::kNtXentFirst, rows, 128}), INFONCE_PRECISION_MEDIUM, use).architecture;
  };
  CHECK(chosen(2046, UseOfSm90::kWhereFaster) == &Architecture::sm80());
  CHECK(chosen(2048, UseOfSm90::kWhereFaster) == &Architecture::sm90());
  CHECK(chosen(2, UseOfSm90::kAlways) == &Architecture::sm90());
  CHECK(chosen(65536, UseOfSm90::kNever) == &Architecture::sm80());
}

TEST_CASE("a precision has its number of products, and large classes the next better one") {
  const infonce_problem problem = problem_of({Loss::kSupCon, 512, 64});
  constexpr Planes kPlanes[] = {Planes::kHighest, Planes::kHigh, Planes::kMedium};
  constexpr Planes kOfLargeClasses[] = {Planes::kHighest, Planes::kHighest, Planes::kHigh};
  for (const infonce_precision precision : kPrecisions) {
    CHECK(choice_for(problem, precision, UseOfSm90::kNever).planes == kPlanes[precision]);
    CHECK(choice_for(problem, precision, UseOfSm90::kNever, true).planes == kOfLargeClasses[precision]);
  }
}

TEST_CASE("the size of the logits decides between a constant shift, a running maximum and float64") {
  const auto chosen = [](double temperature, bool normalize = true) {
    return choice_for(problem_of({Loss::kClip, 512, 64, temperature, normalize}), INFONCE_PRECISION_HIGHEST,
                      UseOfSm90::kNever);
  };
  const Choice warm = chosen(1 / 70.0), cold = chosen(1 / 71.0), coldest = chosen(1 / 111.0), any = chosen(1, false);
  CHECK((!warm.online && warm.in_float32 && !warm.in_float64));
  CHECK((cold.online && cold.in_float32 && !cold.in_float64));
  CHECK((!coldest.in_float32 && coldest.in_float64));
  CHECK((any.online && any.in_float32 && any.in_float64));
  // One sweep serves both softmaxes, except for a running maximum.
  CHECK(warm.sweeps.size() == 1);
  CHECK(cold.sweeps.size() == 2);
  CHECK(coldest.sweeps.empty());
}

TEST_CASE("blocks are those of the problem, and a triangle of one matrix") {
  const auto chosen = [](Loss loss) {
    return choice_for(problem_of({loss, 512, 300}), INFONCE_PRECISION_HIGH, UseOfSm90::kNever);
  };
  const Choice one = chosen(Loss::kNtXentAll), memory = chosen(Loss::kSupConMemory), own = chosen(Loss::kInfoNcePaired);
  REQUIRE(one.sweeps.size() == 1);
  CHECK(one.sweeps[0].triangular);
  REQUIRE(memory.sweeps.size() == 2);
  CHECK(memory.sweeps[0].triangular);
  CHECK(!memory.sweeps[1].triangular);
  CHECK(memory.sweeps[1].block.columns == kMemory);
  CHECK(own.blocks.empty());
  CHECK(own.rows(kNegatives) == 2);
}

TEST_CASE("gradients are computed in registers up to dimension 256, and through panels beyond and at 'highest'") {
  const auto in_registers = [](int64_t rows, int64_t dim, infonce_precision precision, UseOfSm90 sm90) {
    return choice_for(problem_of({Loss::kNtXentFirst, rows, dim}), precision, sm90).in_registers;
  };
  for (const UseOfSm90 sm90 : {UseOfSm90::kNever, UseOfSm90::kAlways}) {
    CHECK(in_registers(512, 256, INFONCE_PRECISION_MEDIUM, sm90));
    CHECK(in_registers(512, 128, INFONCE_PRECISION_HIGH, sm90));
    CHECK(!in_registers(512, 257, INFONCE_PRECISION_MEDIUM, sm90));
    CHECK(!in_registers(512, 64, INFONCE_PRECISION_HIGHEST, sm90));
    CHECK(!in_registers(65538, 64, INFONCE_PRECISION_HIGH, sm90));
  }
}

TEST_CASE("rows are padded no further than to the next dimension of a kernel") {
  const auto padded = [](int64_t dim, infonce_precision precision, UseOfSm90 sm90) {
    const Choice choice = choice_for(problem_of({Loss::kNtXentFirst, 512, dim}), precision, sm90);
    return choice.towers[choice.anchors].padded_dim;
  };
  CHECK(padded(129, INFONCE_PRECISION_MEDIUM, UseOfSm90::kAlways) == 192);
  CHECK(padded(193, INFONCE_PRECISION_MEDIUM, UseOfSm90::kAlways) == 256);
  CHECK(padded(192, INFONCE_PRECISION_MEDIUM, UseOfSm90::kNever) == 256);
  CHECK(padded(192, INFONCE_PRECISION_HIGH, UseOfSm90::kAlways) == 192);
}

TEST_CASE("one pass computes the statistics and the gradient where it can") {
  const auto chosen = [](Loss loss, UseOfSm90 sm90) {
    return choice_for(problem_of({loss, 512, 128}), INFONCE_PRECISION_MEDIUM, sm90);
  };
  const Choice flash = chosen(Loss::kInfoNceUnpaired, UseOfSm90::kAlways);
  CHECK(flash.flash);
  CHECK(flash.flash_splits > 0);
  CHECK(flash.sweeps.empty());
  CHECK(!chosen(Loss::kInfoNceUnpaired, UseOfSm90::kNever).flash);
  CHECK(!chosen(Loss::kClip, UseOfSm90::kAlways).flash);
  CHECK(!chosen(Loss::kNtXentFirst, UseOfSm90::kAlways).flash);
}

TEST_CASE("a panel serves two matrices on compute capability 9.0 if both want their gradient") {
  for (const infonce_precision precision : kPrecisions) {
    const infonce_problem problem = problem_of({Loss::kInfoNceUnpaired, 1024, 512});
    const Choice choice = choice_for(problem, precision, UseOfSm90::kAlways);
    const auto all = gradients_of(choice, UseOfSm90::kAlways), some = gradients_of(choice, UseOfSm90::kAlways, 3);
    REQUIRE(all.size() == 3);
    REQUIRE(some.size() == 2);
    CHECK(all[0].parts[0].panel.use == PanelUse::kRowsAndColumns);
    CHECK(all[1].matrix == kNegatives);
    CHECK(all[1].from_columns);
    CHECK(all[1].parts[0].splits == all[0].parts[0].splits);
    CHECK(all[2].parts.empty());
    // The anchors' gradient has the same bits whether or not the others are wanted.
    CHECK(some[0].parts[0].panel.use == PanelUse::kRowsOfBoth);
    CHECK(some[0].parts[0].panel.panel_rows == all[0].parts[0].panel.panel_rows);
    CHECK(some[0].parts[0].panel.panel_tiles == all[0].parts[0].panel.panel_tiles);
    CHECK(some[0].parts[0].splits == all[0].parts[0].splits);

    const auto separate = gradients_of(choice_for(problem, precision, UseOfSm90::kNever), UseOfSm90::kNever);
    CHECK(!separate[1].from_columns);
  }
}

TEST_CASE("plans cover all rows and columns, and panels fit the cache") {
  for (const Loss loss : kLosses)
    for (const int64_t rows : {2, 254, 1000, 40000})
      for (const int64_t dim : {1, 64, 300, 2048})
        for (const infonce_precision precision : kPrecisions)
          for (const UseOfSm90 sm90 : {UseOfSm90::kNever, UseOfSm90::kAlways}) {
            const Choice choice = choice_for(problem_of({loss, rows, dim}), precision, sm90);
            const int64_t rows_of_tile = rows_of(choice.shape);
            for (const cuda::Sweep &sweep : choice.sweeps) {
              CHECK(sweep.plan.tile_rows * rows_of_tile >= choice.rows(sweep.block.rows));
              CHECK(sweep.plan.tiles * cuda::kTileColumns >= choice.rows(sweep.block.columns));
              CHECK(sweep.plan.tiles_per_run <= cuda::kMostTilesOfRun);
              CHECK((sweep.plan.strip >= 1 && sweep.plan.strip <= sweep.plan.tile_rows));
            }
            for (const MatrixGradient &gradient : gradients_of(choice, sm90, loss == Loss::kSupConMemory ? 1 : 7))
              for (const cuda::GradientPart &part : gradient.parts) {
                CHECK(part.splits >= 1);
                if (choice.in_registers || gradient.from_columns) continue;
                CHECK(part.panel.tile_rows * rows_of_tile >= choice.rows(part.block.rows));
                CHECK(part.panel.tiles * cuda::kTileColumns >= choice.rows(part.block.columns));
                const int64_t bytes = part.panel.elements(choice.shape) * int64_t(choice.planes) * 2;
                CHECK(bytes <= int64_t(hardware_with(sm90).cache) / 2);
              }
          }
}

// Keys and further negatives, of which a softmax of `both_directions` sees the keys alone.
infonce_problem with_negatives(bool both_directions, int64_t rows, int64_t dim) {
  infonce_problem problem = problem_of({Loss::kInfoNceUnpaired, rows, dim});
  problem.block_count = 2;
  problem.blocks[1] = block_of(kAnchors, kKeys, 0, both_directions ? 1 : -1);
  if (both_directions) {
    problem.softmax_count = 2;
    problem.softmaxes[1] = problem.softmaxes[0];
    problem.softmaxes[1].anchors = kKeys;
    problem.softmaxes[1].positive_matrices = 1U << kAnchors;
  }
  return problem;
}

TEST_CASE("every block has its statistics and its part of the gradients") {
  for (const bool both : {false, true})
    for (const UseOfSm90 sm90 : {UseOfSm90::kNever, UseOfSm90::kAlways}) {
      const Choice choice = choice_for(with_negatives(both, 512, 300), INFONCE_PRECISION_MEDIUM, sm90);
      CHECK(!choice.flash);
      CHECK(choice.sweeps.size() == 2);
      CHECK(choice.row_blocks.size() == (both ? 3 : 2));
      const auto gradients = gradients_of(choice, sm90);
      REQUIRE(gradients.size() == 3);
      CHECK(gradients[0].parts.size() == 2);
      CHECK(gradients[1].matrix == kNegatives);
      CHECK(gradients[2].matrix == kKeys);
      // What one panel sums up for two matrices lies side by side.
      const bool from_columns = sm90 == UseOfSm90::kAlways;
      CHECK(gradients[2].from_columns == from_columns);
      const int64_t plane = choice.towers[kNegatives].plane_size();
      CHECK(gradients[2].parts[0].of_columns == (from_columns ? gradients[1].parts[0].splits * plane : 0));
    }
}

TEST_CASE("the triangle's part comes first, and of it alone pairs count twice") {
  infonce_problem problem = problem_of({Loss::kInfoNceInBatch, 512, 64});
  problem.block_count = 2;
  problem.blocks[1] = block_of(kAnchors, kAnchors, 0, 0, INFONCE_LEAVE_OUT_SAME_ROW);
  const Choice choice = choice_for(problem, INFONCE_PRECISION_HIGHEST, UseOfSm90::kAlways);
  CHECK(choice.has_triangle());
  const auto gradients = gradients_of(choice, UseOfSm90::kAlways);
  REQUIRE(gradients.size() == 2);
  CHECK(gradients[0].parts[0].panel.use == PanelUse::kTriangle);
  CHECK(gradients[0].parts[1].panel.use == PanelUse::kRowsAndColumns);
  CHECK(gradients[1].parts.size() == 1);
}

TEST_CASE("joined sides are computed in float64, each block for both of its matrices") {
  infonce_problem problem = with_negatives(false, 512, 300);
  problem.blocks[1].column_softmax = 0;
  problem.blocks[2] = block_of(kKeys, kKeys, 0, 0, INFONCE_LEAVE_OUT_SAME_ROW);
  problem.blocks[3] = block_of(kKeys, kNegatives, 0, -1);
  problem.block_count = 4;
  const Choice choice = choice_for(problem, INFONCE_PRECISION_MEDIUM, UseOfSm90::kAlways);
  CHECK(!choice.in_float32);
  CHECK(!choice.has_triangle());
  CHECK(choice.row_blocks.size() == 5);
  const auto gradients = gradients_of(choice, UseOfSm90::kAlways);
  REQUIRE(gradients.size() == 3);
  CHECK(gradients[0].matrix == kAnchors);
  for (const auto &gradient : gradients) {
    CHECK(gradient.parts.size() == (gradient.matrix == kKeys ? 3 : 2));
    for (const auto &part : gradient.parts) CHECK(part.block.rows == gradient.matrix);
  }
  CHECK(gradients[1 + (gradients[1].matrix != kKeys)].parts[0].block.is_triangle());
}

TEST_CASE(
    "what has a bias is computed in float64; what leaves out by id in tiles, but for parts and positives of equal id") {
  const float bias = 0;
  infonce_problem problem = with_negatives(false, 512, 256);
  const auto chosen = [&](bool opened = false) {
    return choose(problem, INFONCE_PRECISION_MEDIUM, false, hardware_with(UseOfSm90::kAlways), opened);
  };
  CHECK((chosen().in_float32 && chosen().in_registers));
  problem.matrices[kNegatives].bias = &bias;
  CHECK(!chosen().in_float32);
  problem.matrices[kNegatives].bias = nullptr;
  problem.blocks[1].left_out = INFONCE_LEAVE_OUT_SAME_ID;
  CHECK((chosen().in_float32 && !chosen().in_float64 && !chosen().in_registers));
  CHECK(!chosen(true).in_float32);
  problem.blocks[1].left_out = INFONCE_LEAVE_OUT_SAME_ID_POSITIVE;
  CHECK(!chosen().in_float32);
}

TEST_CASE("an opened call has a constant shift where that is sure, and parts choose their own kernels") {
  infonce_problem problem = problem_of({Loss::kInfoNceUnpaired, 2048, 64});
  problem.matrices[kNegatives].rows = 0;
  const Hardware hardware = hardware_with(UseOfSm90::kWhereFaster);
  const auto opened = [&] { return choose(problem, INFONCE_PRECISION_HIGH, false, hardware, true); };
  const Choice choice = opened();
  CHECK((choice.in_float32 && !choice.in_float64 && !choice.online));
  CHECK(choice.blocks.empty());
  const auto part = [&](int64_t rows) {
    return choose_for_part(choice, problem.blocks[0], rows, choice.rows(choice.anchors), kNone, hardware);
  };
  CHECK(part(100).architecture == &Architecture::sm80());
  CHECK(part(100000).architecture == &Architecture::sm90());
  CHECK(part(100).in_registers);
  CHECK(!part(100000).in_registers);
  REQUIRE(part(1000).sweeps.size() == 1);
  CHECK(part(1000).rows(kNegatives) == 1000);
  problem.normalize = 0;
  CHECK((!opened().in_float32 && opened().in_float64));
  problem.normalize = 1;
  problem.scale = 71;
  CHECK(!opened().in_float32);
}

TEST_CASE("a device that ends long kernels has shorter launches") {
  const infonce_problem problem = problem_of({Loss::kNtXentFirst, 40000, 2048});
  Hardware hardware = hardware_with(UseOfSm90::kNever);
  const auto strip = [&] { return choose(problem, INFONCE_PRECISION_HIGHEST, false, hardware).sweeps[0].plan.strip; };
  const int32_t whole = strip();
  hardware.clocks_of_launch = 1e9;
  CHECK(strip() < whole);
}

}  // namespace
}  // namespace infonce::test
