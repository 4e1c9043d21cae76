// The objects behind the handles of the C contract.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "cpu/instruction_sets.h"
#include "cpu/pairs.h"
#include "cpu/scheme.h"
#include "cpu/thread_pool.h"
#include "cpu/workspace.h"
#include "infonce/infonce.h"

namespace infonce::cpu {

// The state of an opened call. The next one reuses its memory: fresh pages would cost more than the work on them.
struct SavedMemory {
  Workspace kept, gradient;
  std::map<int32_t, Workspace> panels;  // by number of the part; 0: of the problem

  int64_t capacity() const {
    int64_t bytes = kept.capacity() + gradient.capacity();
    for (const auto &[number, panel] : panels) bytes += panel.capacity();
    return bytes;
  }
};

}  // namespace infonce::cpu

struct infonce_context {
  infonce_context(const infonce::cpu::InstructionSet &set, const infonce::cpu::Kernels &chosen, int threads)
      : instruction_set(set), kernels(chosen), pool(threads) {}

  std::mutex mutex;
  infonce::cpu::InstructionSet instruction_set;
  const infonce::cpu::Kernels &kernels;
  infonce::cpu::ThreadPool pool;
  infonce::cpu::Workspace workspace;
  infonce::cpu::Pairs pairs;
  std::unique_ptr<infonce::cpu::SavedMemory> spare;  // of an opened call that has ended
};

struct infonce_saved {
  infonce::cpu::Request request;  // whose inputs are gone
  infonce::Stage stage = infonce::Stage::kOpen;
  infonce::cpu::Pairs pairs;
  std::unique_ptr<infonce::cpu::SavedMemory> memory;
  bool needs_candidates = false;                 // before it is closed
  int32_t only_id = 0;                           // of positives by id, whose rows are then of one
  std::vector<float> grad_output;                // while parts for the gradient come
  bool gradient_is_nan = false;                  // of this pass, or of all
  std::unique_ptr<infonce::cpu::Scheme> scheme;  // null: the input was not finite, and all that follows is NaN
};
