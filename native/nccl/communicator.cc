#include "nccl/communicator.h"

#include <utility>

#include "group/transport.h"

namespace infonce::nccl {

Communicator::Communicator(const NcclLibrary &library, const UniqueId &id, int rank, int size)
    : nccl_(library.functions) {
  Config config{sizeof(Config), kConfigMagic, unsigned(kOldestVersion), 0};
  try {
    check(nccl_.comm_init_rank_config(&comm_, size, id, rank, &config), "ncclCommInitRankConfig");
  } catch (...) {
    abort();
    throw;
  }
}

void Communicator::check(int result, const char *call) {
  if (result == kSuccess || result == kInProgress) return;
  std::string text = std::string(call) + ": " + nccl_.get_error_string(result);
  const char *last = nccl_.get_last_error(comm_);
  if (last && *last) text += std::string(" (") + last + ")";
  throw group::Lost(text);
}

bool Communicator::is_ready() {
  int result = kSuccess;
  check(nccl_.comm_get_async_error(comm_, &result), "ncclCommGetAsyncError");
  check(result, "NCCL");
  return result == kSuccess;
}

void Communicator::begin_group() { check(nccl_.group_start(), "ncclGroupStart"); }

void Communicator::send(const void *bytes, size_t count, int to, CUstream_st *stream) {
  check(nccl_.send(bytes, count, kUint8, to, comm_, stream), "ncclSend");
}

void Communicator::receive(void *bytes, size_t count, int from, CUstream_st *stream) {
  check(nccl_.recv(bytes, count, kUint8, from, comm_, stream), "ncclRecv");
}

void Communicator::end_group() { check(nccl_.group_end(), "ncclGroupEnd"); }
void Communicator::finalize() { check(nccl_.comm_finalize(comm_), "ncclCommFinalize"); }

void Communicator::destroy() { nccl_.comm_destroy(std::exchange(comm_, nullptr)); }

void Communicator::abort() noexcept {
  if (comm_) nccl_.comm_abort(std::exchange(comm_, nullptr));
}

}  // namespace infonce::nccl
