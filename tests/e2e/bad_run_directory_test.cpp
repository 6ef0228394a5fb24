// Run directories that cannot be continued or replayed as they are (P10), and those that can all the same.
#include <sqlite3.h>

#include "runtime/store/run_store.h"
#include "tests/e2e/bad_input.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

std::string nano() { return (source_dir() / "tests/e2e/graphs/nano.graph").string(); }

void execute(const fs::path& run_dir, const std::string& sql) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open((run_dir / "run.db").c_str(), &db), SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
  sqlite3_close(db);
}

// A run of the minimal graph that ended, or one of the nano graph that was killed inside stage sft.
struct BadRunDirectory : BadInputTest {
  fs::path run() const { return top / "run"; }

  void finished_run() {
    write_text(top / "g.graph", minimal());
    const ProgramResult r = again();
    ASSERT_EQ(r.code, 0) << r.err;
  }
  ProgramResult again(const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {(top / "g.graph").string(), "--run", run().string(), "-q"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_program(arguments);
  }
  void expect_neither_continues_nor_replays(const std::vector<std::string>& words) {
    {
      SCOPED_TRACE("continued");
      expect_refusal(again(), words);
    }
    SCOPED_TRACE("replayed");
    expect_refusal(run_program({"--replay", run().string()}), words);
  }

  void killed_run() {
    const ProgramResult r = nano_run({"R1_FAULT=kill:after_commit:18"});
    ASSERT_EQ(r.code, 128 + 9) << r.err;
    ASSERT_TRUE(fs::exists(run() / "checkpoints/base"));
  }
  ProgramResult nano_run(const std::vector<std::string>& environment = {}) {
    return run_program({nano(), "--run", run().string(), "-q", "--set", "node.snapshot_s=0"}, environment);
  }
};

TEST_F(BadRunDirectory, of_another_schema_version) {
  finished_run();
  execute(run(), "PRAGMA user_version = 7");
  expect_neither_continues_nor_replays({"run.db", "schema version 7", "knows 2"});
}
TEST_F(BadRunDirectory, whose_store_is_a_database_of_another_program) {
  finished_run();
  execute(run(), "PRAGMA application_id = 5");
  expect_neither_continues_nor_replays({"run.db", "not a run store of r1"});
}
TEST_F(BadRunDirectory, whose_store_is_no_database) {
  finished_run();
  for (const char* file : {"run.db", "run.db-wal", "run.db-shm"}) fs::remove(run() / file);
  write_text(run() / "run.db", std::string(5000, 'x'));
  expect_neither_continues_nor_replays({"run.db", "not a run store"});
}
TEST_F(BadRunDirectory, whose_graph_was_edited_by_hand) {
  finished_run();
  std::string text = read_file(run() / "graph.graph");
  text.replace(text.find("batches(2)"), 10, "batches(3)");
  write_text(run() / "graph.graph", text);
  expect_refusal(again(), {"different graph", "batches(3)", "batches(2)", "--fresh"}, 2);
}
TEST_F(BadRunDirectory, whose_graph_was_damaged) {
  finished_run();
  fs::resize_file(run() / "graph.graph", 60);
  expect_neither_continues_nor_replays({"graph.graph:"});
}
TEST_F(BadRunDirectory, without_its_graph) {
  finished_run();
  fs::remove(run() / "graph.graph");
  expect_neither_continues_nor_replays({"graph.graph"});
}
TEST_F(BadRunDirectory, without_its_store) {
  killed_run();
  for (const char* file : {"run.db", "run.db-wal", "run.db-shm"}) fs::remove(run() / file);
  expect_refusal(nano_run(), {run().string(), "run.db", "--fresh"});
}
TEST_F(BadRunDirectory, continued_with_another_seed) {
  finished_run();
  expect_refusal(again({"--set", "graph.seed=9"}), {"different graph", "seed", "--fresh"}, 2);
}
TEST_F(BadRunDirectory, whose_finished_stage_lost_its_checkpoint) {
  killed_run();
  fs::remove_all(run() / "checkpoints/base");
  expect_refusal(nano_run(), {"checkpoints/base", "'base'", "--fresh"});
}
TEST_F(BadRunDirectory, whose_finished_stage_has_a_damaged_checkpoint) {
  killed_run();
  fs::resize_file(run() / "checkpoints/base/model.safetensors", 5000);
  expect_refusal(nano_run(), {"checkpoints/base/model.safetensors", "'base'", "--fresh"});
}

// A snapshot only saves time: the run store holds every batch, so the weights are computed again from it.
struct LostSnapshot : BadRunDirectory {
  fs::path snapshot() const {
    for (const auto& entry : fs::directory_iterator(run() / "snapshots"))
      if (entry.path().filename().string().rfind("sft-", 0) == 0) return entry.path();
    return {};
  }
  void expect_same_weights_and_a_word(const std::string& file, const std::string& word) {
    const ProgramResult r = nano_run();
    ASSERT_EQ(r.code, 0) << r.err;
    EXPECT_NE(r.err.find(file), std::string::npos) << r.err;
    EXPECT_NE(r.err.find(word), std::string::npos) << r.err;
    EXPECT_NE(r.err.find("run store"), std::string::npos) << r.err;
    ASSERT_EQ(run_program({nano(), "--run", (top / "whole").string(), "-q", "--set", "node.snapshot_s=0"}).code, 0);
    EXPECT_EQ(summary_hashes(run()), summary_hashes(top / "whole"));
    EXPECT_EQ(ledger_complaints(run()), "");
  }
};
TEST_F(LostSnapshot, is_made_up_for_by_the_run_store) {
  killed_run();
  const fs::path file = snapshot();
  ASSERT_FALSE(file.empty());
  fs::remove(file);
  expect_same_weights_and_a_word(file.filename().string(), "no such file");
}
TEST_F(LostSnapshot, that_was_cut_short_too) {
  killed_run();
  const fs::path file = snapshot();
  ASSERT_FALSE(file.empty());
  fs::resize_file(file, fs::file_size(file) / 2);
  expect_same_weights_and_a_word(file.filename().string(), "cut short");
}
TEST_F(LostSnapshot, of_which_one_bit_changed_too) {
  killed_run();
  const fs::path file = snapshot();
  ASSERT_FALSE(file.empty());
  std::string bytes = read_file(file);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 0x10);
  write_text(file, bytes);
  expect_same_weights_and_a_word(file.filename().string(), "hash");
}

// ---- combinations of grpo without a meaning ----------------------------------------------------------------------------

struct BadGrpo : BadInputTest {
  void expect_refused_with(const std::vector<std::string>& set, const std::vector<std::string>& words) {
    std::vector<std::string> arguments = {nano(), "--check"};
    for (const std::string& s : set) arguments.insert(arguments.end(), {"--set", s});
    expect_refusal(run_program(arguments), words);
  }
};
TEST_F(BadGrpo, combinations_are_refused_with_the_way_out) {
  expect_refused_with({"rl_trainer.ratio=sequence", "rl_trainer.clip=cispo"}, {"clip=cispo", "ratio=sequence", "ratio=token"});
  expect_refused_with({"rl_trainer.ratio=sequence", "rl_trainer.loss_mean=token"}, {"loss_mean=token", "loss_mean=sequence"});
  expect_refused_with({"rl_trainer.behave_above=mask"}, {"decoupled=true"});
  expect_refused_with({"rl_trainer.behave_cap=3"}, {"behave_cap", "decoupled=true"});
  expect_refused_with({"rl_trainer.epochs=2"}, {"epochs", "until"});
  expect_refused_with({"policy.samples=1"}, {"samples", "samples=8"});
  expect_refused_with({"policy.top_k=5"}, {"top_k", "allow_truncated"});
  expect_refused_with({"policy.temperature=0"}, {"temperature"});
  expect_refused_with({"rl_trainer.objective=gprpo"}, {"gprpo", "grpo"});
  expect_refused_with({"judge.rewards=format +"}, {"rewards"});
  expect_refused_with({"judge.rewards=formt"}, {"formt", "format"});
  expect_refused_with({"rl_trainer.until=reward > 1 and"}, {"until"});
}

}  // namespace
}  // namespace r1
