#include "cpu/instruction_sets.h"

#include <cstring>

#include "infonce/infonce.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace infonce::cpu {
namespace {

#if defined(__x86_64__)

// What processor and operating system both support. The compilers' own question, __builtin_cpu_supports, needs a
// library that Clang does not link on Windows.
struct Supported {
  bool avx2 = false, avx512 = false, bfloat16 = false;
};

bool has(unsigned features, unsigned wanted) { return (features & wanted) == wanted; }

// Which registers the operating system saves.
unsigned saved_registers() {
  unsigned low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

Supported find_supported() {
  constexpr unsigned kYmm = 0x6;  // XMM and YMM
#if defined(__APPLE__)
  constexpr unsigned kZmm = kYmm;  // the others are saved from their first use on
#else
  constexpr unsigned kZmm = 0xe6;  // masks and ZMM too
#endif
  Supported found;
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !has(c, bit_OSXSAVE | bit_AVX | bit_FMA)) return found;
  const unsigned saved = saved_registers();
  unsigned features;
  if (!__get_cpuid_count(7, 0, &a, &features, &c, &d)) return found;
  const unsigned more = a > 0 && __get_cpuid_count(7, 1, &a, &b, &c, &d) ? a : 0;
  constexpr unsigned kBfloat16 = 1u << 5;  // a name for it is missing where compilers are old
  found.avx2 = has(saved, kYmm) && has(features, bit_AVX2);
  constexpr unsigned kAvx512 = bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL;
  found.avx512 = found.avx2 && has(saved, kZmm) && has(features, kAvx512);
  found.bfloat16 = found.avx512 && has(more, kBfloat16);
  return found;
}

#endif

std::vector<InstructionSet> find_usable() {
  std::vector<InstructionSet> sets;
#if defined(__x86_64__)
  const Supported supported = find_supported();
  if (supported.avx512) {
    sets.push_back({"avx512", &avx512::kernels(), supported.bfloat16 ? &avx512bf16::kernels() : nullptr});
  }
  if (supported.avx2) sets.push_back({"avx2", &avx2::kernels(), nullptr});
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

const InstructionSet *find_instruction_set(const char *name) {
  for (const InstructionSet &set : usable_instruction_sets())
    if (!name || std::strcmp(name, set.name) == 0) return &set;
  return nullptr;
}

const Kernels &kernels_for(const InstructionSet &set, int32_t precision) {
  return precision == INFONCE_PRECISION_MEDIUM && set.bfloat16 ? *set.bfloat16 : *set.kernels;
}

std::string processor_name() {
#if defined(__x86_64__)
  unsigned brand[12] = {};
  if (unsigned(__get_cpuid_max(0x80000000u, nullptr)) >= 0x80000004u) {
    for (unsigned leaf = 0; leaf < 3; ++leaf)
      __get_cpuid(0x80000002u + leaf, &brand[leaf * 4], &brand[leaf * 4 + 1], &brand[leaf * 4 + 2],
                  &brand[leaf * 4 + 3]);
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
