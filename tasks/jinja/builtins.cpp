#include "tasks/jinja/builtins.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "tasks/jinja/arguments.h"
#include "tasks/jinja/texts.h"

namespace r1::jinja {

namespace {

using VKind = Value::Kind;

// ---- methods

Value pair_of(const std::string& key, const Value& value) { return List{Value(key), value}; }

List dict_items(const Value& dict) {
  List out;
  for (const auto& [key, value] : dict.dict()) out.push_back(pair_of(key, value));
  return out;
}

using Method = Value (*)(const Value& self, const Arguments& a);
const std::map<std::string, Method>& text_methods() {
  static const std::map<std::string, Method> kMethods = {
      {"strip", [](const Value& s, const Arguments& a) -> Value { return stripped(s.text(), given(a, 0, "chars"), 0); }},
      {"lstrip", [](const Value& s, const Arguments& a) -> Value { return stripped(s.text(), given(a, 0, "chars"), -1); }},
      {"rstrip", [](const Value& s, const Arguments& a) -> Value { return stripped(s.text(), given(a, 0, "chars"), 1); }},
      {"startswith",
       [](const Value& s, const Arguments& a) -> Value { return affixed(s.text(), needed(a, 0, "prefix"), true); }},
      {"endswith",
       [](const Value& s, const Arguments& a) -> Value { return affixed(s.text(), needed(a, 0, "suffix"), false); }},
      {"split",
       [](const Value& s, const Arguments& a) -> Value {
         return split(s.text(), given(a, 0, "sep"), integer_or(given(a, 1, "maxsplit"), -1), false);
       }},
      {"rsplit",
       [](const Value& s, const Arguments& a) -> Value {
         return split(s.text(), given(a, 0, "sep"), integer_or(given(a, 1, "maxsplit"), -1), true);
       }},
      {"splitlines",
       [](const Value& s, const Arguments&) -> Value {
         const Value newline("\n");
         List lines = split(s.text(), &newline, -1, false);
         if (!lines.empty() && lines.back().text().empty()) lines.pop_back();
         return lines;
       }},
      {"replace",
       [](const Value& s, const Arguments& a) -> Value {
         return replaced(s.text(), text_of(needed(a, 0, "old")), text_of(needed(a, 1, "new")),
                         integer_or(given(a, 2, "count"), -1));
       }},
      {"upper", [](const Value& s, const Arguments&) -> Value { return uppered(s.text()); }},
      {"lower", [](const Value& s, const Arguments&) -> Value { return lowered(s.text()); }},
      {"title", [](const Value& s, const Arguments&) -> Value { return titled(s.text()); }},
      {"capitalize", [](const Value& s, const Arguments&) -> Value { return capitalized(s.text()); }},
      {"join", [](const Value& s, const Arguments& a) -> Value { return joined(needed(a, 0, "iterable").items(), s.text()); }},
      {"find",
       [](const Value& s, const Arguments& a) -> Value {
         const size_t at = find_text(s.text(), text_of(needed(a, 0, "sub")));
         return at == std::string::npos ? int64_t{-1} : length(s.text().substr(0, at));
       }},
      {"count",
       [](const Value& s, const Arguments& a) -> Value {
         const std::string what = text_of(needed(a, 0, "sub"));
         if (what.empty()) return length(s) + 1;
         int64_t n = 0;
         for (size_t at = 0; (at = find_text(s.text(), what, at)) != std::string::npos; at += what.size()) ++n;
         return n;
       }},
      {"isdigit",
       [](const Value& s, const Arguments&) -> Value {
         return !s.text().empty() && std::all_of(s.text().begin(), s.text().end(), [](char c) { return c >= '0' && c <= '9'; });
       }},
  };
  return kMethods;
}

const std::map<std::string, Method>& dict_methods() {
  static const std::map<std::string, Method> kMethods = {
      {"items", [](const Value& d, const Arguments&) -> Value { return dict_items(d); }},
      {"keys", [](const Value& d, const Arguments&) -> Value { return d.items(); }},
      {"values",
       [](const Value& d, const Arguments&) -> Value {
         List out;
         for (const auto& [key, value] : d.dict()) out.push_back(value);
         return out;
       }},
      {"get",
       [](const Value& d, const Arguments& a) -> Value {
         const Value& key = needed(a, 0, "key");
         const Value* at = key.is(VKind::text) ? d.find(key.text()) : nullptr;
         const Value* otherwise = given(a, 1, "default");
         return at != nullptr ? *at : otherwise != nullptr ? *otherwise : Value::none();
       }},
  };
  return kMethods;
}

// ---- tests

using Test = bool (*)(const Value& v, const Arguments& a);
const std::map<std::string, Test>& tests() {
  static const Test equal = [](const Value& v, const Arguments& a) { return v.equals(needed(a, 0, "other")); };
  static const Test unequal = [](const Value& v, const Arguments& a) { return !v.equals(needed(a, 0, "other")); };
  static const Test less = [](const Value& v, const Arguments& a) { return v.compare(needed(a, 0, "other")) < 0; };
  static const Test greater = [](const Value& v, const Arguments& a) { return v.compare(needed(a, 0, "other")) > 0; };
  static const Test at_most = [](const Value& v, const Arguments& a) { return v.compare(needed(a, 0, "other")) <= 0; };
  static const Test at_least = [](const Value& v, const Arguments& a) { return v.compare(needed(a, 0, "other")) >= 0; };
  static const Test sequence = [](const Value& v, const Arguments&) {
    return v.is(VKind::list) || v.is(VKind::text) || v.is(VKind::dict) || v.is(VKind::undefined);
  };
  static const std::map<std::string, Test> kTests = {
      {"defined", [](const Value& v, const Arguments&) { return !v.is(VKind::undefined); }},
      {"undefined", [](const Value& v, const Arguments&) { return v.is(VKind::undefined); }},
      {"none", [](const Value& v, const Arguments&) { return v.is(VKind::none); }},
      {"string", [](const Value& v, const Arguments&) { return v.is(VKind::text); }},
      {"mapping", [](const Value& v, const Arguments&) { return v.is(VKind::dict); }},
      {"iterable", sequence},
      {"sequence", sequence},
      {"number", [](const Value& v, const Arguments&) { return v.is_number(); }},
      {"integer", [](const Value& v, const Arguments&) { return v.is(VKind::integer); }},
      {"float", [](const Value& v, const Arguments&) { return v.is(VKind::real); }},
      {"boolean", [](const Value& v, const Arguments&) { return v.is(VKind::boolean); }},
      {"true", [](const Value& v, const Arguments&) { return v.is(VKind::boolean) && v.truth(); }},
      {"false", [](const Value& v, const Arguments&) { return v.is(VKind::boolean) && !v.truth(); }},
      {"callable", [](const Value& v, const Arguments&) { return v.is(VKind::function); }},
      {"odd", [](const Value& v, const Arguments&) { return v.integer() % 2 != 0; }},
      {"even", [](const Value& v, const Arguments&) { return v.integer() % 2 == 0; }},
      {"divisibleby",
       [](const Value& v, const Arguments& a) {
         const int64_t by = needed(a, 0, "num").integer();
         if (by == 0 || by == -1) return by == -1;
         return v.integer() % by == 0;
       }},
      {"in", [](const Value& v, const Arguments& a) { return needed(a, 0, "seq").contains(v); }},
      {"lower", [](const Value& v, const Arguments&) { return lowered(v.str()) == v.str(); }},
      {"upper", [](const Value& v, const Arguments&) { return uppered(v.str()) == v.str(); }},
      {"equalto", equal},
      {"eq", equal},
      {"==", equal},
      {"ne", unequal},
      {"!=", unequal},
      {"lt", less},
      {"lessthan", less},
      {"gt", greater},
      {"greaterthan", greater},
      {"le", at_most},
      {"ge", at_least},
  };
  return kTests;
}

// ---- filters

// value.a.b: `path` as map(attribute=...) takes it.
Value at_path(Value value, const std::string& path) {
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('.', begin), path.size());
    value = item(value, Value(path.substr(begin, end - begin)));
    begin = end + 1;
  }
  return value;
}

// select, reject, selectattr, rejectattr.
List selected(const Value& v, const Arguments& a, bool by_attribute, bool keep) {
  const size_t skip = by_attribute ? 1 : 0;
  const std::string path = by_attribute ? text_of(needed(a, 0, "attribute")) : "";
  Arguments rest;
  if (a.values.size() > skip + 1) rest.values.assign(a.values.begin() + static_cast<long>(skip) + 1, a.values.end());
  List out;
  for (const Value& each : v.items()) {
    const Value tested = by_attribute ? at_path(each, path) : each;
    const bool is = a.values.size() > skip ? apply_test(text_of(a.values[skip]), tested, rest) : tested.truth();
    if (is == keep) out.push_back(each);
  }
  return out;
}

List mapped(const Value& v, const Arguments& a) {
  List out;
  const Value* path = nullptr;
  const Value* otherwise = nullptr;
  for (const auto& [name, value] : a.named) {
    if (name == "attribute") path = &value;
    if (name == "default") otherwise = &value;
  }
  Arguments rest;
  if (path == nullptr && a.values.size() > 1) rest.values.assign(a.values.begin() + 1, a.values.end());
  for (const Value& each : v.items()) {
    Value made = path != nullptr ? at_path(each, path->str()) : apply_filter(text_of(needed(a, 0, "filter")), each, rest);
    out.push_back(made.is(VKind::undefined) && otherwise != nullptr ? *otherwise : std::move(made));
  }
  return out;
}

// Case is ignored unless case_sensitive, as Jinja sorts.
Value folded(const Value& v, bool case_sensitive) {
  return v.is(VKind::text) && !case_sensitive ? Value(lowered(v.text())) : v;
}

List sorted(const Value& v, const Arguments& a) {
  const Value *reverse = given(a, 0, "reverse"), *case_sensitive = given(a, 1, "case_sensitive"),
              *path = given(a, 2, "attribute");
  const bool sensitive = case_sensitive != nullptr && case_sensitive->truth();
  List list = v.items();
  const auto key = [&](const Value& each) { return folded(path != nullptr ? at_path(each, path->str()) : each, sensitive); };
  std::stable_sort(list.begin(), list.end(), [&](const Value& x, const Value& y) { return key(x).compare(key(y)) < 0; });
  if (reverse != nullptr && reverse->truth()) std::reverse(list.begin(), list.end());
  return list;
}

List dict_sorted(const Value& v, const Arguments& a) {
  if (!v.is(VKind::dict)) refuse(fmt::format("dictsort expects a dict, found {}", v.kind_name()));
  const Value *case_sensitive = given(a, 0, "case_sensitive"), *by = given(a, 1, "by"), *reverse = given(a, 2, "reverse");
  const bool sensitive = case_sensitive != nullptr && case_sensitive->truth();
  const size_t at = by != nullptr && by->str() == "value" ? 1 : 0;
  List list = dict_items(v);
  std::stable_sort(list.begin(), list.end(), [&](const Value& x, const Value& y) {
    return folded(x.list()[at], sensitive).compare(folded(y.list()[at], sensitive)) < 0;
  });
  if (reverse != nullptr && reverse->truth()) std::reverse(list.begin(), list.end());
  return list;
}

Value summed(const Value& v, const Arguments& a) {
  const Value* path = given(a, 0, "attribute");
  int64_t whole = 0;
  double real = 0;
  bool is_real = false;
  for (const Value& each : v.items()) {
    const Value n = path != nullptr ? at_path(each, path->str()) : each;
    is_real = is_real || n.is(VKind::real);
    real += n.real();
    if (!n.is(VKind::real) && __builtin_add_overflow(whole, n.integer(), &whole)) refuse("a sum is out of range");
  }
  return is_real ? Value(real) : Value(whole);
}

Value to_integer(const Value& v, const Value* otherwise) {
  if (v.is(VKind::boolean) || v.is(VKind::integer)) return v.integer();
  double d = 0;
  if (v.is(VKind::real)) {
    d = v.real();
  } else if (v.is(VKind::text)) {
    const std::string s = stripped(v.text(), nullptr, 0);
    int64_t i = 0;
    const char* begin = s.data() + (s.starts_with('+') ? 1 : 0);
    if (const auto r = std::from_chars(begin, s.data() + s.size(), i); r.ec == std::errc() && r.ptr == s.data() + s.size())
      return i;
    if (const auto r = std::from_chars(begin, s.data() + s.size(), d); r.ec != std::errc() || r.ptr != s.data() + s.size())
      return otherwise != nullptr ? *otherwise : Value(0);
  } else {
    return otherwise != nullptr ? *otherwise : Value(0);
  }
  if (!(std::fabs(d) < 9e18)) return otherwise != nullptr ? *otherwise : Value(0);
  return static_cast<int64_t>(d);
}

Value to_real(const Value& v, const Value* otherwise) {
  if (v.is_number()) return v.real();
  if (v.is(VKind::text)) {
    const std::string s = stripped(v.text(), nullptr, 0);
    double d = 0;
    if (const auto r = std::from_chars(s.data(), s.data() + s.size(), d); r.ec == std::errc() && r.ptr == s.data() + s.size())
      return d;
  }
  return otherwise != nullptr ? *otherwise : Value(0.0);
}

Value rounded(const Value& v, const Arguments& a) {
  const double scale = std::pow(10.0, static_cast<double>(integer_or(given(a, 0, "precision"), 0)));
  const Value* how = given(a, 1, "method");
  const std::string method = how == nullptr ? "common" : how->str();
  const double x = v.real() * scale;
  return (method == "ceil" ? std::ceil(x) : method == "floor" ? std::floor(x) : std::nearbyint(x)) / scale;
}

List unique(const Value& v) {
  List out;
  for (const Value& each : v.items())
    if (std::none_of(out.begin(), out.end(), [&](const Value& o) { return folded(o, false).equals(folded(each, false)); }))
      out.push_back(each);
  return out;
}

Value extreme(const Value& v, bool largest) {
  const List list = v.items();
  if (list.empty()) return Value::undefined("an item of an empty list");
  const Value* best = &list[0];
  for (const Value& each : list)
    if (const int c = folded(each, false).compare(folded(*best, false)); largest ? c > 0 : c < 0) best = &each;
  return *best;
}

Value default_of(const Value& v, const Arguments& a) {
  const Value* boolean = given(a, 1, "boolean");
  const bool use = v.is(VKind::undefined) || (boolean != nullptr && boolean->truth() && !v.truth());
  if (!use) return v;
  const Value* otherwise = given(a, 0, "default_value");
  return otherwise != nullptr ? *otherwise : Value("");
}

Value to_json(const Value& v, const Arguments& a) {
  const Value *indent = given(a, 0, "indent"), *ascii = nullptr;
  for (const auto& [name, value] : a.named) {
    if (name == "ensure_ascii") ascii = &value;
    if (name == "indent") indent = &value;
  }
  const int64_t by = indent == nullptr || indent->is(VKind::none) ? -1 : std::clamp<int64_t>(indent->integer(), 0, 16);
  return bounded(v.json(static_cast<int>(by), ascii != nullptr && ascii->truth()));
}

using Filter = Value (*)(const Value& v, const Arguments& a);
const std::map<std::string, Filter>& filters() {
  static const Filter size = [](const Value& v, const Arguments&) -> Value { return length(v); };
  static const Filter same = [](const Value& v, const Arguments&) -> Value { return v.str(); };
  static const std::map<std::string, Filter> kFilters = {
      {"trim", [](const Value& v, const Arguments& a) -> Value { return stripped(v.str(), given(a, 0, "chars"), 0); }},
      {"length", size},
      {"count", size},
      {"string", same},
      {"safe", same},
      {"tojson", to_json},
      {"default", default_of},
      {"d", default_of},
      {"upper", [](const Value& v, const Arguments&) -> Value { return uppered(v.str()); }},
      {"lower", [](const Value& v, const Arguments&) -> Value { return lowered(v.str()); }},
      {"title", [](const Value& v, const Arguments&) -> Value { return titled(v.str()); }},
      {"capitalize", [](const Value& v, const Arguments&) -> Value { return capitalized(v.str()); }},
      {"replace",
       [](const Value& v, const Arguments& a) -> Value {
         return replaced(v.str(), text_of(needed(a, 0, "old")), text_of(needed(a, 1, "new")),
                         integer_or(given(a, 2, "count"), -1));
       }},
      {"join",
       [](const Value& v, const Arguments& a) -> Value {
         List list = v.items();
         if (const Value* path = given(a, 1, "attribute"))
           for (Value& each : list) each = at_path(each, path->str());
         const Value* by = given(a, 0, "d");
         return joined(list, by != nullptr ? by->str() : "");
       }},
      {"list", [](const Value& v, const Arguments&) -> Value { return v.items(); }},
      {"items",
       [](const Value& v, const Arguments&) -> Value {
         if (v.is(VKind::undefined)) return List{};
         if (!v.is(VKind::dict)) refuse(fmt::format("items expects a dict, found {}", v.kind_name()));
         return dict_items(v);
       }},
      {"dictsort", [](const Value& v, const Arguments& a) -> Value { return dict_sorted(v, a); }},
      {"sort", [](const Value& v, const Arguments& a) -> Value { return sorted(v, a); }},
      {"reverse",
       [](const Value& v, const Arguments&) -> Value {
         List list = v.items();
         std::reverse(list.begin(), list.end());
         return v.is(VKind::text) ? Value(joined(list, "")) : Value(std::move(list));
       }},
      {"unique", [](const Value& v, const Arguments&) -> Value { return unique(v); }},
      {"first",
       [](const Value& v, const Arguments&) -> Value {
         const List list = v.items();
         return list.empty() ? Value::undefined("the first of nothing") : list.front();
       }},
      {"last",
       [](const Value& v, const Arguments&) -> Value {
         const List list = v.items();
         return list.empty() ? Value::undefined("the last of nothing") : list.back();
       }},
      {"min", [](const Value& v, const Arguments&) -> Value { return extreme(v, false); }},
      {"max", [](const Value& v, const Arguments&) -> Value { return extreme(v, true); }},
      {"sum", summed},
      {"map", [](const Value& v, const Arguments& a) -> Value { return mapped(v, a); }},
      {"select", [](const Value& v, const Arguments& a) -> Value { return selected(v, a, false, true); }},
      {"reject", [](const Value& v, const Arguments& a) -> Value { return selected(v, a, false, false); }},
      {"selectattr", [](const Value& v, const Arguments& a) -> Value { return selected(v, a, true, true); }},
      {"rejectattr", [](const Value& v, const Arguments& a) -> Value { return selected(v, a, true, false); }},
      {"int", [](const Value& v, const Arguments& a) { return to_integer(v, given(a, 0, "default")); }},
      {"float", [](const Value& v, const Arguments& a) { return to_real(v, given(a, 0, "default")); }},
      {"round", rounded},
      {"abs",
       [](const Value& v, const Arguments&) -> Value {
         if (v.is(VKind::real)) return std::fabs(v.real());
         return v.integer() == INT64_MIN ? v.integer() : std::abs(v.integer());
       }},
      {"indent",
       [](const Value& v, const Arguments& a) -> Value {
         const Value *width = given(a, 0, "width"), *first = given(a, 1, "first"), *blank = given(a, 2, "blank");
         const std::string by = width != nullptr && width->is(VKind::text)
                                    ? width->text()
                                    : std::string(static_cast<size_t>(std::clamp<int64_t>(integer_or(width, 4), 0, 1000)), ' ');
         return indented(v.str(), by, first != nullptr && first->truth(), blank != nullptr && blank->truth());
       }},
  };
  return kFilters;
}

}  // namespace

Value apply_filter(const std::string& name, const Value& value, const Arguments& arguments) {
  const auto at = filters().find(name);
  if (at == filters().end()) refuse(fmt::format("unknown filter '{}'", name));
  return at->second(value, arguments);
}

int64_t filter_cost(const std::string& name, const Value& value, const Arguments& arguments) {
  const auto n = value.is(VKind::list) ? static_cast<int64_t>(value.list().size()) : 0;
  const int64_t through = n / 16 + value.extent().bytes / 64;
  if (name == "unique") return std::min(n, int64_t{1'000'000}) * n / 16 + n * (value.extent().bytes / 64);
  if (name == "sort" || name == "dictsort") return 20 * through;
  if (name == "min" || name == "max" || name == "sum" || name == "select" || name == "reject") return through;
  if (name == "map" && value.is(VKind::list) && !arguments.values.empty() && arguments.values[0].is(VKind::text)) {
    int64_t all = 0;
    for (const Value& each : value.list())  // what map takes by a name in a name, map('map', ..), goes through texts once more
      all += arguments.values[0].text() == "map" ? each.extent().bytes : filter_cost(arguments.values[0].text(), each, {});
    return all;
  }
  if (value.is(VKind::text)) return value.extent().bytes / 64;
  if (value.is(VKind::dict)) return static_cast<int64_t>(value.dict().size() / 16);
  return n / 16;
}

bool apply_test(const std::string& name, const Value& value, const Arguments& arguments) {
  const auto at = tests().find(name);
  if (at == tests().end()) refuse(fmt::format("unknown test '{}'", name));
  return at->second(value, arguments);
}

Value method(const Value& value, const std::string& name) {
  if (!value.is(VKind::text) && !value.is(VKind::dict)) return Value::undefined(name);
  const auto& methods = value.is(VKind::text) ? text_methods() : dict_methods();
  const auto at = methods.find(name);
  if (at == methods.end()) return Value::undefined(name);
  return {Function([self = value, call = at->second](const Arguments& a) { return call(self, a); }), value};
}

Value attribute(const Value& value, const std::string& name) {
  if (value.is(VKind::undefined)) refuse(fmt::format("'{}' is undefined", value.undefined_name()));
  if (Value bound = method(value, name); !bound.is(VKind::undefined)) return bound;
  const Value* at = value.find(name);
  return at != nullptr ? *at : Value::undefined(name);
}

Value item(const Value& value, const Value& key) {
  if (value.is(VKind::undefined)) refuse(fmt::format("'{}' is undefined", value.undefined_name()));
  if (value.is(VKind::list) || value.is(VKind::text)) {
    if (key.is(VKind::integer) || key.is(VKind::boolean)) {
      const int64_t n = length(value), i = key.integer() < 0 ? key.integer() + n : key.integer();
      if (i < 0 || i >= n) return Value::undefined(fmt::format("item {}", key.integer()));
      return value.is(VKind::list) ? value.list()[static_cast<size_t>(i)] : Value(sliced(value.text(), i, i + 1, 1));
    }
    return key.is(VKind::text) ? method(value, key.text()) : Value::undefined(key.str());
  }
  if (!key.is(VKind::text)) return Value::undefined(key.str());
  if (const Value* at = value.find(key.text())) return *at;
  return method(value, key.text());
}

Dict global_functions(std::deque<Dict>& spaces) {
  Dict out;
  out.emplace_back("range", Function([](const Arguments& a) -> Value {
                     if (a.values.empty() || a.values.size() > 3) refuse("range expects one to three integers");
                     const int64_t begin = a.values.size() > 1 ? a.values[0].integer() : 0;
                     const int64_t end = a.values[a.values.size() > 1 ? 1 : 0].integer();
                     const int64_t step = a.values.size() > 2 ? a.values[2].integer() : 1;
                     if (step == 0) refuse("range with a step of 0");
                     List list;
                     for (int64_t i = begin; step > 0 ? i < end : i > end;) {
                       if (list.size() >= 100'000) refuse("range of more than 100000 numbers");
                       list.emplace_back(i);
                       if (__builtin_add_overflow(i, step, &i)) break;
                     }
                     return list;
                   }));
  out.emplace_back("namespace", Function([&spaces](const Arguments& a) -> Value {
                     Dict& members = spaces.emplace_back();
                     if (!a.values.empty() && a.values[0].is(VKind::dict)) members = a.values[0].dict();
                     for (const auto& member : a.named) members.push_back(member);
                     return Value::name_space(members);
                   }));
  out.emplace_back("dict", Function([](const Arguments& a) -> Value { return a.named; }));
  out.emplace_back("raise_exception",
                   Function([](const Arguments& a) -> Value { refuse(a.values.empty() ? "refused" : a.values[0].str()); }));
  return out;
}

}  // namespace r1::jinja
