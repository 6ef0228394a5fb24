#include "tools/chat/reply_stream.h"

#include <algorithm>

#include "models/tokenizer/utf8.h"

namespace r1 {

namespace {

constexpr std::string_view kOpen = "<think>", kClose = "</think>";

// How many bytes at the end of `text` are a character that has not come to its end.
size_t character_begun(std::string_view text) {
  for (size_t n = 1; n <= std::min<size_t>(3, text.size()); ++n) {
    const auto byte = static_cast<unsigned char>(text[text.size() - n]);
    if ((byte & 0xc0) == 0x80) continue;
    const utf8::Decoded d = utf8::decode(text.substr(text.size() - n));
    return byte >= 0xc2 && byte < 0xf5 && !d.valid && d.length == n ? n : 0;
  }
  return 0;
}

// How many bytes at the end of `text` are the beginning of `tag`.
size_t tag_begun(std::string_view text, std::string_view tag) {
  for (size_t n = std::min(text.size(), tag.size() - 1); n > 0; --n)
    if (text.ends_with(tag.substr(0, n))) return n;
  return 0;
}

}  // namespace

void ReplyStream::give(std::vector<Piece>& to, std::string_view text) {
  std::string clean = utf8::replace_malformed(text);
  if (at_start_) clean.erase(0, std::min(clean.find_first_not_of("\r\n"), clean.size()));
  if (clean.empty()) return;
  at_start_ = false;
  if (!to.empty() && to.back().thought == in_thought_)
    to.back().text += clean;
  else
    to.push_back({in_thought_, clean});
}

std::vector<ReplyStream::Piece> ReplyStream::take(bool all) {
  std::vector<Piece> out;
  for (;;) {
    const std::string_view tag = in_thought_ ? kClose : kOpen, text = waiting_;
    if (const size_t at = text.find(tag); at != std::string_view::npos) {
      give(out, text.substr(0, at));
      waiting_.erase(0, at + tag.size());
      in_thought_ = !in_thought_;
      at_start_ = true;
      continue;
    }
    size_t sure = text.size();
    if (!all) sure -= tag_begun(text, tag);
    if (!all) sure -= character_begun(text.substr(0, sure));
    give(out, text.substr(0, sure));
    waiting_.erase(0, sure);
    return out;
  }
}

std::vector<ReplyStream::Piece> ReplyStream::add(std::string_view bytes) {
  waiting_ += bytes;
  return take(false);
}

std::vector<ReplyStream::Piece> ReplyStream::finish() { return take(true); }

}  // namespace r1
