#include "rewards/math/lexer.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

namespace r1::math {

namespace {

using Type = Token::Type;
using Spelling = std::pair<std::string_view, std::string_view>;

bool digit(char c) { return c >= '0' && c <= '9'; }
bool alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

template <class Table>
std::string_view lookup(const Table& table, std::string_view key) {
  for (const auto& [from, to] : table)
    if (from == key) return to;
  return {};
}
template <class Table>
bool listed(const Table& table, std::string_view key) {
  return std::find(std::begin(table), std::end(table), key) != std::end(table);
}

// Characters outside ASCII that stand for something in LaTeX.
constexpr Spelling kUnicode[] = {
    {"\u2212", "-"},
    {"\u2013", "-"},
    {"\u2014", "-"},
    {"\u2010", "-"},
    {"\u2011", "-"},
    {"\uFF0D", "-"},
    {"\u00D7", "\\times "},
    {"\u00B7", "\\cdot "},
    {"\u22C5", "\\cdot "},
    {"\u2217", "*"},
    {"\u00F7", "/"},
    {"\u2044", "/"},
    {"\u2215", "/"},
    {"\u221A", "\\sqrt "},
    {"\u221B", "\\sqrt[3]"},
    {"\u221E", "\\infty "},
    {"\u2264", "\\le "},
    {"\u2265", "\\ge "},
    {"\u2A7D", "\\le "},
    {"\u2A7E", "\\ge "},
    {"\u2260", "\\ne "},
    {"\u2248", "\\approx "},
    {"\u222A", "\\cup "},
    {"\u2229", "\\cap "},
    {"\u2208", "\\in "},
    {"\u2205", "\\emptyset "},
    {"\u00B1", "\\pm "},
    {"\u2213", "\\mp "},
    {"\u00B0", "\\degree "},
    {"\u211D", "\\mathbb{R}"},
    {"\u00BD", " 1/2"},
    {"\u00BC", " 1/4"},
    {"\u00BE", " 3/4"},
    {"\u2153", " 1/3"},
    {"\u2154", " 2/3"},
    {"\u20AC", "\\text{eur}"},
    {"\u00A3", "\\text{gbp}"},
    {"\u00A5", "\\text{yen}"},
    {"\u2236", ":"},
    {"\u2223", "|"},
    {"\u27E8", "\\langle "},
    {"\u27E9", "\\rangle "},
    {"\u2032", "'"},
    {"\u2009", "\\,"},
    {"\u202F", "\\,"},
    {"\u00A0", "~"},
    {"\u200B", ""},
    {"\uFEFF", ""},
    {"\u3001", ","},
    {"\u3002", "."},
    {"\u2070", "^{0}"},
    {"\u00B9", "^{1}"},
    {"\u00B2", "^{2}"},
    {"\u00B3", "^{3}"},
    {"\u2074", "^{4}"},
    {"\u2075", "^{5}"},
    {"\u2076", "^{6}"},
    {"\u2077", "^{7}"},
    {"\u2078", "^{8}"},
    {"\u2079", "^{9}"},
    {"\u207F", "^{n}"},
    {"\u2080", "_{0}"},
    {"\u2081", "_{1}"},
    {"\u2082", "_{2}"},
    {"\u2083", "_{3}"},
    {"\u2084", "_{4}"},
    {"\u2085", "_{5}"},
    {"\u2086", "_{6}"},
    {"\u2087", "_{7}"},
    {"\u2088", "_{8}"},
    {"\u2089", "_{9}"},
    {"\u2019", "'"},
    {"\u201C", ""},
    {"\u201D", ""},
    {"\u03B1", "\\alpha "},
    {"\u03B2", "\\beta "},
    {"\u03B3", "\\gamma "},
    {"\u03B4", "\\delta "},
    {"\u03B5", "\\epsilon "},
    {"\u03B8", "\\theta "},
    {"\u03BB", "\\lambda "},
    {"\u03BC", "\\mu "},
    {"\u03C0", "\\pi "},
    {"\u03C1", "\\rho "},
    {"\u03C3", "\\sigma "},
    {"\u03C6", "\\phi "},
    {"\u03D5", "\\phi "},
    {"\u03C9", "\\omega "},
    {"\u03C8", "\\psi "},
};

// Commands that only lay out. \left. and \right. take the point with them.
constexpr std::string_view kLayout[] = {
    "\\left",     "\\right",      "\\displaystyle", "\\textstyle", "\\limits",  "\\big",     "\\Big",    "\\bigg",
    "\\Bigg",     "\\bigl",       "\\bigr",         "\\Bigl",      "\\Bigr",    "\\biggl",   "\\biggr",  "\\boldsymbol",
    "\\mathbf",   "\\bm",         "\\mathit",       "\\mathsf",    "\\mathcal", "\\hbox",    "\\boxed",  "\\fbox",
    "\\bf",       "\\mathop",     "\\qquad",        "\\quad",      "\\hspace",  "\\phantom", "\\middle", "\\angle",
    "\\triangle", "\\ensuremath", "\\underline",    "\\overline",  "\\vec",     "\\hat",     "\\Large",  "\\large",
    "\\huge",     "\\Huge",       "\\bfseries",     "\\textstyle"};
constexpr std::string_view kText[] = {"\\text",   "\\textbf", "\\textrm",       "\\textit", "\\mathrm",    "\\mbox",
                                      "\\textsf", "\\texttt", "\\operatorname", "\\emph",   "\\textnormal"};
constexpr Spelling kCommands[] = {{"\\dfrac", "\\frac"},
                                  {"\\tfrac", "\\frac"},
                                  {"\\cfrac", "\\frac"},
                                  {"\\leq", "\\le"},
                                  {"\\geq", "\\ge"},
                                  {"\\leqslant", "\\le"},
                                  {"\\geqslant", "\\ge"},
                                  {"\\leqq", "\\le"},
                                  {"\\geqq", "\\ge"},
                                  {"\\neq", "\\ne"},
                                  {"\\lt", "<"},
                                  {"\\gt", ">"},
                                  {"\\times", "*"},
                                  {"\\cdot", "*"},
                                  {"\\ast", "*"},
                                  {"\\div", "/"},
                                  {"\\lbrace", "\\{"},
                                  {"\\rbrace", "\\}"},
                                  {"\\lbrack", "["},
                                  {"\\rbrack", "]"},
                                  {"\\lparen", "("},
                                  {"\\rparen", ")"},
                                  {"\\vert", "|"},
                                  {"\\lvert", "|"},
                                  {"\\rvert", "|"},
                                  {"\\mid", "|"},
                                  {"\\colon", ":"},
                                  {"\\varnothing", "\\emptyset"},
                                  {"\\degree", "\\circ"},
                                  {"\\dbinom", "\\binom"},
                                  {"\\tbinom", "\\binom"},
                                  {"\\varphi", "\\phi"},
                                  {"\\varepsilon", "\\epsilon"},
                                  {"\\vartheta", "\\theta"},
                                  {"\\lor", "\\or"},
                                  {"\\vee", "\\or"},
                                  {"\\land", "\\and"},
                                  {"\\wedge", "\\and"},
                                  {"\\bigcup", "\\cup"},
                                  {"\\bigcap", "\\cap"},
                                  {"\\backslash", "\\setminus"},
                                  {"\\smallsetminus", "\\setminus"},
                                  {"\\lg", "\\log"},
                                  {"\\Reals", "\\reals"},
                                  {"\\R", "\\reals"},
                                  {"\\asin", "\\arcsin"},
                                  {"\\acos", "\\arccos"},
                                  {"\\atan", "\\arctan"},
                                  {"\\infin", "\\infty"},
                                  {"\\approx", "="},
                                  {"\\equiv", "="},
                                  {"\\triangleq", "="},
                                  {"\\simeq", "="}};
constexpr std::string_view kGreek[] = {
    "\\alpha", "\\beta",  "\\gamma",  "\\delta", "\\epsilon", "\\zeta", "\\eta",   "\\theta", "\\iota", "\\kappa", "\\lambda",
    "\\mu",    "\\nu",    "\\xi",     "\\rho",   "\\sigma",   "\\tau",  "\\phi",   "\\chi",   "\\psi",  "\\omega", "\\Gamma",
    "\\Delta", "\\Theta", "\\Lambda", "\\Sigma", "\\Phi",     "\\Psi",  "\\Omega", "\\ell",   "\\Pi",   "\\Xi"};
// Bare words that are commands.
constexpr Spelling kWords[] = {
    {"sin", "\\sin"},     {"cos", "\\cos"},       {"tan", "\\tan"},        {"cot", "\\cot"},       {"sec", "\\sec"},
    {"csc", "\\csc"},     {"arcsin", "\\arcsin"}, {"arccos", "\\arccos"},  {"arctan", "\\arctan"}, {"asin", "\\arcsin"},
    {"acos", "\\arccos"}, {"atan", "\\arctan"},   {"sinh", "\\sinh"},      {"cosh", "\\cosh"},     {"tanh", "\\tanh"},
    {"exp", "\\exp"},     {"ln", "\\ln"},         {"log", "\\log"},        {"sqrt", "\\sqrt"},     {"pi", "\\pi"},
    {"inf", "\\infty"},   {"infty", "\\infty"},   {"infinity", "\\infty"}, {"oo", "\\infty"},      {"theta", "\\theta"},
    {"alpha", "\\alpha"}, {"beta", "\\beta"},     {"or", "\\or"},          {"and", "\\and"},       {"union", "\\cup"},
    {"percent", "%"},     {"degrees", "\\circ"},  {"degree", "\\circ"},    {"negative", "-"},      {"minus", "-"},
    {"plus", "+"},        {"times", "*"},         {"abs", "\\abs"},        {"cbrt", "\\cbrt"},     {"floor", "\\floor"},
    {"ceil", "\\ceil"}};
// Words of two or three letters that are not a product of variables.
constexpr std::string_view kShortWords[] = {
    "yes", "no",  "one", "two", "six",  "ten", "sun",  "mon", "tue", "wed", "thu", "fri", "sat", "red", "odd", "may",
    "jan", "feb", "mar", "apr", "jun",  "jul", "aug",  "sep", "oct", "nov", "dec", "all", "any", "the", "of",  "is",
    "to",  "not", "am",  "pm",  "he",   "she", "cm",   "mm",  "km",  "kg",  "mg",  "ml",  "ft",  "lb",  "lbs", "oz",
    "mph", "hr",  "hrs", "min", "mins", "sec", "secs", "in",  "usd", "eur", "gbp", "yen", "rad", "deg", "cat", "dog",
    "boy", "men", "man", "day", "sq",   "per", "cc",   "mi",  "yd",  "hz",  "kw",  "mod", "tie", "win", "un",  "it",
    "we",  "so",  "dne", "for", "big",  "hot", "new",  "old", "car", "box", "pen", "cup", "egg", "ice", "tea"};
constexpr std::string_view kScales[] = {"hundred", "thousand", "million", "billion", "trillion"};

// Pulls Unicode into the LaTeX spelling; digits of any script and full-width forms become ASCII. What is left stays.
std::string to_ascii(std::string_view in) {
  if (std::all_of(in.begin(), in.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; })) return std::string(in);
  std::string out;
  for (size_t i = 0; i < in.size();) {
    utf8proc_int32_t c = 0;
    const auto used = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(in.data() + i),
                                       static_cast<utf8proc_ssize_t>(in.size() - i), &c);
    const size_t n = used < 1 ? 1 : static_cast<size_t>(used);
    const std::string_view piece = in.substr(i, n);
    i += n;
    if (used < 1 || c < 0x80) {
      out += piece;
      continue;
    }
    const auto* found =
        std::find_if(std::begin(kUnicode), std::end(kUnicode), [&](const Spelling& s) { return s.first == piece; });
    if (found != std::end(kUnicode)) {
      out += found->second;
    } else if (c >= 0xFF01 && c <= 0xFF5E) {
      out += static_cast<char>(c - 0xFF01 + 0x21);
    } else if (utf8proc_category(c) == UTF8PROC_CATEGORY_ND) {
      // The digits of a script are ten code points in a row that begin where the category begins.
      int value = 0;
      while (value < 9 && utf8proc_category(c - value - 1) == UTF8PROC_CATEGORY_ND) ++value;
      out += static_cast<char>('0' + value);
    } else if (c == 0x3000 || (c >= 0x2000 && c <= 0x200A)) {
      out += ' ';
    } else {
      out += piece;
    }
  }
  return out;
}

class Lexer {
 public:
  Lexer(std::string_view text, bool comma_groups, int depth, std::vector<Token>& out)
      : s_(text), comma_groups_(comma_groups), depth_(depth), out_(out) {}

  bool run() {
    while (at_ < s_.size()) {
      const char c = s_[at_];
      if (space(c) || c == '~' || c == '$') {
        if (c != '$') space_ = true;
        ++at_;
      } else if (digit(c) || (c == '.' && at_ + 1 < s_.size() && digit(s_[at_ + 1]))) {
        number();
      } else if (alpha(c)) {
        word();
      } else if (c == '\\') {
        if (!command()) return false;
      } else if (static_cast<unsigned char>(c) >= 0x80) {
        foreign();
      } else {
        punctuation();
      }
    }
    return true;
  }

 private:
  void push(Type type, std::string_view text) {
    Token t;
    t.type = type;
    t.text = text;
    t.space = std::exchange(space_, false);
    out_.push_back(std::move(t));
  }

  // Length of a separator of digit groups at `at` that is no separator of anything else; 0 if there is none.
  size_t group_separator(size_t at) const {
    for (const std::string_view sep : {"{,}\\!", "{,}", ",\\!", "\\!,\\!", "\\!,", "\\,", "\\ ", "\\;", "\\:", "~"})
      if (s_.substr(at).starts_with(sep)) return sep.size();
    const bool outside = brackets_ == 0;
    if (comma_groups_ && outside && at < s_.size() && (s_[at] == ',' || s_[at] == ' ')) return 1;
    return 0;
  }
  bool three_digits(size_t at) const {
    for (size_t k = 0; k < 3; ++k)
      if (at + k >= s_.size() || !digit(s_[at + k])) return false;
    return at + 3 >= s_.size() || !digit(s_[at + 3]);
  }

  void number() {
    std::string digits;
    const auto take = [&] {
      while (at_ < s_.size() && digit(s_[at_])) digits += s_[at_++];
    };
    const size_t start = at_;
    take();
    if (at_ - start >= 1 && at_ - start <= 3) {
      char kind = 0;  // all separators of a number are alike
      while (at_ < s_.size()) {
        const size_t n = group_separator(at_);
        if (n == 0 || !three_digits(at_ + n) || (kind != 0 && kind != s_[at_])) break;
        kind = s_[at_];
        at_ += n;
        take();
      }
    }
    Token t;
    t.type = Type::number;
    t.text = digits;
    size_t places = 0;
    const bool point = at_ < s_.size() && s_[at_] == '.';
    if (point && at_ + 1 < s_.size() && digit(s_[at_ + 1])) {
      const size_t whole = digits.size();
      ++at_;
      take();
      places = digits.size() - whole;
      t.text = digits.substr(0, whole) + "." + digits.substr(whole);
      t.places = static_cast<int>(places);
    } else if (point && (at_ + 1 == s_.size() || s_[at_ + 1] != '.')) {
      ++at_;  // "7." is 7
    }
    t.value = mpq_class(mpz_class(digits, 10));
    if (places > 0) {
      mpz_class scale;
      mpz_ui_pow_ui(scale.get_mpz_t(), 10, places);
      t.value /= scale;
    }
    exponent(t);
    t.space = std::exchange(space_, false);
    out_.push_back(std::move(t));
  }

  // 3.5e4 and 3.5E-4; "2e" and "2e^3" are products.
  void exponent(Token& t) {
    if (at_ >= s_.size() || (s_[at_] != 'e' && s_[at_] != 'E')) return;
    size_t i = at_ + 1;
    const bool negative = i < s_.size() && s_[i] == '-';
    if (i < s_.size() && (s_[i] == '-' || s_[i] == '+')) ++i;
    size_t end = i;
    while (end < s_.size() && digit(s_[end])) ++end;
    if (end == i || end - i > 4) return;
    mpz_class scale;
    unsigned long power = 0;
    for (size_t k = i; k < end; ++k) power = 10 * power + static_cast<unsigned long>(s_[k] - '0');
    mpz_ui_pow_ui(scale.get_mpz_t(), 10, power);
    if (negative)
      t.value /= scale;
    else
      t.value *= scale;
    t.text += s_.substr(at_, end - at_);
    at_ = end;
  }

  void word() {
    size_t end = at_;
    while (end < s_.size() && alpha(s_[end])) ++end;
    const std::string_view run = s_.substr(at_, end - at_);
    std::string lower(run);
    std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) { return static_cast<char>(c | 0x20); });
    at_ = end;
    if (run.size() == 1) return push(Type::letter, run);
    if (const std::string_view spelling = lookup(kWords, lower); !spelling.empty() && (run == lower || run.size() > 3))
      return push(spelling.size() == 1 ? Type::symbol : listed(kGreek, spelling) ? Type::letter : Type::command, spelling);
    if (run.size() >= 4 || listed(kShortWords, lower))
      return push(Type::word, listed(kScales, lower) ? lower : std::string(lower));
    for (const char c : run) push(Type::letter, std::string_view(&c, 1));
  }

  void foreign() {
    size_t end = at_;
    while (end < s_.size() && static_cast<unsigned char>(s_[end]) >= 0x80) ++end;
    push(Type::word, s_.substr(at_, end - at_));
    at_ = end;
  }

  // at_ is at a backslash.
  bool command() {
    if (at_ + 1 == s_.size()) return ++at_, true;
    const char next = s_[at_ + 1];
    if (!alpha(next)) {
      at_ += 2;
      if (next == '{' || next == '}') push(Type::symbol, next == '{' ? "\\{" : "\\}");
      if (next == '\\') push(Type::symbol, "\\\\");
      if (next == '%') push(Type::symbol, "%");
      if (next == '$') push(Type::quoted, "$");
      if (next == '|') push(Type::symbol, "|");
      if (next == '(' || next == ')' || next == '[' || next == ']' || next == ' ' || next == ',' || next == ';' || next == ':')
        space_ = true;
      if (next == '#' || next == '&' || next == '_') push(Type::word, std::string_view(&next, 1));
      return true;
    }
    size_t end = at_ + 1;
    while (end < s_.size() && alpha(s_[end])) ++end;
    std::string_view name = s_.substr(at_, end - at_);
    at_ = end;
    if (listed(kLayout, name)) {
      if ((name == "\\left" || name == "\\right") && at_ < s_.size() && s_[at_] == '.') ++at_;
      if (name == "\\quad" || name == "\\qquad" || name == "\\hspace") space_ = true;
      return true;
    }
    if (listed(kText, name)) return quoted(name);
    if (name == "\\begin" || name == "\\end") return environment(name);
    if (name == "\\mathbb") {
      const size_t brace = s_.find_first_not_of(" {", at_);
      if (brace == std::string_view::npos) return false;
      const char set = s_[brace];
      at_ = brace + 1;
      if (at_ < s_.size() && s_[at_] == '}') ++at_;
      if (set == 'R')
        push(Type::command, "\\reals");
      else
        push(Type::word, std::string("set ") + set);
      return true;
    }
    if (const std::string_view spelling = lookup(kCommands, name); !spelling.empty()) name = spelling;
    const bool one = name.size() == 1;
    push(one ? Type::symbol : listed(kGreek, name) ? Type::letter : Type::command, name);
    return true;
  }

  // \text{...}: transparent where it holds mathematics, one token where it holds words.
  bool quoted(std::string_view) {
    while (at_ < s_.size() && space(s_[at_])) ++at_;
    if (at_ == s_.size() || s_[at_] != '{') return true;
    int depth = 0;
    size_t end = at_;
    for (; end < s_.size(); ++end) {
      if (s_[end] == '{') ++depth;
      if (s_[end] == '}' && --depth == 0) break;
    }
    if (end == s_.size()) return false;
    std::string_view inner = s_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    const auto blank = [](char c) { return space(c) || c == '~'; };
    while (!inner.empty() && blank(inner.front())) inner.remove_prefix(1), space_ = true;
    while (!inner.empty() && blank(inner.back())) inner.remove_suffix(1);
    if (inner.empty()) return true;
    // Words, or a unit such as m/s and cm^2. A single letter is a unit where it follows a number.
    const bool words =
        alpha(inner.front()) && std::all_of(inner.begin(), inner.end(), [&](char c) {
          return alpha(c) || blank(c) || digit(c) || std::string_view("-.',/^").find(c) != std::string_view::npos;
        });
    const size_t letters = static_cast<size_t>(std::count_if(inner.begin(), inner.end(), alpha));
    const bool digits = std::any_of(inner.begin(), inner.end(), digit) && inner.find('^') == std::string_view::npos;
    const bool after_number = !out_.empty() && (out_.back().type == Type::number || out_.back().is("}"));
    if (words && !digits && (letters > 1 || (after_number && inner.size() == 1))) {
      std::string lower;
      for (const char c : inner) {
        if (alpha(c))
          lower += inner.size() == 1 ? c : static_cast<char>(c | 0x20);
        else if (c != '.' && (!blank(c) || (!lower.empty() && lower.back() != ' ')))
          lower += blank(c) ? ' ' : c;
      }
      if (const std::string_view spelling = lookup(kWords, lower); !spelling.empty())
        push(spelling.size() == 1 ? Type::symbol : Type::command, spelling);
      else
        push(Type::quoted, lower);
      return true;
    }
    if (depth_ > 8) return false;
    return Lexer(inner, comma_groups_, depth_ + 1, out_).run();
  }

  bool environment(std::string_view name) {
    if (at_ == s_.size() || s_[at_] != '{') return false;
    const size_t end = s_.find('}', at_);
    if (end == std::string_view::npos) return false;
    const std::string kind(s_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    if (name == "\\begin" && kind == "array" && at_ < s_.size() && s_[at_] == '{') {
      const size_t close = s_.find('}', at_);
      if (close == std::string_view::npos) return false;
      at_ = close + 1;
    }
    push(Type::command, (name == "\\begin" ? "\\begin " : "\\end ") + kind);
    return true;
  }

  void punctuation() {
    const char c = s_[at_];
    const auto two = s_.substr(at_, 2);
    for (const auto& [from, to] :
         {Spelling{"<=", "\\le"}, {">=", "\\ge"}, {"!=", "\\ne"}, {"==", "="}, {"=<", "\\le"}, {"**", "^"}, {"+-", "\\pm"}}) {
      if (two != from) continue;
      if (from == "+-" && s_.substr(at_ + 2, 1) != "" && !out_.empty() && out_.back().type == Type::number)
        break;  // 3+-2 is a sum
      at_ += 2;
      return push(to.size() == 1 ? Type::symbol : Type::command, to);
    }
    if (c == '(' || c == '[') ++brackets_;
    if (c == ')' || c == ']') --brackets_;
    ++at_;
    push(Type::symbol, std::string_view(&c, 1));
  }

  std::string_view s_;
  bool comma_groups_;
  int depth_;
  std::vector<Token>& out_;
  size_t at_ = 0;
  int brackets_ = 0;
  bool space_ = false;
};

}  // namespace

std::optional<std::vector<Token>> tokenize(std::string_view answer, bool comma_groups) {
  if (answer.size() > kMaxAnswerBytes) return std::nullopt;
  std::vector<Token> out;
  const std::string ascii = to_ascii(answer);
  if (!Lexer(ascii, comma_groups, 0, out).run()) return std::nullopt;
  while (!out.empty() && out.back().type == Type::symbol &&
         (out.back().text == "." || out.back().text == "," || out.back().text == ";"))
    out.pop_back();
  out.emplace_back();
  return out;
}

bool has_comma_groups(std::string_view answer) {
  for (size_t i = 1; i + 1 < answer.size(); ++i)
    if ((answer[i] == ',' || answer[i] == ' ') && digit(answer[i - 1]) && digit(answer[i + 1])) return true;
  return false;
}

}  // namespace r1::math
