// Errors of the two kinds the program knows.
//
// An *expected failure* (files, configuration, devices, user input) throws r1::Error: what happened, where, and a hint. It is
// caught only where an actor dispatches and in main(). A *broken invariant* is R1_CHECK, which prints the values and aborts;
// user input never reaches one.
//
// Thread rule: everything here may be called from any thread.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace r1 {

// The process's exit codes (docs/architecture.md section 7).
enum class ExitCode : int { done = 0, failed = 1, bad_input = 2, interrupted = 130 };

// A place in a file that a user wrote. Lines and columns count from 1; 0 means "the file as a whole".
struct Where {
  std::string file;
  int line = 0;
  int column = 0;
  std::string str() const;  // "graph.dot:3:14", "graph.dot", or ""
};

class Error : public std::runtime_error {
 public:
  // `what`: one line, no trailing period. `hint`: what to do about it; may be empty.
  Error(ExitCode code, std::string what, Where where = {}, std::string hint = {});

  ExitCode code() const { return code_; }
  const Where& where() const { return where_; }
  const std::string& hint() const { return hint_; }
  const std::string& message() const { return message_; }  // without place and hint
  bool final() const { return final_; }                    // not to be tried again, whatever it would give

 private:
  friend Error final_failure(std::string what, Where where, std::string hint);
  ExitCode code_;
  bool final_ = false;
  std::string message_;
  Where where_;
  std::string hint_;
};

// Something the user gave is wrong (exit code 2). Found before the first actor starts.
Error bad_input(std::string what, Where where = {}, std::string hint = {});
// Something failed while running (exit code 1); the run stays resumable.
Error failure(std::string what, Where where = {}, std::string hint = {});
// The same, but found once is enough: a stage that ends by it is not started again (a broken promise).
Error final_failure(std::string what, Where where = {}, std::string hint = {});

// The word of `known` nearest to `word` (edit distance at most two fifths of the longer one), or "".
// `known` is any range of things convertible to string_view.
std::string nearest_word(std::string_view word, const std::string* known, size_t count);
template <class Range>
std::string nearest(std::string_view word, const Range& known) {
  std::string best;
  for (const auto& k : known) {
    std::string pair[2] = {best, std::string(k)};
    best = best.empty() ? nearest_word(word, pair + 1, 1) : nearest_word(word, pair, 2);
  }
  return best;
}

[[noreturn]] void check_failed(const char* file, int line, const char* condition, const std::string& values);

}  // namespace r1

// R1_CHECK(a == b, fmt::format("a={} b={}", a, b)): a broken invariant. The message is built only on failure.
#define R1_CHECK(condition, ...)                                                      \
  do {                                                                                \
    if (!(condition)) [[unlikely]]                                                    \
      ::r1::check_failed(__FILE__, __LINE__, #condition, ::std::string(__VA_ARGS__)); \
  } while (0)
