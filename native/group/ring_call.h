// One loss over all ranks' rows. Candidates go round the ring of ranks, each rank's as parts of the others' calls: once for
// the sums, and once more for the gradient, which follows one hop behind and comes home last.
//
//   hop h: rank r has the candidates of rank r - h. Memory: those of three ranks, and their gradient.
#pragma once

#include <cstdint>
#include <vector>

#include "group/agreement.h"
#include "group/mail.h"
#include "group/travellers.h"
#include "infonce/infonce.h"

namespace infonce::group {

enum class Gradients { kSum, kMean };  // how the caller joins gradients of parameters over ranks

// Why a group does not compute this problem, or null.
const char *what_is_wrong_over_ranks(const infonce_problem &problem, const infonce_result &result);

class RingCall {
 public:
  RingCall(Transport &transport, double patience, const infonce_backend &backend, infonce_context *context,
           const infonce_problem &problem, infonce_result *result, infonce_failure *failure);
  ~RingCall();

  // `record`: the step's. Returns this rank's own failure; what keeps another rank from it is thrown.
  infonce_status run(const Record &record, Gradients gradients);

 private:
  infonce_status describe();
  void localize();
  template <class Visit> bool go_round(Visit &&visit);
  infonce_part part_of(int hop, const char *packed, const Travellers::Traveller &traveller, int block) const;
  bool compute_losses();
  void compute_share(int hop, const char *packed, float *share, float *of_block);
  void compute_gradients();
  void stage_gradients();
  void deliver_gradients(Gradients gradients);
  void reduce(Gradients gradients);
  // Keeps the first failure. What follows of the pass still goes round, but nothing is computed.
  void note(infonce_status status) {
    if (status_ == INFONCE_OK) status_ = status;
  }
  bool computes() const { return status_ == INFONCE_OK && !neighbour_failed_; }
  // Everyone has come so far.
  void check(Kind kind);
  const Record &owner(int hop) const { return records_[size_t((rank_ - hop + 2 * size_) % size_)]; }
  int64_t loss_rows() const { return given_.matrices[given_.softmaxes[0].anchors].rows; }

  Transport &transport_;
  const double patience_;
  const infonce_backend &backend_;
  infonce_context *const context_;
  const infonce_problem &given_;
  infonce_result *const result_;
  infonce_failure *const failure_;
  infonce_failure own_failure_{};  // where the caller wants none
  const int rank_, size_;

  infonce_problem local_;
  infonce_result local_result_;
  float upstream_ = 1;
  int64_t all_rows_ = 0;
  Record record_;
  std::vector<Record> records_;  // everyone's, of the last agreement
  infonce_status status_ = INFONCE_OK;
  bool neighbour_failed_ = false;  // a rank before this one in the ring, as its message said
  infonce_saved *saved_ = nullptr;
  Travellers travellers_;
  Mail rows_mail_, gradient_mail_;
  char *own_ = nullptr, *spare_[2] = {};
  std::vector<float> staged_[INFONCE_MOST_MATRICES];
};

}  // namespace infonce::group
