// Messages under way, and the memory they are in.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "group/memory.h"
#include "group/transport.h"
#include "group/watch.h"

namespace infonce::group {

// Where and how long: what all messages of a group have in common.
struct Post {
  Transport &transport;
  Memory &memory;
  Watch &watch;
  double patience;       // seconds until the group is lost
  MemoryKind kind = {};  // of what messages are in

  Post with(const MemoryKind &other) const { return {transport, memory, watch, patience, other}; }
  int rank() const { return transport.rank(); }
  int size() const { return transport.size(); }
  int after(int hops) const { return (rank() + hops) % size(); }
  int before(int hops) const { return (rank() + size() - hops) % size(); }
  int right() const { return after(1); }
  int left() const { return before(1); }
};

// What a step of the group sends and receives. Memory stays until the messages have ended: of a step that failed before,
// for ever, since a message may yet arrive in it.
class Mail {
 public:
  explicit Mail(const Post &post);
  ~Mail();
  Mail(const Mail &) = delete;
  Mail &operator=(const Mail &) = delete;

  char *memory(size_t bytes);
  template <class Element> Element *array(size_t count) {
    return reinterpret_cast<Element *>(memory(count * sizeof(Element)));
  }

  // On a device they go after the context's work so far; between two waits work that they have to do with comes first.
  void send(int to, Channel channel, const void *bytes, size_t count);
  void receive(int from, Channel channel, void *bytes, size_t count);
  // Until all that was posted has ended. Naps, so that a rank that waits leaves its processor to others.
  void wait();

 private:
  struct Posted {
    std::unique_ptr<Exchange> exchange;
    int peer;
  };
  struct State {
    explicit State(const MemoryKind &kind) : kind(kind) {}
    ~State() {
      if (ready) kind.backend->release_mark(ready);
    }

    const MemoryKind kind;
    std::vector<Memory::Piece> memory;
    std::vector<Posted> posted;
    void *ready = nullptr;  // where the device has done what messages in its memory come after
  };

  static void abandon(std::unique_ptr<State> state);
  DeviceSide side();
  // Of the messages that have not ended.
  std::vector<int> peers() const;
  // "rank 2 has not come for 60 s"
  std::string who_has_not_come() const;

  const Post post_;
  std::unique_ptr<State> state_;
};

}  // namespace infonce::group
