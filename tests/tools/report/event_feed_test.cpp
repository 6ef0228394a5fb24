// The event files of a run follow its store: every batch once, over restarts.
#include "tools/report/event_feed.h"

#include <gtest/gtest.h>

#include <map>

#include "tests/tools/report/run_fixture.h"

namespace r1::report {
namespace {

// How often each tag was written, by step, over all files of the directory.
std::map<std::string, std::map<int64_t, int>> written(const std::filesystem::path& dir) {
  std::map<std::string, std::map<int64_t, int>> out;
  for (const auto& path : event_files(dir))
    for (const ScalarEvent& event : read_event_file(path))
      for (const Scalar& scalar : event.scalars) ++out[scalar.tag][event.step];
  return out;
}

TEST(EventFeed, writes_every_batch_once_as_the_run_goes_on) {
  RunFixture run;
  EventFeed feed(run.graph, *run.store, run.dir.path());
  feed.update();
  EXPECT_TRUE(event_files(run.dir.path()).empty()) << "nothing to say yet";
  run.measure("plain", "before", 0.25);
  run.rl_batches("plain", 0, 3);
  feed.update();
  feed.update();
  auto tags = written(run.dir.path());
  EXPECT_EQ(tags["plain/reward"], (std::map<int64_t, int>{{0, 1}, {1, 1}})) << "the newest batch may still be learnt from";
  EXPECT_EQ(tags["plain/held_out/accuracy"], (std::map<int64_t, int>{{0, 1}}));
  run.measure("plain", "after", 0.5);
  run.complete("plain");
  feed.update();
  feed.update();
  tags = written(run.dir.path());
  EXPECT_EQ(tags["plain/reward"], (std::map<int64_t, int>{{0, 1}, {1, 1}, {2, 1}}));
  EXPECT_EQ(tags["plain/held_out/accuracy"], (std::map<int64_t, int>{{0, 1}, {3, 1}}));
  EXPECT_EQ(tags.count("plain/expert_load"), 0u);
}

TEST(EventFeed, a_continued_run_goes_on_where_the_files_end) {
  RunFixture run;
  run.measure("plain", "before", 0.25);
  run.rl_batches("plain", 0, 3);
  { EventFeed(run.graph, *run.store, run.dir.path()).update(); }
  // A process that died in the middle of a record.
  const auto first = event_files(run.dir.path()).at(0);
  std::filesystem::resize_file(first, std::filesystem::file_size(first) - 5);
  std::filesystem::rename(first, run.dir.path() / "events.out.tfevents.1.older.1");
  run.rl_batches("plain", 3, 5);
  run.complete("plain");
  { EventFeed(run.graph, *run.store, run.dir.path()).update(); }
  EXPECT_EQ(event_files(run.dir.path()).size(), 2u);
  auto tags = written(run.dir.path());
  EXPECT_EQ(tags["plain/reward"], (std::map<int64_t, int>{{0, 1}, {1, 1}, {2, 1}, {3, 1}, {4, 1}}));
  EXPECT_EQ(tags["plain/held_out/accuracy"], (std::map<int64_t, int>{{0, 1}}));
}

}  // namespace
}  // namespace r1::report
