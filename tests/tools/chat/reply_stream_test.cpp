#include "tools/chat/reply_stream.h"

#include <gtest/gtest.h>

namespace r1 {
namespace {

struct Shown {
  std::string thought, answer;
  bool operator==(const Shown&) const = default;
};

// The text in pieces of `size` bytes; each piece that is given on has to be whole characters.
Shown streamed(const std::string& text, size_t size, bool in_thought = false) {
  ReplyStream stream(in_thought);
  Shown out;
  const auto take = [&](const std::vector<ReplyStream::Piece>& pieces) {
    for (const auto& piece : pieces) {
      EXPECT_FALSE(piece.text.empty());
      EXPECT_NE(static_cast<unsigned char>(piece.text[0]) & 0xc0, 0x80) << "a character cut in two";
      (piece.thought ? out.thought : out.answer) += piece.text;
    }
  };
  for (size_t i = 0; i < text.size(); i += size) take(stream.add(std::string_view(text).substr(i, size)));
  take(stream.finish());
  return out;
}

TEST(ReplyStream, thoughts_and_answers_are_told_apart_wherever_tokens_end) {
  const std::string text = "<think>\nzwei 二 und 🙂 < 3</think>\n\nDie Antwort: 5 < 6 </thin";
  for (size_t size = 1; size < 12; ++size)
    EXPECT_EQ(streamed(text, size), (Shown{"zwei 二 und 🙂 < 3", "Die Antwort: 5 < 6 </thin"})) << size;
}

TEST(ReplyStream, a_prompt_may_have_opened_the_thought) {
  for (size_t size = 1; size < 5; ++size) {
    EXPECT_EQ(streamed("\nso</think>five", size, true), (Shown{"so", "five"})) << size;
    EXPECT_EQ(streamed("never closed", size, true), (Shown{"never closed", ""})) << size;
  }
}

TEST(ReplyStream, what_is_no_utf8_is_replaced_and_waits_for_nothing) {
  for (size_t size = 1; size < 5; ++size) {
    EXPECT_EQ(streamed("a\xff\x62", size).answer, "a\uFFFDb") << size;
    EXPECT_EQ(streamed("a\xe4\xba", size).answer, "a\uFFFD") << "cut at the end, " << size;
    EXPECT_EQ(streamed("a\xe4\xba"
                       "b",
                       size)
                  .answer,
              "a\uFFFDb")
        << size;
  }
}

TEST(ReplyStream, text_is_shown_as_soon_as_it_is_sure) {
  ReplyStream stream(false);
  const auto first = stream.add("two words");
  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(first[0].text, "two words");
  EXPECT_EQ(stream.add(" <").at(0).text, " ") << "a tag may begin here";
  EXPECT_EQ(stream.add("b>").at(0).text, "<b>");
}

}  // namespace
}  // namespace r1
