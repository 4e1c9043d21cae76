#include <doctest/doctest.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "test/case.h"
#include "test/context.h"

namespace infonce::test {

#if defined(__linux__)

namespace {

constexpr int64_t kRows = int64_t(1) << 26;
constexpr int64_t kDim = 512;

// 128 GiB of zeros that take no memory as long as they are only read.
class Zeros {
 public:
  Zeros() : memory_(mmap(nullptr, kSize, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {}
  ~Zeros() {
    if (exist()) {
      munmap(memory_, kSize);
    }
  }
  Zeros(const Zeros &) = delete;
  Zeros &operator=(const Zeros &) = delete;

  bool exist() const { return memory_ != MAP_FAILED; }
  const float *data() const { return static_cast<const float *>(memory_); }

 private:
  static constexpr size_t kSize = size_t(kRows) * kDim * sizeof(float);
  void *memory_;
};

}  // namespace

TEST_CASE("a problem beyond the device's memory fails, and the context goes on" * doctest::skip(on_cpu())) {
  const Zeros zeros;
  if (!zeros.exist()) {
    MESSAGE("this system does not give out so many addresses");
    return;
  }
  Settings settings;
  settings.loss = Loss::kInfoNceInBatch;
  settings.rows = 20;
  settings.dim = 8;
  settings.gradient = false;
  const Case good(settings);
  Output output(good);
  infonce_problem large = good.problem;
  large.rows = kRows;
  large.dim = kDim;
  large.anchors = zeros.data();
  large.keys = zeros.data();

  const Context context(instruction_sets().front(), INFONCE_PRECISION_HIGHEST, 1);
  infonce_failure failure = empty_failure();
  CHECK(context.run(large, output.result, failure) == INFONCE_OUT_OF_MEMORY);
  CHECK(std::string(failure.message) != "");
  CHECK_MESSAGE(context.run(good.problem, output.result, failure) == INFONCE_OK, failure.message);
}

#endif

}  // namespace infonce::test
