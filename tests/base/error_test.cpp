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

TEST(Error, nearest_finds_typos_and_nothing_far_away) {
  const std::vector<std::string> known = {"trainer", "generator", "judge"};
  EXPECT_EQ(nearest("traner", known), "trainer");
  EXPECT_EQ(nearest("jugde", known), "judge");
  EXPECT_EQ(nearest("zebra", known), "");
}

}  // namespace
}  // namespace r1
