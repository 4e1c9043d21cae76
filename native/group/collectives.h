// What all ranks compute together. Every rank calls the same, in the same order.
#pragma once

#include <memory>
#include <type_traits>
#include <vector>

#include "group/mail.h"

namespace infonce::group {

// Numbers to be reduced in place.
struct Numbers {
  void *data;
  int64_t count;
  bool is_double;  // else float32
};

// Everyone's record, in the order of ranks.
template <class Record> std::vector<Record> gather(const Post &post, const Record &mine) {
  static_assert(std::is_trivially_copyable_v<Record>, "a record is sent as bytes");
  Mail mail(post);
  const int size = post.size(), rank = post.rank();
  Record *records = mail.array<Record>(size_t(size));
  records[rank] = mine;
  for (int other = 0; other < size; ++other) {
    if (other == rank) continue;
    mail.receive(other, Channel::kControl, &records[other], sizeof(Record));
    mail.send(other, Channel::kControl, &records[rank], sizeof(Record));
  }
  mail.wait();
  return {records, records + size};
}

// Sums over ranks, added in their order in float64 and rounded once: the same bits on every rank. Counts and types are
// everyone's.
class Reduction {
 public:
  // Takes the memory.
  Reduction(const Post &post, const std::vector<Numbers> &arrays);
  ~Reduction();

  // `mean` divides by the size before it rounds.
  void run(bool mean);

 private:
  template <class Number> class Part;

  std::unique_ptr<Part<float>> floats_;
  std::unique_ptr<Part<double>> doubles_;
};

}  // namespace infonce::group
