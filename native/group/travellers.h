// What goes round the ring: matrices of candidates, packed with their ids and biases, and what belongs to their rows.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "group/agreement.h"
#include "group/column_sums.h"
#include "infonce/infonce.h"

namespace infonce::group {

// A matrix that visits other ranks: of candidates, or where those stay of anchors.
struct Traveller {
  int matrix;
  std::vector<int> blocks;  // of which it is the candidates, or the anchors
  int32_t type;
  bool has_ids, has_bias, has_guide;
  int32_t guide_type;
  bool has_gradient;          // one comes home
  int softmax;                // to which the rows belong that meet the anchors as columns; -1: none
  int hops;                   // how far: to all other ranks, or half as far where rows meet their own matrix alone
  bool are_anchors;           // they meet what stays on the ranks
  bool go_along;              // positives of anchors that visit, which meet nothing, one for each
  int rows_as;                // the matrix that has as many rows
  ColumnSums::Kinds columns;  // what they collect as such
};

// Those of a rank, packed: their rows and guides, and what of them is on the host wherever those are: a word in which a rank
// that has failed tells the next, ids and biases.
struct Packed {
  char *rows;
  int32_t residence;
  char *notes;
};

class Travellers {
 public:
  Travellers() = default;
  // Of a problem that every rank has in its own sizes.
  Travellers(const infonce_problem &problem, int ranks);
  // Anchors of the first softmax travel in place of these candidates, bits by matrix. `problem`: with positives by index.
  void let_stay(uint32_t matrices, const infonce_problem &problem, int ranks);
  // Those that have one in `result` get one from every rank.
  void want_gradients(const infonce_result &result);

  const std::vector<Traveller> &all() const { return all_; }
  bool empty() const { return all_.empty(); }
  // The anchors, where they travel, or null.
  const Traveller *anchors() const {
    const auto found = std::find_if(all_.begin(), all_.end(), [](const Traveller &each) { return each.are_anchors; });
    return found == all_.end() ? nullptr : &*found;
  }
  const Traveller &of(int matrix) const {
    return *std::find_if(all_.begin(), all_.end(), [matrix](const Traveller &each) { return each.matrix == matrix; });
  }
  // Float64 numbers that belong to a row that is a column, in the gradient.
  int weights() const;
  // The farthest's.
  int hops() const { return all_.empty() ? 0 : all_.front().hops; }

  // What arrives at a hop of the rank with these rows, in bytes.
  struct Sizes {
    size_t rows, notes;
  };
  Sizes sizes(const Record &owner, int hop) const;
  // Copies this rank's to `packed`.
  infonce_status pack(const infonce_problem &problem, const infonce_backend &backend, infonce_context *context,
                      const Packed &packed, infonce_failure *failure) const;
  // A traveller's rows from the first on, where the rank with these rows has packed them.
  infonce_matrix matrix_in(const Packed &packed, const Record &owner, const Traveller &traveller, int64_t first) const;

  // What belongs to the rows that are columns: by traveller `arrays` float64 numbers a row.
  size_t column_bytes(const Record &owner, int hop, int arrays) const;
  double *columns_in(char *columns, const Record &owner, const Traveller &traveller, int arrays) const;

 private:
  struct Place {
    size_t rows, guide, ids, bias;
    Sizes end;
  };
  static Traveller traveller_of(const infonce_problem &problem, int matrix);
  void sort();
  Place place_of(const Record &owner, const Traveller &traveller, const Sizes &begin) const;

  int64_t dim_ = 0, guide_dim_ = 0;
  std::vector<Traveller> all_;  // the farthest first
};

// Whether the rank that packed it, or one that it went through, has failed.
inline int64_t &failed_in(const Packed &packed) { return *reinterpret_cast<int64_t *>(packed.notes); }

// Copies rows together, one after another, to memory of the host or the device.
infonce_status pack_rows(const infonce_matrix &matrix, int64_t dim, const infonce_backend &backend,
                         infonce_context *context, char *packed, infonce_failure *failure,
                         int32_t residence = INFONCE_ON_HOST);

}  // namespace infonce::group
