#include "tasks/jinja/value.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "tasks/jinja/template.h"
#include "tasks/jinja/texts.h"

namespace r1::jinja {

void refuse(std::string what) { throw TemplateError{std::move(what)}; }

Value Value::undefined(std::string name) {
  Value v;
  std::get_if<Missing>(&v.data_)->name = std::move(name);
  return v;
}

Value Value::none() {
  Value v;
  v.data_ = None{};
  return v;
}

Value Value::name_space(Dict& members) {
  Value v;
  v.data_ = NameSpace{&members};
  return v;
}

namespace {

constexpr int64_t kManyBytes = int64_t{1} << 50;

void take_in(Extent& whole, const Extent& part) {
  whole.depth = std::max(whole.depth, part.depth + 1);
  whole.bytes = std::min(whole.bytes + part.bytes + 1, kManyBytes);
  if (whole.depth > kMaxDepth) refuse(fmt::format("values are nested deeper than {}", kMaxDepth));
}

void check_written(const std::string& out) {
  if (out.size() > kMaxOutput) refuse(fmt::format("a text of more than {} MiB", kMaxOutput >> 20));
}

}  // namespace

Value::Value(List list) {
  Extent extent;
  for (const Value& v : list) take_in(extent, v.extent());
  data_ = std::make_shared<const Sized<List>>(std::move(list), extent);
}

Value::Value(Dict dict) {
  Extent extent;
  for (const auto& [key, v] : dict) {
    const Extent part = v.extent();
    take_in(extent, {part.depth, part.bytes + static_cast<int64_t>(key.size())});
  }
  data_ = std::make_shared<const Sized<Dict>>(std::move(dict), extent);
}

Value::Value(Function f, const Value& bound) {
  Extent extent;
  take_in(extent, bound.extent());
  data_ = std::make_shared<const Sized<Function>>(std::move(f), extent);
}

Extent Value::extent() const {
  switch (kind()) {
    case Kind::text:
      return {0, 1 + static_cast<int64_t>(text().size())};
    case Kind::list:
      return (*std::get_if<Shared<List>>(&data_))->extent;
    case Kind::dict:
      return (*std::get_if<Shared<Dict>>(&data_))->extent;
    case Kind::function:
      return (*std::get_if<Shared<Function>>(&data_))->extent;
    default:
      return {};
  }
}

template <class Json>
Value Value::from_json(const Json& json) {
  if (json.is_null()) return none();
  if (json.is_boolean()) return json.template get<bool>();
  if (json.is_number_unsigned() && json.template get<uint64_t>() > static_cast<uint64_t>(INT64_MAX))
    return json.template get<double>();
  if (json.is_number_integer()) return json.template get<int64_t>();
  if (json.is_number_float()) return json.template get<double>();
  if (json.is_string()) return json.template get<std::string>();
  if (json.is_array()) {
    List list;
    for (const auto& item : json) list.push_back(from_json(item));
    return list;
  }
  Dict dict;
  for (const auto& [key, item] : json.items()) dict.emplace_back(key, from_json(item));
  return dict;
}
template Value Value::from_json(const nlohmann::json&);
template Value Value::from_json(const nlohmann::ordered_json&);

const char* Value::kind_name() const {
  static constexpr const char* kNames[] = {"undefined", "none", "boolean", "integer",  "number",
                                           "text",      "list", "dict",    "function", "namespace"};
  return kNames[data_.index()];
}

bool Value::truth() const {
  switch (kind()) {
    case Kind::undefined:
    case Kind::none:
      return false;
    case Kind::boolean:
    case Kind::integer:
      return integer() != 0;
    case Kind::real:
      return real() != 0;
    case Kind::text:
      return !text().empty();
    case Kind::list:
      return !list().empty();
    case Kind::dict:
      return !dict().empty();
    case Kind::function:
    case Kind::name_space:
      return true;
  }
  return false;
}

namespace {

// Python's repr of a float: the shortest digits that read back, ".0" for whole numbers, an exponent from 1e16 and below 1e-4.
std::string python_number(double d) {
  if (std::isnan(d)) return "nan";
  if (std::isinf(d)) return d > 0 ? "inf" : "-inf";
  const double size = std::fabs(d);
  const bool plain = size == 0 || (size >= 1e-4 && size < 1e16);
  char buffer[40];
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, d, plain ? std::chars_format::fixed : std::chars_format::scientific);
  std::string out(buffer, end.ptr);
  if (plain && out.find('.') == std::string::npos) out += ".0";
  return out;
}

std::string quoted(const std::string& s) {
  const char quote = s.find('\'') != std::string::npos && s.find('"') == std::string::npos ? '"' : '\'';
  std::string out(1, quote);
  for (const char c : s) {
    if (c == quote || c == '\\') out += '\\';
    switch (c) {
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F)
          out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
        else
          out += c;
    }
  }
  return out + quote;
}

void write_json(const Value& v, int indent, bool ascii, int depth, std::string& out) {
  using Kind = Value::Kind;
  const auto new_line = [&](int d) {
    if (indent >= 0) out += "\n" + std::string(static_cast<size_t>(indent * d), ' ');
  };
  const auto string = [&](const std::string& s) {
    out += nlohmann::json(s).dump(-1, ' ', ascii, nlohmann::json::error_handler_t::replace);
  };
  const char* comma = indent >= 0 ? "," : ", ";
  check_written(out);
  switch (v.kind()) {
    case Kind::none:
      out += "null";
      break;
    case Kind::boolean:
      out += v.truth() ? "true" : "false";
      break;
    case Kind::integer:
      out += std::to_string(v.integer());
      break;
    case Kind::real: {
      const double d = v.real();
      out += std::isnan(d) ? "NaN" : std::isinf(d) ? (d > 0 ? "Infinity" : "-Infinity") : python_number(d);
      break;
    }
    case Kind::text:
      string(v.text());
      break;
    case Kind::list: {
      if (v.list().empty()) {
        out += "[]";
        break;
      }
      out += '[';
      bool first = true;
      for (const Value& item : v.list()) {
        if (!first) out += comma;
        first = false;
        new_line(depth + 1);
        write_json(item, indent, ascii, depth + 1, out);
      }
      new_line(depth);
      out += ']';
      break;
    }
    case Kind::dict: {
      if (v.dict().empty()) {
        out += "{}";
        break;
      }
      out += '{';
      bool first = true;
      for (const auto& [key, item] : v.dict()) {
        if (!first) out += comma;
        first = false;
        new_line(depth + 1);
        string(key);
        out += ": ";
        write_json(item, indent, ascii, depth + 1, out);
      }
      new_line(depth);
      out += '}';
      break;
    }
    default:
      refuse(fmt::format("a value that is {} cannot be written as JSON", v.kind_name()));
  }
}

}  // namespace

namespace {

void write_repr(const Value& v, std::string& out) {
  using Kind = Value::Kind;
  check_written(out);
  bool first = true;
  switch (v.kind()) {
    case Kind::undefined:
      out += "Undefined";
      break;
    case Kind::none:
      out += "None";
      break;
    case Kind::boolean:
      out += v.truth() ? "True" : "False";
      break;
    case Kind::integer:
      out += std::to_string(v.integer());
      break;
    case Kind::real:
      out += python_number(v.real());
      break;
    case Kind::text:
      out += quoted(v.text());
      break;
    case Kind::list:
      out += '[';
      for (const Value& item : v.list()) {
        if (!std::exchange(first, false)) out += ", ";
        write_repr(item, out);
      }
      out += ']';
      break;
    case Kind::dict:
      out += '{';
      for (const auto& [key, item] : v.dict()) {
        if (!std::exchange(first, false)) out += ", ";
        out += quoted(key) + ": ";
        write_repr(item, out);
      }
      out += '}';
      break;
    case Kind::function:
      out += "<function>";
      break;
    case Kind::name_space:
      out += "<namespace>";
      break;
  }
}

}  // namespace

std::string Value::str() const { return is(Kind::text) ? text() : is(Kind::undefined) ? "" : repr(); }

std::string Value::repr() const {
  std::string out;
  write_repr(*this, out);
  check_written(out);
  return out;
}

std::string Value::json(int indent, bool ascii) const {
  std::string out;
  write_json(*this, indent, ascii, 0, out);
  check_written(out);
  return out;
}

int64_t Value::integer() const {
  if (const bool* b = std::get_if<bool>(&data_)) return *b ? 1 : 0;
  if (const int64_t* i = std::get_if<int64_t>(&data_)) return *i;
  refuse(fmt::format("expected an integer, found {}", kind_name()));
}

double Value::real() const {
  if (const double* d = std::get_if<double>(&data_)) return *d;
  if (!is_number()) refuse(fmt::format("expected a number, found {}", kind_name()));
  return static_cast<double>(integer());
}

bool Value::equals(const Value& other) const {
  if (is_number() && other.is_number()) {
    if (!is(Kind::real) && !other.is(Kind::real)) return integer() == other.integer();
    return real() == other.real();
  }
  if (kind() != other.kind()) return false;
  switch (kind()) {
    case Kind::text:
      return text() == other.text();
    case Kind::list:
      return std::equal(list().begin(), list().end(), other.list().begin(), other.list().end(),
                        [](const Value& a, const Value& b) { return a.equals(b); });
    case Kind::dict:
      if (dict().size() != other.dict().size()) return false;
      for (const auto& [key, value] : dict())
        if (const Value* at = other.find(key); at == nullptr || !value.equals(*at)) return false;
      return true;
    case Kind::function:
      return &function() == &other.function();
    case Kind::name_space:
      return &members() == &other.members();
    default:
      return true;  // undefined, none
  }
}

int Value::compare(const Value& other) const {
  if (is_number() && other.is_number()) {
    if (!is(Kind::real) && !other.is(Kind::real)) return integer() < other.integer() ? -1 : integer() > other.integer() ? 1 : 0;
    return real() < other.real() ? -1 : real() > other.real() ? 1 : 0;
  }
  if (is(Kind::text) && other.is(Kind::text)) return text().compare(other.text());
  if (is(Kind::list) && other.is(Kind::list)) {
    for (size_t i = 0; i < std::min(list().size(), other.list().size()); ++i)
      if (const int c = list()[i].compare(other.list()[i]); c != 0) return c;
    return static_cast<int>(list().size() > other.list().size()) - static_cast<int>(list().size() < other.list().size());
  }
  refuse(fmt::format("{} and {} have no order", kind_name(), other.kind_name()));
}

const Value* Value::find(std::string_view key) const {
  if (!is(Kind::dict) && !is(Kind::name_space)) return nullptr;
  const Dict& in = is(Kind::dict) ? dict() : members();
  const auto at = std::find_if(in.begin(), in.end(), [&](const auto& entry) { return entry.first == key; });
  return at == in.end() ? nullptr : &at->second;
}

List Value::items() const {
  List out;
  switch (kind()) {
    case Kind::undefined:
      return out;
    case Kind::list:
      return list();
    case Kind::dict:
      for (const auto& [key, value] : dict()) out.emplace_back(key);
      return out;
    case Kind::text:
      for (std::string& c : characters(text())) out.emplace_back(std::move(c));
      return out;
    default:
      refuse(fmt::format("{} cannot be gone through", kind_name()));
  }
}

bool Value::contains(const Value& item) const {
  switch (kind()) {
    case Kind::undefined:
      return false;
    case Kind::text:
      if (!item.is(Kind::text)) refuse(fmt::format("'in' a text expects a text, found {}", item.kind_name()));
      return find_text(text(), item.text()) != std::string::npos;
    case Kind::list:
      return std::any_of(list().begin(), list().end(), [&](const Value& v) { return v.equals(item); });
    case Kind::dict:
      return item.is(Kind::text) && find(item.text()) != nullptr;
    default:
      refuse(fmt::format("'in' expects a text, a list or a dict, found {}", kind_name()));
  }
}

std::vector<std::string> characters(std::string_view text) {
  std::vector<std::string> out;
  for (const char c : text) {
    if ((static_cast<unsigned char>(c) & 0xC0) == 0x80 && !out.empty())
      out.back() += c;
    else
      out.emplace_back(1, c);
  }
  return out;
}

}  // namespace r1::jinja
