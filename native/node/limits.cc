#include "node/limits.h"

#include <cstdint>
#include <string>

#include "infonce/infonce.h"
#include "node/device.h"
#include "node/failure.h"
#include "node/values.h"

namespace infonce::node {

namespace {

Napi::Array measure(Napi::Env env, const infonce_context_options &options, infonce_limit limit) {
  double figures[INFONCE_FIGURES];
  infonce_failure report = empty_report();
  check(infonce_cpu_backend()->measure(&options, limit, figures, &report), report);
  Napi::Array array = Napi::Array::New(env, INFONCE_FIGURES);
  for (uint32_t i = 0; i < INFONCE_FIGURES; ++i) {
    array.Set(i, figures[i]);
  }
  return array;
}

infonce_context_options with_threads(Napi::Value value) {
  infonce_context_options options{};
  options.struct_size = sizeof(options);
  options.threads = to_int32(value, "threads");
  return options;
}

Napi::Value multiply_add_rates(const Napi::CallbackInfo &info) {
  return throwing_to_js(info.Env(), [&] {
    infonce_context_options options = with_threads(info[2]);
    const std::string instruction_set = to_string(info[0], "instructionSet");
    options.instruction_set = instruction_set.c_str();
    options.precision = to_flag(info[1], "medium") ? INFONCE_PRECISION_MEDIUM : INFONCE_PRECISION_HIGHEST;
    return measure(info.Env(), options, INFONCE_LIMIT_MULTIPLY_ADDS);
  });
}

Napi::Value copy_rates(const Napi::CallbackInfo &info) {
  return throwing_to_js(info.Env(), [&] { return measure(info.Env(), with_threads(info[0]), INFONCE_LIMIT_COPY); });
}

Napi::Value handover_times(const Napi::CallbackInfo &info) {
  return throwing_to_js(info.Env(), [&] {
    infonce_context_options options{};
    options.struct_size = sizeof(options);
    return measure(info.Env(), options, INFONCE_LIMIT_HANDOVER);
  });
}

}  // namespace

void export_limits(Napi::Env env, Napi::Object exports) {
  exports.Set("multiplyAddRates", Napi::Function::New<multiply_add_rates>(env, "multiplyAddRates"));
  exports.Set("copyRates", Napi::Function::New<copy_rates>(env, "copyRates"));
  exports.Set("handoverTimes", Napi::Function::New<handover_times>(env, "handoverTimes"));
}

}  // namespace infonce::node
