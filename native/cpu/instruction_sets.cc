#include "cpu/instruction_sets.h"

#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace infonce::cpu {
namespace {

std::vector<InstructionSet> find_usable() {
  std::vector<InstructionSet> sets;
#if defined(__x86_64__)
  __builtin_cpu_init();
  // These ask for the operating system's support of the registers, too.
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  const bool bfloat16 = avx512 && __builtin_cpu_supports("avx512bf16");
  if (avx512) sets.push_back({"avx512", &avx512::kernels(), bfloat16 ? &avx512bf16::kernels() : nullptr});
  if (avx2) sets.push_back({"avx2", &avx2::kernels(), nullptr});
  sets.push_back({"x86-64", &x86_64::kernels(), nullptr});
#elif defined(__aarch64__)
  sets.push_back({"neon", &neon::kernels(), nullptr});
#endif
  return sets;
}

}  // namespace

const std::vector<InstructionSet> &usable_instruction_sets() {
  // Never destroyed: a worker may outlive the statics of a process that exits.
  static const std::vector<InstructionSet> &sets = *new std::vector<InstructionSet>(find_usable());
  return sets;
}

std::string processor_name() {
#if defined(__x86_64__)
  unsigned brand[12] = {};
  if (__get_cpuid_max(0x80000000u, nullptr) >= 0x80000004u) {
    for (unsigned leaf = 0; leaf < 3; ++leaf)
      __get_cpuid(0x80000002u + leaf, &brand[leaf * 4], &brand[leaf * 4 + 1], &brand[leaf * 4 + 2], &brand[leaf * 4 + 3]);
    char text[sizeof brand + 1] = {};
    std::memcpy(text, brand, sizeof brand);
    std::string name(text);
    name.erase(0, name.find_first_not_of(' '));
    name.erase(name.find_last_not_of(' ') + 1);
    if (!name.empty()) return name;
  }
  return "x86-64 processor";
#else
  return "arm64 processor";
#endif
}

}  // namespace infonce::cpu
