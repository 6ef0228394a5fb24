// A call in a reward expression with literal arguments: regex('^\d+$'), repetition(3), command('python3 r.py', 'style').
// Not what it means: rule_calls.h and program_calls.h. Thread rule: pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace r1 {

struct Call {
  std::string name;
  std::vector<std::variant<double, std::string>> arguments;
};

// nullopt: it is none, or an argument is neither a number nor a text in quotes.
std::optional<Call> parse_call(std::string_view text);

}  // namespace r1
