// The kernel libraries of this build and which of them this processor can run.
#pragma once

#include <string>
#include <vector>

#include "cpu/kernels/kernels.h"

namespace infonce::cpu {

struct InstructionSet {
  const char *name;
  const Kernels *kernels;   // 'highest' and 'high'
  const Kernels *bfloat16;  // 'medium'; null: the float32 kernels serve it
};

// Best first; never empty.
const std::vector<InstructionSet> &usable_instruction_sets();

// By its name, or the best without one; null if this processor cannot run it.
const InstructionSet *find_instruction_set(const char *name);

// `precision`: infonce_precision.
const Kernels &kernels_for(const InstructionSet &set, int32_t precision);

std::string processor_name();

}  // namespace infonce::cpu
