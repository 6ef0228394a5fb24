// Run directories that cannot be continued or replayed as they are (P10), and those that can all the same.
#include <sqlite3.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "runtime/store/run_store.h"
#include "tests/e2e/bad_input.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

void run_sql(const fs::path& run_dir, const std::string& sql) {
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

TEST_F(BadRunDirectory, whose_path_is_too_long_is_not_made) {
  write_text(top / "g.graph", minimal());
  fs::path deep = top;
  while (deep.string().size() < 497 - 60) deep /= std::string(50, 'd');
  const fs::path fits = deep / std::string(497 - deep.string().size() - 1, 'a'), beyond = fits.string() + "a";
  const auto start = [&](const fs::path& dir) {
    return run_program({(top / "g.graph").string(), "--run", dir.string(), "-q"});
  };
  expect_refusal(start(beyond), {"the whole path of the run store has 505 bytes, SQLite takes 504", "run directory"});
  EXPECT_FALSE(fs::exists(top / std::string(50, 'd'))) << "something was made";
  EXPECT_EQ(start(fits).code, 0) << fits;
  fs::rename(fits, beyond);
  expect_refusal(run_program({"--report", beyond.string()}), {"has 505 bytes, SQLite takes 504"});
}

TEST_F(BadRunDirectory, that_is_complete_and_lost_a_checkpoint_says_so) {
  finished_run();
  EXPECT_EQ(again().err.find("not there any more"), std::string::npos);
  fs::remove_all(run() / "checkpoints/a");
  const ProgramResult r = again();
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_NE(r.err.find("warning: checkpoints/a of stage a is not there any more"), std::string::npos) << r.err;
}
TEST_F(BadRunDirectory, that_is_complete_and_whose_checkpoint_changed_since_is_not_shown_as_complete) {
  finished_run();
  const fs::path file = run() / "checkpoints/a/model.safetensors";
  std::string bytes = read_file(file);
  bytes.back() ^= 1;
  write_text(file, bytes);
  expect_neither_continues_nor_replays({"checkpoints/a/model.safetensors", "'a'", "not those that were written"});
}
TEST_F(BadRunDirectory, of_a_graph_of_the_same_name_elsewhere_is_named_as_that) {
  finished_run();
  const fs::path other = top / "other";
  fs::create_directories(other);
  fs::copy_file(top / "nano.json", other / "mine.json");
  write_text(other / "g.graph", graph_on("config=\"mine.json\", tokenizer=tiny"));
  expect_refusal(run_program({(other / "g.graph").string(), "--run", run().string()}),
                 {"the graph that this run was started with cannot be read from here", "nano.json", "--run"});
}
TEST_F(BadRunDirectory, of_a_killed_process_counts_the_time_that_it_took) {
  killed_run();
  const auto noted = RunStore::open_read_only(run())->meta("seconds");
  ASSERT_TRUE(noted);
  EXPECT_GT(std::stod(*noted), 0);
  ASSERT_EQ(nano_run().code, 0);
  const auto summary = nlohmann::json::parse(read_file(run() / "summary.json"));
  EXPECT_GT(summary["seconds"].get<double>(), std::stod(*noted)) << "of both processes";
}
TEST_F(BadRunDirectory, of_another_schema_version) {
  finished_run();
  run_sql(run(), "PRAGMA user_version = 7");
  expect_neither_continues_nor_replays({"run.db", "schema version 7", "knows 3 to 6"});
}
TEST_F(BadRunDirectory, whose_store_is_a_database_of_another_program) {
  finished_run();
  run_sql(run(), "PRAGMA application_id = 5");
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
  text.replace(text.find("objective=pretrain"), 18, "objective=sft");
  write_text(run() / "graph.graph", text);
  expect_refusal(again(), {"different graph", "objective", "sft", "pretrain", "--fresh"}, 2);
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

// ---- --fresh, and directories that are not for a run -------------------------------------------------------------------

// Name and content of everything in a directory.
std::map<std::string, std::string> everything(const fs::path& dir) {
  std::map<std::string, std::string> all;
  for (const auto& entry : fs::recursive_directory_iterator(dir))
    all[fs::relative(entry.path(), dir).string()] = entry.is_regular_file() ? read_file(entry.path()) : "";
  return all;
}

struct Fresh : BadRunDirectory {};

TEST_F(Fresh, moves_a_finished_run_aside_and_starts_over) {
  finished_run();
  const auto before = summary_hashes(run());
  const ProgramResult r = again({"--fresh"});
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_NE(r.err.find("the old run is now " + run().string() + ".1"), std::string::npos) << r.err;
  EXPECT_EQ(summary_hashes(run().string() + ".1"), before);
  EXPECT_EQ(summary_hashes(run()), before);
}
TEST_F(Fresh, refuses_a_run_that_is_going_on_and_harms_nothing) {
  write_text(top / "g.graph", minimal());
  Program live({(top / "g.graph").string(), "--run", run().string(), "-q", "--set", "t.until=batches(100000)"});
  while (!fs::exists(run() / "run.db-wal")) ASSERT_FALSE(live.wait(0.01));
  expect_refusal(again({"--fresh"}), {run().string(), "another r1-run is using"});
  EXPECT_FALSE(fs::exists(run().string() + ".1"));
  EXPECT_FALSE(live.wait(0.1)) << "the live run goes on";
  // Not even without the lock file that earlier versions had.
  fs::remove(run() / "lock");
  expect_refusal(again(), {"another r1-run is using"});
}
TEST_F(Fresh, leaves_a_run_that_is_learning_as_it_was_and_on_its_way_to_the_same_weights) {
  write_text(top / "g.graph", minimal());
  const std::vector<std::string> arguments = {(top / "g.graph").string(), "-q", "--set", "t.until=batches(40)", "--run"};
  const auto into = [&](const fs::path& dir) {
    std::vector<std::string> all = arguments;
    all.push_back(dir.string());
    return all;
  };
  const auto batches = [&] {
    try {
      const auto store = RunStore::open_read_only(run());
      return store->stages().empty() ? 0 : store->batch_count(store->stages()[0].id);
    } catch (const Error&) {  // it is being made
      return int64_t{0};
    }
  };
  Program live(into(run()), {"R1_FAULT=slow:t:40"});
  while (batches() < 3) ASSERT_FALSE(live.wait(0.01)) << "it has to be learning";
  std::vector<std::string> fresh = into(run());
  fresh.insert(fresh.end(), {"--fresh", "--set", "graph.seed=9"});
  expect_refusal(run_program(fresh), {run().string(), "another r1-run is using"});
  const int64_t then = batches();
  ASSERT_LT(then, 38) << "the test is vacuous: the run was over";
  EXPECT_FALSE(fs::exists(run().string() + ".1"));
  while (batches() <= then) ASSERT_FALSE(live.wait(0.01)) << "the live run goes on";
  const ProgramResult r = live.result();
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(run_program(into(top / "alone")).code, 0);
  EXPECT_EQ(summary_hashes(run()), summary_hashes(top / "alone"));
  EXPECT_EQ(ledger_complaints(run()), "");
}
TEST_F(Fresh, never_moves_a_directory_that_is_no_run) {
  write_text(top / "g.graph", minimal());
  fs::create_directories(run() / "thesis");
  write_text(run() / "thesis/chapter1.tex", "years of work");
  write_text(run() / "notes.tmp", "mine");
  const auto before = everything(run());
  for (const auto& more : std::vector<std::vector<std::string>>{{"--fresh"}, {}}) {
    expect_refusal(again(more), {run().string(), "holds no run", "--run"});
    EXPECT_EQ(everything(run()), before) << "a refused directory is left as it was";
    EXPECT_FALSE(fs::exists(run().string() + ".1"));
  }
}
TEST_F(Fresh, takes_an_empty_directory_and_one_where_a_start_was_killed) {
  write_text(top / "g.graph", minimal());
  fs::create_directories(run());
  write_text(run() / "graph.graph.tmp4242", "digraph g {");
  write_text(run() / "lock", "");
  const ProgramResult r = again();
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_FALSE(fs::exists(run() / "graph.graph.tmp4242"));
}
TEST_F(BadRunDirectory, that_a_kill_left_half_written_is_tidied_up) {
  killed_run();
  fs::create_directories(run() / "checkpoints/sft.tmp");
  for (const char* left : {"snapshots/sft-3.state.tmp", "snapshots/sft-999.state", "datasets/rejection.jsonl.tmp77",
                           "checkpoints/sft.tmp/config.json.tmp77", "summary.json.tmp77"}) {
    fs::create_directories((run() / left).parent_path());
    write_text(run() / left, "half");
  }
  // Without RENAME_EXCHANGE a checkpoint is replaced in two steps: killed between them, the old one has the second name.
  fs::rename(run() / "checkpoints/base", run() / "checkpoints/base.old");
  const ProgramResult r = nano_run();
  ASSERT_EQ(r.code, 0) << r.err;
  for (const auto& [name, content] : everything(run())) {
    EXPECT_EQ(name.find(".tmp"), std::string::npos) << name;
    EXPECT_EQ(name.find(".old"), std::string::npos) << name;
    EXPECT_EQ(name.find("sft-999"), std::string::npos) << name;
  }
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
