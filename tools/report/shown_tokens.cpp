#include "tools/report/shown_tokens.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "models/tokenizer/utf8.h"

namespace r1::report {

size_t prompt_length(const Sequence& s) {
  return static_cast<size_t>(std::find(s.trainable.begin(), s.trainable.end(), 1) - s.trainable.begin());
}

std::vector<ShownToken> shown_tokens(const Sequence& s, const Tokenizer& tokenizer) {
  constexpr size_t kLongestCharacter = 4;  // tokens
  std::vector<ShownToken> shown;
  for (size_t i = prompt_length(s), end = i; i < s.tokens.size(); i = end) {
    ShownToken& token = shown.emplace_back();
    for (end = i; end == i || (end < s.tokens.size() && end < i + kLongestCharacter && !utf8::is_valid(token.text)); ++end) {
      token.text += tokenizer.decode_bytes({s.tokens.data() + end, 1});
      if (!s.behaviour_logp.empty())
        token.probability = std::min(token.probability.value_or(1), std::exp(double{s.behaviour_logp[end]}));
    }
    if (!s.version.empty()) token.version = s.version[i];
  }
  return shown;
}

int shade_of(double probability) {
  int shade = 0;
  for (const double limit : kShades) shade += probability < limit;
  return shade;
}

Versions versions_of(const Sequence& s) {
  Versions found;
  for (const int64_t v : s.version) {
    if (v < 0) continue;
    found.oldest = found.oldest < 0 ? v : std::min(found.oldest, v);
    found.newest = std::max(found.newest, v);
  }
  return found;
}

}  // namespace r1::report
