#include "tools/terminal/text.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace r1::terminal {
namespace {

TEST(Text, width_counts_columns_and_not_bytes) {
  EXPECT_EQ(width_of("abc"), 3u);
  EXPECT_EQ(width_of("▁▂█"), 3u);
  EXPECT_EQ(width_of("重复 a"), 6u);
  EXPECT_EQ(width_of("\033[32mok\033[0m"), 2u);
  EXPECT_EQ(width_of("e\u0301"), 1u);
}

TEST(Text, what_is_too_long_is_cut_with_an_ellipsis_and_never_inside_a_character) {
  EXPECT_EQ(fit("abcdef", 6), "abcdef");
  EXPECT_EQ(fit("abcdefg", 6), "abcde…");
  EXPECT_EQ(fit("重复重复", 6), "重复…");
  EXPECT_EQ(fit("abc", 0), "");
  EXPECT_EQ(fit("\033[32mabcdef\033[0m", 4), "\033[32mabc…\033[0m") << "the colour ends behind the cut";
  EXPECT_EQ(padded("重", 4), "重  ");
}

TEST(Text, a_bar_grows_in_eighths_and_keeps_its_width) {
  EXPECT_EQ(bar(0, 4), "    ");
  EXPECT_EQ(bar(1, 4), "████");
  EXPECT_EQ(bar(0.5, 3), "█▌ ");
  EXPECT_EQ(bar(7, 2), "██");
  EXPECT_EQ(bar(std::nan(""), 2), "  ");
  for (double x = 0; x <= 1; x += 0.01) EXPECT_EQ(width_of(bar(x, 7)), 7u);
}

TEST(Text, a_sparkline_shows_rise_gaps_and_constants) {
  EXPECT_EQ(sparkline(std::vector<double>{0, 1, 2, 3, 4, 5, 6, 7}, 8), "▁▂▃▄▅▆▇█");
  EXPECT_EQ(sparkline(std::vector<double>{2, 2, 2}, 8), "▄▄▄");
  EXPECT_EQ(sparkline(std::vector<double>{5}, 8), "▄");
  EXPECT_EQ(sparkline(std::vector<double>{0, std::nan(""), 1}, 8), "▁ █");
  EXPECT_EQ(sparkline(std::vector<double>{std::nan("")}, 8), " ");
  EXPECT_EQ(sparkline(std::vector<double>{}, 8), "");
  EXPECT_EQ(sparkline(std::vector<double>{0, 0, 1, 1}, 2), "▁█") << "several values share a column";
  EXPECT_EQ(width_of(sparkline(std::vector<double>(1000, 1.0), 17)), 17u);
}

TEST(Text, numbers_are_short) {
  EXPECT_EQ(clock_text(7), "0:07");
  EXPECT_EQ(clock_text(750), "12:30");
  EXPECT_EQ(clock_text(3723), "1:02:03");
  EXPECT_EQ(clock_text(-1), "0:00");
  EXPECT_EQ(short_count(812), "812");
  EXPECT_EQ(short_count(23'060), "23.1k");
  EXPECT_EQ(short_count(1'400'000), "1.4M");
  EXPECT_EQ(share_text(0.8531, 3), ".853");
  EXPECT_EQ(share_text(1, 3), "1.000");
  EXPECT_EQ(share_text(-0.12, 2), "-.12");
  EXPECT_EQ(share_text(10.5, 1), "10.5");
}

}  // namespace
}  // namespace r1::terminal
