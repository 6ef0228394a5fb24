#include "tasks/spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/error.h"

namespace r1 {

SourceSpec parse_source_spec(const std::string& spec) {
  SourceSpec out;
  const size_t mark = spec.find('?');
  out.name = spec.substr(0, mark);
  if (mark == std::string::npos) return out;
  for (size_t at = mark + 1; at <= spec.size();) {
    size_t end = spec.find('&', at);
    if (end == std::string::npos) end = spec.size();
    const std::string item = spec.substr(at, end - at);
    const size_t equals = item.find('=');
    if (equals == std::string::npos || equals == 0)
      throw bad_input(fmt::format("source '{}': '{}' is not an option", spec, item), {}, "expected NAME=VALUE");
    std::string key = item.substr(0, equals);
    for (const auto& [known, value] : out.options)
      if (known == key) throw bad_input(fmt::format("source '{}': option '{}' is given twice", spec, key));
    out.options.emplace_back(std::move(key), item.substr(equals + 1));
    at = end + 1;
  }
  const auto weight = std::find_if(out.options.begin(), out.options.end(), [](const auto& o) { return o.first == "weight"; });
  if (weight != out.options.end()) {
    out.weight = option_number(spec, "weight", weight->second, 1e-6, 1e6);
    out.options.erase(weight);
  }
  return out;
}

double option_number(const std::string& spec, const std::string& option, const std::string& value, double low, double high) {
  double number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size() || !(number >= low && number <= high))
    throw bad_input(fmt::format("source '{}': {}={} is not a number from {} to {}", spec, option, value, low, high));
  return number;
}

void unknown_option(const std::string& spec, const std::string& option, const std::vector<std::string>& known) {
  const std::string near = nearest(option, known);
  throw bad_input(fmt::format("source '{}': unknown option '{}'", spec, option), {},
                  near.empty() ? fmt::format("known are {}", fmt::join(known, ", ")) : fmt::format("did you mean '{}'?", near));
}

}  // namespace r1
