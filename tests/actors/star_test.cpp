// Stages whose generators and judges run at nodes: the same weights as in one process, whatever happens to the nodes.
#include "tests/actors/star_fixture.h"

#include <nlohmann/json.hpp>

#include "base/fingerprint.h"
#include "base/rng.h"

namespace r1 {
namespace {

struct StarTest : StageTest {
  // What one process gives, for all stages.
  std::map<std::string, std::string> alone() {
    LocalRun run(top / "alone", {});
    run.run_all(1);
    return run.hashes();
  }
};

TEST_F(StarTest, one_node_and_three_give_the_weights_and_datasets_of_one_process) {
  const auto expected = alone();
  for (const int nodes : {1, 3}) {
    LocalRun run(top / std::to_string(nodes), {});
    Star star(run, 7);
    for (int i = 0; i < nodes; ++i) star.add_node();
    for (const StagePlan& stage : run.graph.stages) ASSERT_EQ(star.run_stage(stage.name), "") << stage.name;
    EXPECT_EQ(run.hashes(), expected) << nodes << " nodes";
    run.expect_exact_ledgers();
    EXPECT_EQ(star.lost, 0);
  }
}

// Nodes die and others join, at steps that the seed says; one is always there.
void disturb(Star& star, Rng& rng, int64_t& kills) {
  auto next = std::make_shared<int64_t>(static_cast<int64_t>(rng.below(600)));
  auto alive = std::make_shared<std::vector<int>>();
  for (int i = 0; i < 3; ++i) alive->push_back(star.add_node());
  star.after_step = [&star, &rng, &kills, next, alive](int64_t step) {
    if (step == 0) *next = static_cast<int64_t>(rng.below(600));
    if (step < *next) return;
    *next = step + 1 + static_cast<int64_t>(rng.below(1200));
    const size_t victim = rng.below(alive->size());
    star.kill((*alive)[victim]);
    alive->erase(alive->begin() + static_cast<int64_t>(victim));
    ++kills;
    while (alive->size() < 2 || (alive->size() < 3 && rng.chance(0.7))) alive->push_back(star.add_node());
  };
}

TEST_F(StarTest, nodes_that_are_killed_at_any_moment_change_no_weights) {
  const auto expected = alone();
  int64_t kills = 0, reissued = 0;
  for (uint64_t seed = 0; seed < 4; ++seed) {
    LocalRun run(top / std::to_string(seed), {});
    Rng rng(seed, "kills");
    Star star(run, seed);
    disturb(star, rng, kills);
    for (const StagePlan& stage : run.graph.stages) ASSERT_EQ(star.run_stage(stage.name), "") << stage.name << " seed " << seed;
    EXPECT_EQ(run.hashes(), expected) << "seed " << seed;
    run.expect_exact_ledgers();
    reissued += star.reissued;
  }
  EXPECT_GT(kills, 10);
  EXPECT_GT(reissued, 10);
}

TEST_F(StarTest, with_staleness_the_replay_of_a_run_whose_nodes_died_is_equal_and_no_token_is_older) {
  int64_t kills = 0;
  for (uint64_t seed = 0; seed < 2; ++seed) {
    LocalRun run(top / std::to_string(seed), {"edge.staleness=2"});
    Rng rng(seed, "kills");
    Star star(run, seed);
    disturb(star, rng, kills);
    for (const StagePlan& stage : run.graph.stages) ASSERT_EQ(star.run_stage(stage.name), "") << stage.name << " seed " << seed;
    run.expect_exact_ledgers();
    for (const ReplayedStage& r : replay_run(run.env, run.graph, *run.store, [](const ReplayedStage&) {}))
      EXPECT_TRUE(r.equal) << r.stage << ": " << r.note;
    const auto summary =
        nlohmann::json::parse(stage_summary(run.graph, *run.graph.stage("rl"), *run.store, run.id("rl"), {}, 1));
    EXPECT_LE(summary.at("staleness_max").get<int>(), 2);
  }
  EXPECT_GT(kills, 3);
}

TEST_F(StarTest, a_stage_without_nodes_says_that_it_waits_for_one_and_goes_on_when_it_joins) {
  LocalRun run(top / "run", {});
  Star star(run, 1);
  for (const char* stage : {"base", "sft"}) ASSERT_EQ(star.run_stage(stage), "");
  EXPECT_NE(star.run_stage("rl").find("policy: wait 'workers', for a worker to join"), std::string::npos);
  star.after_step = [&star](int64_t step) {
    if (step == 200) star.add_node();
  };
  EXPECT_EQ(star.run_stage("rl"), "");
}

TEST_F(StarTest, what_a_role_throws_at_a_node_fails_the_stage_and_says_where) {
  LocalRun run(top / "run", {});
  Star star(run, 1);
  star.add_node();
  for (const char* stage : {"base", "sft"}) ASSERT_EQ(star.run_stage(stage), "");
  // The graph that the node reads is another one than the head's: its role is not there.
  star.graph_text("digraph nothing { }");
  const std::string why = star.run_stage("rl");
  EXPECT_NE(why.find("(at n0/"), std::string::npos) << why;
}

TEST_F(StarTest, files_reach_nodes_by_content_and_one_that_is_damaged_in_the_cache_is_fetched_again) {
  LocalRun run(top / "run", {});
  Star star(run, 1);
  star.add_node();
  for (const char* stage : {"base", "sft", "rl", "rejection", "reward"}) ASSERT_EQ(star.run_stage(stage), "") << stage;
  size_t weights = 0;
  for (const auto& entry : std::filesystem::directory_iterator(run.dir / "cache")) {
    const FileFingerprint print = fingerprint_file(entry.path());
    EXPECT_EQ(print.hex(), entry.path().filename().string());
    weights += print.bytes > 10'000;
    write_file_atomically(entry.path(), "damaged");
  }
  EXPECT_GE(weights, 1u) << "the checkpoint that rejection sampling starts from";
  star.kill(0);
  star.add_node();
  EXPECT_EQ(star.run_stage("rl2"), "") << "its judge asks a reward model that the head trained";
}

}  // namespace
}  // namespace r1
