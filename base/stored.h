// Text that this program wrote itself, read back: rows of the run store, files of a run. What does not hold what it should is
// damaged - a failure that names the store, the table and the row - whether it is no JSON any more, a member has another type,
// or a number is none. No exception of nlohmann-json or of std::stoll leaves through here.
//
// Not for what users write (base/json.h: bad input, with line and column).
//
// Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace r1 {

// `row` as a condition on the table: "stage=3 and version=7"; both empty where the file as a whole is meant.
struct StoredPlace {
  std::string file, table, row;
};

// What a text should hold, as JSON: the type names "number", "integer" and "text" (with a question mark: or null), a list of
// one such for lists of any length, an object for objects. A member "*" stands for all that are not named; one whose name ends
// with ! must be there; others may be absent, and members that no name fits may be anything.
using StoredShape = const char*;

// Throws failure: the value at `place` is damaged, and how.
[[noreturn]] void throw_damaged(const StoredPlace& place, const std::string& how);

nlohmann::json stored_json(std::string_view text, const StoredPlace& place, StoredShape shape);
nlohmann::ordered_json stored_ordered_json(std::string_view text, const StoredPlace& place, StoredShape shape);
int64_t stored_integer(std::string_view text, const StoredPlace& place);
double stored_number(std::string_view text, const StoredPlace& place);  // finite

}  // namespace r1
