// What goes round the ring: matrices of candidates, packed with their ids and biases.
#pragma once

#include <cstdint>
#include <vector>

#include "group/agreement.h"
#include "infonce/infonce.h"

namespace infonce::group {

class Travellers {
 public:
  struct Traveller {
    int matrix;
    std::vector<int> blocks;  // of which it is the candidates
    int32_t type;
    bool has_ids, has_bias;
    bool has_gradient;  // one comes home
  };

  Travellers() = default;
  // Of a problem that every rank has in its own sizes.
  explicit Travellers(const infonce_problem &problem);
  // Those that have one in `result` get one from every rank.
  void want_gradients(const infonce_result &result);

  const std::vector<Traveller> &all() const { return all_; }
  bool empty() const { return all_.empty(); }

  // Of the rank with these rows, in bytes; with a last word, in which a rank that has failed tells the next.
  size_t bytes(const Record &owner) const;
  // Of its gradients, in numbers: one traveller's after the other's.
  int64_t numbers(const Record &owner) const;

  // Copies this rank's to `packed`.
  infonce_status pack(const infonce_problem &problem, const infonce_backend &backend, infonce_context *context,
                      char *packed, infonce_failure *failure) const;
  // A traveller's rows where the rank with these rows has packed them.
  infonce_matrix matrix_in(const char *packed, const Record &owner, const Traveller &traveller) const;

  bool has_failed(const char *packed, const Record &owner) const;
  void set_failed(char *packed, const Record &owner, bool failed) const;

 private:
  struct Place {
    size_t rows, ids, bias, end;
  };
  Place place_of(const Record &owner, const Traveller &traveller, size_t begin) const;

  int64_t dim_ = 0;
  std::vector<Traveller> all_;
};

// Bytes of a number.
size_t size_of(int32_t type);

}  // namespace infonce::group
