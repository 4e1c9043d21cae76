// Ranks of one process whose contexts are on several devices, with a fake CUDA runtime.
#include <cuda_runtime_api.h>
#include <doctest/doctest.h>

#include <cstdint>
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

// What is copied from device to device, for ranks on these devices.
int check_copies(const std::vector<int32_t> &devices, const Settings &settings) {
  std::vector<std::unique_ptr<Context>> contexts;
  std::vector<const Context *> of_ranks;
  for (const int32_t device : devices) {
    contexts.push_back(std::make_unique<Context>("sm80", INFONCE_PRECISION_HIGHEST, 0, backend(), nullptr, device));
    CHECK(backend().host_device(contexts.back()->handle()) == device);
    of_ranks.push_back(contexts.back().get());
  }
  const Case whole(settings);
  INFO(describe(settings));
  const std::vector<Share> shares = even_shares(whole, int(devices.size()));
  const Output expected = run_on_ranks(of_ranks, whole, shares, group::Gradients::kSum, false, by_the_host);
  CHECK(calls_of("copies between devices") == 0);
  CHECK(identical(run_on_ranks(of_ranks, whole, shares), expected));
  return calls_of("copies between devices");
}

Settings settings_of(Loss loss) {
  Settings settings;
  settings.loss = loss;
  settings.rows = 24;
  settings.dim = 12;
  return settings;
}

}  // namespace

TEST_CASE("rows and gradients go from device to device, with the bits of those that go by the host") {
  const ResetRuntime reset_runtime;
  set_device_count(2);
  // Of three ranks two have a neighbour on the other device in either direction. Rows go two hops twice, and gradients home.
  CHECK(check_copies({0, 1, 0}, settings_of(Loss::kInfoNceInBatch)) > 0);
  CHECK(check_copies({0, 1, 0}, settings_of(Loss::kClip)) > 0);
  CHECK(check_copies({0, 1, 0}, settings_of(Loss::kNtXentAll)) > 0);
  CHECK(check_copies({1, 1}, settings_of(Loss::kInfoNceInBatch)) == 0);
  // Either device for the other, once.
  CHECK(calls_of("cudaDeviceEnablePeerAccess") == 2);
}

TEST_CASE("rows and gradients go between devices that cannot reach each other's memory") {
  const ResetRuntime reset_runtime;
  set_device_count(4);
  set_error("cudaDeviceCanAccessPeer", cudaErrorInvalidDevice);
  CHECK(check_copies({2, 3}, settings_of(Loss::kInfoNceInBatch)) > 0);
  CHECK(calls_of("cudaDeviceEnablePeerAccess") == 0);
}

TEST_CASE("a copy between devices that fails loses the group, on all ranks") {
  const ResetRuntime reset_runtime;
  set_device_count(2);
  const Context first("sm80", INFONCE_PRECISION_HIGHEST, 0, backend(), nullptr, 0);
  const Context second("sm80", INFONCE_PRECISION_HIGHEST, 0, backend(), nullptr, 1);
  const Context *const of_ranks[] = {&first, &second};
  const Case whole(settings_of(Loss::kInfoNceInBatch));
  const std::vector<Share> shares = even_shares(whole, 2);
  set_error("copies between devices", cudaErrorPeerAccessUnsupported);
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
