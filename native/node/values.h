#pragma once

#include <napi.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "infonce/infonce.h"

// JavaScript values as C++ values. A value that does not fit throws an INVALID_ARGUMENT Failure that names it.
namespace infonce::node {

// Elements of a typed array in JavaScript's memory: valid until JavaScript runs again.
template <typename T> struct Span {
  T *data = nullptr;
  size_t size = 0;
};

// A string that JavaScript may give, and the enumerator of the C contract it stands for.
struct Choice {
  const char *text;
  int32_t enumerator;
};

int32_t to_enumerator(Napi::Value value, const char *name, std::initializer_list<Choice> choices);

std::string to_string(Napi::Value value, const char *name);

bool to_flag(Napi::Value value, const char *name);

double to_number(Napi::Value value, const char *name);

// An integer from `least` to 2^53 - 1.
int64_t to_count(double number, const char *name, int64_t least);
int64_t to_count(Napi::Value value, const char *name, int64_t least);

// An integer from 0 to 2^31 - 1.
int32_t to_int32(double number, const char *name);
int32_t to_int32(Napi::Value value, const char *name);

// A bigint from 0 to 2^64 - 1.
uint64_t to_address(Napi::Value value, const char *name);

Napi::Object to_object(Napi::Value value, const char *name);

Napi::Array to_array(Napi::Value value, const char *name);

// a * b of two counts. Refused above 2^53 - 1, which no typed array holds.
int64_t product(int64_t a, int64_t b);

// The elements of a typed array of exactly this element type: float, double, int32_t or uint16_t.
template <typename T> Span<T> to_span(Napi::Value value, const char *name, int32_t matrix = INFONCE_NO_MATRIX);

// The same, with exactly `expected` elements.
template <typename T>
Span<T> to_span_of(Napi::Value value, int64_t expected, const char *name, int32_t matrix = INFONCE_NO_MATRIX);

// The bytes of a typed array of any element type.
Span<void> to_bytes(Napi::Value value, const char *name);

// A function, for calls later.
Napi::Function to_function(Napi::Value value, const char *name);

}  // namespace infonce::node
