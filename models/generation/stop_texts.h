// Texts that end a sample: looked for in what its new tokens decode to, wherever the borders of the tokens lie. Not the tokens
// that end one (GenRequest::stop_ids).
//
// What is kept: every token that was sampled, through the one that completed a stop text; of the text, everything through the
// end of the first stop text in it - what that token wrote behind it is cut off.
// Thread rule: immutable; any thread may call.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/tokenizer/tokenizer.h"

namespace r1 {

class StopTexts {
 public:
  // `texts`: none of them empty.
  StopTexts(Tokenizer tokenizer, std::vector<std::string> texts);

  // Whether the text of these tokens holds a stop text, when without the last token it held none. Looks at the end alone: time
  // is that of a few tokens.
  bool end(std::span<const int32_t> tokens) const;
  // `text` through the end of the first stop text in it; all of it when it holds none.
  std::string_view kept(std::string_view text) const;

 private:
  Tokenizer tokenizer_;
  std::vector<std::string> texts_;
  size_t longest_ = 0;
};

}  // namespace r1
