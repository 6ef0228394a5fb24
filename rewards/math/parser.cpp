#include "rewards/math/parser.h"

#include "rewards/math/grammar.h"

namespace r1::math {

namespace {

constexpr std::string_view kFillers[] = {"about",  "approximately", "exactly",   "is", "the answer is",
                                         "equals", "equal to",      "therefore", "so"};

}  // namespace

Item Parser::item() {
  Item out;
  while (at_ < end_ && textual(*at_) && !currency(*at_)) {  // "area = 5", "about 5", "Tuesday"
    const Token* after = at_;
    while (after < end_ && textual(*after) && !currency(*after)) ++after;
    std::string words;
    for (const Token* t = at_; t < after; ++t) words += (words.empty() ? "" : " ") + t->text;
    if (after == end_) {
      at_ = after;
      out.value = named(Kind::text, words);
      return out;
    }
    if (!after->is("=") && !after->is(":") && !among(kFillers, words)) fail();
    at_ = after + (after->is("=") || after->is(":") ? 1 : 0);
  }
  take("=");
  // "12 m", with a space: metres and not a product.
  if (end_ - at_ == 2 && at_[0].type == Type::number && at_[1].type == Type::letter && at_[1].space &&
      std::string_view("m s g L h").find(at_[1].text) != std::string_view::npos)
    out.unit = at_[1].text, --end_;
  trailing_mark(out);
  out.value = relation();
  if (!unit_.empty()) out.unit = unit_;
  if (at_ < end_) {
    if (!textual(*at_) && !(at_->type == Type::letter && out.unit == "degree")) fail();
    if (at_->text == "base" && at_ + 2 == end_ && at_[1].type == Type::number) {
      out.value = based(*out.value, at_[1].text);
      return out;
    }
    if (at_->text == "of" || out.unit == "usd") out.unit.clear();
    for (; at_ < end_; ++at_) {
      if (at_->type == Type::symbol && (at_->text == "{" || at_->text == "}")) continue;
      if (at_->type == Type::command || at_->is("=") || at_->is("+")) fail();
      const bool glued = at_->type == Type::symbol || (!out.unit.empty() && (out.unit.back() == '^' || out.unit.back() == '/'));
      out.unit += (out.unit.empty() || glued ? "" : " ") + at_->text;
    }
  }
  return out;
}

// A percent or degree sign at the end belongs to the whole item: 1/2 % is a half percent.
void Parser::trailing_mark(Item& out) {
  const auto back = [&](ptrdiff_t k) -> const Token& {
    static const Token kEnd;
    return end_ - at_ > k ? end_[-1 - k] : kEnd;
  };
  if (back(0).is("%")) {
    out.percent = true;
    --end_;
    return;
  }
  if (std::any_of(at_, end_, [](const Token& t) { return among(kFunctions, t.text) || t.is("=") || t.is("\\pm"); })) return;
  ptrdiff_t gone = 0;
  const ptrdiff_t scale = back(0).type == Type::letter && (back(0).text == "C" || back(0).text == "F") ? 1 : 0;
  if (back(scale).is("\\circ")) gone = back(scale + 1).is("^") ? 2 : 1;
  if (back(scale).is("}") && back(scale + 1).is("\\circ") && back(scale + 2).is("{") && back(scale + 3).is("^")) gone = 4;
  if (gone == 0) return;
  unit_ = scale == 1 ? "degree " + back(0).text : "degree";
  end_ -= gone + scale;
}

static bool separator(const Token& t) {
  if (t.type == Type::symbol) return t.text == "," || t.text == ";";
  if (t.type == Type::command) return t.text == "\\or" || t.text == "\\and";
  return textual(t) && (t.text == "and" || t.text == "or");
}

std::optional<std::vector<Item>> parse_answer(const std::vector<Token>& tokens) {
  std::vector<Item> out;
  const Token* begin = tokens.data();
  const Token* end = begin + tokens.size() - 1;
  if (begin == end) return std::nullopt;
  try {
    int depth = 0;
    const Token* start = begin;
    for (const Token* t = begin; t <= end; ++t) {
      if (t < end && (t->type == Type::symbol || t->type == Type::command)) {
        if (t->text == "(" || t->text == "[" || t->text == "{" || t->text == "\\{" || t->text == "\\langle" ||
            t->text.starts_with("\\begin "))
          ++depth;
        if (t->text == ")" || t->text == "]" || t->text == "}" || t->text == "\\}" || t->text == "\\rangle" ||
            t->text.starts_with("\\end "))
          --depth;
      }
      if (t < end && (depth > 0 || !separator(*t))) continue;
      if (t > start) {
        out.push_back(Parser(start, t).item());
        out.back().separator = start == begin                                   ? ','
                               : start[-1].text.find("or") != std::string::npos ? '|'
                               : start[-1].type == Type::symbol                 ? ','
                                                                                : '&';
      }
      start = t + 1;
      if (out.size() > 256) return std::nullopt;
    }
  } catch (const NotMathematics&) {
    return std::nullopt;
  }
  if (out.empty()) return std::nullopt;
  return out;
}

}  // namespace r1::math
