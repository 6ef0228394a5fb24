// Attributes of a graph and the configuration of an engine as one table: a row is an attribute - name, range, meaning - and the
// member that it sets. So nothing is read that is not declared, nothing is declared for an engine that does not reach it, and
// one test turns every row and sees its member change, and no other (tests/actors/config_table_test.cpp). Thread rule: values.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/error.h"
#include "runtime/graph/graph.h"

namespace r1 {

template <class Config>
struct ConfigRow {
  AttrSpec spec;
  std::function<void(Config&, const Attrs&)> set;
  std::function<std::string(const Config&)> shown;  // the member, for people and tests
};
template <class Config>
using ConfigTable = std::vector<ConfigRow<Config>>;

template <class T>
std::string config_text(const T& value) {
  if constexpr (std::is_enum_v<T>)
    return fmt::format("{}", static_cast<int>(value));
  else if constexpr (std::is_same_v<T, std::vector<std::string>>)
    return fmt::format("{}", fmt::join(value, ", "));
  else
    return fmt::format("{}", value);
}

// An attribute that means something else than itself: `read` gives the member's value.
template <class Config, class T>
ConfigRow<Config> reads(AttrSpec spec, T Config::*member, std::type_identity_t<std::function<T(const Attrs&)>> read) {
  return {std::move(spec),
          [member, read = std::move(read)](Config& config, const Attrs& attrs) { config.*member = read(attrs); },
          [member](const Config& config) { return config_text(config.*member); }};
}

// The attribute's value is the member's.
template <class Config, class T>
ConfigRow<Config> sets(AttrSpec spec, T Config::*member) {
  const std::string name = spec.name;
  return reads(std::move(spec), member, [name](const Attrs& attrs) -> T {
    if constexpr (std::is_same_v<T, bool>)
      return attrs.flag(name);
    else if constexpr (std::is_integral_v<T>)
      return static_cast<T>(attrs.integer(name));
    else if constexpr (std::is_floating_point_v<T>)
      return static_cast<T>(attrs.number(name));
    else
      return attrs.text(name);
  });
}

// A choice: `values` are what its choices mean, in their order.
template <class Config, class T>
ConfigRow<Config> chooses(AttrSpec spec, T Config::*member, std::vector<std::type_identity_t<T>> values) {
  R1_CHECK(spec.choices.size() == values.size(), spec.name + " has as many choices as meanings");
  const std::string name = spec.name;
  const std::vector<std::string> choices = spec.choices;
  return reads(std::move(spec), member, [name, choices, values = std::move(values)](const Attrs& attrs) -> T {
    const auto at = std::find(choices.begin(), choices.end(), attrs.text(name));
    R1_CHECK(at != choices.end(), name + " is none of its choices: " + attrs.text(name));
    return values[static_cast<size_t>(at - choices.begin())];
  });
}

template <class Config>
void add_specs(const ConfigTable<Config>& table, std::vector<AttrSpec>& specs) {
  for (const ConfigRow<Config>& row : table) specs.push_back(row.spec);
}

// Every row's member becomes what the attributes say.
template <class Config>
void configure(const ConfigTable<Config>& table, const Attrs& attrs, Config& config) {
  for (const ConfigRow<Config>& row : table) row.set(config, attrs);
}

}  // namespace r1
