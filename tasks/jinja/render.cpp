#include <fmt/format.h>

#include <cmath>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "base/error.h"
#include "tasks/jinja/builtins.h"
#include "tasks/jinja/syntax.h"
#include "tasks/jinja/template.h"
#include "tasks/jinja/texts.h"

namespace r1::jinja {

namespace {

using NKind = Node::Kind;
using VKind = Value::Kind;

// Names of a block: those of a loop's pass or a macro's call hide the outer ones; an assignment never reaches outwards.
struct Scope {
  Scope* outer = nullptr;
  Dict names;
  bool needed_later = false;  // a macro refers to it, which may be called after the block's end

  const Value* find(const std::string& name) const {
    for (const Scope* s = this; s != nullptr; s = s->outer)
      for (auto at = s->names.rbegin(); at != s->names.rend(); ++at)
        if (at->first == name) return &at->second;
    return nullptr;
  }
  void set(const std::string& name, Value value) {
    for (auto& [known, old] : names)
      if (known == name) {
        old = std::move(value);
        return;
      }
    names.emplace_back(name, std::move(value));
  }
};

enum class Flow { on, next, leave };  // after a statement: go on, `continue`, `break`

class Renderer {
 public:
  explicit Renderer(const std::string& name) : name_(name) {}

  std::string run(const Node& root, const Dict& variables) {
    Scope globals, top;
    globals.names = global_functions(spaces_);
    top.outer = &globals;
    for (const auto& [name, value] : variables) top.set(name, value);
    std::string out;
    execute(root, top, out);
    return out;
  }

 private:
  template <class Body>
  auto at(const Node& node, Body&& body) {
    try {
      return body();
    } catch (const TemplateError& e) {
      fail(node, e.what);
    }
  }

  // The scope of a block, for as long as it lasts or, if a macro was defined in it, as long as the rendering.
  class Block {
   public:
    Block(Renderer& renderer, Scope& outer) : renderer_(renderer), scope_(std::make_unique<Scope>()) { scope_->outer = &outer; }
    ~Block() {
      if (scope_->needed_later) renderer_.kept_.push_back(std::move(scope_));
    }
    Block(const Block&) = delete;
    Block& operator=(const Block&) = delete;
    Scope& scope() { return *scope_; }

   private:
    Renderer& renderer_;
    std::unique_ptr<Scope> scope_;
  };

  // One node inside another, macros that are called included: what the stack has to hold.
  class Deeper {
   public:
    Deeper(Renderer& renderer, const Node& node) : depth_(renderer.depth_) {
      if (++depth_ > kMaxNodeDepth)
        renderer.fail(node, fmt::format("statements and expressions inside each other: {}", depth_));
    }
    ~Deeper() { --depth_; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;

   private:
    int& depth_;
  };

  // ---- statements

  Flow execute(const Node& node, Scope& scope, std::string& out) {
    step(node);
    const Deeper deeper(*this, node);
    return at(node, [&] { return executed(node, scope, out); });
  }

  Flow executed(const Node& node, Scope& scope, std::string& out) {
    switch (node.kind) {
      case NKind::sequence:
        for (const NodePtr& child : node.children)
          if (const Flow flow = execute(*child, scope, out); flow != Flow::on) return flow;
        return Flow::on;
      case NKind::output:
        append(out, node.children.empty() ? node.text : evaluate(*node.children[0], scope).str(), node);
        return Flow::on;
      case NKind::if_: {
        size_t i = 0;
        for (; i + 1 < node.children.size(); i += 2)
          if (evaluate(*node.children[i], scope).truth()) return execute(*node.children[i + 1], scope, out);
        return i < node.children.size() ? execute(*node.children[i], scope, out) : Flow::on;
      }
      case NKind::for_:
        loop(node, scope, out);
        return Flow::on;
      case NKind::set:
        assign(node, scope);
        return Flow::on;
      case NKind::set_block: {
        std::string text;
        Block inner_block(*this, scope);
        Scope& inner = inner_block.scope();
        execute(*node.children[0], inner, text);
        Value value(std::move(text));
        if (node.children[1]) value = filtered(*node.children[1], &value, scope);
        store(node, node.names[0], std::move(value), scope);
        return Flow::on;
      }
      case NKind::macro:
        store(node, node.text, macro(node, node.text, *node.children[0], 1, scope), scope);
        return Flow::on;
      case NKind::call_block: {
        Arguments arguments = call_arguments(*node.children[0], 1, scope);
        arguments.named.emplace_back("caller", macro(node, "caller", *node.children[1], 2, scope));
        append(out, call(*node.children[0], evaluate(*node.children[0]->children[0], scope), arguments).str(), node);
        return Flow::on;
      }
      case NKind::filter_block: {
        std::string text;
        Block inner_block(*this, scope);
        Scope& inner = inner_block.scope();
        execute(*node.children[1], inner, text);
        const Value value(std::move(text));
        append(out, filtered(*node.children[0], &value, scope).str(), node);
        return Flow::on;
      }
      case NKind::break_:
        return Flow::leave;
      case NKind::continue_:
        return Flow::next;
      default:
        R1_CHECK(false, "an expression stands where a statement belongs");
    }
    return Flow::on;
  }

  void loop(const Node& node, Scope& scope, std::string& out) {
    const Value through = evaluate(*node.children[0], scope);
    if (through.is(VKind::text)) step(node, through.extent().bytes);
    const List all = at(node, [&] { return through.items(); });
    step(node, static_cast<int64_t>(all.size()));
    List list;
    if (node.children[1]) {
      for (const Value& each : all) {
        Block pass_block(*this, scope);
        Scope& pass = pass_block.scope();
        unpack(node, each, pass);
        if (evaluate(*node.children[1], pass).truth()) list.push_back(each);
      }
    } else {
      list = all;
    }
    if (list.empty() && node.children[3]) {
      Block inner_block(*this, scope);
      Scope& inner = inner_block.scope();
      execute(*node.children[3], inner, out);
    }
    const auto n = static_cast<int64_t>(list.size());
    for (int64_t i = 0; i < n; ++i) {
      const auto u = static_cast<size_t>(i);
      Block pass_block(*this, scope);
      Scope& pass = pass_block.scope();
      unpack(node, list[u], pass);
      Dict about = {{"index", i + 1},  {"index0", i},        {"revindex", n - i}, {"revindex0", n - 1 - i},
                    {"first", i == 0}, {"last", i + 1 == n}, {"length", n},       {"depth", 1},
                    {"depth0", 0}};
      if (i > 0) about.emplace_back("previtem", list[u - 1]);
      if (i + 1 < n) about.emplace_back("nextitem", list[u + 1]);
      about.emplace_back("cycle", Function([i](const Arguments& a) -> Value {
                           if (a.values.empty()) refuse("cycle expects values");
                           return a.values[static_cast<size_t>(i) % a.values.size()];
                         }));
      pass.set("loop", std::move(about));
      if (execute(*node.children[2], pass, out) == Flow::leave) break;
    }
  }

  void unpack(const Node& node, const Value& value, Scope& scope) {
    if (node.names.size() == 1) return store(node, node.names[0], value, scope);
    at(node, [&] {
      const List parts = value.items();
      if (parts.size() != node.names.size()) refuse(fmt::format("{} names for {} values", node.names.size(), parts.size()));
      for (size_t i = 0; i < parts.size(); ++i) store(node, node.names[i], parts[i], scope);
    });
  }

  void assign(const Node& node, Scope& scope) {
    Value value = evaluate(*node.children[0], scope);
    if (node.names.size() == 1) return store(node, node.names[0], std::move(value), scope);
    unpack(node, value, scope);
  }

  // `target`: NAME, or NAME.MEMBER of a namespace.
  void store(const Node& node, const std::string& target, Value value, Scope& scope) {
    const size_t dot = target.find('.');
    if (dot == std::string::npos) {
      if (scope.names.size() >= kMaxNames) fail(node, fmt::format("more than {} names", kMaxNames));
      return scope.set(target, std::move(value));
    }
    const Value* space = scope.find(target.substr(0, dot));
    if (space == nullptr || !space->is(VKind::name_space))
      fail(node, fmt::format("'{}' is no namespace", target.substr(0, dot)));
    Dict& members = space->members();
    for (auto& [name, old] : members)
      if (name == target.substr(dot + 1)) {
        old = std::move(value);
        return;
      }
    if (members.size() >= kMaxNames) fail(node, fmt::format("more than {} names", kMaxNames));
    members.emplace_back(target.substr(dot + 1), std::move(value));
  }

  // A macro, or the body of a call block; node.children from `first_default` on are defaults of the last parameters. A macro
  // lives no longer than the rendering: the scope it refers to is that of its definition.
  Value macro(const Node& node, const std::string& name, const Node& body, size_t first_default, Scope& scope) {
    for (Scope* s = &scope; s != nullptr; s = s->outer) s->needed_later = true;
    return Function([this, &node, name, &body, first_default, outer = &scope](const Arguments& a) -> Value {
      if (++calls_ > kMaxCalls) fail(node, fmt::format("macros call each other deeper than {}", kMaxCalls));
      Block block(*this, *outer);
      Scope& inner = block.scope();
      const size_t n = node.names.size(), defaults = node.children.size() - first_default;
      if (a.values.size() > n) fail(node, fmt::format("'{}' takes {} arguments, {} are given", name, n, a.values.size()));
      for (size_t i = 0; i < n; ++i) {
        const std::string& parameter = node.names[i];
        const Value* value = i < a.values.size() ? &a.values[i] : nullptr;
        for (const auto& [key, v] : a.named)
          if (key == parameter) value = &v;
        if (value != nullptr)
          inner.set(parameter, *value);
        else if (i + defaults >= n)
          inner.set(parameter, evaluate(*node.children[first_default + i + defaults - n], inner));
        else
          inner.set(parameter, Value::undefined(parameter));
      }
      for (const auto& [key, v] : a.named)
        if (key == "caller") inner.set("caller", v);
      std::string out;
      execute(body, inner, out);
      --calls_;
      return out;
    });
  }

  // ---- expressions

  // What is made of texts and lists, and what is looked through, costs steps by its size, so that the bound on steps is one on
  // time.
  Value evaluate(const Node& node, Scope& scope) {
    step(node);
    const Deeper deeper(*this, node);
    Value value = at(node, [&] { return evaluated(node, scope); });
    if (node.kind == NKind::call || node.kind == NKind::filter || node.kind == NKind::binary || node.kind == NKind::slice) {
      if (value.is(VKind::text)) step(node, static_cast<int64_t>(value.text().size() / 64));
      if (value.is(VKind::list)) step(node, static_cast<int64_t>(value.list().size()));
      if (value.is(VKind::dict)) step(node, static_cast<int64_t>(value.dict().size()));
    }
    return value;
  }

  Value evaluated(const Node& node, Scope& scope) {
    switch (node.kind) {
      case NKind::literal:
        return node.value;
      case NKind::name: {
        const Value* value = scope.find(node.text);
        return value != nullptr ? *value : Value::undefined(node.text);
      }
      case NKind::attribute: {
        const Value of = evaluate(*node.children[0], scope);
        look(node, of);
        return at(node, [&] { return attribute(of, node.text); });
      }
      case NKind::subscript: {
        const Value of = evaluate(*node.children[0], scope), key = evaluate(*node.children[1], scope);
        if (!of.is(VKind::list)) look(node, of);
        return at(node, [&] { return item(of, key); });
      }
      case NKind::slice:
        return slice(node, scope);
      case NKind::call:
        return call(node, evaluate(*node.children[0], scope), call_arguments(node, 1, scope));
      case NKind::filter:
        return filtered(node, nullptr, scope);
      case NKind::test: {
        const Value of = evaluate(*node.children[0], scope);
        const Arguments arguments = call_arguments(node, 1, scope);
        if (!arguments.values.empty()) step(node, of.extent().bytes / 64);
        for (const Value& v : arguments.values) step(node, v.extent().bytes / 64);
        return at(node, [&]() -> Value { return apply_test(node.text, of, arguments); });
      }
      case NKind::unary: {
        const Value of = evaluate(*node.children[0], scope);
        if (node.text == "not") return !of.truth();
        return at(node, [&]() -> Value {
          if (of.is(VKind::real)) return node.text == "-" ? -of.real() : of.real();
          if (node.text == "-" && of.integer() == INT64_MIN) refuse("a number is out of range");
          return node.text == "-" ? -of.integer() : of.integer();
        });
      }
      case NKind::binary:
        return binary(node, scope);
      case NKind::comparison: {
        Value left = evaluate(*node.children[0], scope);
        for (size_t i = 0; i < node.names.size(); ++i) {
          Value right = evaluate(*node.children[i + 1], scope);
          const bool in = node.names[i].ends_with("in");
          if (in && right.is(VKind::dict))
            look(node, right);
          else
            step(node, std::min(in ? INT64_MAX : left.extent().bytes, right.extent().bytes) / 64);
          if (!at(node, [&] { return compared(node.names[i], left, right); })) return false;
          left = std::move(right);
        }
        return true;
      }
      case NKind::conditional:
        if (evaluate(*node.children[1], scope).truth()) return evaluate(*node.children[0], scope);
        return node.children[2] ? evaluate(*node.children[2], scope) : Value::undefined("the 'else' of a conditional");
      case NKind::list: {
        List list;
        for (const NodePtr& child : node.children) list.push_back(evaluate(*child, scope));
        return list;
      }
      case NKind::dict: {
        Dict dict;
        for (size_t i = 0; i < node.children.size(); i += 2) {
          const Value key = evaluate(*node.children[i], scope);
          Value value = evaluate(*node.children[i + 1], scope);
          const std::string name = key.str();
          bool known = false;
          for (auto& [old, v] : dict)
            if (old == name) {
              v = value;
              known = true;
            }
          if (!known) dict.emplace_back(name, std::move(value));
          step(node, static_cast<int64_t>(dict.size() / 16));
        }
        return dict;
      }
      default:
        R1_CHECK(false, "a statement stands where an expression belongs");
    }
    return {};
  }

  static bool compared(const std::string& op, const Value& left, const Value& right) {
    if (op == "==") return left.equals(right);
    if (op == "!=") return !left.equals(right);
    if (op == "in") return right.contains(left);
    if (op == "not in") return !right.contains(left);
    const int c = left.compare(right);
    return op == "<" ? c < 0 : op == "<=" ? c <= 0 : op == ">" ? c > 0 : c >= 0;
  }

  Value binary(const Node& node, Scope& scope) {
    const std::string& op = node.text;
    Value left = evaluate(*node.children[0], scope);
    if (op == "and") return left.truth() ? evaluate(*node.children[1], scope) : left;
    if (op == "or") return left.truth() ? left : evaluate(*node.children[1], scope);
    const Value right = evaluate(*node.children[1], scope);
    return at(node, [&]() -> Value {
      if (op == "~") return bounded(left.str() + right.str());
      if (op == "+" && left.is(VKind::text) && right.is(VKind::text)) return bounded(left.text() + right.text());
      if (op == "+" && left.is(VKind::list) && right.is(VKind::list)) {
        List list = left.list();
        list.insert(list.end(), right.list().begin(), right.list().end());
        if (list.size() > kMaxOutput / 64) refuse("a list is too long");
        return list;
      }
      if (op == "*" && left.is(VKind::text) && right.is(VKind::integer)) return repeated(left.text(), right.integer());
      for (const Value* v : {static_cast<const Value*>(&left), &right})
        if (!v->is_number())
          refuse(v->is(VKind::undefined) ? fmt::format("'{}' is undefined", v->undefined_name())
                                         : fmt::format("'{}' between {} and {}", op, left.kind_name(), right.kind_name()));
      return arithmetic(op, left, right);
    });
  }

  static Value repeated(const std::string& text, int64_t n) {
    if (n <= 0 || text.empty()) return "";
    if (n > static_cast<int64_t>(kMaxOutput / text.size())) refuse("a text is too long");
    std::string out;
    for (int64_t i = 0; i < n; ++i) out += text;
    return out;
  }

  static Value arithmetic(const std::string& op, const Value& left, const Value& right) {
    if (op == "/" || left.is(VKind::real) || right.is(VKind::real) || (op == "**" && right.integer() < 0)) {
      const double a = left.real(), b = right.real();
      if (b == 0 && (op == "/" || op == "//" || op == "%")) refuse("division by zero");
      if (op == "+") return a + b;
      if (op == "-") return a - b;
      if (op == "*") return a * b;
      if (op == "/") return a / b;
      if (op == "//") return std::floor(a / b);
      if (op == "%") return a - b * std::floor(a / b);
      return std::pow(a, b);
    }
    const int64_t a = left.integer(), b = right.integer();
    int64_t out = 0;
    bool over = false;
    if (op == "+") over = __builtin_add_overflow(a, b, &out);
    if (op == "-") over = __builtin_sub_overflow(a, b, &out);
    if (op == "*") over = __builtin_mul_overflow(a, b, &out);
    if (op == "//" || op == "%") {
      if (b == 0) refuse("division by zero");
      over = a == INT64_MIN && b == -1;
      if (!over) {
        const int64_t rest = a % b, adjust = rest != 0 && (rest < 0) != (b < 0) ? 1 : 0;
        out = op == "//" ? a / b - adjust : rest + adjust * b;
      }
    }
    if (op == "**") {
      out = 1;
      for (int64_t i = 0; i < b && !over && !(a == 1 || a == 0 || a == -1); ++i) over = __builtin_mul_overflow(out, a, &out);
      if (a == 0 && b > 0) out = 0;
      if (a == -1 && b % 2 != 0) out = -1;
    }
    if (over) refuse("a number is out of range");
    return out;
  }

  Value slice(const Node& node, Scope& scope) {
    const Value of = evaluate(*node.children[0], scope);
    look(node, of);
    std::optional<int64_t> part[3];
    for (size_t i = 0; i < 3; ++i)
      if (node.children[i + 1]) {
        const Value v = evaluate(*node.children[i + 1], scope);
        if (!v.is(VKind::none)) part[i] = at(node, [&] { return v.integer(); });
      }
    return at(node, [&]() -> Value {
      if (!of.is(VKind::list) && !of.is(VKind::text)) refuse(fmt::format("a slice of {}", of.kind_name()));
      const int64_t n = length(of), by = std::clamp<int64_t>(part[2].value_or(1), -n - 1, n + 1);
      if (by == 0) refuse("a slice with a step of 0");
      const auto clamp = [&](int64_t i) {
        if (i < 0) i = std::max<int64_t>(i, -n - 1) + n;
        return by > 0 ? std::clamp<int64_t>(i, 0, n) : std::clamp<int64_t>(i, -1, n - 1);
      };
      const int64_t begin = part[0] ? clamp(*part[0]) : by > 0 ? 0 : n - 1;
      const int64_t end = part[1] ? clamp(*part[1]) : by > 0 ? n : -1;
      if (of.is(VKind::text)) return sliced(of.text(), begin, end, by);
      List out;
      for (int64_t i = begin; by > 0 ? i < end : i > end; i += by) out.push_back(of.list()[static_cast<size_t>(i)]);
      return out;
    });
  }

  // `innermost`: stands in for the operand that a filter block's chain leaves out.
  Value filtered(const Node& node, const Value* innermost, Scope& scope) {
    Value value;
    if (!node.children[0])
      value = *innermost;
    else if (innermost != nullptr && node.children[0]->kind == NKind::filter)
      value = filtered(*node.children[0], innermost, scope);
    else
      value = evaluate(*node.children[0], scope);
    const Arguments arguments = call_arguments(node, 1, scope);
    return at(node, [&] {
      step(node, filter_cost(node.text, value, arguments));
      return apply_filter(node.text, value, arguments);
    });
  }

  Arguments call_arguments(const Node& node, size_t first, Scope& scope) {
    Arguments a;
    for (size_t i = first; i < node.children.size(); ++i) a.values.push_back(evaluate(*node.children[i], scope));
    for (const auto& [name, value] : node.named) a.named.emplace_back(name, evaluate(*value, scope));
    for (const Value& v : a.values) look(node, v);
    return a;
  }

  Value call(const Node& node, const Value& callee, const Arguments& arguments) {
    return at(node, [&]() -> Value {
      if (callee.is(VKind::undefined)) refuse(fmt::format("'{}' is undefined", callee.undefined_name()));
      if (!callee.is(VKind::function)) refuse(fmt::format("{} cannot be called", callee.kind_name()));
      return callee.function()(arguments);
    });
  }

  // ---- bounds and errors

  [[noreturn]] void fail(const Node& node, const std::string& what) const {
    throw bad_input("chat template: " + what, {name_, node.line});
  }

  void step(const Node& node, int64_t n = 1) {
    if ((steps_ += n) > kMaxSteps) fail(node, fmt::format("more than {} steps", kMaxSteps));
  }

  // What it costs to go through the items of `v` once.
  void look(const Node& node, const Value& v) {
    if (v.is(VKind::text)) step(node, static_cast<int64_t>(v.text().size() / 64));
    if (v.is(VKind::list)) step(node, static_cast<int64_t>(v.list().size() / 16));
    if (v.is(VKind::dict)) step(node, static_cast<int64_t>(v.dict().size() / 16));
  }

  void append(std::string& out, const std::string& text, const Node& node) {
    step(node, static_cast<int64_t>(text.size() / 64));
    out += text;
    if (out.size() > kMaxOutput) fail(node, fmt::format("a text of more than {} MiB", kMaxOutput >> 20));
  }

  const std::string& name_;
  std::deque<Dict> spaces_;
  std::vector<std::unique_ptr<Scope>> kept_;
  int64_t steps_ = 0;
  int calls_ = 0, depth_ = 0;
};

}  // namespace

Template Template::parse(std::string_view source, const std::string& name_for_errors) {
  if (source.size() > kMaxTemplate)
    throw bad_input(fmt::format("chat template: longer than {} MiB", kMaxTemplate >> 20), {name_for_errors});
  Template t;
  t.name_ = name_for_errors;
  t.root_ = jinja::parse(source, name_for_errors);
  return t;
}

std::string Template::render(const Dict& variables) const { return Renderer(name_).run(*root_, variables); }

}  // namespace r1::jinja
