// The promises of stage_test.cpp on a model with latent attention, experts, selection bias and an MTP module.
#include <nlohmann/json.hpp>

#include "base/rng.h"
#include "tests/actors/stage_fixture.h"

namespace r1 {
namespace {

std::vector<std::string> deepseek(std::vector<std::string> more = {}) {
  more.push_back("nano_model.config=nano_deepseek.json");
  more.push_back("base_trainer.mtp=true");
  return more;
}

TEST_F(StageTest, a_deepseek_run_has_no_gap_and_reports_the_load_of_its_experts) {
  for (const char* precision : {"f32", "bf16"}) {
    LocalRun run(top / precision,
                 deepseek({std::string("graph.precision=") + precision, "policy.samples=8", "prompts.groups_per_batch=8"}));
    run.run_all(3);
    for (const char* stage : {"base", "rl", "rl2"}) {
      double gap = 0, tokens = 0;
      for (const auto& [version, text] : run.store->batch_stats(run.id(stage))) {
        const auto stats = nlohmann::json::parse(text);
        if (stats.contains("logprob_gap_max")) gap = std::max(gap, stats.at("logprob_gap_max").get<double>());
        tokens += stats.value("logprob_gap_tokens", 0.0);
        if (stats.at("optimizer_steps") == 0) continue;
        const bool mtp = stage == std::string("base");
        EXPECT_EQ(stats.contains("mtp_loss"), mtp);
        // One of the two layers has experts, and the block of the MTP module while it is trained.
        ASSERT_EQ(stats.at("expert_load").size(), mtp ? 2u : 1u);
        double total = 0, most = 0;
        for (const auto& layer : stats.at("expert_load"))
          for (double share : layer) total += share, most = std::max(most, 8 * share);
        EXPECT_NEAR(total, mtp ? 2 : 1, 1e-3);
        EXPECT_NEAR(stats.at("expert_load_max").get<double>(), most, 1e-3);
        EXPECT_GT(stats.at("expert_bias_spread").get<double>(), 0);
      }
      EXPECT_EQ(gap, 0) << stage << " " << precision;
      if (stage != std::string("base")) {
        EXPECT_GT(tokens, 100) << stage << " " << precision;
      }
    }
  }
}

TEST_F(StageTest, a_deepseek_run_stopped_anywhere_continues_to_the_same_weights_and_replays) {
  LocalRun whole(top / "whole", deepseek());
  whole.run_all(1);
  Rng rng(12, "stops");
  const std::filesystem::path dir = top / "stopped";
  int stops = 0;
  for (bool complete = false; !complete;) {
    LocalRun run(dir, deepseek());
    complete = true;
    for (const StagePlan& stage : run.graph.stages) {
      if (run.done(stage.name)) continue;
      const bool stop = stops < 40;
      if (!run.run_stage(stage.name, rng.bits(), stop ? 1 + static_cast<int64_t>(rng.below(120)) : 1'000'000)) {
        ASSERT_TRUE(stop) << run.report;
        ++stops;
        complete = false;
        break;
      }
    }
    if (!complete) continue;
    EXPECT_EQ(run.hashes(), whole.hashes());
    run.expect_exact_ledgers();
    for (const ReplayedStage& r : replay_run(run.env, run.graph, *run.store, [](const ReplayedStage&) {}))
      EXPECT_TRUE(r.equal) << r.stage << ": " << r.note;
  }
  EXPECT_GE(stops, 20);
}

TEST_F(StageTest, drafting_changes_no_weights_and_reports_its_share_of_hits) {
  LocalRun plain(top / "plain", deepseek());
  LocalRun drafting(top / "drafting", deepseek({"policy.draft=true", "rs_policy.draft=true", "rl2_policy.draft=true"}));
  for (LocalRun* run : {&plain, &drafting}) run->run_all(1);
  EXPECT_EQ(plain.hashes(), drafting.hashes());
  for (const char* stage : {"rl", "rejection", "rl2"}) {
    EXPECT_TRUE(plain.store->metrics(plain.id(stage), "draft_accepted").empty());
    const auto shares = drafting.store->metrics(drafting.id(stage), "draft_accepted");
    EXPECT_FALSE(shares.empty()) << stage;
    for (const MetricRow& m : shares) {
      EXPECT_GE(m.value, 0) << stage;
      EXPECT_LE(m.value, 1) << stage;
    }
  }
}

TEST_F(StageTest, the_fake_device_runs_a_deepseek_model_and_agrees_with_the_cpu) {
  LocalRun cpu(top / "cpu", deepseek()), fake(top / "fake", deepseek({"graph.device=fake"}));
  cpu.run_all(1);
  fake.run_all(1);
  EXPECT_EQ(cpu.hashes(), fake.hashes());
}

}  // namespace
}  // namespace r1
