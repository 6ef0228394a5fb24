// A value of a chat template: what Jinja, and Python below it, know - with Python's truth, printing and comparison. Knows no
// syntax.
//
// Lists and dicts are shared, never copied, so a value may be far larger than the memory it takes; `extent` says how large. A
// value owns no namespace, which alone could come to hold itself: whoever renders owns them.
//
// Thread rule: values are immutable but for a namespace; one that is shared between threads must hold none.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace r1::jinja {

class Value;
using List = std::vector<Value>;
using Dict = std::vector<std::pair<std::string, Value>>;  // in order of insertion; keys are text

// The arguments of a call.
struct Arguments {
  List values;
  Dict named;
};
using Function = std::function<Value(const Arguments&)>;

// Thrown by operations on values, with what a template's author should read; the renderer adds file and line.
struct TemplateError {
  std::string what;
};
[[noreturn]] void refuse(std::string what);

// How far a value goes: lists, dicts and methods bound to them inside each other, and the bytes of all texts and items, those
// that are reached twice counted twice.
struct Extent {
  int depth = 0;
  int64_t bytes = 1;
};
constexpr int kMaxDepth = 200;  // json has 64 (base/json.h)

class Value {
 public:
  enum class Kind { undefined, none, boolean, integer, real, text, list, dict, function, name_space };

  Value() = default;  // undefined; `name` says in errors what was not there
  static Value undefined(std::string name);
  static Value none();
  Value(bool b) : data_(b) {}
  Value(int64_t i) : data_(i) {}
  Value(int i) : data_(int64_t{i}) {}
  Value(double d) : data_(d) {}
  Value(std::string s) : data_(std::make_shared<const std::string>(std::move(s))) {}
  Value(std::string_view s) : Value(std::string(s)) {}
  Value(const char* s) : Value(std::string(s)) {}
  // Refuse what would be deeper than kMaxDepth: values are walked and freed by recursion.
  Value(List list);
  Value(Dict dict);
  Value(Function f) : Value(std::move(f), Value()) {}
  Value(Function f, const Value& bound);  // f holds `bound`
  // `members` must live as long as the value.
  static Value name_space(Dict& members);
  // Json: nlohmann::json or ordered_json (which keeps the order of keys, as tojson shows them).
  template <class Json>
  static Value from_json(const Json& json);

  Kind kind() const { return static_cast<Kind>(data_.index()); }
  bool is(Kind k) const { return kind() == k; }
  bool is_number() const { return is(Kind::boolean) || is(Kind::integer) || is(Kind::real); }
  const char* kind_name() const;

  // Of the stated kind only.
  const std::string& text() const { return **std::get_if<std::shared_ptr<const std::string>>(&data_); }
  const List& list() const { return (*std::get_if<Shared<List>>(&data_))->value; }
  const Dict& dict() const { return (*std::get_if<Shared<Dict>>(&data_))->value; }
  Dict& members() const { return *std::get_if<NameSpace>(&data_)->members; }
  const Function& function() const { return (*std::get_if<Shared<Function>>(&data_))->value; }
  const std::string& undefined_name() const { return std::get_if<Missing>(&data_)->name; }

  Extent extent() const;
  bool truth() const;  // Python's bool()
  // These three refuse what is longer than kMaxOutput.
  std::string str() const;                                 // Python's str(); "" when undefined
  std::string repr() const;                                // as inside a printed list
  std::string json(int indent, bool ascii = false) const;  // json.dumps; indent < 0: on one line
  int64_t integer() const;                                 // of a boolean or an integer; refuses others
  double real() const;                                     // of any number; refuses others
  bool equals(const Value& other) const;                   // ==
  // < 0, 0, > 0 for numbers, texts and lists of such; refuses what Python cannot order.
  int compare(const Value& other) const;
  // The value under `key` of a dict or a namespace; null when there is none.
  const Value* find(std::string_view key) const;
  // What `for` goes through: a list's items, a dict's keys, a text's characters, nothing when undefined. Refuses others.
  List items() const;
  bool contains(const Value& item) const;  // `item in this`

 private:
  struct Missing {
    std::string name;
  };
  struct None {};
  struct NameSpace {
    Dict* members;
  };
  template <class T>
  struct Sized {
    T value;
    Extent extent;
  };
  template <class T>
  using Shared = std::shared_ptr<const Sized<T>>;
  std::variant<Missing, None, bool, int64_t, double, std::shared_ptr<const std::string>, Shared<List>, Shared<Dict>,
               Shared<Function>, NameSpace>
      data_;
};

// UTF-8 as characters, one string each (Python's idea of a text's length and indices).
std::vector<std::string> characters(std::string_view text);

}  // namespace r1::jinja
