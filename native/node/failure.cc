#include "node/failure.h"

#include <exception>
#include <new>

#include "common/threads.h"
#include "group/agreement.h"
#include "group/transport.h"

namespace infonce::node {

namespace {

const char *status_name(infonce_status status) {
  switch (status) {
    case INFONCE_INVALID_ARGUMENT:
      return "INVALID_ARGUMENT";
    case INFONCE_NON_FINITE:
      return "NON_FINITE";
    case INFONCE_OUT_OF_MEMORY:
      return "OUT_OF_MEMORY";
    case INFONCE_DEVICE_UNAVAILABLE:
      return "DEVICE_UNAVAILABLE";
    case INFONCE_CANCELLED:
      return "CANCELLED";
    case INFONCE_DEVICE_LOST:
      return "DEVICE_LOST";
    case INFONCE_NO_THREAD:
      return "NO_THREAD";
    default:
      return "INTERNAL";
  }
}

}  // namespace

Napi::Error Failure::to_error(Napi::Env env) const {
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("status", name == nullptr ? status_name(status) : name);
  error.Set("matrix", static_cast<double>(matrix));
  error.Set("row", static_cast<double>(row));
  return error;
}

infonce_failure empty_report() {
  infonce_failure report{};
  report.struct_size = sizeof(report);
  report.matrix = INFONCE_NO_MATRIX;
  report.row = -1;
  return report;
}

void check(infonce_status status, const infonce_failure &report) {
  if (status != INFONCE_OK) {
    throw Failure{status, report.message, report.matrix, report.row};
  }
}

Failure current_failure() {
  try {
    throw;
  } catch (const Failure &failure) {
    return failure;
  } catch (const std::bad_alloc &) {
    return {INFONCE_OUT_OF_MEMORY, "out of memory"};
  } catch (const NoThread &refused) {
    return {INFONCE_NO_THREAD, refused.what()};
  } catch (const group::PeerFailed &failure) {
    return Failure::named("PEER_FAILED", failure.what(), failure.matrix, failure.row);
  } catch (const group::Lost &lost) {
    return Failure::named("GROUP_LOST", lost.what());
  } catch (const std::exception &exception) {
    return {INFONCE_INTERNAL, exception.what()};
  } catch (...) {
    return {INFONCE_INTERNAL, "unknown C++ exception"};
  }
}

}  // namespace infonce::node
