// The promises of docs/architecture.md section 1 on real roles, engines and run stores, in one thread and any order of
// messages.
#include "tests/actors/stage_fixture.h"

#include <sqlite3.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "actors/codec.h"
#include "actors/training_plan.h"
#include "base/files.h"
#include "base/rng.h"

namespace r1 {
namespace {

TEST_F(StageTest, on_policy_weights_do_not_depend_on_the_order_of_messages) {
  LocalRun a(top / "a", {}), b(top / "b", {});
  a.run_all(1);
  b.run_all(2);
  EXPECT_EQ(a.hashes(), b.hashes());
  EXPECT_EQ(a.hashes().size(), 7u);
  a.expect_exact_ledgers();
  b.expect_exact_ledgers();
}

// Hands the first `count` prompts to a generator last one first.
class Backwards final : public Role {
 public:
  Backwards(std::unique_ptr<Role> inner, size_t count) : inner_(std::move(inner)), count_(count) {}
  bool recalls() const override { return inner_->recalls(); }
  void start(RoleContext& context) override { inner_->start(context); }
  void receive(RoleContext& context, int edge, PayloadPtr payload) override {
    if (count_ == 0 || context.graph().edges[edge].carries != "prompts") return inner_->receive(context, edge, payload);
    held_.push_back(payload);
    if (held_.size() < count_) return;
    count_ = 0;
    for (auto at = held_.rbegin(); at != held_.rend(); ++at) inner_->receive(context, edge, *at);
  }
  void on_room(RoleContext& context, int edge) override { inner_->on_room(context, edge); }
  void on_stage_end(RoleContext& context) override { inner_->on_stage_end(context); }

 private:
  std::unique_ptr<Role> inner_;
  std::vector<PayloadPtr> held_;
  size_t count_;
};

TEST_F(StageTest, a_draw_that_comes_late_is_sampled_before_those_that_wait_for_newer_weights) {
  LocalRun straight(top / "straight", {}), backwards(top / "backwards", {});
  for (LocalRun* run : {&straight, &backwards})
    for (const char* stage : {"base", "sft"}) ASSERT_TRUE(run->run_stage(stage, 1));
  ASSERT_TRUE(straight.run_stage("rl", 1));
  const RoleFactory real = role_factory(backwards.env);
  LocalScheduler scheduler(
      backwards.graph, "rl", *backwards.store,
      [&](const GraphView& graph, const NodePlan& node) -> std::unique_ptr<Role> {
        auto role = real(graph, node);
        if (node.id == "policy") return std::make_unique<Backwards>(std::move(role), 11);
        return role;
      },
      local_options());
  const auto& result = scheduler.run();
  ASSERT_EQ(result.outcome, LocalScheduler::Outcome::finished) << result.report;
  EXPECT_EQ(straight.hashes(), backwards.hashes());
}

TEST_F(StageTest, another_seed_gives_other_weights) {
  LocalRun a(top / "a", {}), b(top / "b", {"graph.seed=6"});
  a.run_stage("base", 1);
  b.run_stage("base", 1);
  EXPECT_NE(a.hashes(), b.hashes());
}

TEST_F(StageTest, the_fake_device_runs_every_stage_and_agrees_with_the_cpu) {
  LocalRun cpu(top / "cpu", {}), fake(top / "fake", {"graph.device=fake"});
  cpu.run_all(1);
  fake.run_all(1);
  EXPECT_EQ(cpu.hashes(), fake.hashes());
}

TEST_F(StageTest, train_and_inference_log_probabilities_are_the_same_bits) {
  for (const char* precision : {"f32", "bf16"}) {
    LocalRun run(top / precision,
                 {std::string("graph.precision=") + precision, "policy.samples=8", "prompts.groups_per_batch=8"});
    run.run_all(3);
    for (const char* stage : {"rl", "rl2"}) {
      double gap = 0, tokens = 0;
      for (const auto& [version, text] : run.store->batch_stats(run.id(stage))) {
        const auto gap_at = text.find("\"logprob_gap_max\":"), tokens_at = text.find("\"logprob_gap_tokens\":");
        if (gap_at == std::string::npos) continue;  // nothing was compared
        gap = std::max(gap, std::stod(text.substr(gap_at + 18)));
        tokens += std::stod(text.substr(tokens_at + 21));
      }
      EXPECT_EQ(gap, 0) << stage << " " << precision;
      EXPECT_GT(tokens, 100) << stage << " " << precision;
    }
  }
}

TEST_F(StageTest, a_stage_stopped_anywhere_continues_to_the_same_weights) {
  LocalRun whole(top / "whole", {});
  whole.run_all(1);
  Rng rng(11, "stops");
  const std::filesystem::path dir = top / "stopped";
  int stops = 0;
  for (bool complete = false; !complete;) {
    LocalRun run(dir, {});  // a new process: nothing but the run directory survives
    complete = true;
    for (const StagePlan& stage : run.graph.stages) {
      if (run.done(stage.name)) continue;
      const bool stop = stops < 60;
      if (!run.run_stage(stage.name, rng.bits(), stop ? 1 + static_cast<int64_t>(rng.below(120)) : 1'000'000)) {
        ASSERT_TRUE(stop) << run.report;
        ++stops;
        complete = false;
        break;
      }
    }
    if (complete) {
      EXPECT_EQ(run.hashes(), whole.hashes());
      run.expect_exact_ledgers();
    }
  }
  EXPECT_GE(stops, 20);
}

TEST_F(StageTest, no_trained_token_is_older_than_the_staleness_of_its_edge) {
  for (int bound : {1, 2, 4}) {
    LocalRun run(top / std::to_string(bound), {"edge.staleness=" + std::to_string(bound), "rl_trainer.until=batches(10)"});
    for (const char* stage : {"base", "sft"}) ASSERT_TRUE(run.run_stage(stage, 1));
    ASSERT_TRUE(run.run_stage("rl", static_cast<uint64_t>(bound)));
    int64_t oldest = 0;
    const int64_t id = run.id("rl");
    for (int64_t v = 0; v < run.store->batch_count(id); ++v)
      for (const Sequence& s : stored_batch(*run.store, id, v).sequences)
        for (size_t i = 0; i < s.tokens.size(); ++i)
          if (s.trainable[i]) oldest = std::max(oldest, v - s.version[i]);
    EXPECT_LE(oldest, bound);
    EXPECT_GT(oldest, 0) << "the test is vacuous: nothing was stale";
    run.expect_exact_ledgers();
  }
}

TEST_F(StageTest, order_of_arrival_drops_late_groups_as_stale_and_keeps_the_ledger_exact_when_stopped_anywhere) {
  Rng rng(5, "arrival");
  int64_t stale = 0;
  for (uint64_t round = 0; round < 3; ++round) {
    const auto dir = top / std::to_string(round);
    const std::vector<std::string> settings = {"groups.order=arrival", "edge.staleness=1", "rl_trainer.until=batches(40)",
                                               "prompts.groups_per_batch=1", "policy.samples=2"};
    for (int stops = 0;;) {
      LocalRun run(dir, settings);
      for (const char* stage : {"base", "sft"})
        if (!run.done(stage)) {
          ASSERT_TRUE(run.run_stage(stage, 1));
        }
      if (!run.run_stage("rl", rng.bits(), stops < 8 ? 50 + static_cast<int64_t>(rng.below(400)) : 1'000'000, "policy")) {
        ++stops;
        continue;
      }
      run.expect_exact_ledgers();
      const int64_t id = run.id("rl");
      stale += run.store->ledger(id).dropped["stale"];
      for (int64_t v = 0; v < run.store->batch_count(id); ++v)
        for (const Sequence& s : stored_batch(*run.store, id, v).sequences)
          for (size_t i = 0; i < s.tokens.size(); ++i)
            if (s.trainable[i]) {
              EXPECT_LE(v - s.version[i], 1);
            }
      for (const ReplayedStage& r : replay_run(run.env, run.graph, *run.store, [](const ReplayedStage&) {}))
        EXPECT_TRUE(r.equal) << r.stage << ": " << r.note;
      break;
    }
  }
  EXPECT_GT(stale, 0) << "the test is vacuous: nothing was late";
}

// Each batch: N kept groups, or all its draws; in draw order, without a gap.
void expect_full_batches(LocalRun& run, int64_t wanted, int64_t max_draws) {
  const int64_t id = run.id("rl");
  int64_t draw = 0, resampled = 0;
  for (int64_t v = 0; v < run.store->batch_count(id); ++v) {
    std::set<int64_t> kept;
    for (const auto& item : decode_batch(run.store->batch(id, v).payload).items) kept.insert(item.draw);
    int64_t draws = 0;
    for (std::set<int64_t> left = kept; !left.empty() || (static_cast<int64_t>(kept.size()) < wanted && draws < max_draws);
         ++draw, ++draws) {
      const auto resolution = run.store->resolution(id, draw);
      ASSERT_TRUE(resolution.has_value()) << draw;
      EXPECT_EQ(resolution->batch, left.erase(draw) == 1 ? v : -1) << draw;
      resampled += resolution->batch < 0;
    }
    EXPECT_LE(draws, max_draws);
    EXPECT_TRUE(static_cast<int64_t>(kept.size()) == wanted || draws == max_draws) << kept.size() << " kept of " << draws;
  }
  EXPECT_GT(resampled, 0) << "the test is vacuous: nothing was drawn again";
}

TEST_F(StageTest, dynamic_sampling_fills_batches_in_draw_order_and_a_stop_anywhere_changes_nothing) {
  LocalRun whole(top / "whole", {}, "resample.graph");
  whole.run_all(1);
  expect_full_batches(whole, 4, 14);
  whole.expect_exact_ledgers();
  LocalRun other_order(top / "other", {}, "resample.graph");
  other_order.run_all(2);
  EXPECT_EQ(other_order.hashes(), whole.hashes());
  Rng rng(13, "resample");
  for (int stops = 0;;) {
    LocalRun run(top / "stopped", {}, "resample.graph");
    if (!run.done("base")) {
      ASSERT_TRUE(run.run_stage("base", 1));
    }
    if (run.run_stage("rl", rng.bits(), stops < 12 ? 30 + static_cast<int64_t>(rng.below(300)) : 1'000'000)) {
      EXPECT_EQ(run.hashes(), whole.hashes());
      run.expect_exact_ledgers();
      break;
    }
    ++stops;
  }
}

TEST_F(StageTest, dynamic_sampling_keeps_the_staleness_bound) {
  for (uint64_t order : {1, 2, 3}) {
    LocalRun run(top / std::to_string(order), {"edge.staleness=2", "rl_trainer.until=batches(20)"}, "resample.graph");
    run.run_all(order);
    expect_full_batches(run, 4, 14);
    run.expect_exact_ledgers();
    const int64_t id = run.id("rl");
    int64_t oldest = 0;
    for (int64_t v = 0; v < run.store->batch_count(id); ++v)
      for (const Sequence& s : stored_batch(*run.store, id, v).sequences)
        for (size_t i = 0; i < s.tokens.size(); ++i)
          if (s.trainable[i]) oldest = std::max(oldest, v - s.version[i]);
    EXPECT_LE(oldest, 2);
    EXPECT_GT(oldest, 0);
  }
}

// DAPO's overlong filtering: what ran into max_tokens counts in its group's advantages and not in the loss. A replay and a
// ledger that know nothing of it agree all the same.
TEST_F(StageTest, truncated_completions_are_left_out_of_batches_when_asked) {
  std::map<bool, int64_t> trained, truncated;
  for (const bool mask : {false, true}) {
    LocalRun run(top / (mask ? "masked" : "all"),
                 {std::string("rl_trainer.mask_truncated=") + (mask ? "true" : "false"), "policy.samples=8",
                  "judge.rewards=length + overlong(length, 24, 8)", "rl_trainer.kl=0", "rl_trainer.until=batches(3)"});
    for (const char* stage : {"base", "sft", "rl"}) ASSERT_TRUE(run.run_stage(stage, 1));
    run.expect_exact_ledgers();
    const int64_t id = run.id("rl");
    for (int64_t v = 0; v < run.store->batch_count(id); ++v)
      for (const Sequence& s : stored_batch(*run.store, id, v).sequences) {
        ++trained[mask];
        const auto completion = std::count(s.trainable.begin(), s.trainable.end(), uint8_t{1});
        const int32_t end = start_config(run.env, run.graph, *run.graph.node("rl_trainer")).eos_ids.at(0);
        truncated[mask] += completion == 24 && s.tokens.back() != end;
      }
    for (const ReplayedStage& r : replay_run(run.env, run.graph, *run.store, [](const ReplayedStage&) {}))
      EXPECT_TRUE(r.equal) << r.stage << ": " << r.note;
  }
  EXPECT_GT(truncated[false], 0) << "the test is vacuous: nothing was truncated";
  EXPECT_LT(truncated[false], trained[false]) << "the test is vacuous: everything was truncated";
  EXPECT_EQ(truncated[true], 0);
  EXPECT_GT(trained[true], 0);
}

// A model may have several: what is sampled stops at each of them, not at the first alone.
TEST_F(StageTest, every_end_token_of_the_model_stops_what_is_sampled) {
  const auto ends_with = [&](const std::string& name, const std::vector<int32_t>& ends) {
    nlohmann::json config = nlohmann::json::parse(read_file(nano_graph().parent_path() / "nano.json"));
    config["eos_token_id"] = ends;
    std::ofstream(top / (name + ".json")) << config;
    LocalRun run(top / name, {"nano_model.config=" + (top / (name + ".json")).string(), "rl_trainer.until=batches(2)"});
    for (const char* stage : {"base", "sft", "rl"}) EXPECT_TRUE(run.run_stage(stage, 1)) << run.report;
    std::vector<Sequence> sampled;
    for (int64_t draw = 0; draw < 8; ++draw)
      for (const TrajectoryRow& row : run.store->trajectories(run.id("rl"), draw))
        sampled.push_back(decode_sequence(row.payload));
    return sampled;
  };
  // The token that is sampled most often in the middle of completions becomes the last of two end tokens.
  std::map<int32_t, int> often;
  for (const Sequence& s : ends_with("one", {2}))
    for (size_t i = 0; i + 1 < s.tokens.size(); ++i) often[s.tokens[i]] += s.trainable[i];
  const auto most =
      std::max_element(often.begin(), often.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  ASSERT_GT(most->second, 20) << "the test is vacuous";
  int stopped = 0;
  for (const Sequence& s : ends_with("two", {2, most->first}))
    for (size_t i = 0; i < s.tokens.size(); ++i) {
      if (s.trainable[i] == 0 || s.tokens[i] != most->first) continue;
      EXPECT_EQ(i + 1, s.tokens.size()) << "sampled beyond an end token";
      ++stopped;
    }
  EXPECT_GT(stopped, 5);
}

// As its judge and its evaluation do: a reward model trained on more than it is shown later is worth little.
TEST_F(StageTest, a_reward_model_is_trained_on_what_it_will_be_shown) {
  for (const std::string sees : {"answer", "response"}) {
    SCOPED_TRACE(sees);
    LocalRun run(top / sees,
                 {"rm_trainer.sees=" + sees, "pairs.source=tiny:helpful_pairs", "rm_eval.source=tiny:helpful_pairs_test"});
    for (const char* stage : {"base", "sft", "reward"}) ASSERT_TRUE(run.run_stage(stage, 1));
    const int64_t id = run.id("reward");
    const auto tokenizer = node_tokenizer(run.env, run.graph, *run.graph.node("rm_trainer"));
    int sequences = 0;
    for (int64_t v = 0; v < run.store->batch_count(id); ++v)
      for (const Sequence& s : stored_batch(*run.store, id, v).sequences) {
        const std::string text = tokenizer->decode(s.tokens, false);
        EXPECT_EQ(text.find("<think>") != std::string::npos, sees == "response") << text;
        EXPECT_NE(text.find("<answer>"), std::string::npos) << text;
        ++sequences;
      }
    EXPECT_EQ(sequences, 2 * 24);
  }
}

TEST_F(StageTest, replay_of_a_stale_run_is_equal_and_of_a_changed_token_is_not) {
  const std::vector<std::string> settings = {"edge.staleness=2"};
  {
    LocalRun run(top / "run", settings);
    run.run_all(7);
    int stages = 0;
    for (const ReplayedStage& r : replay_run(run.env, run.graph, *run.store, [](const ReplayedStage&) {})) {
      EXPECT_TRUE(r.equal) << r.stage << ": " << r.note;
      ++stages;
    }
    EXPECT_EQ(stages, 6);
  }
  // One token of one trained trajectory becomes another.
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open((top / "run/run.db").c_str(), &db), SQLITE_OK);
  {
    LocalRun run(top / "run", settings);
    const int64_t id = run.id("rl");
    const BatchContent content = decode_batch(run.store->batch(id, 2).payload);
    ASSERT_FALSE(content.items.empty());
    const auto& item = content.items[0];
    Sequence s;
    for (const TrajectoryRow& row : run.store->trajectories(id, item.draw))
      if (row.sample == item.sample) s = decode_sequence(row.payload);
    s.tokens.back() = s.tokens.back() == 20 ? 21 : 20;
    const std::string bytes = encode_sequence(s);
    sqlite3_stmt* statement = nullptr;
    ASSERT_EQ(sqlite3_prepare_v2(db, "UPDATE trajectories SET payload=? WHERE stage=? AND draw=? AND sample=?", -1, &statement,
                                 nullptr),
              SQLITE_OK);
    sqlite3_bind_blob(statement, 1, bytes.data(), static_cast<int>(bytes.size()), SQLITE_TRANSIENT);
    sqlite3_bind_int64(statement, 2, id);
    sqlite3_bind_int64(statement, 3, item.draw);
    sqlite3_bind_int64(statement, 4, item.sample);
    ASSERT_EQ(sqlite3_step(statement), SQLITE_DONE);
    ASSERT_EQ(sqlite3_changes(db), 1);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    for (const ReplayedStage& r : replay_run(run.env, run.graph, *run.store, [](const ReplayedStage&) {}))
      EXPECT_EQ(r.equal, r.stage != "rl") << r.stage;
  }
}

TEST_F(StageTest, a_dropped_message_is_named) {
  LocalRun run(top / "run", {});
  for (const char* stage : {"base", "sft"}) ASSERT_TRUE(run.run_stage(stage, 1));
  const auto stalled = [&](const std::string& edge) {
    LocalOptions options = local_options();
    options.faults = "drop:" + edge + ":2";
    LocalScheduler scheduler(run.graph, "rl", *run.store, role_factory(run.env), options);
    const auto& result = scheduler.run();
    EXPECT_NE(result.outcome, LocalScheduler::Outcome::finished) << edge;
    return result.report;
  };
  for (const char* edge : {"prompts->policy", "policy->judge", "judge->groups", "groups->reference", "reference->rl_trainer"}) {
    std::string spaced = edge;
    spaced.replace(spaced.find("->"), 2, " -> ");
    const std::string report = stalled(edge);
    EXPECT_NE(report.find(spaced), std::string::npos) << report;
    EXPECT_NE(report.find("message 2"), std::string::npos) << report;
  }
}

}  // namespace
}  // namespace r1
