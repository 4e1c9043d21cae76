#include "node/device.h"

#include <sstream>
#include <string>

#include "node/failure.h"

namespace infonce::node {

namespace {

Napi::Array split(Napi::Env env, const char *words) {
  Napi::Array array = Napi::Array::New(env);
  std::istringstream stream(words);
  for (std::string word; stream >> word;) {
    array.Set(array.Length(), word);
  }
  return array;
}

}  // namespace

infonce_device_info cpu_device_info() {
  infonce_device_info info{};
  info.struct_size = sizeof(info);
  infonce_failure report = empty_report();
  check(infonce_cpu_backend()->device_info(0, &info, &report), report);
  return info;
}

Napi::Object cpu_device(Napi::Env env) {
  const infonce_device_info info = cpu_device_info();
  Napi::Object device = Napi::Object::New(env);
  device.Set("name", info.name);
  device.Set("instructionSet", info.instruction_set);
  device.Set("instructionSets", split(env, info.instruction_sets));
  device.Set("threads", info.threads);
  device.Set("memory", static_cast<double>(info.memory));
  device.Set("medium", info.medium);
  return device;
}

}  // namespace infonce::node
