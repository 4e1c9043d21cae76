#pragma once

#include <string>

#include "infonce/infonce.h"

namespace infonce::test {

// What the tests run on: the CPU backend or, with INFONCE_TEST_LIBRARY=path, that of a shared library.
const infonce_backend &backend();

// Why that library cannot be used here; empty if it can.
std::string why_unusable();

bool on_cpu();

// Whether it offers `begin` and `end`.
bool has_halves();

// A simulator of a GPU takes thousands of times as long: INFONCE_TEST_EFFORT=simulator asks for few and small problems.
bool simulated();

}  // namespace infonce::test
