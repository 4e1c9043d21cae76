#pragma once

#include <string>

#include "infonce/infonce.h"

namespace infonce::test {

// The backend under test: the CPU backend or, with INFONCE_TEST_LIBRARY=path, that of a shared library.
const infonce_backend &backend();

// Why that library cannot be used here; empty if it can.
std::string why_unusable();

bool on_cpu();

// Whether it offers `begin` and `end`.
bool has_begin_and_end();

// Whether INFONCE_TEST_EFFORT=simulator asks for few and small problems, since a simulated GPU takes thousands of times
// as long.
bool simulated();
// Whether it does of a device.
bool on_simulator();

}  // namespace infonce::test
