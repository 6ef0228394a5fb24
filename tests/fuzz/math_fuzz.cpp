// Final answers: taken out of a text, and two of them (a line each) compared. No input is refused.
#include "rewards/math_answer.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace r1;
  const std::string_view text = fuzz::text_of(data, size);
  const size_t line = text.find('\n');
  const std::string_view first = text.substr(0, line), second = line == text.npos ? first : text.substr(line + 1);
  extract_math_answer(text);
  math_equal(first, second);
  return 0;
}
