#include "runtime/until.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>

#include "base/clipped.h"

namespace r1 {

struct Until::Node {
  enum class Kind { any, all, batches, epochs, tokens, plateau, above, below };
  Kind kind = Kind::any;
  std::vector<std::shared_ptr<const Node>> children;  // of any ("or") and all ("and")
  std::string metric;
  double value = 0;  // N, EPSILON or VALUE
  int64_t window = 1, min_batches = 0;
  std::string text;  // of a call, as in why()

  UntilCall::Kind call_kind() const {
    switch (kind) {
      case Kind::epochs:
        return UntilCall::Kind::epochs;
      case Kind::tokens:
        return UntilCall::Kind::tokens;
      case Kind::plateau:
        return UntilCall::Kind::plateau;
      case Kind::above:
        return UntilCall::Kind::above;
      case Kind::below:
        return UntilCall::Kind::below;
      default:
        return UntilCall::Kind::batches;
    }
  }

  // Mean of `count` values that end `skip` values before the newest; summed oldest first, so that replays agree.
  static double mean(const std::vector<double>& values, size_t count, size_t skip) {
    double sum = 0;
    for (size_t i = values.size() - skip - count; i < values.size() - skip; ++i) sum += values[i];
    return sum / static_cast<double>(count);
  }

  bool reached(const UntilInput& in) const {
    const size_t w = static_cast<size_t>(window);
    if (!metric.empty() && in.incomplete) return false;
    switch (kind) {
      case Kind::any:
        return std::any_of(children.begin(), children.end(), [&](const auto& c) { return c->reached(in); });
      case Kind::all:
        return std::all_of(children.begin(), children.end(), [&](const auto& c) { return c->reached(in); });
      case Kind::batches:
        return in.batches >= static_cast<int64_t>(value);
      case Kind::epochs:
        return in.epochs >= value;
      case Kind::tokens:
        return in.tokens >= value;
      case Kind::plateau: {
        if (in.batches < std::max(2 * window, min_batches)) return false;
        const std::vector<double> values = in.metric(metric);
        return values.size() >= 2 * w && mean(values, w, 0) - mean(values, w, w) < value;
      }
      case Kind::above:
      case Kind::below: {
        const std::vector<double> values = in.metric(metric);
        if (values.size() < w) return false;
        const double m = mean(values, w, 0);
        return kind == Kind::above ? m > value : m < value;
      }
    }
    return false;
  }

  std::string why(const UntilInput& in) const {
    if (!reached(in)) return {};
    if (kind == Kind::any) {
      for (const auto& child : children)
        if (std::string text = child->why(in); !text.empty()) return text;
    }
    if (kind != Kind::all) return text;
    std::string joined;
    for (const auto& child : children) joined += (joined.empty() ? "" : " and ") + child->why(in);
    return joined;
  }

  std::string goal(const UntilInput& in) const {
    if (!reached(in)) return {};
    if (kind == Kind::above || kind == Kind::below) return text;
    for (const auto& child : children)
      if (std::string met = child->goal(in); !met.empty()) return met;
    return {};
  }
};

namespace {

struct Call {
  const char* name;
  const char* form;  // shown in messages
  size_t min_args, max_args;
  bool metric;  // the first argument is the name of a metric
};
constexpr std::array<Call, 6> kCalls = {{{"batches", "batches(N)", 1, 1, false},
                                         {"epochs", "epochs(N)", 1, 1, false},
                                         {"tokens", "tokens(N)", 1, 1, false},
                                         {"plateau", "plateau(METRIC, WINDOW, EPSILON [, MIN_BATCHES])", 3, 4, true},
                                         {"above", "above(METRIC, VALUE [, WINDOW])", 2, 3, true},
                                         {"below", "below(METRIC, VALUE [, WINDOW])", 2, 3, true}}};

constexpr int kMaxDepth = 200;  // of parentheses, as in reward expressions

template <class Node>
class Parser {
 public:
  Parser(const std::string& text, const Where& where, const UntilNames& names)
      : text_(text), where_(where), metrics_(names.metrics), no_epochs_(names.no_epochs) {}

  std::shared_ptr<const Node> parse() {
    blanks();
    if (at_ == text_.size()) throw bad_input("until is empty", where_, "for example batches(100)");
    auto root = condition();
    if (at_ != text_.size()) refuse(at_, "expected 'and', 'or' or the end, found " + found());
    return root;
  }

 private:
  struct Argument {
    std::string text;
    size_t at;
  };
  using Kind = typename Node::Kind;

  [[noreturn]] void refuse(size_t at, const std::string& what, const std::string& hint = "") const {
    throw bad_input(fmt::format("until: column {}: {}", at + 1, what), where_, hint);
  }
  void blanks() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n')) ++at_;
  }
  static bool in_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '+' ||
           c == '-' || c == '/';
  }
  size_t word_end() const {
    size_t end = at_;
    while (end < text_.size() && in_word(text_[end])) ++end;
    return end;
  }
  // A number or the name of a metric, which may be a rule's call: repetition(3), regex('a, (b)').
  size_t argument_end() const {
    size_t end = word_end();
    if (end == at_ || end == text_.size() || text_[end] != '(') return end;
    for (char quote = 0; end < text_.size() && (quote != 0 || text_[end] != ')'); ++end) {
      if (quote != 0)
        quote = text_[end] == quote ? '\0' : quote;
      else if (text_[end] == '\'' || text_[end] == '"')
        quote = text_[end];
    }
    return end == text_.size() ? word_end() : end + 1;
  }
  std::string found() const {
    if (at_ == text_.size()) return "the end";
    size_t end = std::max(word_end(), at_ + 1);
    while (end < text_.size() && (static_cast<unsigned char>(text_[end]) & 0xC0) == 0x80) ++end;  // whole characters
    return "'" + clipped(std::string_view(text_).substr(at_, end - at_)) + "'";
  }
  bool eat_word(std::string_view word) {
    const size_t end = word_end();
    if (std::string_view(text_).substr(at_, end - at_) != word) return false;
    at_ = end;
    blanks();
    return true;
  }
  bool eat(char c) {
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    blanks();
    return true;
  }

  std::shared_ptr<const Node> condition() {
    return chain(Kind::any, "or", [this] { return term(); });
  }
  std::shared_ptr<const Node> term() {
    return chain(Kind::all, "and", [this] { return factor(); });
  }

  template <class Part>
  std::shared_ptr<const Node> chain(Kind kind, const char* word, Part part) {
    auto node = std::make_shared<Node>();
    node->kind = kind;
    node->children.push_back(part());
    while (eat_word(word)) node->children.push_back(part());
    return node->children.size() == 1 ? node->children[0] : node;
  }

  std::shared_ptr<const Node> factor() {
    const size_t start = at_;
    if (eat('(')) {
      if (++depth_ > kMaxDepth) refuse(start, "the condition is nested too deeply");
      auto inner = condition();
      --depth_;
      if (!eat(')')) refuse(at_, "expected ')', found " + found(), fmt::format("the '(' of column {} is open", start + 1));
      return inner;
    }
    return call();
  }

  std::shared_ptr<const Node> call() {
    const size_t start = at_, end = word_end();
    const std::string name = text_.substr(start, end - start);
    std::vector<std::string> names, forms;
    const Call* form = nullptr;
    for (const Call& c : kCalls) {
      names.push_back(c.name);
      if (name == c.name) form = &c;
    }
    if (!form) {
      const std::string near = nearest(name, names);
      refuse(start, "expected a condition, found " + found(),
             near.empty() ? fmt::format("conditions are {}", fmt::join(names, ", ")) : fmt::format("did you mean '{}'?", near));
    }
    at_ = end;
    blanks();
    if (!eat('(')) refuse(at_, fmt::format("expected '(' after '{}', found {}", name, found()), form->form);
    std::vector<Argument> args;
    do {
      const size_t arg_end = argument_end();
      if (arg_end == at_) refuse(at_, "expected an argument, found " + found(), form->form);
      args.push_back({text_.substr(at_, arg_end - at_), at_});
      at_ = arg_end;
      blanks();
    } while (eat(','));
    if (!eat(')')) refuse(at_, "expected ',' or ')', found " + found(), form->form);
    if (args.size() < form->min_args || args.size() > form->max_args)
      refuse(start, fmt::format("'{}' with {} argument{}", name, args.size(), args.size() == 1 ? "" : "s"), form->form);
    return built(*form, args);
  }

  std::shared_ptr<const Node> built(const Call& form, const std::vector<Argument>& args) {
    auto node = std::make_shared<Node>();
    const std::string name = form.name;
    if (name == "epochs" && !no_epochs_.empty()) refuse(args[0].at, no_epochs_, "batches(100)");
    if (form.metric) {
      node->metric = args[0].text;
      if (std::find(metrics_.begin(), metrics_.end(), node->metric) == metrics_.end()) {
        const std::string near = nearest(node->metric, metrics_);
        refuse(args[0].at, fmt::format("this stage has no metric '{}'", node->metric),
               fmt::format("{}it has {}", near.empty() ? "" : fmt::format("did you mean '{}'? ", near),
                           fmt::join(metrics_, ", ")));
      }
    }
    if (name == "plateau") {
      node->kind = Kind::plateau;
      node->window = count(args[1]);
      node->value = number(args[2]);
      if (args.size() > 3) node->min_batches = count(args[3]);
    } else if (name == "above" || name == "below") {
      node->kind = name == "above" ? Kind::above : Kind::below;
      node->value = number(args[1]);
      if (args.size() > 2) node->window = count(args[2]);
    } else {
      node->kind = name == "batches" ? Kind::batches : name == "epochs" ? Kind::epochs : Kind::tokens;
      node->value = name == "batches" ? static_cast<double>(count(args[0])) : number(args[0]);
      if (node->value <= 0) refuse(args[0].at, fmt::format("expected a positive number, found '{}'", args[0].text));
    }
    std::vector<std::string> texts;
    for (const Argument& arg : args) texts.push_back(arg.text);
    node->text = fmt::format("{}({})", name, fmt::join(texts, ", "));
    return node;
  }

  int64_t count(const Argument& arg) const {
    // 2^40 batches are out of reach; the bound keeps 2 * WINDOW far from overflow.
    constexpr int64_t kLimit = int64_t{1} << 40;
    int64_t value = 0;
    const char* end = arg.text.data() + arg.text.size();
    const auto [stop, error] = std::from_chars(arg.text.data(), end, value);
    if (error != std::errc() || stop != end || value < 1 || value > kLimit)
      refuse(arg.at, fmt::format("expected a positive integer, found '{}'", arg.text));
    return value;
  }
  double number(const Argument& arg) const {
    double value = 0;
    const char* end = arg.text.data() + arg.text.size();
    const auto [stop, error] = std::from_chars(arg.text.data(), end, value);
    if (error != std::errc() || stop != end || !std::isfinite(value))
      refuse(arg.at, fmt::format("expected a number, found '{}'", arg.text));
    return value;
  }

  const std::string& text_;
  const Where& where_;
  const std::vector<std::string>& metrics_;
  const std::string& no_epochs_;
  size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

Until::Until(std::shared_ptr<const Node> root) : root_(std::move(root)) {}
Until::Until(const Until&) = default;
Until& Until::operator=(const Until&) = default;
Until::~Until() = default;

Until Until::parse(const std::string& text, const Where& where, const UntilNames& names) {
  return Until(Parser<Node>(text, where, names).parse());
}

bool Until::reached(const UntilInput& in) const { return root_->reached(in); }
std::string Until::why(const UntilInput& in) const { return root_->why(in); }
std::string Until::goal(const UntilInput& in) const { return root_->goal(in); }

int64_t Until::batch_limit() const {
  int64_t limit = 0;
  std::vector<const Node*> open = {root_.get()};
  while (!open.empty()) {
    const Node& node = *open.back();
    open.pop_back();
    if (node.kind == Node::Kind::any)
      for (const auto& child : node.children) open.push_back(child.get());
    if (node.kind != Node::Kind::batches) continue;
    const int64_t n = static_cast<int64_t>(node.value);
    limit = limit == 0 ? n : std::min(limit, n);
  }
  return limit;
}

std::vector<UntilCall> Until::calls() const {
  std::vector<UntilCall> calls;
  std::vector<const Node*> open = {root_.get()};
  while (!open.empty()) {
    const Node& node = *open.back();
    open.pop_back();
    for (auto child = node.children.rbegin(); child != node.children.rend(); ++child) open.push_back(child->get());
    if (node.children.empty())
      calls.push_back({node.call_kind(), node.text, node.metric, node.value, node.window, node.min_batches});
  }
  return calls;
}

std::vector<std::string> Until::metrics() const {
  std::vector<std::string> names;
  std::vector<const Node*> open = {root_.get()};
  while (!open.empty()) {
    const Node& node = *open.back();
    open.pop_back();
    for (const auto& child : node.children) open.push_back(child.get());
    if (!node.metric.empty() && std::find(names.begin(), names.end(), node.metric) == names.end()) names.push_back(node.metric);
  }
  return names;
}

}  // namespace r1
