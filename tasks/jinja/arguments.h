// How built-in functions look at what they are given. Internal to tasks/jinja. Thread rule: pure functions.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "tasks/jinja/template.h"
#include "tasks/jinja/value.h"

namespace r1::jinja {

// The argument at `place`, or named `name`; null when it was not given.
inline const Value* given(const Arguments& a, size_t place, std::string_view name) {
  if (place < a.values.size()) return &a.values[place];
  for (const auto& [key, value] : a.named)
    if (key == name) return &value;
  return nullptr;
}
inline const Value& needed(const Arguments& a, size_t place, std::string_view name) {
  const Value* v = given(a, place, name);
  if (v == nullptr) refuse(fmt::format("the argument '{}' is missing", name));
  return *v;
}
// Refuses what is no text.
inline std::string text_of(const Value& v) {
  if (!v.is(Value::Kind::text))
    refuse(fmt::format("expected a text, found {}", v.is(Value::Kind::undefined)
                                                        ? "nothing: '" + v.undefined_name() + "' is undefined"
                                                        : std::string(v.kind_name())));
  return v.text();
}
inline int64_t integer_or(const Value* v, int64_t otherwise) {
  return v == nullptr || v->is(Value::Kind::none) ? otherwise : v->integer();
}

}  // namespace r1::jinja
