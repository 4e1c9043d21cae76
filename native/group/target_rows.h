// Positives by target: a row's positive is any row of all ranks' keys. Those are fetched before anything is computed, and
// are then the rows' own by index; their gradients go back at the end.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "group/agreement.h"
#include "group/mail.h"
#include "infonce/infonce.h"

namespace infonce::group {

// Whether a problem is one of these, and the matrix of its keys.
bool has_targets(const infonce_problem &problem);
int keys_of(const infonce_problem &problem);

// The problem with these positives by index. Keys that are candidates stay, and leave out an anchor's positive by its number
// among all ranks' keys; others give their place to the positives. Returns why that cannot be, or null.
const char *with_positives_by_index(const infonce_problem &problem, const infonce_matrix &positives,
                                    infonce_problem *by_index);

class TargetRows {
 public:
  // `records`: everyone's, with their numbers of keys.
  TargetRows(const Post &post, const std::vector<Record> &records, const infonce_problem &problem);

  // Every rank's step, also of one that has failed: how many rows each wants of whom. Fails where targets are no keys.
  infonce_status ask(const infonce_problem &problem, infonce_failure *failure);
  // For `fetch`, and for `bring_home` each time.
  void take_memory(const infonce_problem &problem);
  void take_memory_for_gradients();
  // Every rank's step. Fails where targets are keys that are left out.
  infonce_status fetch(const infonce_problem &problem, const infonce_backend &backend, infonce_context *context,
                       infonce_failure *failure);
  // The problem to be computed in place of this rank's. What was fetched must stay until it is opened.
  infonce_problem by_index(const infonce_problem &problem) const;
  // Where its positives are, and whether keys are another matrix.
  int matrix() const { return matrix_; }
  bool has_keys_apart() const { return matrix_ != keys_; }
  int keys() const { return keys_; }
  // The number of a rank's first key among those of all.
  int64_t first_of(int rank) const { return first_[size_t(rank)]; }
  // Whether this rank has keys with NaN or infinity that may stand.
  bool has_bad_keys() const { return has_bad_keys_; }

  // The positives' gradients, on the host.
  float *gradient() { return gradient_.data(); }
  // Adds them to those of their keys, in the order of ranks. Every rank's step, too.
  void bring_home(float *of_keys);

 private:
  using Bytes = std::pair<char *, size_t>;
  // Rows that go to other ranks and come from them, by rank; a rank's own are where both are.
  struct Messages {
    explicit Messages(const Post &post) : mail(post) {}
    Mail mail;
    std::vector<Bytes> sent, arrive;
  };

  infonce_status find(const infonce_problem &problem, infonce_failure *failure);
  void tell();
  void take_room(const std::vector<std::vector<int32_t>> &sent, const std::vector<std::vector<int32_t>> &arrive,
                 size_t row_bytes, std::optional<Messages> *messages) const;
  // What goes to each other rank, and where what comes from it is to be.
  template <class Sent, class Received> void exchange(Mail *mail, Sent &&sent, Received &&received) const;
  void exchange(Messages *messages) const;
  // Of a row: its numbers, those of its guide, and its bias.
  size_t bytes_of_row() const { return row_bytes_ + guide_bytes_ + (has_bias_ ? sizeof(float) : 0); }

  const Post post_;
  const int keys_;
  int matrix_;
  const int64_t dim_;
  const size_t row_bytes_, guide_bytes_;
  const bool has_bias_;
  bool has_bad_keys_ = false;
  int64_t rows_;                               // of this rank's anchors
  std::vector<int64_t> first_;                 // by rank, and the end
  std::vector<std::vector<int32_t>> asked_;    // by rank, which of its keys, in the order of the anchors
  std::vector<std::vector<int32_t>> asks_;     // and which of this rank's it asks for
  std::vector<int64_t> counts_asked_;          // how many
  std::vector<std::vector<int32_t>> anchors_;  // for which they are
  std::vector<char> packed_, packed_guides_;   // this rank's keys
  std::vector<char> fetched_, guides_;
  std::vector<float> bias_, gradient_;
  std::optional<Messages> questions_, answers_, home_;
};

}  // namespace infonce::group
