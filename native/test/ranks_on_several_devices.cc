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

TEST_CASE("ranks on two devices come to the bits of ranks on one") {
  const ResetRuntime reset_runtime;
  set_device_count(2);
  std::vector<std::unique_ptr<Context>> contexts;
  const auto on = [&](int32_t device) {
    contexts.push_back(std::make_unique<Context>("sm80", INFONCE_PRECISION_HIGHEST, 0, backend(), nullptr, device));
    CHECK(backend().host_device(contexts.back()->handle()) == device);
    return contexts.back().get();
  };
  const std::vector<const Context *> on_one = {on(0), on(0), on(0)}, on_two = {on(0), on(1), on(0)};
  for (const Loss loss : {Loss::kInfoNceInBatch, Loss::kClip, Loss::kNtXentAll}) {
    Settings settings;
    settings.loss = loss;
    settings.rows = 24;
    settings.dim = 12;
    const Case whole(settings);
    INFO(describe(settings));
    const std::vector<Share> shares = even_shares(whole, 3);
    CHECK(identical(run_on_ranks(on_two, whole, shares), run_on_ranks(on_one, whole, shares)));
  }
}

}  // namespace infonce::test
