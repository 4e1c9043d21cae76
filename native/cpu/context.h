// What the handles of the C contract stand for.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "cpu/instruction_sets.h"
#include "cpu/pairs.h"
#include "cpu/scheme.h"
#include "cpu/thread_pool.h"
#include "cpu/workspace.h"
#include "infonce/infonce.h"

struct infonce_context {
  infonce_context(const infonce::cpu::InstructionSet &set, const infonce::cpu::Kernels &chosen, int threads)
      : instruction_set(set), kernels(chosen), pool(threads) {}

  std::mutex mutex;
  infonce::cpu::InstructionSet instruction_set;
  const infonce::cpu::Kernels &kernels;
  infonce::cpu::ThreadPool pool;
  infonce::cpu::Workspace workspace;
  infonce::cpu::Pairs pairs;
};

struct infonce_saved {
  infonce::cpu::Request request;  // whose inputs are gone
  infonce::Stage stage = infonce::Stage::kOpen;
  infonce::cpu::Pairs pairs;
  infonce::cpu::Workspace kept, gradient;
  bool needs_candidates = false;                 // before it is closed
  std::vector<float> grad_output;                // while parts for the gradient come
  bool gradient_is_nan = false;                  // of this pass, or of all
  std::unique_ptr<infonce::cpu::Scheme> scheme;  // null: the input was not finite, and all that follows is NaN
};
