// One loss over all ranks' rows. Candidates go round the ring of ranks, each rank's as parts of the others' calls: once for
// the sums, and once more for the gradient, which follows one hop behind and comes home last. Where anchors are fewer bytes
// than their candidates, those stay, and the anchors go round as calls of their own.
//
//   hop h: rank r has the candidates of rank r - h, or its anchors. It holds those of three ranks, and as many gradients.
#pragma once

#include <cstdint>
#include <limits>
#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "common/call.h"
#include "group/agreement.h"
#include "group/first_positives.h"
#include "group/mail.h"
#include "group/relay.h"
#include "group/ring.h"
#include "group/target_rows.h"
#include "group/travellers.h"
#include "infonce/infonce.h"

namespace infonce::group {

enum class Gradients { kSum, kMean };  // how the caller joins gradients of parameters over ranks

// Functions return this rank's own failure, described in `failure`. What keeps another rank from it is thrown.
class RingCall {
 public:
  RingCall(const Post &post, const infonce_backend &backend, infonce_context *context);
  ~RingCall();
  RingCall(const RingCall &) = delete;
  RingCall &operator=(const RingCall &) = delete;

  // `record`: the step's.
  infonce_status run(const Record &record, const infonce_problem &problem, Gradients gradients, infonce_result *result,
                     infonce_failure *failure);
  // The same in two halves; the second one as often as wanted.
  infonce_status forward(const Record &record, const infonce_problem &problem, infonce_result *result,
                         infonce_failure *failure);
  infonce_status backward(const Record &record, const infonce_upstream &upstream, Gradients gradients,
                          infonce_result *result, infonce_failure *failure);

 private:
  static constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  // In Record::sums.
  enum Sum { kLoss, kTop1, kTop5, kGradScale, kGradBias };

  infonce_status begin(const infonce_problem &problem, const infonce_result &result);
  infonce_status read_upstream(const infonce_grad_output &upstream);
  void describe();
  bool travels_on_device() const;
  infonce_status compute_losses();
  bool weighs_positives() const { return problem_.softmaxes[0].mises_fisher_sigma != 0; }
  void read_log_mean();
  double log_mean_of_all() const;
  bool open_and_add();
  bool has_terms() const {
    const infonce_softmax &softmax = problem_.softmaxes[0];
    return softmax.positive == INFONCE_POSITIVE_SAME_ID && softmax.row_loss == INFONCE_ROW_LOSS_POSITIVE_AND_NEGATIVES;
  }
  void take_memory_for_terms();
  void add_terms();
  bool has_bad_upstream() const;
  bool is_nan_in(Sum sum) const;
  void fill_with_nan(const infonce_output &output, int64_t count);
  void fill_losses_with_nan();
  void compute_gradients();
  // Sends this rank's totals to the others and writes its share of theirs to `result`.
  void complete_gradients(Gradients gradients, infonce_result *result);
  void take_memory_for_gradients();
  // Allocates where all ranks learn of a failure.
  template <class Take> void take_memory(Take &&take) {
    if (status_ != INFONCE_OK) return;
    note(guarded(failure_, [&] {
      take();
      return INFONCE_OK;
    }));
  }
  void place_gradients(const infonce_result &result);
  infonce_travelling_rows weights_in(char *columns, int hop, const Traveller &traveller) const;
  void compute_share(const Traveller &traveller, int hop, const Packed &rows, char *columns, float *share);
  // Numbers that lie where rows do.
  void clear(float *numbers, int64_t count);
  void add(float *to, const float *from, int64_t count);
  void add_home(const infonce_output &own, const float *home, int64_t count);
  void deliver_gradients(Gradients gradients, infonce_result *result);
  void reduce(Gradients gradients, infonce_scalars *scalars) const;
  struct Meeting {
    int64_t first_visitor, visitors, anchors;  // the first ones of the block's rows
  };
  Meeting meeting_of(const Traveller &traveller, const infonce_block &block, int hop) const;
  static infonce_travelling_rows rows_from(const infonce_travelling_rows &rows, int64_t first);
  // Anchors of another rank that meet this one's candidates. `sums`: with their ranks, to be filled.
  bool have_pairs_here(int hop) const;
  infonce_problem problem_of_visitors(int hop, const Packed &rows) const;
  template <class Add> void visit_here(Add &&add);
  template <class Step> infonce_status of_visitors(Step &&step);
  bool stays_for_gradient(int hop);
  void end_visit(int hop);
  void sum_for_visitors(int hop, const Packed &rows, const infonce_travelling_rows &sums);
  void compute_share_of_visitors(int hop, const Packed &rows, char *columns, float *share);
  void take_memory_for_what_stays();
  void keep_candidates_here();
  void take_memory_for_gradients_here();
  void begin_gradients_here();
  void add_gradients_here();
  // SupCon's memory, if it stays on its rank.
  void take_memory_for_memory(const infonce_matrix &memory);
  infonce_problem problem_of_memory() const;
  template <class Step> void of_memory(Step &&step);
  void open_memory();
  infonce_part visitors_of_memory(int hop, const Packed &rows, const infonce_travelling_rows &columns) const;
  void add_to_memory(int hop, const Packed &rows, const infonce_travelling_rows &columns, bool terms);
  void open_gradient_of_memory();
  void add_gradient_of_memory(int hop, const Packed &rows, const infonce_travelling_rows &columns,
                              const infonce_output &gradient);
  void close_gradient_of_memory();

  template <class Visit>
  void visit(const Traveller &traveller, int hop, const Packed &rows, const infonce_travelling_rows &columns,
             Visit &&visit);

  // Keeps the first failure. The rest of the pass still goes round, but nothing is computed.
  void note(infonce_status status) {
    if (status_ == INFONCE_OK) status_ = status;
  }
  bool computes() const { return status_ == INFONCE_OK && !(ring_ && ring_->neighbour_failed()); }
  bool has_rows() const { return loss_rows() > 0; }
  // Everyone has come so far.
  void check(Kind kind);
  int64_t candidates_elsewhere(int softmax) const;
  int anchors() const { return problem_.softmaxes[0].anchors; }
  int64_t loss_rows() const { return problem_.matrices[anchors()].rows; }
  // As they are packed, on the host. Null: of no matrix.
  const char *own_rows_of(int matrix);

  const Post post_;
  std::optional<Post> of_rows_;  // where rows and their gradients travel: on the device, if that can be
  const infonce_backend &backend_;
  infonce_context *const context_;
  infonce_problem problem_{};  // this rank's, as it was given
  infonce_problem local_{};    // whose sums are divided at the end, so that ranks may have any number of rows
  infonce_result local_result_{};
  infonce_failure own_failure_{};  // where the caller wants none
  infonce_failure *failure_ = nullptr;
  const int32_t *cancelled_ = nullptr;
  float upstream_ = 1;
  int64_t all_rows_ = 0;
  Record record_;
  uint64_t form_ = 0;            // of the loss, as ranks have agreed on it
  std::vector<Record> records_;  // everyone's, of the last agreement
  infonce_status status_ = INFONCE_OK;
  bool is_nan_ = false;  // this rank's, and once ranks have agreed on losses everyone's
  infonce_saved *saved_ = nullptr;
  Travellers travellers_;
  std::unique_ptr<Ring> ring_;           // null: nothing goes round
  std::unique_ptr<TargetRows> targets_;  // null: positives are at home
  infonce_output gradient_of_keys_{};    // where positives are elsewhere
  std::list<Relay> gradients_;           // of travellers with one
  std::optional<Relay> terms_;           // where positives have their own
  Memory::Piece of_block_;               // of rows that are candidates of several blocks
  // Candidates of a block that stay here, or SupCon's memory.
  struct Home {
    infonce_matrix candidates;  // the caller's, or between the halves of a call copies
    Memory::Piece rows, guide;
    std::vector<int32_t> ids;
    std::vector<float> bias;
    bool has_gradient = false;
    Memory::Piece sums, of_visitors;  // what visitors add to their gradient, and what one of them does
  };
  bool is_in_halves_ = false;
  std::vector<Home> homes_;              // by block of the visitors
  std::vector<infonce_saved *> visits_;  // by hop: calls that wait for the gradient, or null
  int64_t bytes_of_visits_ = 0;
  bool memory_stays_ = false, memory_is_closed_ = false;  // SupCon's
  infonce_saved *memory_here_ = nullptr;  // the call in which others' anchors meet SupCon's memory; null: none do
  std::vector<int32_t> no_firsts_;
  std::vector<double> no_log_sums_, no_weights_;
  Memory::Piece gradient_of_memory_;  // SupCon's; discarded
  Memory::Piece of_their_positives_;  // what their gradients are: nothing
  double grad_scale_of_visitors_ = 0;
  // Of this rank by matrix, where rows travel on the device and others may fetch some.
  std::vector<char> rows_on_host_[INFONCE_MOST_MATRICES];
  std::vector<float> staged_[INFONCE_MOST_MATRICES];
};

}  // namespace infonce::group
