// Ranks of positives by id: a row's first positive is the first row of its id in the order of ranks, behind which those of
// their memories come. It may be another rank's. Those are fetched before anything is counted.
#pragma once

#include <cstdint>
#include <vector>

#include "common/form.h"
#include "group/agreement.h"
#include "group/mail.h"
#include "infonce/infonce.h"

namespace infonce::group {

class FirstPositives {
 public:
  // Takes the memory for all that follows. `records`: with everyone's numbers of rows of the problem's matrices.
  FirstPositives(const Post &post, const std::vector<Record> &records, const infonce_problem &problem);

  // Every rank's step, also of one that has failed. This rank's rows and those of its memory, on the host and without gaps.
  void find(const char *rows, const char *memory);

  // Makes them a matrix of the problem, which has those rows. They must stay until it is opened.
  void add_to(infonce_problem *problem) const;

 private:
  // A rank's row; those of its memory come behind the others. -1: nobody's.
  struct Place {
    int rank = -1;
    int32_t row = -1;
  };
  // Own rows of an id.
  struct Class {
    explicit Class(int32_t of) : id(of) {}
    int32_t id;
    bool has_others = false, is_in_memory = false;
    Place before, behind;  // the first row of the id in a rank before this one, or else in one behind it
    Place before_in_memory, behind_in_memory;

    // That of its rows, or of its only one, if that is another rank's.
    Place elsewhere() const {
      if (before.row >= 0) return before;
      if (has_others) return {};
      if (behind.row >= 0) return behind;
      if (before_in_memory.row >= 0) return before_in_memory;
      return is_in_memory ? Place() : behind_in_memory;
    }
  };

  void find_classes();
  Class *class_with(int32_t id);
  void look_for_ids();
  void look_through(int rank);
  void choose();
  void fetch(const char *rows, const char *memory);
  void clear_rows_that_are_not_finite();
  int64_t rows_of(int rank) const { return records_[size_t(rank)].rows[matrix_]; }
  int64_t remembered(int rank) const { return memory_ == kNone ? 0 : records_[size_t(rank)].rows[memory_]; }
  int64_t all_of(int rank) const { return rows_of(rank) + remembered(rank); }

  const Post &post_;
  const std::vector<Record> &records_;
  const int matrix_, memory_;
  const infonce_matrix own_, own_memory_;
  const int64_t dim_;
  const int32_t type_;  // of what is fetched: that of all rows, or float32
  const size_t row_bytes_;
  std::vector<Class> classes_;       // by id, ascending
  std::vector<int32_t> class_of_;    // by own row
  std::vector<int32_t> of_rows_;     // by own row, which of the fetched ones; -1: none
  std::vector<int32_t> wanted_;      // classes of the fetched ones, by rank
  std::vector<int32_t> fetched_of_;  // by class
  int64_t count_ = 0;                // of the fetched ones
  Mail mail_;
  int32_t *mine_, *theirs_, *question_, *asked_;
  char *answer_, *fetched_;  // [rows, dim]
};

}  // namespace infonce::group
