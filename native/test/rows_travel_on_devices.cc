// Where ranks' rows and gradients travel from device to device, results are those of ranks whose rows travel on the host, bit
// for bit: of a device whose work is done as late as it may be.
#include <doctest/doctest.h>

#include <algorithm>
#include <mutex>
#include <string>
#include <vector>

#include "group/form_over_ranks.h"
#include "group/travellers.h"
#include "test/case.h"
#include "test/context.h"
#include "test/device_made_up.h"
#include "test/engines.h"
#include "test/forms.h"
#include "test/group.h"

namespace infonce::test {

namespace {

using group::Gradients;
using Contexts = ContextsOfRanks<5>;

struct Way {
  Gradients gradients;
  bool in_two_halves, to_device;  // gradients are wanted in the device's memory
  bool of_two_libraries = false;  // ranks in turn
};

// The caller's arrays of gradients, on the device for a while.
class OnDevice {
 public:
  OnDevice(Output &output, const infonce_problem &problem, infonce_context *context)
      : output_(output), problem_(problem), context_(context) {
    for (int m = 0; m < problem.matrix_count; ++m) {
      infonce_output &gradient = output.result.gradients[m];
      before_[m] = gradient;
      if (!gradient.data) continue;
      void *memory = nullptr;
      device_made_up().allocate(context, bytes(m), &memory, nullptr);
      gradient = {static_cast<float *>(memory), INFONCE_ON_DEVICE};
    }
  }
  ~OnDevice() {
    for (int m = 0; m < problem_.matrix_count; ++m) {
      infonce_output &gradient = output_.result.gradients[m];
      if (!gradient.data) continue;
      device_made_up().copy(context_, before_[m].data, gradient.data, bytes(m), INFONCE_COPY_FROM_DEVICE, nullptr);
      device_made_up().release(context_, gradient.data);
      gradient = before_[m];
    }
  }

 private:
  int64_t bytes(int m) const { return problem_.matrices[m].rows * problem_.dim * int64_t(sizeof(float)); }

  Output &output_;
  const infonce_problem &problem_;
  infonce_context *const context_;
  infonce_output before_[INFONCE_MOST_MATRICES];
};

Output run_on_devices(const Contexts &contexts, const Inputs &whole, const std::vector<Share> &shares, const Way &way) {
  Output joined(whole);
  joined.want_rows(whole);
  std::mutex mutex;
  static const infonce_backend another = device_made_up();
  const auto body = [&](group::Group &group) {
    const auto rank = size_t(group.transport().rank());
    const infonce_backend &device = way.of_two_libraries && rank % 2 == 1 ? another : device_made_up();
    infonce_context *const context = contexts.all()[rank]->handle();
    const Inputs inputs = inputs_of(whole, shares[rank]);
    Output output(inputs);
    output.want_rows(inputs);
    infonce_failure failure = empty_failure();
    infonce_status status = INFONCE_OK;
    {
      const bool takes = way.to_device && group.transport().takes_memory_of(0);
      const auto gradients = takes ? std::make_unique<OnDevice>(output, inputs.problem, context) : nullptr;
      if (way.in_two_halves) {
        std::unique_ptr<group::RingCall> saved;
        status = group.forward(group.take_turn(), device, context, inputs.problem, &output.result, &saved, &failure);
        infonce_upstream upstream{};
        upstream.struct_size = sizeof(upstream);
        upstream.grad_output = inputs.problem.grad_output;
        for (int again = 0; again < 2 && status == INFONCE_OK && whole.problem.gradient; ++again)
          status = group.backward(group.take_turn(), *saved, upstream, way.gradients, &output.result, &failure);
      } else {
        status = group.run(group.take_turn(), device, context, inputs.problem, way.gradients, &output.result, &failure);
      }
    }
    const std::lock_guard<std::mutex> lock(mutex);
    REQUIRE_MESSAGE(status == INFONCE_OK, failure.matrix, " ", failure.message);
    put_share(output, whole, shares[rank], joined);
    joined.result.scalars = output.result.scalars;
    if (way.gradients == Gradients::kMean) return;
    joined.result.scalars.grad_scale *= group.transport().size();
    joined.result.scalars.grad_bias *= group.transport().size();
  };
  on_ranks(int(shares.size()), body, 60, some_on_host);
  return joined;
}

void check(const Contexts &contexts, const Inputs &whole, int size, uint32_t seed, const Way &way) {
  const std::vector<Share> shares = random_shares(whole, size, seed);
  const Output expected = run_on_ranks(contexts.of(size), whole, shares, way.gradients);
  CHECK(identical(run_on_devices(contexts, whole, shares, way), expected));
  CHECK(live_on_device() == 0);
}

// What a rank packs on a device whose memory held this byte before, and that byte behind it.
std::vector<char> packed_over(char before, const infonce_problem &problem, infonce_context *context) {
  const infonce_backend &device = device_made_up();
  const group::Travellers travellers(problem, 2);
  group::Record own;
  for (int m = 0; m < problem.matrix_count; ++m) own.rows[m] = problem.matrices[m].rows;
  const group::Travellers::Sizes sizes = travellers.sizes(own, 1);
  std::vector<char> bytes(sizes.rows + 64, before), notes(sizes.notes);
  const auto count = int64_t(bytes.size());
  void *memory = nullptr;
  device.allocate(context, count, &memory, nullptr);
  device.copy(context, memory, bytes.data(), count, INFONCE_COPY_TO_DEVICE, nullptr);
  const group::Packed packed{static_cast<char *>(memory), INFONCE_ON_DEVICE, notes.data()};
  infonce_failure failure = empty_failure();
  CHECK(travellers.pack(problem, device, context, packed, &failure) == INFONCE_OK);
  device.copy(context, bytes.data(), memory, count, INFONCE_COPY_FROM_DEVICE, nullptr);
  device.release(context, memory);
  CHECK(std::all_of(bytes.begin() + int64_t(sizes.rows), bytes.end(), [=](char byte) { return byte == before; }));
  bytes.resize(sizes.rows);
  return bytes;
}

}  // namespace

TEST_CASE("rows of random forms travel on devices" * doctest::skip(!on_cpu())) {
  const Contexts contexts(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 1);
  for (uint32_t seed = 0; seed < (simulated() ? 6u : 24u); ++seed) {
    Form form = form_to_share(random_form(7000 + seed));
    form.other_anchors = false;
    const bool one_tower = seed % 3 == 0;
    form.both_directions = seed % 3 == 1;
    if (form.both_directions) form.in_batch = true, form.threshold = INFONCE_THRESHOLD_NONE, form.bias = false;
    if (one_tower) form.own = 0, form.threshold = INFONCE_THRESHOLD_NONE;
    if (one_tower) set_one_tower(&form, INFONCE_POSITIVE_ALL_VIEWS, form.rows + 5, 2);
    else set_towers(&form, form.rows + 5);
    INFO(describe(form));
    const Inputs whole = inputs_of(form);
    if (group::what_is_wrong_over_ranks(whole.problem, Output(whole).result)) continue;
    const Way way{seed % 4 == 0 ? Gradients::kMean : Gradients::kSum, seed % 2 == 1, seed / 2 % 2 == 1, seed % 5 == 0};
    check(contexts, whole, 2 + int(seed / 3 % 4), seed, way);
  }
}

TEST_CASE("rows of classes travel on devices" * doctest::skip(!on_cpu())) {
  const Contexts contexts(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 1);
  Settings settings;
  settings.loss = Loss::kSupCon;
  settings.rows = 70;
  settings.dim = 20;
  settings.classes = Classes::kMixed;
  Inputs whole = Case(settings);
  for (const auto row_loss : {INFONCE_ROW_LOSS_CROSS_ENTROPY, INFONCE_ROW_LOSS_POSITIVE_AND_NEGATIVES}) {
    whole.problem.softmaxes[0].row_loss = row_loss;
    for (const int size : {2, 5}) check(contexts, whole, size, uint32_t(size), {Gradients::kSum, size == 2, true});
  }
}

// More rows than there are anchors, in another place of the host for those who fetch some.
TEST_CASE("rows of classes and memories travel on devices" * doctest::skip(!on_cpu())) {
  const Contexts contexts(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 1);
  Form form;
  form.positive = INFONCE_POSITIVE_SAME_ID;
  form.rows = 40;
  form.memory = 150;
  form.dim = 20;
  for (const bool halves : {false, true}) {
    form.halves = halves;
    Inputs whole = inputs_of(form);
    for (int m = 0; m < 2; ++m)
      for (size_t row = 0; row < whole.ids[m].size(); ++row) whole.ids[m].data()[row] = int32_t(row * 7 % 30);
    for (const int size : {2, 4}) check(contexts, whole, size, uint32_t(size), {Gradients::kSum, false, true});
  }
}

TEST_CASE("every byte that is sent from a device has been written" * doctest::skip(!on_cpu())) {
  const Contexts contexts(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 1);
  infonce_context *const context = contexts.all()[0]->handle();
  for (int64_t rows = 0; rows < 9; ++rows)
    for (const int64_t dim : {1, 5, 16})
      for (const bool halves : {false, true})
        for (const bool by_guide : {false, true}) {
          Form form;
          form.rows = form.keys = rows;
          form.dim = dim;
          form.further = {rows / 2};
          form.halves = halves;
          form.by_guide = by_guide;
          if (by_guide) form.threshold = INFONCE_THRESHOLD_ABSOLUTE;
          const Inputs inputs = inputs_of(form);
          INFO(describe(form));
          const std::vector<char> packed = packed_over(0x55, inputs.problem, context);
          CHECK(packed.size() >= size_t(rows * dim * 2));
          CHECK(packed == packed_over(0x2a, inputs.problem, context));
        }
  CHECK(live_on_device() == 0);
}

TEST_CASE("positives by target do not travel, and stay on the host" * doctest::skip(!on_cpu())) {
  const Contexts contexts(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 1);
  Form form;
  form.positive = INFONCE_POSITIVE_TARGET;
  form.rows = 40;
  form.keys = 30;
  form.dim = 12;
  form.in_batch = true;
  const Inputs whole = inputs_of(form);
  for (const int size : {2, 4}) check(contexts, whole, size, 1, {Gradients::kSum, false, false});
}

}  // namespace infonce::test
