// Positives by target: a row's positive is any row of all ranks' keys. Those are fetched before anything is computed, and
// are then the rows' own by index; their gradients go back at the end.
#pragma once

#include <cstdint>
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

  // Every rank's step, also of one that has failed. Fails where targets are no keys, or keys that are left out.
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

  // Room for the positives' gradients, on the host.
  float *gradient() {
    gradient_.resize(size_t(rows_ * dim_));
    return gradient_.data();
  }
  // Adds them to those of their keys, in the order of ranks. Every rank's step, too.
  void bring_home(float *of_keys);

 private:
  infonce_status find(const infonce_problem &problem, infonce_failure *failure);
  void ask();
  // What goes to each other rank, and where what comes from it is to be.
  template <class Sent, class Received> void exchange(Mail *mail, Sent &&sent, Received &&received) const;

  const Post post_;
  const int keys_;
  int matrix_;
  const int64_t dim_;
  const size_t row_bytes_, guide_bytes_;
  const bool has_bias_;
  int64_t rows_;                               // of this rank's anchors
  std::vector<int64_t> first_;                 // by rank, and the end
  std::vector<std::vector<int32_t>> asked_;    // by rank, which of its keys, in the order of the anchors
  std::vector<std::vector<int32_t>> asks_;     // and which of this rank's it asks for
  std::vector<std::vector<int32_t>> anchors_;  // for which they are
  std::vector<char> fetched_, guides_;
  std::vector<float> bias_, gradient_;
};

}  // namespace infonce::group
