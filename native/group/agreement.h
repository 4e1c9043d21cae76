// What ranks agree on before they do something together.
#pragma once

#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "group/mail.h"
#include "infonce/infonce.h"

namespace infonce::group {

// Another rank's step cannot be taken, or does not go with this one. The group stays usable.
class PeerFailed : public std::runtime_error {
 public:
  PeerFailed(int rank, const std::string &what, int32_t matrix = -1, int64_t row = -1)
      : std::runtime_error(what), rank(rank), matrix(matrix), row(row) {}

  const int rank;
  const int32_t matrix;  // of its first bad row; -1: there is none
  const int64_t row;
};

enum class Kind : int32_t {
  kLeft = 0,
  kBarrier = 1,
  kReduction = 2,
  kLoss = 3,
  kOpened = 4,
  kLosses = 5,
  kGradients = 6,
  kBackward = 7,
  kSeveral = 8
};
const char *name_of(Kind kind);

// What a rank says of its step. Plain bytes: as many in all versions, so that ranks of different ones can read the first.
struct Record {
  char version[48] = {};
  Kind kind = Kind::kBarrier;
  int32_t status = INFONCE_OK;  // other than that: the step cannot be taken, and `message` says why
  int64_t sequence = 0;         // which step of the group it is
  int64_t of_step = 0;          // of the gradient of an earlier loss: which step that was
  uint64_t form = 0;            // a hash of what has to be the same on all ranks
  double scale = 0, bias = 0;
  int64_t dim = 0;
  int64_t rows[INFONCE_MOST_MATRICES] = {};
  // What the step came to on this rank, to be added up.
  double sums[6] = {};
  int32_t bad_matrix = -1;
  int64_t bad_row = -1;
  char message[160] = {};
  // Of the first softmax's rows, where positives are those of equal id.
  int32_t least_id = std::numeric_limits<int32_t>::max(), largest_id = std::numeric_limits<int32_t>::min();
  // Of weights of positives: the logarithm of the sum of what they are made of.
  double positives_log_sum = -std::numeric_limits<double>::infinity();
  char unused[104] = {};
};
static_assert(sizeof(Record) == 512, "what is new takes the place of what is unused");

// Everyone's records, in the order of ranks. Throws PeerFailed where the others' do not go with this one, or have failed; but
// a rank whose own has failed gets them, to throw its own error. Throws Lost when a rank has left.
std::vector<Record> agree(const Post &post, const Record &mine);

// FNV-1a.
class Hash {
 public:
  template <class Value> Hash &add(const Value &value) {
    static_assert(std::is_arithmetic_v<Value> || std::is_enum_v<Value>, "padding is no content");
    const auto *bytes = reinterpret_cast<const unsigned char *>(&value);
    for (size_t i = 0; i < sizeof value; ++i) hash_ = (hash_ ^ bytes[i]) * 1099511628211u;
    return *this;
  }
  uint64_t value() const { return hash_; }

 private:
  uint64_t hash_ = 14695981039346656037u;
};

}  // namespace infonce::group
