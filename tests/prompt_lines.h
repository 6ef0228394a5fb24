// JSON lines of prompts for tests of data. Thread rule: pure function.
#pragma once

#include <string>

namespace r1 {

// `n` prompts, each with its number as the answer; the one numbered `long_one` has some 400 tokens.
inline std::string prompt_lines(int n, int long_one = -1) {
  std::string text;
  for (int i = 0; i < n; ++i) {
    std::string prompt = "compute";
    for (int k = 0; k < (i == long_one ? 400 : 3); ++k) prompt += " 1";
    text += "{\"prompt\": \"" + prompt + "\", \"answer\": \"" + std::to_string(i) + "\"}\n";
  }
  return text;
}

}  // namespace r1
