// Ranks of one process whose contexts are on several devices, with a fake CUDA runtime.
#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "test/case.h"
#include "test/context.h"
#include "test/fake_cuda_runtime.h"
#include "test/group.h"

namespace infonce::test {

namespace {

struct ResetRuntime {
  ResetRuntime() { reset_fake_runtime(); }
  ~ResetRuntime() { reset_fake_runtime(); }
};

}  // namespace

TEST_CASE("ranks on two devices come to the bits of ranks whose rows go by the host, through copies between devices") {
  const ResetRuntime reset_runtime;
  set_device_count(2);
  std::vector<std::unique_ptr<Context>> contexts;
  std::vector<const Context *> of_ranks;
  for (const int32_t device : {0, 1, 0}) {
    contexts.push_back(std::make_unique<Context>("sm80", INFONCE_PRECISION_HIGHEST, 0, backend(), nullptr, device));
    CHECK(backend().host_device(contexts.back()->handle()) == device);
    of_ranks.push_back(contexts.back().get());
  }
  for (const Loss loss : {Loss::kInfoNceInBatch, Loss::kClip, Loss::kNtXentAll}) {
    Settings settings;
    settings.loss = loss;
    settings.rows = 24;
    settings.dim = 12;
    const Case whole(settings);
    INFO(describe(settings));
    const std::vector<Share> shares = even_shares(whole, 3);
    const Output expected = run_on_ranks(of_ranks, whole, shares, group::Gradients::kSum, false, by_the_host);
    calls_of("copies between devices");
    CHECK(identical(run_on_ranks(of_ranks, whole, shares), expected));
    CHECK(calls_of("copies between devices") >= 3);
  }
  // Either of the two, once.
  CHECK(calls_of("cudaDeviceEnablePeerAccess") == 2);
}

TEST_CASE("a copy between devices that fails loses the group, on all ranks") {
  const ResetRuntime reset_runtime;
  set_device_count(2);
  const Context first("sm80", INFONCE_PRECISION_HIGHEST, 0, backend(), nullptr, 0);
  const Context second("sm80", INFONCE_PRECISION_HIGHEST, 0, backend(), nullptr, 1);
  const Context *const of_ranks[] = {&first, &second};
  Settings settings;
  settings.loss = Loss::kInfoNceInBatch;
  settings.rows = 8;
  settings.dim = 4;
  const Case whole(settings);
  const std::vector<Share> shares = even_shares(whole, 2);
  set_error("copies between devices", 217);
  const auto body = [&](group::Group &group) {
    const auto rank = static_cast<size_t>(group.transport().rank());
    const Inputs inputs = inputs_of(whole, shares[rank]);
    Output output(inputs);
    infonce_failure failure = empty_failure();
    CHECK_THROWS_AS(group.run(group.take_turn(), backend(), of_ranks[rank]->handle(), inputs.problem,
                              group::Gradients::kSum, &output.result, &failure),
                    group::Lost);
  };
  on_ranks(2, body);
}

}  // namespace infonce::test
