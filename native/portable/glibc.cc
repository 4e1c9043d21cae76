// For binaries that run where glibc is older than where they were linked. The linker would take the newest version of each
// function, which older ones do not have; with --wrap=NAME it comes here instead, and from here to the oldest version.
// Each function has a section of its own: what nobody calls is collected and asks for nothing.

#include <sys/stat.h>

#if defined(__x86_64__)
#define OLDEST(version) "GLIBC_" #version
#define JUMP(symbol) "jmp *" symbol "@GOTPCREL(%rip)"
#elif defined(__aarch64__)
#define OLDEST(version) "GLIBC_2.17"  // the first glibc for arm64
#define JUMP(symbol) "b " symbol
#else
#error "no portable binaries are made for this processor"
#endif

#define FORWARD(name, version) \
  __asm__(".symver oldest_" #name ", " #name "@" OLDEST(version) "\n" \
          ".section .text.__wrap_" #name ", \"ax\", @progbits\n"      \
          ".globl __wrap_" #name "\n"                                 \
          ".hidden __wrap_" #name "\n"                                \
          ".type __wrap_" #name ", @function\n"                       \
          "__wrap_" #name ": " JUMP("oldest_" #name) "\n"             \
          ".size __wrap_" #name ", . - __wrap_" #name "\n"            \
          ".text\n");
#include "portable/symbols.h"

extern "C" {

// Of glibc 2.32: whether the process has but one thread, in which case locks may be left out. Any answer but "no" is a guess
// on older ones.
__attribute__((visibility("hidden"))) char __libc_single_threaded = 0;

// Of glibc 2.33; an inline function over this one before.
__asm__(".symver oldest_fxstat64, __fxstat64@" OLDEST(2.2.5));
int oldest_fxstat64(int version, int descriptor, struct stat64 *status);

__attribute__((visibility("hidden"))) int __wrap_fstat64(int descriptor, struct stat64 *status) {
#if defined(__x86_64__)
  const int version = 1;
#else
  const int version = 0;
#endif
  return oldest_fxstat64(version, descriptor, status);
}

}  // extern "C"
