#include "models/generation/stop_texts.h"

#include <algorithm>

#include "base/error.h"

namespace r1 {

StopTexts::StopTexts(Tokenizer tokenizer, std::vector<std::string> texts)
    : tokenizer_(std::move(tokenizer)), texts_(std::move(texts)) {
  for (const std::string& text : texts_) {
    R1_CHECK(!text.empty(), "a stop text is empty");
    longest_ = std::max(longest_, text.size());
  }
}

bool StopTexts::end(std::span<const int32_t> tokens) const {
  if (tokens.empty()) return false;
  // A text that ends in the last token begins at most longest - 1 bytes before it. Byte-level tokens are bytes, so those of the
  // last tokens are the end of those of all.
  size_t first = tokens.size() - 1, before = 0;
  while (first > 0 && before + 1 < longest_) before += tokenizer_.decode_bytes(tokens.subspan(--first, 1)).size();
  const std::string tail = tokenizer_.decode_bytes(tokens.subspan(first));
  return std::any_of(texts_.begin(), texts_.end(), [&](const std::string& t) { return tail.find(t) != std::string::npos; });
}

std::string_view StopTexts::kept(std::string_view text) const {
  size_t end = std::string_view::npos;
  for (const std::string& t : texts_)
    if (const size_t at = text.find(t); at != std::string_view::npos) end = std::min(end, at + t.size());
  return text.substr(0, end);
}

}  // namespace r1
