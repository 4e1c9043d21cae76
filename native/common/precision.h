// The same digits on any thread.
#pragma once

#include <cstdint>

namespace infonce {

#if defined(__MINGW32__) && defined(__x86_64__)

// MinGW's exp and log are computed by the x87 unit, whose precision belongs to the thread: 53 bits in Node.js's own, 64 in
// those that we start. While this lives it is 64.
class SamePrecision {
 public:
  SamePrecision() {
    __asm__ volatile("fnstcw %0" : "=m"(before_));
    const uint16_t longest = before_ | 0x300;
    __asm__ volatile("fldcw %0" : : "m"(longest));
  }
  ~SamePrecision() { __asm__ volatile("fldcw %0" : : "m"(before_)); }
  SamePrecision(const SamePrecision &) = delete;
  SamePrecision &operator=(const SamePrecision &) = delete;

 private:
  uint16_t before_;
};

#else

class SamePrecision {
 public:
  SamePrecision() {}
};

#endif

}  // namespace infonce
