// What every program's main() does with what its body throws: one line on stderr, and the exit code (docs/architecture.md section 7).
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <exception>

#include "base/error.h"

namespace r1 {

// `body(argc, argv)` gives the exit code.
template <class Body>
int guarded_main(const char* program, int argc, char** argv, Body body) {
  try {
    return body(argc, argv);
  } catch (const Error& e) {
    fmt::print(stderr, "{}: {}\n", program, e.what());
    return static_cast<int>(e.code());
  } catch (const std::exception& e) {
    fmt::print(stderr, "{}: {}\n", program, e.what());
    return static_cast<int>(ExitCode::failed);
  }
}

}  // namespace r1
