// For threads that may outlive what started them.
#pragma once

#include <dlfcn.h>

namespace infonce::group {

// The code of this library stays loaded, also where an addon is unloaded with the worker thread that loaded it.
inline void keep_code() {
  static const int here = 0;
  Dl_info info;
  if (dladdr(&here, &info) != 0 && info.dli_fname != nullptr) {
    dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
  }
}

}  // namespace infonce::group
