#include "node/job.h"

#include <utility>

namespace infonce::node {

Job::Job(Napi::Object owner, Napi::Function done, std::unique_ptr<Work> work)
    : owner_(Napi::Persistent(owner)), work_(std::move(work)) {
  if (!done.IsEmpty()) {
    done_ = Napi::Persistent(done);
  }
  work_->listen_to(&cancelled_);
}

template <typename Part> void Job::attempt(Part part) noexcept {
  try {
    part();
  } catch (...) {
    failure_ = current_failure();
  }
}

void Job::run() noexcept {
  attempt([&] { work_->run(); });
  work_->arrays.release_inputs();
}

void Job::begin() noexcept {
  failure_.reset();
  attempt([&] {
    work_->begin();
    begun_ = true;
  });
}

void Job::end() noexcept {
  if (begun_) {
    attempt([&] { work_->end(); });
  }
  work_->arrays.release_inputs();
}

void Job::cancel() noexcept { __atomic_store_n(&cancelled_, 1, __ATOMIC_RELAXED); }

void Job::abandon() noexcept {
  cancel();
  work_->abandon();
}

void Job::fail(Failure failure) { failure_ = std::move(failure); }

size_t Job::copy_back(size_t most) {
  size_t copied = 0;
  if (!failure_) {
    attempt([&] { copied = work_->arrays.copy_back(most); });
  }
  return copied;
}

void Job::deliver(Napi::Env env) {
  Napi::Value made = env.Null();
  if (!failure_) {
    attempt([&] { made = work_->finish(env); });
  }
  if (done_.IsEmpty()) {
    return;
  }
  if (failure_) {
    done_.Call({failure_->to_error(env).Value(), env.Null()});
  } else {
    done_.Call({env.Null(), made});
  }
}

}  // namespace infonce::node
