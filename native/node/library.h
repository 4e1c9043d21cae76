#pragma once

#include <string>

#include "infonce/infonce.h"

namespace infonce::node {

// The backend in a shared library, an absolute path in UTF-8. A library is opened once and stays for the life of the
// process. Callable from any thread; throws a Failure that says why there is no backend.
const infonce_backend &shared_backend(const std::string &path);

// The same, or the CPU backend for an empty path.
const infonce_backend &backend_in(const std::string &library);

}  // namespace infonce::node
