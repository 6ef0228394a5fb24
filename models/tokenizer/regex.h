// A compiled regular expression (PCRE2, UTF-8, Unicode properties, JIT where the machine has it).
// tokenizer.json files are written for Oniguruma; the constructs they use mean the same here.
// Thread rule: immutable after construction; any thread may search.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace r1 {

class Regex {
 public:
  // Throws bad_input naming `file` when the pattern does not compile.
  Regex(const std::string& pattern, const std::string& file);

  // Byte ranges [begin, end) of all matches from left to right, not overlapping, empty matches left out.
  // `text` is valid UTF-8 and stands alone: anchors and lookarounds see nothing outside it.
  void find_all(std::string_view text, std::vector<std::pair<size_t, size_t>>& matches) const;

  const std::string& pattern() const { return pattern_; }

 private:
  struct Code;
  std::string pattern_;
  std::shared_ptr<const Code> code_;
};

// `literal` as a pattern that matches exactly it.
std::string regex_quote(std::string_view literal);

}  // namespace r1
