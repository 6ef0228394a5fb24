// A source's name taken apart: "jsonl:data/math.jsonl?template=r1&shuffle=0".
// Thread rule: values.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace r1 {

struct SourceSpec {
  std::string name;                                          // up to '?'
  std::vector<std::pair<std::string, std::string>> options;  // all but `weight`
  std::optional<double> weight;                              // of a mixture's part
};

// Of one part. Throws bad_input for an option without '=' or given twice, and for a weight that is none.
SourceSpec parse_source_spec(const std::string& spec);

// Throws bad_input naming the option when it is not a number in [low, high].
double option_number(const std::string& spec, const std::string& option, const std::string& value, double low, double high);

[[noreturn]] void unknown_option(const std::string& spec, const std::string& option, const std::vector<std::string>& known);

}  // namespace r1
