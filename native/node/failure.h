#pragma once

#include <napi.h>

#include <string>
#include <utility>

#include "infonce/infonce.h"

namespace infonce::node {

// Why a call failed, in the C contract's words. Thrown inside the binding; JavaScript sees a `NativeFailure`.
struct Failure {
  infonce_status status;
  std::string message;
  int32_t matrix = INFONCE_NO_MATRIX;
  // First bad row of `matrix`, -1 if it has none.
  int64_t row = -1;
  // In place of the status, of what the C contract has none for; else null.
  const char *name = nullptr;

  static Failure named(const char *name, std::string message, int32_t matrix = INFONCE_NO_MATRIX, int64_t row = -1) {
    return {INFONCE_INTERNAL, std::move(message), matrix, row, name};
  }

  // The Error of `lib/runtime/binding.ts`, with `status`, `matrix` and `row`.
  Napi::Error to_error(Napi::Env env) const;
};

// An empty report for a backend to fill.
infonce_failure empty_report();

// Throws the Failure that a backend reported, unless `status` is INFONCE_OK.
void check(infonce_status status, const infonce_failure &report);

// The exception being handled as a Failure: std::bad_alloc becomes OUT_OF_MEMORY, NoThread NO_THREAD,
// what a process group throws PEER_FAILED or GROUP_LOST, any other INTERNAL.
Failure current_failure();

// Calls `call`; what it throws leaves as a JavaScript Error, exceptions of JavaScript itself unchanged.
template <typename Call> auto throwing_to_js(Napi::Env env, Call call) {
  try {
    return call();
  } catch (const Napi::Error &) {
    throw;
  } catch (...) {
    throw current_failure().to_error(env);
  }
}

}  // namespace infonce::node
