#include "rewards/language.h"

#include <gtest/gtest.h>

namespace r1 {
namespace {

TEST(Language, counts_tiny_world_words_one_each) {
  const WordCounts en = count_words(" two plus five is seven .");
  EXPECT_EQ(en.en, 5);
  EXPECT_EQ(en.zh, 0);
  const WordCounts zh = count_words(" 二 加 五 得 七 . 等等 保险箱 不客气");
  EXPECT_EQ(zh.zh, 8);
  EXPECT_EQ(zh.en, 0);
}

TEST(Language, digits_punctuation_and_single_letters_belong_to_no_language) {
  EXPECT_EQ(count_words("4 7 2 + - . : a c h 12.5 ...").all(), 0);
  EXPECT_EQ(count_words("").all(), 0);
}

TEST(Language, share_is_over_the_words_of_all_languages) {
  EXPECT_DOUBLE_EQ(language_share("two 加 five 得", "en"), 0.5);
  EXPECT_DOUBLE_EQ(language_share("two plus five", "en"), 1);
  EXPECT_DOUBLE_EQ(language_share("two plus five", "zh"), 0);
  EXPECT_DOUBLE_EQ(language_share("1 2 3", "en"), 0);
  EXPECT_DOUBLE_EQ(language_share("hello привет", "en"), 0.5);
  EXPECT_DOUBLE_EQ(language_share("hello", "klingon"), 0);
}

TEST(Language, running_chinese_text_counts_about_one_word_for_two_characters) {
  EXPECT_EQ(count_words("今天天气很好，我们去公园吧").zh, 3 + 3);
}

TEST(Language, latex_commands_and_math_letters_do_not_make_a_chinese_text_english) {
  EXPECT_DOUBLE_EQ(language_share("所以 \\frac{x}{y} 等于 \\alpha + β", "zh"), 1);
}

TEST(Language, apostrophes_stay_inside_a_word_and_accents_are_letters) {
  EXPECT_EQ(count_words("don't can\u2019t café naïve").en, 4);
}

TEST(Language, malformed_bytes_are_no_words) { EXPECT_EQ(count_words("\xFF\xFE ab \xE4\xBD").en, 1); }

}  // namespace
}  // namespace r1
