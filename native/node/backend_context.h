#pragma once

#include "infonce/infonce.h"

namespace infonce::node {

// Owns a context of a backend. Usable from any thread: the backend serialises calls. Methods throw a Failure.
class BackendContext {
 public:
  BackendContext(const infonce_backend &backend, const infonce_context_options &options);
  ~BackendContext();
  BackendContext(const BackendContext &) = delete;
  BackendContext &operator=(const BackendContext &) = delete;

  void run(const infonce_problem &problem, infonce_result &result);
  // Fills logits [rows, rows - 1].
  void logits(const infonce_problem &problem, float *logits);

 private:
  const infonce_backend &backend_;
  infonce_context *context_ = nullptr;
};

}  // namespace infonce::node
