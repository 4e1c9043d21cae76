// Ranks of positives by id: a row's first positive is the first row of its id in the order of ranks, which may be another
// rank's. Those are fetched before anything is counted.
#pragma once

#include <cstdint>
#include <vector>

#include "group/agreement.h"
#include "group/mail.h"
#include "infonce/infonce.h"

namespace infonce::group {

class FirstPositives {
 public:
  // Every rank's step, also of one that has failed. `own`: this rank's rows and ids, on the host and without gaps; `matrix`:
  // where everyone's number of them is in `records`.
  FirstPositives(const Post &post, const std::vector<Record> &records, const infonce_matrix &own, int matrix,
                 int64_t dim);

  // Makes them a matrix of the problem, which has those rows. They must stay until it is opened.
  void add_to(infonce_problem *problem) const;

 private:
  struct Place {
    int rank = -1;
    int32_t row = -1;  // -1: nobody's
  };
  // Own rows of an id.
  struct Class {
    int32_t id, first;
    bool has_others;
    Place before, behind;  // the first row of the id in a rank before this one, or else in one behind it

    // That of its rows, or of its only one, if that is another rank's: `before` is the first of all.
    const Place &elsewhere() const { return before.row >= 0 || has_others ? before : behind; }
  };

  void find_classes(const infonce_matrix &own);
  void look_for_ids(const infonce_matrix &own);
  void look_through(int rank, const int32_t *ids, int64_t count);
  void fetch(const infonce_matrix &own);
  void clear_rows_that_are_not_finite();
  int64_t rows_of(int rank) const { return records_[size_t(rank)].rows[matrix_]; }

  const Post &post_;
  const std::vector<Record> &records_;
  const int matrix_;
  const int64_t dim_;
  const int32_t type_;
  int64_t most_ = 0;               // rows of any rank
  std::vector<Class> classes_;     // by id, ascending
  std::vector<int32_t> class_of_;  // by own row
  std::vector<int32_t> of_rows_;   // by own row, which of the fetched ones; -1: none
  std::vector<char> fetched_;      // [fetched rows, dim]
  int64_t count_ = 0;              // of them
};

}  // namespace infonce::group
