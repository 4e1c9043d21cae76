#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "test/case.h"
#include "test/context.h"
#include "test/forms.h"

namespace infonce::test {

// A form of one tower or two, with one matrix of further candidates: with biases, ids that leave out, and an upstream
// gradient for each row.
Form form_in_parts(bool one_tower);

// A random form whose further candidates may come in parts, with gradients.
Form random_form_with_gradients_in_parts(uint32_t seed);

// Rows of a block's candidates.
struct Slice {
  int block;
  int64_t first;
  int64_t rows;
};

// How a whole problem is taken apart: rows of each matrix that the call is opened with, and the rest in parts.
struct Split {
  int64_t opened[INFONCE_MOST_MATRICES] = {};
  std::vector<Slice> parts;           // of the losses
  std::vector<Slice> gradient_parts;  // of the gradients
};

// Without parts.
Split all_opened(const Inputs &whole);
// Opened with the fewest rows; all further ones in one part of each block.
Split in_one_part(const Inputs &whole);
// Opened with some of the rows; parts of random sizes, in an order of their own for the gradients.
Split in_random_parts(const Inputs &whole, uint32_t seed);

// A part with arrays of its own.
struct Part {
  Part(const Inputs &whole, const Slice &slice);

  Buffer<float> matrix;
  Buffer<uint16_t> halves;
  Buffer<int32_t> ids;
  Buffer<float> bias, guide;
  infonce_part part{};
};

// An opened call. Its steps have to succeed.
class OpenedCall {
 public:
  // The arrays that it was opened with are gone afterwards.
  OpenedCall(const Context &context, const Inputs &whole, const Split &split);
  ~OpenedCall();
  OpenedCall(const OpenedCall &) = delete;
  OpenedCall &operator=(const OpenedCall &) = delete;

  infonce_saved *handle() const { return saved_; }
  infonce_status add(const infonce_part &part, infonce_failure &failure) const;
  void add_parts() const;
  void close(Output &output) const;
  // Opens, adds and closes. The gradients of a matrix lie behind each other in `output`, which is the whole's. `add` is to
  // fill a part's, an array without elements if it is not wanted.
  using AddGradient = std::function<void(Part &part, const Buffer<float> &gradient)>;
  void gradients(Output &output, const AddGradient &add) const;
  void gradients(Output &output) const;

 private:
  infonce_context *context_;
  const Inputs &whole_;
  const Split &split_;
  infonce_saved *saved_ = nullptr;
};

// The result of the whole, with what each row came to.
Output run_in_parts(const Context &context, const Inputs &whole, const Split &split);

}  // namespace infonce::test
