#include "models/tokenizer/added_tokens.h"

#include <utf8proc.h>

#include <algorithm>

#include "models/tokenizer/utf8.h"

namespace r1 {

namespace {

bool is_word(uint32_t code_point) {  // \w
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code_point))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return code_point == 0x200C || code_point == 0x200D;
  }
}

bool is_space(uint32_t c) {  // Unicode White_Space
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
         c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

// Start of the code point that ends at `end` (> 0).
size_t previous_start(std::string_view text, size_t end) {
  size_t at = end - 1;
  while (at > 0 && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

uint32_t code_point_at(std::string_view text, size_t at) { return utf8::decode(text.substr(at)).code_point; }

}  // namespace

int32_t AddedTokenMatcher::child(int32_t node, uint8_t byte) const {
  const auto& children = nodes_[node].children;
  const auto it = std::lower_bound(children.begin(), children.end(), std::pair<uint8_t, int32_t>{byte, -1});
  return it != children.end() && it->first == byte ? it->second : -1;
}

void AddedTokenMatcher::add(const AddedToken& token, std::string_view pattern) {
  if (pattern.empty()) return;
  int32_t node = 0;
  for (const char c : pattern) {
    const auto byte = static_cast<uint8_t>(c);
    int32_t next = child(node, byte);
    if (next < 0) {
      next = static_cast<int32_t>(nodes_.size());
      auto& children = nodes_[node].children;
      children.insert(std::lower_bound(children.begin(), children.end(), std::pair<uint8_t, int32_t>{byte, -1}), {byte, next});
      nodes_.emplace_back();
    }
    node = next;
  }
  if (nodes_[node].token >= 0) return;
  nodes_[node].token = static_cast<int32_t>(tokens_.size());
  tokens_.push_back(token);
}

std::pair<int32_t, size_t> AddedTokenMatcher::longest(std::string_view text, size_t at) const {
  std::pair<int32_t, size_t> best{-1, at};
  int32_t node = 0;
  for (size_t i = at; i < text.size(); ++i) {
    node = child(node, static_cast<uint8_t>(text[i]));
    if (node < 0) break;
    if (nodes_[node].token >= 0) best = {nodes_[node].token, i + 1};
  }
  return best;
}

void AddedTokenMatcher::split(std::string_view text, std::vector<TextPiece>& pieces) const {
  size_t done = 0;  // everything before it is in `pieces`
  for (size_t at = 0; at < text.size() && !tokens_.empty();) {
    const auto [index, end] = longest(text, at);
    if (index < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[index];
    size_t start = at, stop = end;
    at = end;
    if (token.single_word) {
      const bool left = start > 0 && is_word(code_point_at(text, previous_start(text, start)));
      const bool right = stop < text.size() && is_word(code_point_at(text, stop));
      if (left || right) continue;
    }
    if (start < done) start = done;  // the last token's rstrip went past it
    if (token.lstrip) {
      while (start > done) {
        const size_t before = previous_start(text, start);
        if (!is_space(code_point_at(text, before))) break;
        start = before;
      }
    }
    if (token.rstrip) {
      while (stop < text.size()) {
        const auto next = utf8::decode(text.substr(stop));
        if (!is_space(next.code_point)) break;
        stop += next.length;
      }
    }
    if (done < start) pieces.push_back({text.substr(done, start - done), -1});
    pieces.push_back({text.substr(start, stop - start), token.id});
    done = stop;
  }
  if (done < text.size()) pieces.push_back({text.substr(done), -1});
}

}  // namespace r1
