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

int32_t device_count(const infonce_backend &backend) {
  infonce_failure report = empty_report();
  const int32_t count = backend.device_count(&report);
  // A backend without devices says why, as one that fails does.
  if (count < 0 || (count == 0 && report.message[0] != '\0')) {
    throw Failure{INFONCE_DEVICE_UNAVAILABLE, report.message};
  }
  return count;
}

infonce_device_info device_info(const infonce_backend &backend, int32_t device) {
  infonce_device_info info{};
  info.struct_size = sizeof(info);
  infonce_failure report = empty_report();
  check(backend.device_info(device, &info, &report), report);
  return info;
}

Napi::Object to_native_device(Napi::Env env, const infonce_device_info &info) {
  Napi::Object device = Napi::Object::New(env);
  device.Set("name", info.name);
  device.Set("instructionSet", info.instruction_set);
  device.Set("instructionSets", split(env, info.instruction_sets));
  device.Set("threads", info.threads);
  device.Set("memory", static_cast<double>(info.memory));
  device.Set("medium", info.medium);
  device.Set("capability", info.capability);
  device.Set("code", info.code);
  device.Set("driverVersion", info.driver_version);
  device.Set("runtimeVersion", info.runtime_version);
  device.Set("multiprocessors", info.multiprocessors);
  device.Set("clockKHz", info.clock_khz);
  device.Set("memoryBandwidth", static_cast<double>(info.memory_bandwidth));
  device.Set("note", info.note);
  return device;
}

}  // namespace infonce::node
