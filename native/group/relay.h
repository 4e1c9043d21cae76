// Sums that go round the ring one hop behind the rows to which they belong, and come home last.
#pragma once

#include <algorithm>
#include <functional>
#include <utility>

#include "group/mail.h"

namespace infonce::group {

// Those of one traveller.
class Relay {
 public:
  // Of how many bytes those of a hop's rows are; hop 0: of this rank's. `join` adds a share to what arrived.
  using Size = std::function<size_t(int hop)>;
  using Join = std::function<void(char *arrived, const char *share, int hop)>;
  Relay(const Post &post, Channel channel, int hops, Size size, Join join)
      : post_(post), mail_(post), channel_(channel), hops_(hops), size_(std::move(size)), join_(std::move(join)) {
    size_t most = 0;
    for (int hop = 0; hop <= hops; ++hop) most = std::max(most, size_(hop));
    for (char *&buffer : buffers_) buffer = mail_.memory(most);
  }

  // Where this rank's share for a hop's rows is to be, before it is passed on.
  char *share() { return buffers_[0]; }

  // Joins what other ranks added before, and sends it on; after the last hop home, from where this rank's own come.
  void pass_on(int hop) {
    mail_.wait();
    if (hop > 1) {
      join_(buffers_[1], buffers_[0], hop);
      std::swap(buffers_[1], buffers_[2]);
    } else {
      std::swap(buffers_[0], buffers_[2]);
    }
    const bool is_last = hop == hops_;
    mail_.send(is_last ? post_.before(hop) : post_.right(), channel_, buffers_[2], size_(hop));
    mail_.receive(is_last ? post_.after(hop) : post_.left(), channel_, buffers_[1], size_(is_last ? 0 : hop + 1));
    post_.transport.dispatch();
  }

  // What the others added to this rank's own.
  char *come_home() {
    mail_.wait();
    return buffers_[1];
  }

 private:
  const Post &post_;
  Mail mail_;
  const Channel channel_;
  const int hops_;
  const Size size_;
  const Join join_;
  char *buffers_[3];  // the share; what arrives; what was sent on
};

}  // namespace infonce::group
