#include "rewards/rule_calls.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <iterator>
#include <memory>
#include <set>
#include <variant>

#include "base/error.h"
#include "rewards/call.h"
#include "rewards/language.h"
#include "rewards/response.h"

namespace r1 {

namespace {

// Words as n-grams count them: every Han character, and every other run without whitespace, ASCII letters lower-case.
std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> out;
  bool inside = false;
  for (size_t i = 0; i < text.size();) {
    const auto b = static_cast<uint8_t>(text[i]);
    const size_t length = std::min(text.size() - i, size_t{b < 0xC0 ? 1u : b < 0xE0 ? 2u : b < 0xF0 ? 3u : 4u});
    const bool space = b <= 0x20;
    const bool han = length >= 3 && count_words(text.substr(i, length)).zh == 1;
    if (han || (!space && !inside)) out.emplace_back();
    if (!space)
      for (const char c : text.substr(i, length)) out.back() += static_cast<char>(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
    inside = !space && !han;
    i += length;
  }
  return out;
}

std::vector<std::string> n_grams(std::string_view text, size_t n) {
  const auto words = words_of(text);
  std::vector<std::string> out;
  for (size_t k = 0; k + n <= words.size(); ++k) {
    std::string gram;
    for (size_t j = 0; j < n; ++j) gram += words[k + j] + '\n';
    out.push_back(std::move(gram));
  }
  return out;
}

double repetition(std::string_view text, size_t n) {
  const auto grams = n_grams(text, n);
  if (grams.empty()) return 0;
  const std::set<std::string_view> distinct(grams.begin(), grams.end());
  return 1.0 - static_cast<double>(distinct.size()) / static_cast<double>(grams.size());
}

double copied(std::string_view text, std::string_view prompt, size_t n) {
  const auto grams = n_grams(text, n), known = n_grams(prompt, n);
  if (grams.empty()) return 0;
  const std::set<std::string_view> there(known.begin(), known.end());
  const auto count = std::count_if(grams.begin(), grams.end(), [&](const std::string& g) { return there.count(g) != 0; });
  return static_cast<double>(count) / static_cast<double>(grams.size());
}

struct Language {
  std::string_view name;
  std::array<std::string_view, 16> words;
};
// The most frequent words that the others do not have.
constexpr Language kLatin[] = {
    {"en", {"the", "of", "and", "to", "is", "that", "it", "we", "for", "with", "are", "this", "be", "have", "from", "so"}},
    {"de",
     {"der", "und", "das", "ist", "nicht", "ein", "eine", "wir", "mit", "den", "auf", "von", "zu", "sich", "dass", "auch"}},
    {"fr", {"le", "les", "et", "est", "une", "pour", "dans", "nous", "que", "sur", "avec", "pas", "au", "ce", "qui", "donc"}},
    {"es", {"el", "los", "y", "es", "una", "por", "con", "para", "del", "las", "como", "pero", "su", "al", "lo", "muy"}}};

// Share of words in the language: by script, and for languages of the Latin script by their most frequent words.
double written_in(std::string_view text, std::string_view target) {
  const WordCounts counts = count_words(text);
  if (counts.all() == 0) return 0;
  const auto all = static_cast<double>(counts.all());
  if (target == "zh") return static_cast<double>(counts.zh) / all;
  double mine = 0, any = 0;
  std::string word;
  const auto close = [&] {
    for (const Language& language : kLatin) {
      if (std::find(language.words.begin(), language.words.end(), word) == language.words.end()) continue;
      ++any;
      mine += language.name == target ? 1 : 0;
    }
    word.clear();
  };
  for (const char c : text) {
    if (std::isalpha(static_cast<unsigned char>(c)) != 0 || static_cast<unsigned char>(c) >= 0x80)
      word += static_cast<char>(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
    else
      close();
  }
  close();
  const double latin = static_cast<double>(counts.en) / all;
  if (any == 0) return target == "en" ? latin : 0;
  return latin * mine / any;
}

struct Freed {
  void operator()(pcre2_code* p) const { pcre2_code_free(p); }
  void operator()(pcre2_match_data* p) const { pcre2_match_data_free(p); }
  void operator()(pcre2_match_context* p) const { pcre2_match_context_free(p); }
};

std::unique_ptr<pcre2_code, Freed> compiled(std::string_view pattern, std::string* problem) {
  int error = 0;
  PCRE2_SIZE at = 0;
  std::unique_ptr<pcre2_code, Freed> code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                                        PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C, &error,
                                                        &at, nullptr));
  if (!code) {
    PCRE2_UCHAR message[160];
    pcre2_get_error_message(error, message, std::size(message));
    *problem = fmt::format("the pattern '{}' is wrong at its character {}: {}", pattern, at + 1,
                           reinterpret_cast<const char*>(message));
  }
  return code;
}

double matches(std::string_view pattern, std::string_view text) {
  std::string problem;
  const auto code = compiled(pattern, &problem);
  if (!code) throw failure(problem, {}, "a fact of the prompt holds it");
  const std::unique_ptr<pcre2_match_data, Freed> data(pcre2_match_data_create_from_pattern(code.get(), nullptr));
  const std::unique_ptr<pcre2_match_context, Freed> limits(pcre2_match_context_create(nullptr));
  pcre2_set_match_limit(limits.get(), kMatchLimit);
  pcre2_set_heap_limit(limits.get(), kMatchHeapKiB);
  const int found =
      pcre2_match(code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, 0, data.get(), limits.get());
  if (found >= 0) return 1;
  if (found == PCRE2_ERROR_NOMATCH) return 0;
  throw failure(fmt::format("the pattern '{}' takes too many steps on a response of {} bytes", pattern, text.size()), {},
                "nested repetitions such as (a+)+ are slow: write it without them");
}

std::optional<size_t> count_argument(const Call& call) {
  if (call.arguments.size() != 1) return std::nullopt;
  const double* n = std::get_if<double>(call.arguments.data());
  if (n == nullptr || *n != std::floor(*n) || *n < 1 || *n > 100) return std::nullopt;
  return static_cast<size_t>(*n);
}

std::string problem_of_rule(const Call& call) {
  if (call.name == "repetition" || call.name == "copied")
    return count_argument(call) ? "" : fmt::format("{0} takes a number of words from 1 to 100: {0}(3)", call.name);
  const std::string* text = call.arguments.size() == 1 ? std::get_if<std::string>(call.arguments.data()) : nullptr;
  if (call.name == "regex") {
    if (call.arguments.empty()) return "";
    if (text == nullptr)
      return "regex takes a pattern in quotes, regex('^[0-9]+$'), or none: regex() takes it from the fact 'pattern'";
    if (text->size() > 2000) return "the pattern is longer than 2000 bytes";
    std::string problem;
    compiled(*text, &problem);
    return problem;
  }
  if (text != nullptr && *text == "zh") return "";
  if (text != nullptr && std::any_of(std::begin(kLatin), std::end(kLatin), [&](const Language& l) { return l.name == *text; }))
    return "";
  return "written_in takes one of 'en', 'zh', 'de', 'fr', 'es'";
}

}  // namespace

const std::vector<std::string>& rule_call_names() {
  static const std::vector<std::string> names = {"copied", "regex", "repetition", "written_in"};
  return names;
}

std::string rule_call_problem(std::string_view text) {
  const auto call = parse_call(text);
  if (!call) return fmt::format("'{}': the arguments of a rule are numbers and texts in quotes", text);
  return problem_of_rule(*call);
}

std::optional<double> rule_call_value(std::string_view text, const RewardInput& in) {
  if (!text.ends_with(')')) return std::nullopt;
  const auto call = parse_call(text);
  if (!call) return std::nullopt;
  const auto& names = rule_call_names();
  if (std::find(names.begin(), names.end(), call->name) == names.end()) return std::nullopt;
  if (const std::string problem = problem_of_rule(*call); !problem.empty()) throw failure(problem);
  const std::string_view response = strip_end_token(in.response);
  if (call->name == "repetition") return repetition(response, *count_argument(*call));
  if (call->name == "copied") return copied(response, in.prompt, *count_argument(*call));
  if (call->name == "written_in") return written_in(response, std::get<std::string>(call->arguments[0]));
  if (!call->arguments.empty()) return matches(std::get<std::string>(call->arguments[0]), final_answer(in.response));
  const std::string_view pattern = in.fact("pattern");
  if (pattern.empty() || pattern.size() > 2000)
    throw failure(
        pattern.empty() ? "regex() finds no fact 'pattern' at this prompt" : "the fact 'pattern' is longer than 2000 bytes", {},
        "give every prompt a \"pattern\", or write regex('...')");
  return matches(pattern, final_answer(in.response));
}

}  // namespace r1
