#include "base/stored.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"

namespace r1 {

namespace {

using Json = nlohmann::json;

bool has_type(const Json& value, std::string name) {
  if (name.ends_with('?')) {
    if (value.is_null()) return true;
    name.pop_back();
  }
  if (name == "number") return value.is_number();
  if (name == "integer") return json_integer(value).has_value();
  R1_CHECK(name == "text", name);
  return value.is_string();
}

// How `value` differs from `shape`, or "". Recurses as deep as the shape.
std::string misfit(const Json& value, const Json& shape, const std::string& path) {
  const auto is_not = [&](const std::string& what) {
    return fmt::format("{} is {} and no {}", path.empty() ? "it" : path.substr(1), shown_json(value), what);
  };
  if (shape.is_string()) return has_type(value, shape.get<std::string>()) ? "" : is_not(shape.get<std::string>());
  if (shape.is_array()) {
    if (!value.is_array()) return is_not("list");
    for (size_t i = 0; i < value.size(); ++i)
      if (std::string wrong = misfit(value[i], shape[0], fmt::format("{}.{}", path, i)); !wrong.empty()) return wrong;
    return "";
  }
  if (!value.is_object()) return is_not("object");
  for (const auto& [name, inner] : shape.items())
    if (name.ends_with('!') && !value.contains(name.substr(0, name.size() - 1)))
      return fmt::format("{}{} is missing", path.empty() ? "" : path.substr(1) + ".", name.substr(0, name.size() - 1));
  for (const auto& [name, inner] : value.items()) {
    auto expected = shape.find(name);
    if (expected == shape.end()) expected = shape.find(name + "!");
    if (expected == shape.end()) expected = shape.find("*");
    if (expected == shape.end()) continue;
    if (std::string wrong = misfit(inner, *expected, path + "." + name); !wrong.empty()) return wrong;
  }
  return "";
}

template <class Number>
Number number_in(std::string_view text, const StoredPlace& place, const char* what) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    throw_damaged(place, fmt::format("{} is not {}", shown_json(Json(text)), what));
  return value;
}

}  // namespace

void throw_damaged(const StoredPlace& place, const std::string& how) {
  throw final_failure(fmt::format("a stored value is damaged: {}{}",
                                  place.table.empty() ? "" : "table " + place.table + ", " + place.row + ": ", how),
                      {place.file}, "put the file back as it was, or start over with --fresh");
}

Json stored_json(std::string_view text, const StoredPlace& place, StoredShape shape) {
  Json value;
  try {
    value = parse_json(text, {});
  } catch (const Error& e) {
    throw_damaged(place, e.message());
  }
  if (const std::string wrong = misfit(value, Json::parse(shape), ""); !wrong.empty()) throw_damaged(place, wrong);
  return value;
}

nlohmann::ordered_json stored_ordered_json(std::string_view text, const StoredPlace& place, StoredShape shape) {
  stored_json(text, place, shape);  // refuses what the library would throw for
  return nlohmann::ordered_json::parse(text);
}

int64_t stored_integer(std::string_view text, const StoredPlace& place) {
  return number_in<int64_t>(text, place, "an integer");
}

double stored_number(std::string_view text, const StoredPlace& place) {
  const double value = number_in<double>(text, place, "a number");
  if (!std::isfinite(value)) throw_damaged(place, fmt::format("{} is not finite", text));
  return value;
}

}  // namespace r1
