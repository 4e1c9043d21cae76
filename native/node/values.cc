#include "node/values.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "node/failure.h"

namespace infonce::node {

namespace {

constexpr int64_t kMaxSafeInteger = (int64_t{1} << 53) - 1;

Failure refused(std::string message, int32_t matrix = INFONCE_NO_MATRIX) {
  return {INFONCE_INVALID_ARGUMENT, std::move(message), matrix};
}

template <typename T> struct ElementType;

template <> struct ElementType<float> {
  static constexpr napi_typedarray_type type = napi_float32_array;
  static constexpr const char *name = "a Float32Array";
};

template <> struct ElementType<double> {
  static constexpr napi_typedarray_type type = napi_float64_array;
  static constexpr const char *name = "a Float64Array";
};

template <> struct ElementType<int32_t> {
  static constexpr napi_typedarray_type type = napi_int32_array;
  static constexpr const char *name = "an Int32Array";
};

template <> struct ElementType<uint16_t> {
  static constexpr napi_typedarray_type type = napi_uint16_array;
  static constexpr const char *name = "a Uint16Array";
};

// Of a typed array's elements; 0 for types this version does not know.
size_t element_size(napi_typedarray_type type) {
  switch (type) {
    case napi_int8_array:
    case napi_uint8_array:
    case napi_uint8_clamped_array:
      return 1;
    case napi_int16_array:
    case napi_uint16_array:
      return 2;
    case napi_int32_array:
    case napi_uint32_array:
    case napi_float32_array:
      return 4;
    case napi_float64_array:
    case napi_bigint64_array:
    case napi_biguint64_array:
      return 8;
    default:
      return 0;
  }
}

}  // namespace

int32_t to_enumerator(Napi::Value value, const char *name, std::initializer_list<Choice> choices) {
  char text[32];
  size_t length = 0;
  if (napi_get_value_string_utf8(value.Env(), value, text, sizeof(text), &length) == napi_ok) {
    for (const Choice &choice : choices) {
      if (std::strcmp(choice.text, text) == 0) {
        return choice.enumerator;
      }
    }
  }
  std::string message = std::string(name) + " must be one of:";
  for (const Choice &choice : choices) {
    message += std::string(" ") + choice.text;
  }
  throw refused(std::move(message));
}

std::string to_string(Napi::Value value, const char *name) {
  if (!value.IsString()) {
    throw refused(std::string(name) + " must be a string");
  }
  return value.As<Napi::String>();
}

bool to_flag(Napi::Value value, const char *name) {
  bool flag = false;
  if (napi_get_value_bool(value.Env(), value, &flag) != napi_ok) {
    throw refused(std::string(name) + " must be a boolean");
  }
  return flag;
}

double to_number(Napi::Value value, const char *name) {
  double number = 0;
  if (napi_get_value_double(value.Env(), value, &number) != napi_ok) {
    throw refused(std::string(name) + " must be a number");
  }
  return number;
}

int64_t to_count(double number, const char *name, int64_t least) {
  // Written so that NaN is refused.
  if (!(number >= static_cast<double>(least) && number <= static_cast<double>(kMaxSafeInteger)) ||
      number != std::floor(number)) {
    throw refused(std::string(name) + " must be an integer of at least " + std::to_string(least));
  }
  return static_cast<int64_t>(number);
}

int64_t to_count(Napi::Value value, const char *name, int64_t least) {
  return to_count(to_number(value, name), name, least);
}

int32_t to_int32(double number, const char *name) {
  const int64_t count = to_count(number, name, 0);
  if (count > std::numeric_limits<int32_t>::max()) {
    throw refused(std::string(name) + " is too large");
  }
  return static_cast<int32_t>(count);
}

int32_t to_int32(Napi::Value value, const char *name) { return to_int32(to_number(value, name), name); }

uint64_t to_address(Napi::Value value, const char *name) {
  uint64_t address = 0;
  bool exact = false;
  if (napi_get_value_bigint_uint64(value.Env(), value, &address, &exact) != napi_ok || !exact ||
      static_cast<uintptr_t>(address) != address) {
    throw refused(std::string(name) + " must be a bigint that is an address");
  }
  return address;
}

Napi::Object to_object(Napi::Value value, const char *name) {
  if (!value.IsObject()) {
    throw refused(std::string(name) + " must be an object");
  }
  return value.As<Napi::Object>();
}

Napi::Array to_array(Napi::Value value, const char *name) {
  if (!value.IsArray()) {
    throw refused(std::string(name) + " must be an array");
  }
  return value.As<Napi::Array>();
}

int64_t product(int64_t a, int64_t b) {
  if (b != 0 && a > kMaxSafeInteger / b) {
    throw refused("a matrix of " + std::to_string(a) + " x " + std::to_string(b) + " elements is too large");
  }
  return a * b;
}

template <typename T> Span<T> to_span(Napi::Value value, const char *name, int32_t matrix) {
  napi_typedarray_type type = napi_int8_array;
  size_t size = 0;
  void *data = nullptr;
  if (napi_get_typedarray_info(value.Env(), value, &type, &size, &data, nullptr, nullptr) != napi_ok ||
      type != ElementType<T>::type) {
    throw refused(std::string(name) + " must be " + ElementType<T>::name, matrix);
  }
  if (data == nullptr) {  // detached, or empty
    size = 0;
  }
  return {static_cast<T *>(data), size};
}

template <typename T> Span<T> to_span_of(Napi::Value value, int64_t expected, const char *name, int32_t matrix) {
  const Span<T> span = to_span<T>(value, name, matrix);
  if (static_cast<uint64_t>(span.size) != static_cast<uint64_t>(expected)) {
    throw refused(
        std::string(name) + " has " + std::to_string(span.size) + " elements, expected " + std::to_string(expected),
        matrix);
  }
  return span;
}

Span<void> to_bytes(Napi::Value value, const char *name) {
  auto type = static_cast<napi_typedarray_type>(-1);
  size_t size = 0;
  void *data = nullptr;
  if (napi_get_typedarray_info(value.Env(), value, &type, &size, &data, nullptr, nullptr) != napi_ok ||
      element_size(type) == 0) {
    throw refused(std::string(name) + " must be a typed array");
  }
  return {data, data == nullptr ? 0 : size * element_size(type)};
}

Napi::Function to_function(Napi::Value value, const char *name) {
  if (!value.IsFunction()) {
    throw refused(std::string(name) + " must be a function");
  }
  return value.As<Napi::Function>();
}

template Span<float> to_span(Napi::Value, const char *, int32_t);
template Span<double> to_span(Napi::Value, const char *, int32_t);
template Span<uint16_t> to_span(Napi::Value, const char *, int32_t);
template Span<float> to_span_of(Napi::Value, int64_t, const char *, int32_t);
template Span<double> to_span_of(Napi::Value, int64_t, const char *, int32_t);
template Span<uint16_t> to_span_of(Napi::Value, int64_t, const char *, int32_t);
template Span<int32_t> to_span_of(Napi::Value, int64_t, const char *, int32_t);

}  // namespace infonce::node
