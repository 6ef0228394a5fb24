#include "runtime/store/run_store.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <thread>

#include "base/error.h"
#include "base/hash.h"
#include "tools/sim/power_cut.h"
#include "tests/runtime/temporary_directory.h"

namespace r1 {
namespace {

// Runs SQL on the file behind the store's back.
void tamper(const std::filesystem::path& dir, const std::string& sql) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open((dir / "run.db").c_str(), &db), SQLITE_OK);
  char* message = nullptr;
  EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, &message), SQLITE_OK) << (message ? message : "");
  sqlite3_close(db);
}

ExitCode code_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.code();
  }
  return ExitCode::done;
}

struct Store : testing::Test {
  TemporaryDirectory dir;
  std::unique_ptr<RunStore> store = RunStore::open(dir.path());
  int64_t stage = store->ensure_stage("rl1");
  void reopen() {
    store.reset();
    store = RunStore::open(dir.path());
  }
  void commit(int64_t version, const std::vector<Resolution>& resolutions) {
    store->commit_batch(stage, {version, false, "payload " + std::to_string(version), "", ""}, resolutions, {});
  }
};

TEST_F(Store, keeps_everything_over_a_reopen) {
  store->set_meta("seed", "7");
  store->set_stage_status(stage, StageStatus::running);
  store->add_stage_seconds(stage, 1.5);
  store->add_stage_seconds(stage, 2.0);
  store->set_stage_times(stage, "{\"wall_s\":1}");
  store->add_draw(stage, 0, 40);
  store->add_draw(stage, 1, 41);
  const std::string bytes("\0\x01 blob", 7);
  store->commit_batch(stage, {0, false, bytes, "", ""}, {{0, 0, ""}, {1, -1, "reward_error"}},
                      {{0, 0, 0.5, "{\"accuracy\":1}", bytes}, {0, 1, 1.5, "{}", ""}});
  store->set_batch_stats(stage, 0, "{\"loss\":2}");
  store->add_snapshot(stage, {1, "snapshots/a"});
  store->add_snapshot(stage, {3, "snapshots/b"});
  store->remove_snapshot(stage, 1);
  store->add_version(stage, 1, "abc");
  store->set_artifact(stage, "checkpoint", "checkpoints/rl1", "def");
  store->add_metric(stage, 2, "reward", 0.25);
  store->add_metric(stage, 1, "reward", 0.125);
  store->add_event(stage, "rl1_trainer", "restart", "{}");
  reopen();

  EXPECT_EQ(store->meta("seed"), "7");
  EXPECT_EQ(store->meta("nothing"), std::nullopt);
  ASSERT_EQ(store->stages().size(), 1u);
  EXPECT_EQ(store->stages()[0].status, StageStatus::running);
  EXPECT_EQ(store->stages()[0].seconds, 3.5);
  EXPECT_EQ(store->stages()[0].times_json, "{\"wall_s\":1}");
  EXPECT_EQ(store->batch(stage, 0).payload, bytes);
  EXPECT_EQ(store->batch(stage, 0).payload_hash, hash_string(bytes).hex());
  EXPECT_EQ(store->batch(stage, 0).stats_json, "{\"loss\":2}");
  EXPECT_EQ(store->batch_stats(stage), (std::vector<std::pair<int64_t, std::string>>{{0, "{\"loss\":2}"}}));
  const auto trajectories = store->trajectories(stage, 0);
  ASSERT_EQ(trajectories.size(), 2u);
  EXPECT_EQ(trajectories[0].payload, bytes);
  EXPECT_EQ(trajectories[1].reward, 1.5);
  ASSERT_EQ(store->snapshots(stage).size(), 1u);
  EXPECT_EQ(store->snapshots(stage)[0].file, "snapshots/b");
  EXPECT_EQ(store->version_hash(stage, 1), "abc");
  EXPECT_EQ(store->version_hash(stage, 2), std::nullopt);
  EXPECT_EQ(store->artifact(stage, "checkpoint")->first, "checkpoints/rl1");
  const auto rewards = store->metrics(stage, "reward");
  ASSERT_EQ(rewards.size(), 2u);
  EXPECT_EQ(rewards[0].step, 1);
  // The numbers in a batch's statistics are metrics too, under its version.
  const auto latest = store->latest_metrics(stage);
  ASSERT_EQ(latest.size(), 2u);
  EXPECT_EQ(latest[0].name, "loss");
  EXPECT_EQ(latest[0].value, 2);
  EXPECT_EQ(latest[1].value, 0.25);
  EXPECT_EQ(store->metrics(stage, "loss").at(0).step, 0);
  EXPECT_EQ(store->events(stage, 10), (std::vector<std::vector<std::string>>{{"rl1_trainer", "restart", "{}"}}));
  EXPECT_EQ(store->events(stage, 10, "stall").size(), 0u);
}

TEST_F(Store, counts_the_ledger_and_finds_the_open_draws) {
  for (int64_t d = 0; d < 6; ++d) store->add_draw(stage, d, d);
  store->add_draw(stage, 2, 2);  // issued again after a crash: nothing changes
  commit(0, {{0, 0, ""}, {1, -1, "stale"}, {3, -1, "equal_rewards"}, {4, -1, "equal_rewards"}});
  const LedgerCounts counts = store->ledger(stage);
  EXPECT_EQ(counts.draws, 6);
  EXPECT_EQ(counts.trained, 1);
  EXPECT_EQ(counts.open, 2);
  EXPECT_EQ(counts.dropped, (std::map<std::string, int64_t>{{"equal_rewards", 2}, {"stale", 1}}));
  EXPECT_EQ(store->open_draws(stage), (std::vector<int64_t>{2, 5}));
  EXPECT_EQ(store->next_draw(stage), 6);
  EXPECT_EQ(store->resolution(stage, 0)->batch, 0);
  EXPECT_EQ(store->resolution(stage, 3)->reason, "equal_rewards");
  EXPECT_EQ(store->resolution(stage, 2), std::nullopt);
  EXPECT_EQ(store->check_ledger(stage, true), "");
  EXPECT_EQ(store->check_ledger(stage, false), "never resolved: draw 2, 5");

  store->complete_stage(stage, "{\"steps\":1}");
  EXPECT_EQ(store->check_ledger(stage, false), "");
  EXPECT_EQ(store->ledger(stage).dropped.at("stage_ended"), 2);
  EXPECT_EQ(store->stages()[0].status, StageStatus::done);
  EXPECT_EQ(store->stages()[0].summary_json, "{\"steps\":1}");
}

// A power cut, unlike a kill, drops what was written and not synced.
TEST(RunStorePower, what_a_call_made_durable_outlives_a_power_cut_at_once) {
  TemporaryDirectory dir, copies;
  PowerCut power(dir.path());
  int cuts = 0;
  const auto cut = [&] {
    const auto copy = copies.path() / std::to_string(++cuts);
    power.restore(copy);
    return RunStore::open(copy);
  };
  const auto store = RunStore::open(dir.path());
  const int64_t stage = store->ensure_stage("rl1");
  for (int64_t v = 0; v < 3; ++v) {
    store->add_draw(stage, v, v);
    store->commit_batch(stage, {v, false, "payload " + std::to_string(v), "", ""}, {{v, v, ""}}, {{v, 0, 0.5, "{}", "bytes"}});
    const auto left = cut();
    ASSERT_EQ(left->batch_count(stage), v + 1);
    EXPECT_EQ(left->batch(stage, v).payload, "payload " + std::to_string(v));
    EXPECT_EQ(left->trajectories(stage, v).size(), 1u);
    EXPECT_EQ(left->check_ledger(stage, false), "");
  }
  store->set_meta("seed", "7");
  EXPECT_EQ(cut()->meta("seed"), "7");
  store->add_snapshot(stage, {3, "snapshots/a"});
  EXPECT_EQ(cut()->snapshots(stage).size(), 1u);
  store->set_artifact(stage, "checkpoint", "checkpoints/rl1", "abc");
  EXPECT_TRUE(cut()->artifact(stage, "checkpoint").has_value());
  store->complete_stage(stage, "{}");
  EXPECT_EQ(cut()->stages().at(0).status, StageStatus::done);
}

TEST(RunStorePower, a_store_that_was_just_made_outlives_a_power_cut) {
  TemporaryDirectory dir, copies;
  PowerCut power(dir.path());
  const auto store = RunStore::open(dir.path());
  power.restore(copies.path() / "left");
  EXPECT_EQ(RunStore::open(copies.path() / "left")->stages().size(), 0u);
}

// The words are in files and scripts of users (docs/formats.md).
TEST_F(Store, every_state_has_a_word_of_its_own_and_a_stage_comes_back_with_its_status) {
  const auto words = [](const auto& table) { return std::vector<std::string>(std::begin(table), std::end(table)); };
  using Words = std::vector<std::string>;
  EXPECT_EQ(words(kStageStatusWords), (Words{"waiting", "running", "done", "failed"}));
  EXPECT_EQ(words(kStagePhaseWords), (Words{"waiting", "preparing", "running", "summing up", "done", "failed", "paused"}));
  EXPECT_EQ(words(kRoleStatusWords), (Words{"running", "finished", "failed"}));
  EXPECT_STREQ(word_of(StagePhase::summing_up), "summing up");
  EXPECT_STREQ(word_of(RoleStatus::finished), "finished");
  for (size_t i = 0; i < std::size(kStageStatusWords); ++i) {
    const auto status = static_cast<StageStatus>(i);
    EXPECT_STREQ(word_of(status), kStageStatusWords[i]);
    EXPECT_EQ(stage_status_of(word_of(status)), status);
    store->set_stage_status(stage, status);
    reopen();
    EXPECT_EQ(store->stages().at(0).status, status) << word_of(status);
  }
  EXPECT_EQ(stage_status_of("no status"), StageStatus::waiting);
}

TEST_F(Store, stages_do_not_share_draws) {
  const int64_t other = store->ensure_stage("rl2");
  EXPECT_EQ(store->ensure_stage("rl2"), other);
  EXPECT_NE(other, stage);
  store->add_draw(stage, 0, 0);
  EXPECT_EQ(store->next_draw(other), 0);
  EXPECT_EQ(store->open_draws(other).size(), 0u);
}

TEST_F(Store, the_ledger_check_names_every_kind_of_damage) {
  for (int64_t d = 0; d < 4; ++d) store->add_draw(stage, d, d);
  commit(0, {{0, 0, ""}});
  store.reset();
  tamper(dir.path(),
         "INSERT INTO resolutions VALUES (1, 3, 4, NULL);"
         "INSERT INTO resolutions VALUES (1, 70, NULL, 'stale'); INSERT INTO resolutions VALUES (1, 1, 9, NULL);"
         "INSERT INTO batches (stage, version, skipped, payload_hash, payload) VALUES (1, 4, 1, '', '');"
         "INSERT INTO batches (stage, version, skipped, payload_hash, payload) VALUES (1, 5, 0, '', '');"
         "INSERT INTO trajectories (stage, draw, sample, scores, payload) VALUES (1, 2, 0, '{}', '');");
  store = RunStore::open(dir.path());
  const std::string wrong = store->check_ledger(stage, true);
  EXPECT_NE(wrong.find("never drawn: draw 70"), std::string::npos) << wrong;
  EXPECT_NE(wrong.find("not stored: draw 1"), std::string::npos) << wrong;
  EXPECT_NE(wrong.find("batch that was skipped: draw 3"), std::string::npos) << wrong;
  EXPECT_NE(wrong.find("trained no draw: version 5"), std::string::npos) << wrong;
  EXPECT_NE(wrong.find("not numbered 0, 1, 2, ...: version 4, 5"), std::string::npos) << wrong;
  EXPECT_NE(wrong.find("unresolved draw: draw 2"), std::string::npos) << wrong;
}

TEST_F(Store, a_changed_payload_is_found_when_it_is_read) {
  store->add_draw(stage, 0, 0);
  commit(0, {{0, 0, ""}});
  store.reset();
  tamper(dir.path(), "UPDATE batches SET payload = 'paylOad 0'");
  store = RunStore::open(dir.path());
  EXPECT_EQ(code_of([&] { store->batch(stage, 0); }), ExitCode::failed);
}

// Rows of eight bytes stand for those of 64 MiB: SQLite takes none of more than 1e9 bytes.
struct StoreInParts : Store {
  StoreInParts() {
    store.reset();
    store = RunStore::open(dir.path(), {.row_bytes = 8});
  }
};

TEST_F(StoreInParts, a_payload_that_is_longer_than_a_row_comes_back_as_it_was) {
  std::vector<std::string> payloads;
  for (const size_t bytes : {0, 1, 7, 8, 9, 16, 17, 1000}) {
    std::string& payload = payloads.emplace_back();
    for (size_t i = 0; i < bytes; ++i) payload.push_back(static_cast<char>(i % 251));
  }
  for (size_t v = 0; v < payloads.size(); ++v)
    store->commit_batch(stage, {static_cast<int64_t>(v), true, payloads[v], "", ""}, {}, {});
  // A store whose rows hold more reads them, and so does who only looks.
  const auto reader = RunStore::open_read_only(dir.path());
  reopen();
  for (size_t v = 0; v < payloads.size(); ++v)
    for (const RunStore* from : {store.get(), reader.get()}) {
      EXPECT_EQ(from->batch(stage, static_cast<int64_t>(v)).payload, payloads[v]);
      EXPECT_EQ(from->batch(stage, static_cast<int64_t>(v)).payload_hash, hash_string(payloads[v]).hex());
    }
  EXPECT_EQ(store->batch_count(stage), static_cast<int64_t>(payloads.size()));
  store.reset();
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open((dir.path() / "run.db").c_str(), &db), SQLITE_OK);
  const auto number = [&](const char* sql) {
    sqlite3_stmt* s = nullptr;
    EXPECT_EQ(sqlite3_prepare_v2(db, sql, -1, &s, nullptr), SQLITE_OK);
    EXPECT_EQ(sqlite3_step(s), SQLITE_ROW);
    const int64_t value = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return value;
  };
  EXPECT_EQ(number("SELECT max(length(payload)) FROM batches"), 8);
  EXPECT_EQ(number("SELECT max(length(payload)) FROM batch_parts"), 8);
  EXPECT_EQ(number("SELECT count(*) FROM batch_parts"), 1 + 1 + 2 + 124);
  EXPECT_LT(StoreOptions{}.row_bytes, static_cast<size_t>(sqlite3_limit(db, SQLITE_LIMIT_LENGTH, -1)) / 2);
  sqlite3_close(db);
}

TEST_F(StoreInParts, a_part_that_is_missing_changed_or_in_the_place_of_another_is_found_when_the_batch_is_read) {
  store->commit_batch(stage, {0, true, "the first, the second, the third", "", ""}, {}, {});
  const auto after = [&](const std::string& sql) {
    TemporaryDirectory copy;
    store.reset();
    std::filesystem::copy(dir.path(), copy.path() / "run");
    tamper(copy.path() / "run", sql);
    const auto damaged = RunStore::open(copy.path() / "run");
    try {
      damaged->batch(stage, 0);
      return std::string("it was read");
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::failed);
      return e.message();
    }
  };
  EXPECT_EQ(after("SELECT 1"), "it was read");
  EXPECT_EQ(after("DELETE FROM batch_parts WHERE part = 2"),
            "batch 0 of stage 1 is damaged: part 2 of 3 of its payload is missing in the table batch_parts");
  EXPECT_EQ(after("DELETE FROM batch_parts WHERE part = 3"),
            "batch 0 of stage 1 is damaged: part 3 of 3 of its payload is missing in the table batch_parts");
  EXPECT_EQ(after("DELETE FROM batch_parts"),
            "batch 0 of stage 1 is damaged: part 1 of 3 of its payload is missing in the table batch_parts");
  const char* changed = "batch 0 of stage 1 is damaged: its bytes do not match its hash";
  EXPECT_EQ(after("UPDATE batch_parts SET payload = upper(payload) WHERE part = 2"), changed);
  EXPECT_EQ(after("UPDATE batch_parts SET part = -part WHERE part < 3; UPDATE batch_parts SET part = 3 + part WHERE part < 0"),
            changed);
  EXPECT_EQ(after("UPDATE batches SET parts = 2"), changed);
  EXPECT_EQ(after("UPDATE batches SET parts = -1"), changed);
}

using StoreDeathTest = Store;

TEST_F(StoreDeathTest, a_draw_resolved_twice_is_a_broken_invariant) {
  store.reset();
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        auto own = RunStore::open(dir.path());
        own->add_draw(1, 0, 0);
        own->commit_batch(1, {0, false, "x", "", ""}, {{0, 0, ""}}, {});
        own->commit_batch(1, {1, true, "y", "", ""}, {{0, -1, "stale"}}, {});
      },
      "resolved twice");
}

TEST_F(StoreDeathTest, a_batch_out_of_order_is_a_broken_invariant) {
  store.reset();
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(RunStore::open(dir.path())->commit_batch(1, {1, true, "x", "", ""}, {}, {}), "batch 1 committed after 0");
}

TEST_F(Store, refuses_what_is_not_a_run_store_and_other_schema_versions) {
  TemporaryDirectory other;
  std::ofstream(other.path() / "run.db")
      << "this is text, long enough to not be an empty database ...................................";
  EXPECT_EQ(code_of([&] { RunStore::open(other.path()); }), ExitCode::bad_input);
  EXPECT_EQ(code_of([&] { RunStore::open_read_only(other.path()); }), ExitCode::bad_input);
  TemporaryDirectory empty;
  EXPECT_EQ(code_of([&] { RunStore::open_read_only(empty.path()); }), ExitCode::bad_input);
  store.reset();
  tamper(dir.path(), "PRAGMA user_version = 99");
  EXPECT_EQ(code_of([&] { RunStore::open(dir.path()); }), ExitCode::bad_input);
  tamper(dir.path(), "PRAGMA user_version = 2; PRAGMA application_id = 5");
  EXPECT_EQ(code_of([&] { RunStore::open(dir.path()); }), ExitCode::bad_input);
}

TEST_F(Store, goes_on_with_a_run_of_the_schema_before_and_only_reads_it_otherwise) {
  commit(0, {{0, 0, ""}});
  store.reset();
  tamper(dir.path(),
         "DROP TABLE evaluations; DROP TABLE responses; ALTER TABLE versions ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0; "
         "ALTER TABLE versions ADD COLUMN whole INTEGER NOT NULL DEFAULT 0; DROP TABLE batch_parts; ALTER TABLE batches DROP "
         "COLUMN parts; PRAGMA user_version = 3; UPDATE meta SET value = '3' WHERE key = 'schema'");
  {
    const auto reader = RunStore::open_read_only(dir.path());
    EXPECT_TRUE(reader->evaluations(stage).empty());
    EXPECT_FALSE(reader->known_evaluation("x").has_value());
    EXPECT_EQ(reader->batch(stage, 0).payload, "payload 0");
    EXPECT_EQ(reader->check_ledger(stage, true), "resolved but never drawn: draw 0") << "as the writer says";
    EXPECT_EQ(reader->meta("schema"), "3") << "a reader changes nothing";
  }
  for (const char* time : {"made the present one", "the present one"}) {
    SCOPED_TRACE(time);
    const auto own = RunStore::open(dir.path());
    EXPECT_EQ(own->meta("schema"), "6");
    own->add_version(stage, 2, "def");
    EXPECT_EQ(own->version_hash(stage, 2), "def");
    EXPECT_EQ(own->batch_count(stage), 1);
    EXPECT_EQ(own->batch(stage, 0).payload, "payload 0");
    own->add_evaluation(stage, {"test", "after", 1, "x", "{}"}, {});
    EXPECT_EQ(own->evaluations(stage).size(), 1u);
  }
}

TEST_F(Store, keeps_what_an_evaluation_measured_and_what_was_answered_in_it) {
  ResponseRow row;
  row.source = "tiny:reasoning_test";
  row.prompt = 3;
  row.sample = -1;
  row.text = "2 + 2";
  row.response = "4";
  row.tokens = 2;
  row.finished = true;
  row.correct = true;
  row.scores_json = R"({"math":1})";
  ResponseRow wrong = row;
  wrong.sample = 0;
  wrong.correct = false;
  wrong.reward = -0.5;
  wrong.error = "none";
  store->add_evaluation(stage, {"test", "after", 8, "hash 1", R"({"math":0.5})"}, {row, wrong});
  store->add_evaluation(stage, {"test", "before", 0, "hash 0", R"({"math":0})"}, {});
  store->add_evaluation(stage, {"test", "during", 4, "hash 1", R"({"math":0.5})"}, {});
  const auto evaluations = store->evaluations(stage);
  ASSERT_EQ(evaluations.size(), 3u);
  EXPECT_EQ(evaluations[0].moment, "before");
  EXPECT_EQ(evaluations[1].version, 4);
  EXPECT_EQ(evaluations[2].metrics_json, R"({"math":0.5})");
  EXPECT_EQ(store->known_evaluation("hash 1"), R"({"math":0.5})");
  const auto responses = store->responses("hash 1");
  ASSERT_EQ(responses.size(), 2u);
  EXPECT_EQ(responses[0].response, "4");
  EXPECT_EQ(responses[0].correct, true);
  EXPECT_FALSE(responses[0].reward.has_value());
  EXPECT_EQ(responses[1].reward, -0.5);
  EXPECT_EQ(responses[1].error, "none");
}

TEST_F(Store, a_reader_beside_the_writer_sees_what_is_durable) {
  store->add_draw(stage, 0, 0);
  auto reader = RunStore::open_read_only(dir.path());
  EXPECT_EQ(reader->stages().size(), 1u);
  store->add_metric(stage, 0, "reward", 1);
  commit(0, {{0, 0, ""}});
  EXPECT_EQ(reader->batch_count(stage), 1);
  EXPECT_EQ(reader->metrics(stage, "reward").size(), 1u);  // rode with the commit
  store->add_metric(stage, 1, "reward", 2);
  EXPECT_EQ(store->metrics(stage, "reward").size(), 2u);
  store->flush();
  EXPECT_EQ(reader->metrics(stage, "reward").size(), 2u);
}

TEST_F(Store, keeps_a_metric_that_is_not_a_number) {
  store->add_metric(stage, 0, "loss", std::nan(""));
  EXPECT_TRUE(std::isnan(store->metrics(stage, "loss").at(0).value));
}

TEST_F(Store, many_threads_may_write) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int64_t i = 0; i < 200; ++i) {
        store->add_draw(stage, t * 200 + i, 0);
        store->add_metric(stage, t * 200 + i, "reward", 0.5);
        if (i % 50 == 0) store->flush();
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(store->ledger(stage).draws, 800);
  EXPECT_EQ(store->metrics(stage, "reward").size(), 800u);
}

using Ends = std::vector<std::pair<int64_t, int>>;

// Counts the steps of SQLite's machine in statements of connections that are opened while it lives.
class StatementSteps {
 public:
  StatementSteps() { sqlite3_auto_extension(reinterpret_cast<void (*)()>(&watch)); }
  ~StatementSteps() { sqlite3_cancel_auto_extension(reinterpret_cast<void (*)()>(&watch)); }
  // Of the last one that was run to its end.
  static inline int64_t last = 0;

 private:
  static int watch(sqlite3* db, char**, const void*) {
    return sqlite3_trace_v2(
        db, SQLITE_TRACE_PROFILE,
        [](unsigned, void*, void* statement, void*) {
          last = sqlite3_stmt_status(static_cast<sqlite3_stmt*>(statement), SQLITE_STMTSTATUS_VM_STEP, 1);
          return 0;
        },
        nullptr);
  }
};

TEST_F(Store, finds_the_best_and_the_worst_samples_without_reading_the_others) {
  const StatementSteps counted;
  reopen();
  const auto fill = [&](int64_t version, int64_t draws) {
    std::vector<TrajectoryRow> rows;
    std::vector<Resolution> resolutions;
    const int64_t first = store->next_draw(stage);
    for (int64_t draw = first; draw < first + draws; ++draw) {
      store->add_draw(stage, draw, 0);
      resolutions.push_back({draw, version, ""});
      rows.push_back({draw, 0, static_cast<double>(draw % 2), "{}", "bytes"});
      rows.push_back({draw, 1, std::nullopt, "{}", "bytes"});
    }
    store->commit_batch(stage, {version, false, "x", "", ""}, resolutions, rows);
  };
  const auto steps = [&](const RunStore& of, bool highest_first) {
    of.samples_by_reward(stage, highest_first, 2);
    return StatementSteps::last;
  };
  fill(0, 10);
  EXPECT_EQ(store->samples_by_reward(stage, true, 3), (Ends{{9, 0}, {7, 0}, {5, 0}}));
  EXPECT_EQ(store->samples_by_reward(stage, false, 6), (Ends{{0, 0}, {2, 0}, {4, 0}, {6, 0}, {8, 0}, {1, 0}}));
  EXPECT_EQ(store->samples_by_reward(stage, true, 100).size(), 10u) << "those without a reward are left out";
  const int64_t best = steps(*store, true), worst = steps(*store, false);
  EXPECT_GT(std::min(best, worst), 0);
  fill(1, 2000);
  EXPECT_EQ(steps(*store, true), best);
  EXPECT_EQ(steps(*store, false), worst);
  // A file of an earlier program has no index for it, and gets one when its run goes on.
  store.reset();
  tamper(dir.path(), "DROP INDEX trajectories_by_reward");
  const auto reader = RunStore::open_read_only(dir.path());
  EXPECT_EQ(reader->samples_by_reward(stage, true, 2), (Ends{{2009, 0}, {2007, 0}}));
  EXPECT_GT(steps(*reader, true), 100 * best);
  reopen();
  EXPECT_EQ(steps(*store, true), best);
}

}  // namespace
}  // namespace r1
