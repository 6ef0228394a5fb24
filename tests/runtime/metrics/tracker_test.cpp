#include "runtime/metrics/tracker.h"

#include <gtest/gtest.h>

#include <chrono>
#include <mutex>

#include "base/files.h"
#include "tests/runtime/temporary_directory.h"

namespace r1 {
namespace {

struct TrackerTest : ::testing::Test {
  TrackerOptions options() {
    TrackerOptions o;
    o.patience_s = 0.3;
    o.warn = [this](const std::string& text) {
      std::lock_guard lock(mutex);
      warnings.push_back(text);
    };
    return o;
  }
  static ProcessSpec shell(const std::string& script) { return {{"sh", "-c", script}, {}, {}}; }
  std::string file() const { return (dir.path() / "told").string(); }
  std::string told() const { return std::filesystem::exists(file()) ? read_file(file()) : ""; }

  TemporaryDirectory dir;
  std::mutex mutex;
  std::vector<std::string> warnings;
};

TEST_F(TrackerTest, is_told_every_line_in_order_behind_the_first_one) {
  Tracker tracker(shell("cat > " + file()), "first", options());
  for (int i = 0; i < 5; ++i) tracker.send(std::to_string(i));
  const Tracker::Counts counts = tracker.finish(20);
  EXPECT_EQ(told(), "first\n0\n1\n2\n3\n4\n");
  EXPECT_EQ(counts.sent, 5);
  EXPECT_EQ(counts.left_out, 0);
  EXPECT_EQ(counts.starts, 1);
  EXPECT_TRUE(warnings.empty());
}

TEST_F(TrackerTest, one_that_dies_is_started_again_a_few_times_and_what_it_was_not_told_is_counted) {
  Tracker tracker(shell("read first; echo $first >> " + file() + "; echo lost its way >&2; exit 3"), "first", options());
  for (int i = 0; i < 50; ++i) tracker.send(std::string(200'000, 'x'));  // more than its pipe holds: it has to read, or die
  const Tracker::Counts counts = tracker.finish(20);
  EXPECT_EQ(told(), "first\nfirst\nfirst\nfirst\n");
  EXPECT_EQ(counts.starts, 4);
  EXPECT_EQ(counts.left_out, 50);
  ASSERT_FALSE(warnings.empty());
  EXPECT_NE(warnings[0].find("exit code 3"), std::string::npos) << warnings[0];
  EXPECT_NE(warnings[0].find("lost its way"), std::string::npos) << warnings[0];
  EXPECT_NE(warnings.back().find("was not told"), std::string::npos) << warnings.back();
}

TEST_F(TrackerTest, one_that_does_not_read_costs_its_caller_nothing) {
  TrackerOptions o = options();
  o.most_lines = 20;
  o.most_starts = 1;
  Tracker tracker(shell("sleep 1000"), "first", o);
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 200; ++i) tracker.send(std::string(100'000, 'x'));  // beyond what the pipe holds
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(2));
  const Tracker::Counts counts = tracker.finish(5);
  EXPECT_GT(counts.left_out, 150);
  EXPECT_EQ(counts.left_out + counts.sent, 200) << "every line was told or is counted";
  ASSERT_FALSE(warnings.empty());
  EXPECT_NE(warnings[0].find("has not read a line"), std::string::npos) << warnings[0];
}

TEST_F(TrackerTest, a_line_that_a_dying_one_may_have_read_is_told_again_to_the_next) {
  const std::string once = (dir.path() / "once").string(),
                    script = "mkdir " + once + " && { read first; exit 1; }; cat > " + file();
  Tracker tracker(shell(script), "first", options());
  std::string all = "first\n";
  for (const char letter : {'a', 'b', 'c'}) {
    tracker.send(std::string(200'000, letter));  // more than its pipe holds: the first one dies in the middle of it
    all += std::string(200'000, letter) + "\n";
  }
  const Tracker::Counts counts = tracker.finish(20);
  EXPECT_EQ(counts.starts, 2);
  EXPECT_EQ(counts.sent, 3);
  EXPECT_EQ(counts.left_out, 0);
  EXPECT_TRUE(told() == all) << told().size() << " bytes";
}

TEST_F(TrackerTest, lines_that_still_wait_when_its_time_is_over_are_counted) {
  TrackerOptions o = options();
  o.patience_s = 1000;
  Tracker tracker(shell("sleep 1000"), "first", o);
  for (int i = 0; i < 50; ++i) tracker.send(std::string(100'000, 'x'));
  const Tracker::Counts counts = tracker.finish(0.2);
  EXPECT_EQ(counts.sent, 0);
  EXPECT_EQ(counts.left_out, 50);
}

TEST_F(TrackerTest, one_that_does_not_end_is_ended) {
  Tracker tracker(shell("cat > " + file() + "; sleep 1000"), "first", options());
  tracker.send("line");
  const auto begin = std::chrono::steady_clock::now();
  tracker.finish(1);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find("did not end"), std::string::npos) << warnings[0];
}

TEST_F(TrackerTest, what_is_printed_does_not_stop_it) {
  TrackerOptions o = options();
  o.patience_s = 30;
  Tracker tracker(shell("while read line; do head -c 50000 /dev/zero | tr '\\0' x; echo; done"), "first", o);
  for (int i = 0; i < 40; ++i) tracker.send("line");
  EXPECT_EQ(tracker.finish(30).sent, 40);
  EXPECT_EQ(warnings, std::vector<std::string>{}) << "and it ends by itself";
}

TEST(TrackerCommand, is_words_and_anything_else_is_refused) {
  using Words = std::vector<std::string>;
  EXPECT_EQ(tracker_command("command(sh -c 'a b')", ".", {}), (Words{"sh", "-c", "a b"}));
  EXPECT_EQ(tracker_command("command('sh -e')", ".", {}), (Words{"sh", "-e"}));
  EXPECT_EQ(tracker_command("command(\"sh -c 'x'\")", ".", {}), (Words{"sh", "-c", "x"}));
  for (const char* bad :
       {"", "sh", "command(", "command()", "command( )", "command(sh -c 'a)", "command(no-such-program-here)", "http(x)"})
    EXPECT_THROW(tracker_command(bad, ".", {}), Error) << bad;
}

}  // namespace
}  // namespace r1
