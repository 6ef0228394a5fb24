// A ledger as large as that of a long run: checked in time linear in its rows, and never in the way of a commit.
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <algorithm>
#include <atomic>
#include <ctime>
#include <string>
#include <thread>

#include "runtime/store/run_store.h"
#include "tests/runtime/temporary_directory.h"

namespace r1 {
namespace {

// A stage of `batches` batches, each trained on one draw.
int64_t filled(const TemporaryDirectory& dir, int64_t batches) {
  int64_t stage = 0;
  {
    auto store = RunStore::open(dir.path());
    stage = store->ensure_stage("rl1");
    store->flush();
  }
  sqlite3* db = nullptr;
  EXPECT_EQ(sqlite3_open((dir.path() / "run.db").c_str(), &db), SQLITE_OK);
  const std::string numbers = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < " +
                              std::to_string(batches) + ") INSERT INTO ",
                    id = std::to_string(stage);
  for (const std::string& into :
       {"draws (stage, draw, prompt) SELECT " + id + ", i, i FROM n",
        "batches (stage, version, skipped, payload_hash, payload) SELECT " + id + ", i, 0, '', '' FROM n",
        "resolutions SELECT " + id + ", i, i, NULL FROM n"}) {
    char* error = nullptr;
    EXPECT_EQ(sqlite3_exec(db, (numbers + into).c_str(), nullptr, nullptr, &error), SQLITE_OK) << (error ? error : "");
    sqlite3_free(error);
  }
  sqlite3_close(db);
  return stage;
}

// Of this thread, the best of three.
double seconds_of_check(const RunStore& store, int64_t stage) {
  const auto now = [] {
    timespec t{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
  };
  double best = 1e9;
  for (int i = 0; i < 3; ++i) {
    const double begin = now();
    EXPECT_EQ(store.check_ledger(stage, false), "");
    best = std::min(best, now() - begin);
  }
  return best;
}

TEST(LedgerSize, four_times_the_batches_take_about_four_times_as_long) {
  TemporaryDirectory small, large;
  const int64_t a = filled(small, 10'000), b = filled(large, 40'000);
  const double once = seconds_of_check(*RunStore::open(small.path()), a);
  const double fourfold = seconds_of_check(*RunStore::open(large.path()), b);
  EXPECT_LT(fourfold, 9 * once) << once << " s, then " << fourfold << " s";  // 16 where every batch looks at every other one
}

TEST(LedgerSize, commits_come_in_while_a_long_ledger_is_checked) {
  TemporaryDirectory dir;
  const int64_t stage = filled(dir, 40'000);
  auto store = RunStore::open(dir.path());
  std::atomic<bool> done = false;
  std::thread check([&] {
    EXPECT_EQ(store->check_ledger(stage, false), "");
    done = true;
  });
  int commits = 0;
  for (; !done; ++commits) {
    store->add_metric(stage, commits, "reward", 1);
    store->flush();
  }
  check.join();
  EXPECT_GT(commits, 2);  // one before it and one behind it would say nothing
}

}  // namespace
}  // namespace r1
