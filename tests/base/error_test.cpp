#include "base/error.h"

#include <gtest/gtest.h>

#include <vector>

namespace r1 {
namespace {

TEST(Error, reads_as_place_message_and_hint_on_one_line) {
  const Error e = bad_input("unknown role 'traner'", {"a.graph", 3, 14}, "did you mean 'trainer'?");
  EXPECT_STREQ(e.what(), "a.graph:3:14: unknown role 'traner' (did you mean 'trainer'?)");
  EXPECT_EQ(e.code(), ExitCode::bad_input);
  EXPECT_STREQ(failure("disk full").what(), "disk full");
}

TEST(Error, is_utf8_whatever_a_file_is_called_or_a_program_said) {
  const Error e = failure("it said: caf\xe9 d\xe9j\xe0 \u00e9", {"tr\xff.jsonl", 3, 0}, "\xff?");
  EXPECT_EQ(e.message(), "it said: caf\uFFFD d\uFFFDj\uFFFD \u00e9");
  EXPECT_STREQ(e.what(), "tr\uFFFD.jsonl:3: it said: caf\uFFFD d\uFFFDj\uFFFD \u00e9 (\uFFFD?)");
  EXPECT_EQ(e.hint(), "\uFFFD?");
}

TEST(Error, nearest_finds_typos_and_nothing_far_away) {
  const std::vector<std::string> known = {"trainer", "generator", "judge"};
  EXPECT_EQ(nearest("traner", known), "trainer");
  EXPECT_EQ(nearest("jugde", known), "judge");
  EXPECT_EQ(nearest("zebra", known), "");
}

TEST(Error, nearest_measures_the_distance_of_words_and_not_more_than_it_needs) {
  using Words = std::vector<std::string>;
  EXPECT_EQ(nearest("ab", Words{"ba"}), "");               // 2 edits of 2 letters
  EXPECT_EQ(nearest("abcde", Words{"xabcdy"}), "xabcdy");  // 2 of 6, one at each end
  EXPECT_EQ(nearest("abcde", Words{"vwcde"}), "vwcde");    // 2 of 5
  EXPECT_EQ(nearest("abcde", Words{"vwxde"}), "");         // 3 of 5
  EXPECT_EQ(nearest("kitten", Words{"mitten", "kitte", "kitten", "bitten"}), "kitten");
  EXPECT_EQ(nearest("kitten", Words{"mitten", "bitten"}), "mitten");  // the first of equals
  const std::string longest(256, 'a');
  EXPECT_EQ(nearest(longest.substr(16), Words{longest}), longest);
  EXPECT_EQ(nearest(longest.substr(17), Words{longest}), "");  // 17 edits are another word
  EXPECT_EQ(nearest(longest + "a", Words{longest}), "");       // longer than any name
}

}  // namespace
}  // namespace r1
