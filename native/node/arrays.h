#pragma once

#include <napi.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "infonce/infonce.h"
#include "node/backend_context.h"
#include "node/host_memory.h"
#include "node/values.h"

namespace infonce::node {

// When the work on these arrays runs.
enum class When {
  kNow,   // before JavaScript runs again: its arrays are used where they are
  kLater  // inputs are copied and results copied back; pinned arrays and buffers stay where they are, and are kept
};

// How an input matrix lies in its array.
struct RowLayout {
  int64_t rows, dim;
  int64_t stride;  // as row_stride of infonce_matrix

  bool has_gaps() const { return stride > dim; }
};

// An input, and where it lives.
struct Place {
  const void *data;
  infonce_residence residence;
  int64_t row_stride;
};

// The arrays of one piece of work: takes them from JavaScript, says where they lie, and gives the results back. Throws an
// INVALID_ARGUMENT Failure, which calls an array by its name, for what is not as large as it should be.
//
// Belongs to JavaScript's thread, except `release_inputs`.
class Arrays {
 public:
  // `backend`: in whose memory arrays may be; null: there is none.
  Arrays(When when, BackendContext *backend, HostPool &pool) : when_(when), backend_(backend), pool_(pool) {}

  // An input matrix: a typed array of exactly as many elements or, with gaps between rows, of at least that; or a buffer
  // of at least that. What is copied has no gaps.
  Place matrix(Napi::Value value, int32_t type, const RowLayout &layout, int32_t index);
  // Any typed array, whole: of the host's memory.
  Span<const void> bytes(Napi::Value value, const char *name);
  // A typed array of exactly `size` elements, copied also for work that is done now.
  template <typename T> const T *copy(Napi::Value value, int64_t size, const char *name);
  // Numbers whose count is theirs to say.
  const float *numbers(Span<float> span);

  // A result: a Float32Array of exactly `size` elements, or a buffer of at least that.
  infonce_output result(Napi::Value value, int64_t size, const char *name);
  // A result on the host: an Int32Array of exactly `size` elements.
  int32_t *counts(Napi::Value value, int64_t size, const char *name);
  // The bytes of any typed array, to be filled.
  Span<void> target(Napi::Value value, const char *name);
  // The same, which hold what the array does.
  Span<void> in_place(Napi::Value value, const char *name);
  // A Float64Array for `write_scalars`: of each result one.
  void scalars(Napi::Value value);

  // The buffers and pinned arrays among them.
  const std::vector<std::shared_ptr<void>> &kept() const { return kept_; }
  // Further buffers that the work uses.
  void keep(const std::shared_ptr<void> &memory);

  // Lets go of what only the backend needed. On any thread, once it has ended.
  void release_inputs();

  // Copies at most `most` bytes of results into JavaScript's arrays, and returns how many. The lengths are asked for again:
  // JavaScript may have detached an array since. Less than `most`: nothing is left.
  size_t copy_back(size_t most);

  // Writes the scalars of a result. `index`: of the results, in the order of their scalars.
  void write_scalars(const infonce_result &fields, size_t index = 0);

 private:
  // An array of JavaScript, and what is to be copied into it.
  struct Target {
    Napi::ObjectReference array;
    HostBlock values;
    size_t bytes;
    const char *name;
  };

  template <typename T> Place host_matrix(Napi::Value value, const RowLayout &layout, int32_t index);
  const void *copied(const void *data, size_t bytes);
  // Whether the work may read it where it is, until it has ended.
  bool stays(const void *data, size_t bytes);
  const void *input(const void *data, size_t bytes);
  void *output(Napi::Value array, void *data, size_t bytes, const char *name);
  // The memory of a buffer of at least `bytes`; null if the value is no buffer.
  void *in_buffer(Napi::Value value, uint64_t bytes, const char *name);

  When when_;
  BackendContext *backend_;
  HostPool &pool_;
  std::vector<HostBlock> copies_;
  std::vector<std::shared_ptr<void>> kept_;
  std::vector<Target> targets_;
  // How much has been copied of the first of them that is not complete.
  size_t next_target_ = 0;
  size_t copied_ = 0;
  std::vector<Span<double>> scalars_now_;
  std::vector<Napi::ObjectReference> scalars_later_;
};

template <typename T> const T *Arrays::copy(Napi::Value value, int64_t size, const char *name) {
  const Span<T> span = to_span_of<T>(value, size, name);
  return static_cast<const T *>(copied(span.data, span.size * sizeof(T)));
}

}  // namespace infonce::node
