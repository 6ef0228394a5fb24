// The one way to read JSON: text becomes a value whose depth, size, numbers and encoding are known to be sane, or an r1::Error
// with file, line and column. No exception of nlohmann-json leaves through here; nothing recurses over text that is not
// limited.
//
// What is refused beyond what the grammar forbids: numbers beyond a double (1e400), nesting deeper than max_depth, texts longer
// than max_bytes, a key twice in one object (JSON leaves its meaning open; here it is always a mistake), UTF-8 that is none,
// UTF-16, half surrogate pairs. A value that was read can be printed, copied and compared: these recurse no deeper than
// max_depth.
//
// Not a schema: types of members are for the reader to check (is_number(), json_integer()); whoever calls get<T>() without
// having looked catches with with_json_errors().
//
// Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <exception>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace r1 {

struct JsonOptions {
  const char* hint = "";  // of an error: what kind of file was expected
  int max_depth = 64;     // lists and objects inside each other; files that people have need ten
  size_t max_bytes = size_t{1} << 28;
  bool unique_keys = true;
  bool exact_integers = false;  // an integer beyond 64 bits is refused, and not rounded to a double: where it is data
};

// `where`: the file, and the line on which `text` begins (0: 1). Throws bad_input at the line and column of what is wrong.
// For a record of JSON lines: parse_json(line, {file, number}, {.max_bytes = ...}).
nlohmann::json parse_json(std::string_view text, const Where& where, const JsonOptions& options = {});

// A file as text, before it is parsed: bad_input when there is none, when it is no regular file (a device or a pipe never ends)
// or is longer than max_bytes, before anything is read.
std::string read_small_file(const std::filesystem::path& path, size_t max_bytes);
// read_small_file, then parse_json.
nlohmann::json read_json_file(const std::filesystem::path& path, const JsonOptions& options = {});

// Where another text will do (a cache, an answer that is shown as it came): an absent value instead of an error, null for texts
// whose order of members matters. What the run store holds is read by base/stored.h.
std::optional<nlohmann::json> try_parse_json(std::string_view text);
nlohmann::ordered_json ordered_json_or_null(std::string_view text);

// The value as a 64-bit signed integer; nullopt when it is none, or one beyond int64_t (which get<int64_t>() would wrap
// around).
std::optional<int64_t> json_integer(const nlohmann::json& value);

// The value for a message: at most `most` bytes, cut at a character's boundary.
std::string shown_json(const nlohmann::json& value, size_t most = 60);

// Turns an exception of nlohmann-json (a wrong type, a missing key) that is being handled into bad_input at `where`; rethrows
// every other.
[[noreturn]] void rethrow_json_error(const Where& where, const char* hint);

// body(), with every exception of nlohmann-json turned into bad_input at `where`.
template <class Body>
auto with_json_errors(const Where& where, const char* hint, Body&& body) {
  try {
    return std::forward<Body>(body)();
  } catch (const std::exception&) {
    rethrow_json_error(where, hint);
  }
}

}  // namespace r1
