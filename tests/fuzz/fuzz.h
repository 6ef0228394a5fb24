// What all fuzz targets share: input is taken, or refused by bad input with a message that a user can read. Anything else - a
// crash, another exception, a failure of the wrong kind, a second of silence - is a finding.
//
// Thread rule: one thread.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace r1::fuzz {

inline std::string_view text_of(const uint8_t* data, size_t size) { return {reinterpret_cast<const char*>(data), size}; }

[[noreturn]] inline void finding(const std::string& what) {
  std::fprintf(stderr, "finding: %s\n", what.c_str());
  std::abort();
}

// Runs `body`; true when it took the input.
inline bool taken(const std::function<void()>& body) {
  try {
    body();
    return true;
  } catch (const Error& e) {
    if (e.code() != ExitCode::bad_input) finding(std::string("not bad input: ") + e.what());
    if (e.message().empty() || e.message().size() > 100'000) finding("a message that is empty or without end");
    return false;
  }
}

// The input as a script of what happens: taken from its beginning, zeros and nothing where it has ended.
class Script {
 public:
  explicit Script(std::string_view text) : text_(text) {}
  bool empty() const { return text_.empty(); }
  uint8_t byte() { return static_cast<uint8_t>(text(1).empty() ? 0 : taken_[0]); }
  std::string_view text(size_t most) {
    taken_ = text_.substr(0, most);
    text_.remove_prefix(taken_.size());
    return taken_;
  }

 private:
  std::string_view text_, taken_;
};

}  // namespace r1::fuzz
