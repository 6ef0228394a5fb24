#include "tasks/contamination.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace r1 {

namespace {

constexpr size_t kShownByTwenty = 20, kShownByFew = 2;

// Han, Hiragana and Katakana, Thai: no blanks between words.
bool stands_alone(utf8proc_int32_t c) {
  return (c >= 0x3400 && c <= 0x9FFF) || (c >= 0x3040 && c <= 0x30FF) || (c >= 0xF900 && c <= 0xFAFF) ||
         (c >= 0x20000 && c <= 0x3134F) || (c >= 0x0E00 && c <= 0x0E7F);
}

bool is_word(utf8proc_category_t category) {
  switch (category) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return true;
    default:
      return false;
  }
}

bool is_blank(utf8proc_int32_t c, utf8proc_category_t category) {
  return category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP ||
         (c >= '\t' && c <= '\r');
}

uint64_t hash64(std::string_view text) { return hash_string(text).lo; }

// A text as it is compared.
struct Reading {
  std::vector<uint64_t> words;  // hashes
  uint64_t whole = 0;           // of the text in lower case with single blanks; 0: it is empty
};

Reading read_text(std::string_view text) {
  Reading out;
  std::string word, whole;
  bool gap = false;
  const auto end_word = [&] {
    if (!word.empty()) out.words.push_back(hash64(word));
    word.clear();
  };
  const auto* at = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  for (auto left = static_cast<utf8proc_ssize_t>(text.size()); left > 0;) {
    utf8proc_int32_t c = 0;
    utf8proc_ssize_t n = utf8proc_iterate(at, left, &c);
    if (n < 1) n = 1, c = 0xFFFD;
    at += n;
    left -= n;
    const utf8proc_category_t category = utf8proc_category(c);
    if (is_blank(c, category)) {
      end_word();
      gap = !whole.empty();
      continue;
    }
    utf8proc_uint8_t bytes[4];
    const auto size = static_cast<size_t>(utf8proc_encode_char(utf8proc_tolower(c), bytes));
    const std::string_view lower(reinterpret_cast<const char*>(bytes), size);
    if (std::exchange(gap, false)) whole += ' ';
    whole += lower;
    if (!is_word(category)) {
      end_word();
    } else if (stands_alone(c)) {
      end_word();
      out.words.push_back(hash64(lower));
    } else {
      word += lower;
    }
  }
  end_word();
  if (!whole.empty()) out.whole = hash64(whole);
  return out;
}

template <class Each>
void each_gram(const std::vector<uint64_t>& words, Each each) {
  for (size_t i = 0; i + kGramWords <= words.size(); ++i) each(hash_bytes(words.data() + i, kGramWords * sizeof(uint64_t)).lo);
}

}  // namespace

void EvaluationGrams::add(const std::vector<std::string>& questions) {
  std::vector<uint64_t> all, own;
  for (const std::string& question : questions) {
    const Reading reading = read_text(question);
    if (reading.words.size() < kGramWords && reading.whole != 0) whole_.insert(reading.whole);
    own.clear();
    each_gram(reading.words, [&](uint64_t gram) { own.push_back(gram); });
    std::sort(own.begin(), own.end());
    all.insert(all.end(), own.begin(), std::unique(own.begin(), own.end()));
    if (all.size() + size() > kMostGrams)
      throw bad_input(fmt::format("what is evaluated on has more than {} different runs of {} words", kMostGrams, kGramWords),
                      {}, "decontaminate=off looks for none of them");
  }
  std::sort(all.begin(), all.end());
  const size_t few = std::max(kShownByFew, questions.size() / kShownByTwenty);
  for (size_t i = 0; i < all.size();) {
    size_t end = i;
    while (end < all.size() && all[end] == all[i]) ++end;
    if (end - i <= few) grams_.insert(all[i]);
    i = end;
  }
}

bool EvaluationGrams::meet(const std::vector<std::string>& texts) const {
  return std::any_of(texts.begin(), texts.end(), [&](const std::string& text) {
    const Reading reading = read_text(text);
    if (reading.words.size() < kGramWords) return whole_.count(reading.whole) != 0;
    bool found = false;
    each_gram(reading.words, [&](uint64_t gram) { found = found || grams_.count(gram) != 0; });
    return found;
  });
}

Hash128 EvaluationGrams::hash() const {
  std::vector<uint64_t> all(grams_.begin(), grams_.end());
  std::sort(all.begin(), all.end());
  all.push_back(0);
  all.insert(all.end(), whole_.begin(), whole_.end());
  std::sort(all.begin() + static_cast<std::ptrdiff_t>(grams_.size()) + 1, all.end());
  return hash_bytes(all.data(), all.size() * sizeof(uint64_t));
}

}  // namespace r1
