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

constexpr int64_t kScalars = 7;  // in the order of SCALARS in lib/runtime/binding.ts

// 2^53 - 1 elements of 4 bytes fit.
uint64_t bytes_of(int64_t size, size_t element) { return static_cast<uint64_t>(size) * element; }

}  // namespace

Place Arrays::matrix(Napi::Value value, int32_t type, int64_t size, int32_t index) {
  constexpr char kName[] = "data of a matrix";
  const size_t element = type == INFONCE_FLOAT32 ? sizeof(float) : sizeof(uint16_t);
  if (const void *data = in_buffer(value, bytes_of(size, element), kName)) {
    return {data, INFONCE_ON_DEVICE};
  }
  if (type == INFONCE_FLOAT32) {
    const Span<float> span = to_span_of<float>(value, size, kName, index);
    return {input(span.data, span.size * sizeof(float)), INFONCE_ON_HOST};
  }
  const Span<uint16_t> span = to_span_of<uint16_t>(value, size, kName, index);
  return {input(span.data, span.size * sizeof(uint16_t)), INFONCE_ON_HOST};
}

Span<const void> Arrays::bytes(Napi::Value value, const char *name) {
  const Span<void> span = to_bytes(value, name);
  return {input(span.data, span.size), span.size};
}

const int32_t *Arrays::integers(Napi::Value value, int64_t size, const char *name) {
  const Span<int32_t> span = to_span_of<int32_t>(value, size, name);
  copies_.push_back(pool_.take(span.size * sizeof(int32_t)));
  std::memcpy(copies_.back().get(), span.data, span.size * sizeof(int32_t));
  return static_cast<const int32_t *>(copies_.back().get());
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

Span<void> Arrays::target(Napi::Value value, const char *name) {
  const Span<void> span = to_bytes(value, name);
  return {output(value, span.data, span.size, name), span.size};
}

void Arrays::scalars(Napi::Value value) {
  scalars_now_ = to_span_of<double>(value, kScalars, "scalars");
  if (when_ == When::kLater) {
    scalars_later_ = Napi::Persistent(value.As<Napi::Object>());
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

void Arrays::write_scalars(const infonce_result &fields) {
  Span<double> scalars = scalars_now_;
  if (when_ == When::kLater) {
    scalars = to_span_of<double>(scalars_later_.Value(), kScalars, "scalars");
  }
  const infonce_scalars &of_loss = fields.scalars;
  const double values[kScalars] = {of_loss.loss,          of_loss.grad_scale,    of_loss.top1,           of_loss.top5,
                                   fields.upload_seconds, fields.kernel_seconds, fields.download_seconds};
  std::copy_n(values, kScalars, scalars.data);
}

const void *Arrays::input(const void *data, size_t bytes) {
  if (when_ == When::kNow || bytes == 0) {
    return data;
  }
  if (std::shared_ptr<void> pinned = pinned_memory_at(data, bytes)) {
    kept_.push_back(std::move(pinned));
    return data;
  }
  copies_.push_back(pool_.take(bytes));
  return std::memcpy(copies_.back().get(), data, bytes);
}

void *Arrays::output(Napi::Value array, void *data, size_t bytes, const char *name) {
  if (when_ == When::kNow || bytes == 0) {
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
  const DeviceBuffer *buffer = value.IsTypedArray() ? nullptr : DeviceBuffer::from(value);
  if (buffer == nullptr) {
    return nullptr;
  }
  const std::shared_ptr<void> &memory = buffer->memory_in(backend_, name);
  if (buffer->bytes() < bytes) {
    throw Failure{INFONCE_INVALID_ARGUMENT, std::string(name) + " is a buffer of " + std::to_string(buffer->bytes()) +
                                                " bytes, " + std::to_string(bytes) + " are needed"};
  }
  keep(memory);
  return memory.get();
}

}  // namespace infonce::node
