#include "node/backend_context.h"

#include "node/failure.h"

namespace infonce::node {

BackendContext::BackendContext(const infonce_backend &backend, const infonce_context_options &options)
    : backend_(backend) {
  infonce_failure report = empty_report();
  check(backend_.context_create(&options, &context_, &report), report);
}

BackendContext::~BackendContext() { backend_.context_destroy(context_); }

void BackendContext::run(const infonce_problem &problem, infonce_result &result) {
  infonce_failure report = empty_report();
  check(backend_.run(context_, &problem, &result, &report), report);
}

void BackendContext::logits(const infonce_problem &problem, float *logits) {
  infonce_failure report = empty_report();
  check(backend_.logits(context_, &problem, logits, &report), report);
}

}  // namespace infonce::node
