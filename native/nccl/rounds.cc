#include "nccl/rounds.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace infonce::nccl {

namespace {

constexpr int kRounds = 3;  // one is filled, one exchanged, one emptied
constexpr size_t kAlignment = 256;
// The same on all ranks. Of what goes to all at once each rank has one piece for every other in a round.
constexpr size_t kNeighbourPiece = size_t{4} << 20;
constexpr size_t kForAll = size_t{8} << 20;
constexpr size_t kLeastPiece = size_t{64} << 10;

}  // namespace

Rounds::Rounds(const Device &device, Communicator &communicator, int size)
    : device_(device),
      communicator_(communicator),
      all_to_all_piece_(std::clamp(kForAll / size_t(std::max(1, size - 1)), kLeastPiece, kNeighbourPiece)) {
  for (int i = 0; i < kRounds; ++i) {
    rounds_.push_back(std::make_unique<Round>(device));
    free_.push_back(rounds_.back().get());
  }
}

size_t Rounds::piece(group::Channel channel) const {
  const bool to_neighbours = channel == group::Channel::kForward || channel == group::Channel::kBackward;
  return to_neighbours ? kNeighbourPiece : all_to_all_piece_;
}

bool Rounds::step() {
  bool moved = false;
  const bool is_ready = communicator_.is_ready();
  if (launched_ && is_ready) {
    settle(*launched_);
    under_way_.push_back(std::exchange(launched_, nullptr));
    moved = true;
  }
  while (!under_way_.empty() && under_way_.front()->staging.is_done()) {
    complete(*under_way_.front());
    free_.push_back(under_way_.front());
    under_way_.pop_front();
    moved = true;
  }
  if (!filled_ && !free_.empty() && !groups_.empty()) {
    filled_ = free_.back();
    free_.pop_back();
    fill(*filled_);
  }
  // Memory is given back and taken only while the device waits for no other rank: these calls may wait for the device.
  if (filled_ && !launched_ && (under_way_.empty() || filled_->staging.size() >= filled_->all)) {
    launched_ = std::exchange(filled_, nullptr);
    launch(*launched_);
    moved = true;
  }
  return moved;
}

int Rounds::missed(Clock::time_point since) const {
  const Round *oldest = under_way_.empty() ? launched_ : under_way_.front();
  return oldest && oldest->begun < since ? oldest->parts.back().message->other : -1;
}

// Sends first, so that each kind is one copy.
void Rounds::fill(Round &round) {
  round.parts.clear();
  round.all = 0;
  std::vector<std::shared_ptr<Message>> &group = groups_.front();
  bool is_last = true;
  for (const bool sent : {true, false}) {
    for (const std::shared_ptr<Message> &message : group) {
      if (message->sent != sent || message->begun == message->count) continue;
      const size_t count = std::min(message->count - message->begun, piece(message->channel));
      round.parts.push_back({message, round.all, message->begun, count});
      if (!message->on_device) round.all += (count + kAlignment - 1) / kAlignment * kAlignment;
      message->begun += count;
      is_last = is_last && message->begun == message->count;
    }
    if (sent) round.sent = round.all;
  }
  if (is_last) groups_.pop_front();
}

void Rounds::launch(Round &round) {
  round.begun = Clock::now();
  Staging &staging = round.staging;
  staging.reserve(round.all);
  for (const Part &part : round.parts)
    if (part.message->sent && !part.message->on_device)
      std::memcpy(staging.host() + part.at, part.message->bytes + part.offset, part.count);
  staging.upload(0, round.sent);
  for (const Part &part : round.parts)
    if (part.message->ready && part.offset == 0) device_.wait_for(part.message->ready);
  communicator_.begin_group();
  for (const Part &part : round.parts) {
    const Message &message = *part.message;
    char *bytes = message.on_device ? message.bytes + part.offset : staging.device() + part.at;
    if (message.sent) communicator_.send(bytes, part.count, message.other, device_.stream());
    else communicator_.receive(bytes, part.count, message.other, device_.stream());
  }
  communicator_.end_group();
}

void Rounds::settle(Round &round) {
  round.staging.download(round.sent, round.all);
  round.staging.record();
}

void Rounds::complete(Round &round) {
  for (const Part &part : round.parts) {
    Message &message = *part.message;
    if (!message.sent && !message.on_device)
      std::memcpy(message.bytes + part.offset, round.staging.host() + part.at, part.count);
    message.done += part.count;
    if (message.done == message.count) message.ended.store(true, std::memory_order_release);
  }
  round.parts.clear();
}

}  // namespace infonce::nccl
