#include "rewards/language.h"

#include <utf8proc.h>

#include <algorithm>

namespace r1 {

namespace {

enum class Script { none, latin, han, other };

bool between(uint32_t c, uint32_t low, uint32_t high) { return c >= low && c <= high; }

Script script_of(uint32_t c) {
  if (c < 0x80) return between(c | 0x20, 'a', 'z') ? Script::latin : Script::none;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      break;
    default:
      return Script::none;
  }
  if (c <= 0x24F || between(c, 0x1E00, 0x1EFF) || between(c, 0xFF21, 0xFF5A)) return Script::latin;
  if (between(c, 0x3400, 0x9FFF) || between(c, 0xF900, 0xFAFF) || between(c, 0x20000, 0x323AF) || c == 0x3005)
    return Script::han;
  return Script::other;
}

}  // namespace

WordCounts count_words(std::string_view text) {
  WordCounts counts;
  Script run = Script::none;
  int64_t length = 0;
  bool command = false;  // the run follows a backslash
  const auto close = [&] {
    if (run == Script::han) counts.zh += std::max<int64_t>(1, length / 2);
    if (run == Script::latin && length > 1 && !command) ++counts.en;
    if (run == Script::other && length > 1) ++counts.other;
    run = Script::none;
    length = 0;
  };
  uint32_t previous = 0;
  const auto* at = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  auto left = static_cast<utf8proc_ssize_t>(text.size());
  while (left > 0) {
    utf8proc_int32_t c = 0;
    utf8proc_ssize_t used = utf8proc_iterate(at, left, &c);
    if (used < 1) {
      used = 1;
      c = 0xFFFD;
    }
    at += used;
    left -= used;
    const auto code_point = static_cast<uint32_t>(c);
    const bool apostrophe = code_point == '\'' || code_point == 0x2019;
    if (!(apostrophe && run == Script::latin)) {
      const Script script = script_of(code_point);
      if (script != run) {
        close();
        run = script;
        command = previous == '\\';
      }
      if (script != Script::none) ++length;
    }
    previous = code_point;
  }
  close();
  return counts;
}

double language_share(std::string_view text, std::string_view target) {
  const WordCounts counts = count_words(text);
  const int64_t wanted = target == "en" ? counts.en : target == "zh" ? counts.zh : 0;
  return counts.all() == 0 ? 0.0 : static_cast<double>(wanted) / static_cast<double>(counts.all());
}

}  // namespace r1
