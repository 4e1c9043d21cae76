// Starts threads: a refusal of the system is a failure of its own.
#pragma once

#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>

#include "common/precision.h"

namespace infonce {

// The system starts no more threads: the process has as many as it may, or no memory for another's stack.
class NoThread : public std::runtime_error {
 public:
  NoThread() : std::runtime_error("the system starts no more threads") {}
};

// A thread that runs `body`. Throws NoThread.
template <class Body> std::thread start_thread(Body &&body) {
  try {
    return std::thread([body = std::forward<Body>(body)]() mutable {
      const SamePrecision precision;
      body();
    });
  } catch (const std::system_error &) {
    throw NoThread();
  }
}

}  // namespace infonce
