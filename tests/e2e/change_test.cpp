// What may change when a run is continued, from when on, and that a replay honours it (P4).
#include <nlohmann/json.hpp>
#include <sstream>

#include "runtime/store/run_store.h"
#include "tests/e2e/continued_run.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

struct Change : ContinuedRunTest {
  Change() : ContinuedRunTest(8) {}
  ProgramResult go(const std::vector<std::string>& more = {}, const std::vector<std::string>& environment = {}) {
    return run_program(command(more), environment);
  }
  void killed_after_three_batches() {
    const ProgramResult r = go({}, {"R1_FAULT=kill:after_commit:3"});
    ASSERT_EQ(r.code, 128 + 9) << r.err;
  }
  std::vector<double> learning_rates() {
    const auto store = RunStore::open_read_only(run());
    std::vector<double> lr;
    for (const auto& [version, stats] : store->batch_stats(1)) lr.push_back(nlohmann::json::parse(stats)["lr"]);
    return lr;
  }
};

TEST_F(Change, of_the_learning_rate_is_refused_with_what_to_type) {
  killed_after_three_batches();
  expect_refusal(go({"--set", "t.lr=1e-3"}), {"t.lr: 1e-2 -> 1e-3", "--change", "next batch"}, 2);
}
// A shell has changed it before: what is refused is said with the value that it has now.
TEST_F(Change, of_what_was_set_while_the_run_went_on_is_refused_with_the_value_in_force) {
  killed_after_three_batches();
  RunStore::open(run())->add_changes(1, {{3, "t.lr", "1e-2", "5e-3"}});
  expect_refusal(go({"--set", "t.lr=1e-3"}), {"t.lr: 5e-3 -> 1e-3", "--change"}, 2);
  const ProgramResult r = go({"--set", "t.lr=5e-3"});
  ASSERT_EQ(r.code, 0) << "nothing changes: " << r.err;
  EXPECT_EQ(learning_rates(), (std::vector<double>{1e-2, 1e-2, 1e-2, 5e-3, 5e-3, 5e-3, 5e-3, 5e-3}));
}
TEST_F(Change, of_the_learning_rate_takes_effect_from_the_next_batch_and_is_replayed) {
  killed_after_three_batches();
  const ProgramResult r = go({"--set", "t.lr=1e-3", "--change"});
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(learning_rates(), (std::vector<double>{1e-2, 1e-2, 1e-2, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3}));
  const auto store = RunStore::open_read_only(run());
  const auto changes = store->changes(1);
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(changes[0].version, 3);
  EXPECT_EQ(changes[0].attribute, "t.lr");
  EXPECT_EQ(store->events(1, 10, "changed").size(), 1u);
  const ProgramResult replay = run_program({"--replay", run().string()});
  EXPECT_EQ(replay.code, 0) << replay.out << replay.err;
}
// Snapshots lost: all batches are trained on again, each with the learning rate that it had.
TEST_F(Change, is_honoured_when_the_batches_before_it_are_trained_on_again) {
  killed_after_three_batches();
  ASSERT_EQ(go({"--set", "t.lr=1e-3", "--change"}, {"R1_FAULT=kill:after_commit:3"}).code, 128 + 9);
  fs::remove_all(run() / "snapshots");
  const ProgramResult r = go({"--set", "t.lr=1e-3"});
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(learning_rates(), (std::vector<double>{1e-2, 1e-2, 1e-2, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3}));
  EXPECT_EQ(run_program({"--replay", run().string()}).code, 0);
}
TEST_F(Change, of_until_snapshots_and_what_is_kept_needs_no_flag_and_changes_no_bit) {
  killed_after_three_batches();
  const ProgramResult r = go({"--set", "t.until=batches(10)", "--set", "t.snapshot_s=5", "--set", "t.recompute=true"});
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(learning_rates().size(), 10u);
  EXPECT_EQ(run_program({"--replay", run().string()}).code, 0);
  ASSERT_EQ(
      run_program({(top / "g.graph").string(), "--run", (top / "whole").string(), "-q", "--set", "t.until=batches(10)"}).code,
      0);
  EXPECT_EQ(summary_hashes(run()), summary_hashes(top / "whole"));
}
TEST_F(Change, of_until_is_journaled_where_the_learning_rate_follows_it) {
  write_text(top / "g.graph", minimal(R"(, lr="1e-2", schedule=linear, snapshot_s="0")"));
  const ProgramResult r = go({"--set", "t.until=batches(8)"}, {"R1_FAULT=kill:after_commit:3"});
  ASSERT_EQ(r.code, 128 + 9) << r.err;
  expect_refusal(go({"--set", "t.until=batches(16)"}), {"t.until: batches(8) -> batches(16)", "--change"}, 2);
  ASSERT_EQ(go({"--set", "t.until=batches(16)", "--change"}).code, 0);
  EXPECT_EQ(learning_rates().size(), 16u);
  const ProgramResult replay = run_program({"--replay", run().string()});
  EXPECT_EQ(replay.code, 0) << replay.out << replay.err;
}
TEST_F(Change, of_a_run_that_says_what_is_refused_by_now_is_compared_and_not_judged) {
  killed_after_three_batches();
  const std::filesystem::path graph = run() / "graph.graph";
  std::string text = read_file(graph);
  const std::string until = "until=\"batches(8)\"";
  ASSERT_NE(text.find(until), std::string::npos) << text;
  write_text(graph, text.replace(text.find(until), until.size(), "until=\"plateau(loss, 2, 0.01) or batches(8)\""));
  const ProgramResult r = go();
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(learning_rates().size(), 8u);
}
TEST_F(Change, of_what_is_allowed_leaves_finished_runs_to_whoever_looks_at_them) {
  ASSERT_EQ(go().code, 0);
  const std::filesystem::path graph = run() / "graph.graph";
  std::string text = read_file(graph);
  for (const auto& [was, is] :
       {std::pair<std::string, std::string>{"lr=\"1e-2\"", "lr=\"1e-2\", lr_end=\"0.1\", muon_lr=\"0.5\""},
        {"[carries=model]", "[carries=model, capacity=8]"}}) {
    ASSERT_NE(text.find(was), std::string::npos) << text;
    text.replace(text.find(was), was.size(), is);
  }
  write_text(graph, text);
  for (const char* look : {"--replay", "--report"}) {
    const ProgramResult r = run_program({look, run().string()});
    EXPECT_EQ(r.code, 0) << look << r.err;
  }
}
TEST_F(Change, of_a_stage_that_has_ended_and_of_anything_else_is_refused) {
  ASSERT_EQ(go().code, 0);
  expect_refusal(go({"--set", "t.until=batches(20)"}), {"stage 'a' has ended", "t.until", "--fresh"});
  expect_refusal(go({"--set", "t.batch=7", "--change"}), {"different graph", "t.batch", "--fresh"}, 2);
  EXPECT_EQ(go().code, 0) << "a refused change leaves the run as it was";
}
TEST_F(Change, of_attributes_is_refused_with_the_settings_that_go_on_as_it_was_started) {
  ASSERT_EQ(go({"--set", "t.batch=6", "--set", "graph.seed=7"}, {"R1_FAULT=kill:after_commit:3"}).code, 128 + 9);
  const ProgramResult refused = go({"--set", "t.lr=1e-3"});
  expect_refusal(refused, {"different graph", "t.batch: 6 -> ", "to go on as it was started: --set graph.seed=7"}, 4);
  std::vector<std::string> sets;
  const size_t begin = refused.err.find("as it was started:"), end = refused.err.find("; or use another");
  ASSERT_NE(end, std::string::npos) << refused.err;
  std::istringstream words(refused.err.substr(begin + 18, end - begin - 18));
  for (std::string word; words >> word;) sets.push_back(word);
  sets.insert(sets.begin(), {"--set", "t.lr=1e-3"});
  const ProgramResult r = go(sets);
  EXPECT_EQ(r.code, 0) << r.err;
}
// Edges, and values with blanks, as a shell takes them.
TEST_F(Change, of_an_edge_is_refused_with_the_setting_in_quotes) {
  const std::string graph = (source_dir() / "tests/e2e/graphs/nano.graph").string(), dir = (top / "nano").string();
  const std::string edge = "rl_trainer -> reference.every=3";
  ASSERT_EQ(run_program({graph, "--run", dir, "-q", "--set", edge}, {"R1_FAULT=kill:after_commit:3"}).code, 128 + 9);
  expect_refusal(run_program({graph, "--run", dir, "-q"}),
                 {"every: 3 -> 4", "to go on as it was started: --set '" + edge + "'; or use"}, 2);
  ASSERT_EQ(run_program({graph, "--run", dir, "-q", "--set", edge}, {"R1_FAULT=kill:after_commit:3"}).code, 128 + 9);
}
TEST_F(Change, says_the_help_which_attributes_may) {
  const std::string help = run_program({"--help-roles"}).out;
  for (const char* line : {"learning rate of AdamW [may change with --change]", "[may change when a run is continued]"})
    EXPECT_NE(help.find(line), std::string::npos) << line;
}

}  // namespace
}  // namespace r1
