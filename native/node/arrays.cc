#include "node/arrays.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "node/device_buffer.h"
#include "node/failure.h"
#include "node/pinned.h"

namespace infonce::node {

namespace {

constexpr int64_t kScalars = 8;  // in the order of SCALARS in lib/runtime/binding.ts

constexpr char kMatrix[] = "data of a matrix";

// Where an array without elements lies, which has no address: that of an array which is not there is null.
alignas(8) char empty[8];

// 2^54 elements of 4 bytes fit.
uint64_t bytes_of(int64_t size, size_t element) { return static_cast<uint64_t>(size) * element; }

// Elements from the beginning of the first row to the end of the last.
int64_t size_of(const RowLayout &layout) {
  return layout.has_gaps() && layout.rows > 0 ? product(layout.rows - 1, layout.stride) + layout.dim
                                              : product(layout.rows, layout.dim);
}

// The elements of a matrix, from the first to the last.
template <typename T> Span<T> to_matrix(Napi::Value value, const RowLayout &layout, int32_t index) {
  const int64_t size = size_of(layout);
  if (!layout.has_gaps()) {
    return to_span_of<T>(value, size, kMatrix, index);
  }
  const Span<T> span = to_span<T>(value, kMatrix, index);
  if (span.size < static_cast<uint64_t>(size)) {
    throw Failure{INFONCE_INVALID_ARGUMENT,
                  std::string(kMatrix) + " has " + std::to_string(span.size) + " elements, at least " +
                      std::to_string(size) + " are needed",
                  index};
  }
  return {span.data, static_cast<size_t>(size)};
}

}  // namespace

Place Arrays::matrix(Napi::Value value, int32_t type, const RowLayout &layout, int32_t index) {
  const size_t element = type == INFONCE_FLOAT32 ? sizeof(float) : sizeof(uint16_t);
  if (const void *data = in_buffer(value, bytes_of(size_of(layout), element), kMatrix)) {
    return {data, INFONCE_ON_DEVICE, layout.stride};
  }
  return type == INFONCE_FLOAT32 ? host_matrix<float>(value, layout, index)
                                 : host_matrix<uint16_t>(value, layout, index);
}

template <typename T> Place Arrays::host_matrix(Napi::Value value, const RowLayout &layout, int32_t index) {
  const Span<T> span = to_matrix<T>(value, layout, index);
  const size_t bytes = span.size * sizeof(T);
  if (bytes == 0) {
    return {empty, INFONCE_ON_HOST, 0};
  }
  if (stays(span.data, bytes)) {
    return {span.data, INFONCE_ON_HOST, layout.stride};
  }
  if (!layout.has_gaps()) {
    return {copied(span.data, bytes), INFONCE_ON_HOST, layout.stride};
  }
  copies_.push_back(pool_.take(static_cast<size_t>(layout.rows * layout.dim) * sizeof(T)));
  T *const copy = static_cast<T *>(copies_.back().get());
  for (int64_t row = 0; row < layout.rows; ++row) {
    std::copy_n(span.data + row * layout.stride, layout.dim, copy + row * layout.dim);
  }
  return {copy, INFONCE_ON_HOST, 0};
}

Span<const void> Arrays::bytes(Napi::Value value, const char *name) {
  const Span<void> span = to_bytes(value, name);
  return {input(span.data, span.size), span.size};
}

const float *Arrays::numbers(Span<float> span) {
  return static_cast<const float *>(input(span.data, span.size * sizeof(float)));
}

infonce_output Arrays::result(Napi::Value value, int64_t size, const char *name) {
  if (void *data = in_buffer(value, bytes_of(size, sizeof(float)), name)) {
    return {static_cast<float *>(data), INFONCE_ON_DEVICE};
  }
  const Span<float> span = to_span_of<float>(value, size, name);
  return {static_cast<float *>(output(value, span.data, span.size * sizeof(float), name)), INFONCE_ON_HOST};
}

int32_t *Arrays::counts(Napi::Value value, int64_t size, const char *name) {
  const Span<int32_t> span = to_span_of<int32_t>(value, size, name);
  return static_cast<int32_t *>(output(value, span.data, span.size * sizeof(int32_t), name));
}

Span<void> Arrays::target(Napi::Value value, const char *name) {
  const Span<void> span = to_bytes(value, name);
  return {output(value, span.data, span.size, name), span.size};
}

Span<void> Arrays::in_place(Napi::Value value, const char *name) {
  const Span<void> array = to_bytes(value, name);
  const Span<void> span = target(value, name);
  if (span.data != array.data && array.size > 0) {
    std::memcpy(span.data, array.data, array.size);
  }
  return span;
}

void Arrays::scalars(Napi::Value value) {
  scalars_now_.push_back(to_span_of<double>(value, kScalars, "scalars"));
  if (when_ == When::kLater) {
    scalars_later_.push_back(Napi::Persistent(value.As<Napi::Object>()));
  }
}

void Arrays::keep(const std::shared_ptr<void> &memory) { kept_.push_back(memory); }

void Arrays::release_inputs() {
  copies_.clear();
  kept_.clear();
}

size_t Arrays::copy_back(size_t most) {
  size_t copied = 0;
  while (next_target_ < targets_.size() && copied < most) {
    const Target &target = targets_[next_target_];
    const Span<void> array = to_bytes(target.array.Value(), target.name);
    if (array.size != target.bytes) {
      throw Failure{INFONCE_INVALID_ARGUMENT, std::string(target.name) + " was detached or resized during the call"};
    }
    const size_t bytes = std::min(most - copied, target.bytes - copied_);
    std::memcpy(static_cast<char *>(array.data) + copied_, static_cast<const char *>(target.values.get()) + copied_,
                bytes);
    copied += bytes;
    copied_ += bytes;
    if (copied_ == target.bytes) {
      ++next_target_;
      copied_ = 0;
    }
  }
  return copied;
}

void Arrays::write_scalars(const infonce_result &fields, size_t index) {
  Span<double> scalars = scalars_now_[index];
  if (when_ == When::kLater) {
    scalars = to_span_of<double>(scalars_later_[index].Value(), kScalars, "scalars");
  }
  const infonce_scalars &of_loss = fields.scalars;
  const double values[kScalars] = {
      of_loss.loss,          of_loss.grad_scale,      of_loss.top1,     of_loss.top5, fields.upload_seconds,
      fields.kernel_seconds, fields.download_seconds, of_loss.grad_bias};
  std::copy_n(values, kScalars, scalars.data);
}

const void *Arrays::copied(const void *data, size_t bytes) {
  if (bytes == 0) {
    return empty;
  }
  copies_.push_back(pool_.take(bytes));
  return std::memcpy(copies_.back().get(), data, bytes);
}

bool Arrays::stays(const void *data, size_t bytes) {
  if (when_ == When::kNow || bytes == 0) {
    return true;
  }
  if (std::shared_ptr<void> pinned = pinned_memory_at(data, bytes)) {
    kept_.push_back(std::move(pinned));
    return true;
  }
  return false;
}

const void *Arrays::input(const void *data, size_t bytes) { return stays(data, bytes) ? data : copied(data, bytes); }

void *Arrays::output(Napi::Value array, void *data, size_t bytes, const char *name) {
  if (bytes == 0) {
    return empty;
  }
  if (when_ == When::kNow) {
    return data;
  }
  if (std::shared_ptr<void> pinned = pinned_memory_at(data, bytes)) {
    kept_.push_back(std::move(pinned));
    return data;
  }
  targets_.push_back({Napi::Persistent(array.As<Napi::Object>()), pool_.take(bytes), bytes, name});
  return targets_.back().values.get();
}

void *Arrays::in_buffer(Napi::Value value, uint64_t bytes, const char *name) {
  const DeviceBuffer *buffer = backend_ == nullptr || value.IsTypedArray() ? nullptr : DeviceBuffer::from(value);
  if (buffer == nullptr) {
    return nullptr;
  }
  const std::shared_ptr<void> &memory = buffer->memory_in(*backend_, name);
  if (buffer->bytes() < bytes) {
    throw Failure{INFONCE_INVALID_ARGUMENT, std::string(name) + " is a buffer of " + std::to_string(buffer->bytes()) +
                                                " bytes, " + std::to_string(bytes) + " are needed"};
  }
  keep(memory);
  return memory.get();
}

}  // namespace infonce::node
