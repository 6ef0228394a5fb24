#include "models/tokenizer/pre_tokenizer.h"

#include <algorithm>

namespace r1 {

namespace {

struct Range {
  size_t begin, end;
  bool match;
};

// Source: huggingface/tokenizers tokenizer/normalizer.rs, NormalizedString::split.
std::vector<Range> apply(SplitBehavior behavior, std::vector<Range> ranges) {
  std::vector<Range> out;
  bool previous = false;
  switch (behavior) {
    case SplitBehavior::isolated:
      return ranges;
    case SplitBehavior::removed:
      std::erase_if(ranges, [](const Range& r) { return r.match; });
      return ranges;
    case SplitBehavior::merged_with_previous:
      for (const Range& r : ranges) {
        if (r.match && !previous && !out.empty())
          out.back().end = r.end;
        else
          out.push_back(r);
        previous = r.match;
      }
      return out;
    case SplitBehavior::merged_with_next:
      for (auto r = ranges.rbegin(); r != ranges.rend(); ++r) {
        if (r->match && !previous && !out.empty())
          out.back().begin = r->begin;
        else
          out.push_back(*r);
        previous = r->match;
      }
      std::reverse(out.begin(), out.end());
      return out;
    case SplitBehavior::contiguous:
      for (const Range& r : ranges) {
        if (r.match == previous && !out.empty())
          out.back().end = r.end;
        else
          out.push_back(r);
        previous = r.match;
      }
      return out;
  }
  return out;
}

}  // namespace

std::vector<std::string_view> pre_tokenize(const std::vector<PreTokenStep>& steps, std::string_view text,
                                           std::deque<std::string>& storage) {
  std::vector<std::string_view> pieces, next;
  if (!text.empty()) pieces.push_back(text);
  std::vector<std::pair<size_t, size_t>> matches;
  std::vector<Range> ranges;
  for (const PreTokenStep& step : steps) {
    next.clear();
    for (std::string_view piece : pieces) {
      if (step.add_prefix_space && piece.front() != ' ') piece = storage.emplace_back(" " + std::string(piece));
      if (!step.pattern) {
        next.push_back(piece);
        continue;
      }
      step.pattern->find_all(piece, matches);
      ranges.clear();
      size_t done = 0;
      for (const auto& [begin, end] : matches) {
        if (done < begin) ranges.push_back({done, begin, step.invert});
        ranges.push_back({begin, end, !step.invert});
        done = end;
      }
      if (done < piece.size()) ranges.push_back({done, piece.size(), step.invert});
      if (step.behavior == SplitBehavior::isolated) {
        for (const Range& r : ranges) next.push_back(piece.substr(r.begin, r.end - r.begin));
      } else {
        for (const Range& r : apply(step.behavior, ranges)) next.push_back(piece.substr(r.begin, r.end - r.begin));
      }
    }
    pieces.swap(next);
  }
  return pieces;
}

}  // namespace r1
