// Ranks that are threads of one process.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "group/transport.h"

namespace infonce::group {

// Those who name the same key and size are one group, once each rank is there. Throws std::invalid_argument for a rank that
// is taken, and Lost when `timeout` seconds are over
// first, or meanwhile `abandoned`.
std::unique_ptr<Transport> join_local(const std::string &key, int rank, int size, double timeout,
                                      const std::atomic<bool> *abandoned = nullptr);

}  // namespace infonce::group
