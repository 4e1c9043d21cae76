#include "node/limits.h"

#include <cstdint>
#include <string>
#include <vector>

#include "cpu/instruction_sets.h"
#include "cpu/limits.h"
#include "node/device.h"
#include "node/failure.h"
#include "node/values.h"

namespace infonce::node {

namespace {

Napi::Array to_numbers(Napi::Env env, const std::vector<double> &figures) {
  Napi::Array array = Napi::Array::New(env, figures.size());
  for (uint32_t i = 0; i < figures.size(); ++i) {
    array.Set(i, figures[i]);
  }
  return array;
}

int to_threads(Napi::Value value) {
  const int32_t threads = to_int32(value, "threads");
  const int processors = device_info(*infonce_cpu_backend(), 0).threads;
  if (threads < 1 || threads > processors) {
    throw Failure{INFONCE_INVALID_ARGUMENT,
                  "threads must be 1 to " + std::to_string(processors) + ", the processors of this process"};
  }
  return threads;
}

const cpu::Kernels &to_kernels(Napi::Value instruction_set, Napi::Value medium) {
  const std::string name = to_string(instruction_set, "instructionSet");
  const bool bfloat16 = to_flag(medium, "medium");
  for (const cpu::InstructionSet &set : cpu::usable_instruction_sets()) {
    if (name == set.name) {
      return bfloat16 && set.bfloat16 != nullptr ? *set.bfloat16 : *set.kernels;
    }
  }
  throw Failure{INFONCE_INVALID_ARGUMENT, "instructionSet is none that this processor can run"};
}

Napi::Value multiply_add_rates(const Napi::CallbackInfo &info) {
  return guarded(info.Env(), [&] {
    const cpu::Kernels &kernels = to_kernels(info[0], info[1]);
    return to_numbers(info.Env(), cpu::multiply_add_rates(kernels, to_threads(info[2])));
  });
}

Napi::Value copy_rates(const Napi::CallbackInfo &info) {
  return guarded(info.Env(), [&] { return to_numbers(info.Env(), cpu::copy_rates(to_threads(info[0]))); });
}

Napi::Value handover_times(const Napi::CallbackInfo &info) {
  return guarded(info.Env(), [&] {
    if (device_info(*infonce_cpu_backend(), 0).threads < 2) {
      throw Failure{INFONCE_DEVICE_UNAVAILABLE, "this process may use one processor only"};
    }
    return to_numbers(info.Env(), cpu::handover_times());
  });
}

}  // namespace

void export_limits(Napi::Env env, Napi::Object exports) {
  exports.Set("multiplyAddRates", Napi::Function::New<multiply_add_rates>(env, "multiplyAddRates"));
  exports.Set("copyRates", Napi::Function::New<copy_rates>(env, "copyRates"));
  exports.Set("handoverTimes", Napi::Function::New<handover_times>(env, "handoverTimes"));
}

}  // namespace infonce::node
