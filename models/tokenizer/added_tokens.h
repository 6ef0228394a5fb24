// Added tokens: strings that are cut out of the text before anything else looks at it (<bos>, <think>, ...).
// Source of the matching rules: huggingface/tokenizers tokenizer/added_vocabulary.rs.
// Thread rule: immutable after construction.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace r1 {

struct AddedToken {
  std::string content;
  int32_t id = -1;
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // swallows the whitespace before it
  bool rstrip = false;       // ... and after it
  bool normalized = false;   // looked for in the normalised text, in its normalised form
  bool special = false;      // left out by decode(skip_special)
};

// A piece of text: an added token (id >= 0), or plain text (id -1) still to be tokenised.
struct TextPiece {
  std::string_view text;
  int32_t id = -1;
};

// Finds a fixed set of strings: leftmost first, longest on ties.
class AddedTokenMatcher {
 public:
  // `pattern` is what to look for: the token's content, or its normalised form. Empty patterns are ignored.
  void add(const AddedToken& token, std::string_view pattern);
  bool empty() const { return tokens_.empty(); }
  // Appends the pieces of `text` in order; plain pieces are never empty. The views point into `text`.
  void split(std::string_view text, std::vector<TextPiece>& pieces) const;

 private:
  struct Node {
    std::vector<std::pair<uint8_t, int32_t>> children;  // sorted by byte
    int32_t token = -1;                                 // index into tokens_
  };
  int32_t child(int32_t node, uint8_t byte) const;
  // The longest token that starts at `at`: (index into tokens_, end), or (-1, at).
  std::pair<int32_t, size_t> longest(std::string_view text, size_t at) const;

  std::vector<AddedToken> tokens_;
  std::vector<Node> nodes_ = std::vector<Node>(1);
};

}  // namespace r1
