#include "node/classes.h"

#include <memory>

#include "node/captured.h"
#include "node/device_buffer.h"
#include "node/saved.h"

namespace infonce::node {

void Classes::define(Napi::Env env) {
  auto classes = std::make_unique<Classes>();
  classes->captured = Napi::Persistent(Captured::define(env));
  classes->device_buffer = Napi::Persistent(DeviceBuffer::define(env));
  classes->saved = Napi::Persistent(Saved::define(env));
  env.SetInstanceData(classes.release());
}

}  // namespace infonce::node
