#include "cpu/memory.h"

#include <algorithm>
#include <cstddef>
#include <fstream>
#include <limits>
#include <new>
#include <string>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#include <sys/resource.h>
#elif defined(_WIN32)
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
#endif

#include "common/call.h"

namespace infonce::cpu {
namespace {

constexpr int64_t kManyBytes = int64_t(64) << 20;  // asking the system takes a twentieth of a millisecond
constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();

#if defined(__linux__)

// The number in a file that holds one, or that follows a key; `otherwise` if there is none.
int64_t number_in(const std::string &path, int64_t otherwise, const std::string &key = "") {
  std::ifstream file(path);
  std::string word;
  while (!key.empty() && file >> word && word != key) {
  }
  int64_t number;
  return file >> number ? number : otherwise;
}

struct ControlGroupFiles {
  const char *limit, *usage, *reclaimable;
};
constexpr ControlGroupFiles kVersion1 = {"/memory.limit_in_bytes", "/memory.usage_in_bytes", "total_inactive_file"};
constexpr ControlGroupFiles kVersion2 = {"/memory.max", "/memory.current", "inactive_file"};

// What a control group and those above it leave. In a container the path may be that of the host: then the files of
// the group itself are at the root.
int64_t left_in_group(const std::string &root, std::string path, const ControlGroupFiles &files) {
  int64_t left = kUnlimited;
  for (;;) {
    const std::string group = root + path;
    const int64_t limit = number_in(group + files.limit, kUnlimited);  // "max" is no number
    const int64_t usage = number_in(group + files.usage, 0);
    const int64_t reclaimable = number_in(group + "/memory.stat", 0, files.reclaimable);
    if (limit != kUnlimited) left = std::min(left, std::max<int64_t>(0, limit - usage + std::min(usage, reclaimable)));
    if (path.empty()) return left;
    path.resize(path.find_last_of('/'));
  }
}

// Lines of /proc/self/cgroup are number:controllers:path, in version 2 without controllers.
int64_t left_in_control_groups() {
  int64_t left = kUnlimited;
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string path = line.substr(second + 1);
    if (path.empty() || path.front() != '/' || path == "/") path.clear();
    if (controllers.empty()) left = std::min(left, left_in_group("/sys/fs/cgroup", path, kVersion2));
    else if (controllers == "memory") left = std::min(left, left_in_group("/sys/fs/cgroup/memory", path, kVersion1));
  }
  return left;
}

// What `ulimit -v` leaves.
int64_t left_of_addresses() {
  rlimit limit;
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return kUnlimited;
  return std::max<int64_t>(0, int64_t(limit.rlim_cur) - number_in("/proc/self/statm", 0) * sysconf(_SC_PAGESIZE));
}

#endif

#if defined(_WIN32)

// All zeros where the system does not say.
MEMORYSTATUSEX memory_status() {
  MEMORYSTATUSEX status = {};
  status.dwLength = sizeof status;
  GlobalMemoryStatusEx(&status);
  return status;
}

#endif

constexpr size_t kAlignment = 256;

// Right in front of what is handed out.
struct Header {
  void *base;
  size_t mapped;  // bytes from `base` on; 0: it is of the heap
};

std::byte *with_header(std::byte *memory, const Header &header) {
  reinterpret_cast<Header *>(memory)[-1] = header;
  return memory;
}

std::byte *take_from_heap(size_t bytes) {
  void *base = ::operator new(kAlignment + bytes, std::align_val_t(kAlignment), std::nothrow);
  return base ? with_header(static_cast<std::byte *>(base) + kAlignment, {base, 0}) : nullptr;
}

#if defined(__linux__)

constexpr int64_t kMappedBytes = int64_t(1) << 20;
constexpr size_t kHugePage = size_t(2) << 20;

void unmap(void *base, size_t bytes) {
  if (bytes > 0) munmap(base, bytes);
}

// A page with the header, and from the start of a huge page on what was asked for.
std::byte *map(size_t bytes) {
  const size_t page = size_t(sysconf(_SC_PAGESIZE)), used = page + (bytes + page - 1) / page * page;
  const size_t room = used + kHugePage;
  void *mapping = mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) return nullptr;
  std::byte *first = static_cast<std::byte *>(mapping);
  const size_t unaligned = (reinterpret_cast<uintptr_t>(first) + page) % kHugePage;
  std::byte *base = first + (unaligned > 0 ? kHugePage - unaligned : 0);
  unmap(first, size_t(base - first));
  unmap(base + used, size_t(first + room - (base + used)));
  madvise(base + page, used - page, MADV_HUGEPAGE);
  return with_header(base + page, {base, used});
}

#else

constexpr int64_t kMappedBytes = kUnlimited;
std::byte *map(size_t) { return nullptr; }
void unmap(void *, size_t) {}

#endif

}  // namespace

int64_t physical_memory() {
#if defined(_SC_PHYS_PAGES) && defined(_SC_PAGESIZE)
  return int64_t(sysconf(_SC_PHYS_PAGES)) * int64_t(sysconf(_SC_PAGESIZE));
#elif defined(_WIN32)
  return memory_status().ullTotalPhys;
#else
  return 0;
#endif
}

int64_t available_memory() {
#if defined(__linux__)
  constexpr int64_t kKibibyte = 1024;
  const int64_t of_system = number_in("/proc/meminfo", physical_memory() / kKibibyte, "MemAvailable:") * kKibibyte;
  return std::min({of_system, left_in_control_groups(), left_of_addresses()});
#elif defined(_WIN32)
  return memory_status().ullAvailPhys;
#else
  return physical_memory() > 0 ? physical_memory() : kUnlimited;
#endif
}

void require_memory(int64_t bytes) {
  if (bytes < kManyBytes) return;
  const int64_t available = available_memory();
  if (bytes > available) throw OutOfMemory(bytes, available);
}

void *allocate_memory(int64_t bytes) {
  require_memory(bytes);
  std::byte *memory = bytes >= kMappedBytes ? map(size_t(bytes)) : take_from_heap(size_t(bytes));
  if (!memory) throw OutOfMemory(bytes, available_memory());
  return memory;
}

void release_memory(void *memory) {
  if (!memory) return;
  const Header header = static_cast<const Header *>(memory)[-1];
  if (header.mapped > 0) unmap(header.base, header.mapped);
  else ::operator delete(header.base, std::align_val_t(kAlignment));
}

}  // namespace infonce::cpu
