// What an exception says, whatever it is. Thread rule: pure function.
#pragma once

#include <exception>
#include <string>

namespace r1 {

inline std::string what_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return "unknown exception";
  }
}

}  // namespace r1
