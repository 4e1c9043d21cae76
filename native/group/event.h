// An event with a timed wait. Uses a file descriptor: condition variables would need a settable clock or a newer glibc than
// Node.js does.
#pragma once

#include <cstdint>
#include <ctime>
#include <poll.h>
#include <sys/eventfd.h>
#include <system_error>
#include <unistd.h>

namespace infonce::group {

class Event {
 public:
  Event() : descriptor_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (descriptor_ < 0) {
      throw std::system_error(errno, std::generic_category(), "eventfd");
    }
  }
  ~Event() { close(descriptor_); }
  Event(const Event &) = delete;
  Event &operator=(const Event &) = delete;

  void happen() {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(descriptor_, &one, sizeof(one));
  }

  // Whether it has happened; it stays so. May return sooner, as signals come.
  bool wait(int64_t nanoseconds) {
    pollfd what = {descriptor_, POLLIN, 0};
    const timespec longest = {static_cast<time_t>(nanoseconds / 1000000000),
                              static_cast<long>(nanoseconds % 1000000000)};
    return ppoll(&what, 1, &longest, nullptr) > 0;
  }

  void forget() {
    uint64_t times;
    [[maybe_unused]] const ssize_t got = read(descriptor_, &times, sizeof(times));
  }

 private:
  int descriptor_;
};

}  // namespace infonce::group
