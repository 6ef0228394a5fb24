// What a tracker is told of a run follows its store: every batch and every measurement once, over restarts.
#include "tools/report/tracker_feed.h"

#include <gtest/gtest.h>

#include <sstream>

#include "base/files.h"
#include "tests/tools/report/run_fixture.h"

namespace r1::report {
namespace {

using nlohmann::json;

struct TrackerFeedTest : ::testing::Test {
  // What one process of the run tells, as "EVENT STEP" behind its first line.
  std::vector<std::string> told(const std::string& status) {
    const auto file = run.dir.path() / "told";
    std::filesystem::remove(file);
    TrackerFeed feed(run.graph, *run.store, run.dir.path(), run.dir.path(), {"sh", "-c", "cat > told"}, {});
    feed.update();
    feed.update();
    feed.finish(status, 20);
    std::vector<std::string> out;
    std::istringstream lines(read_file(file));
    for (std::string text; std::getline(lines, text);) {
      const json line = json::parse(text);
      if (line.at("event") == "run")
        continued = line.at("continued");
      else if (line.at("event") == "end")
        out.push_back("end " + line.at("status").get<std::string>());
      else
        out.push_back(fmt::format("{} {}", line.at("event").get<std::string>(), line.at("step").get<int64_t>()));
    }
    return out;
  }
  RunFixture run;
  bool continued = false;
};

using Told = std::vector<std::string>;

TEST_F(TrackerFeedTest, a_continued_run_tells_what_was_not_told_and_nothing_twice) {
  run.measure("plain", "before", 0.25);
  run.rl_batches("plain", 0, 3);
  EXPECT_EQ(told("interrupted"), (Told{"batch 0", "batch 1", "held_out 0", "end interrupted"}))
      << "the newest batch may still be learnt from";
  EXPECT_FALSE(continued);
  EXPECT_EQ(told("interrupted"), (Told{"end interrupted"}));
  EXPECT_TRUE(continued);
  run.rl_batches("plain", 3, 5);
  run.measure("plain", "after", 0.5);
  EXPECT_EQ(told("failed"), (Told{"batch 2", "batch 3", "end failed"})) << "the end of a stage is measured when it has ended";
  run.complete("plain");
  EXPECT_EQ(told("done"), (Told{"batch 4", "held_out 5", "end done"}));
  EXPECT_EQ(told("done"), (Told{"end done"}));
}

}  // namespace
}  // namespace r1::report
