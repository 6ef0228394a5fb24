// Cutting text into the pieces that BPE works on: Split by a pattern, and ByteLevel's own pattern and prefix space.
// Thread rule: immutable after construction.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/tokenizer/regex.h"

namespace r1 {

enum class SplitBehavior { isolated, removed, merged_with_previous, merged_with_next, contiguous };

// One step of the pre_tokenizer chain. Each piece is cut by itself: a lookahead sees nothing beyond it.
struct PreTokenStep {
  std::optional<Regex> pattern;  // none: the piece stays whole
  SplitBehavior behavior = SplitBehavior::isolated;
  bool invert = false;            // what lies between the matches counts as the match
  bool add_prefix_space = false;  // ByteLevel: a piece that does not start with a space gets one, before it is cut
};

// The pieces of `text` (valid UTF-8), in order, none empty. Views point into `text` or into `storage`.
std::vector<std::string_view> pre_tokenize(const std::vector<PreTokenStep>& steps, std::string_view text,
                                           std::deque<std::string>& storage);

}  // namespace r1
