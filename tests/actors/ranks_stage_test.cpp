// Trainers of several ranks in whole stages: their results are one, in any order of messages, from any snapshot and in a
// replay.
#include "actors/changed_run.h"
#include "base/error.h"
#include "models/forwarding_engines.h"
#include "tests/actors/memory_ranks.h"
#include "tests/actors/stage_fixture.h"

namespace r1 {
namespace {

// Every trainer of nano.graph, with micro-batches that there are several of.
std::vector<std::string> ranked(int ranks, std::vector<std::string> more = {}) {
  for (const char* trainer : {"base_trainer", "sft_trainer", "rl_trainer", "rm_trainer", "student", "rl2_trainer"}) {
    more.push_back(std::string(trainer) + ".ranks=" + std::to_string(ranks));
    more.push_back(std::string(trainer) + ".micro_batch_tokens=64");
  }
  return more;
}

TEST_F(StageTest, trainers_of_two_ranks_give_the_same_weights_in_any_order_after_any_crash_and_in_a_replay) {
  LocalRun straight(top / "straight", ranked(2)), alone(top / "alone", ranked(1));
  straight.run_all(1);
  ASSERT_TRUE(alone.run_stage("base", 1));
  EXPECT_NE(alone.hashes().at("base"), straight.hashes().at("base")) << "sums are rounded in another order";
  for (const ReplayedStage& r : replay_run(straight.env, straight.graph, *straight.store, [](const ReplayedStage&) {}))
    EXPECT_TRUE(r.equal) << r.stage << ": " << r.note;
  // Stages are left in their middle, twice each, and go on from the store and the last snapshot.
  Rng rng(3, "crashes");
  const std::vector<std::string> often = ranked(2, {"node.snapshot_s=0"});
  int crashes = 0;
  for (const char* stage : {"base", "sft", "rl"})
    for (int left = 2; left >= 0; --left) {
      LocalRun run(top / "crashed", often);
      if (run.run_stage(stage, rng.bits(), left == 0 ? 1'000'000 : 40 + static_cast<int64_t>(rng.below(100)))) break;
      ++crashes;
    }
  EXPECT_GE(crashes, 4);
  LocalRun crashed(top / "crashed", often);
  for (const auto& [stage, hash] : crashed.hashes()) EXPECT_EQ(hash, straight.hashes().at(stage)) << stage;
  EXPECT_EQ(crashed.hashes().size(), 3u);
  crashed.expect_exact_ledgers();
}

// Trainers whose ranks are behind channels, in a ring.
class EnginesInARing final : public ForwardingEngines {
 public:
  using ForwardingEngines::ForwardingEngines;
  std::unique_ptr<Learner> learner(const std::string& node, const TrainerConfig& config,
                                   const WeightSet& start) const override {
    if (config.ranks < 2) return inner_->learner(node, config, start);
    ++made;
    return ranks_.learner(start.device(), config,
                          std::make_shared<WeightSet>(convert_weights(start, start.config(), DType::f32)));
  }
  mutable int made = 0;

 private:
  mutable test::MemoryRanks ranks_;
};

TEST_F(StageTest, ranks_in_a_ring_give_the_weights_of_ranks_that_are_threads) {
  for (const int ranks : {2, 3, 4}) {
    LocalRun threads(top / ("threads" + std::to_string(ranks)), ranked(ranks));
    LocalRun ring(top / ("ring" + std::to_string(ranks)), ranked(ranks));
    const auto engines = std::make_shared<EnginesInARing>(ring.env.engines);
    ring.env.engines = engines;
    for (const char* stage : {"base", "sft", "rl"}) {
      ASSERT_TRUE(threads.run_stage(stage, 1)) << threads.report;
      ASSERT_TRUE(ring.run_stage(stage, 2)) << ring.report;
      EXPECT_EQ(ring.hashes().at(stage), threads.hashes().at(stage)) << stage << ", " << ranks << " ranks";
    }
    EXPECT_EQ(engines->made, 3);
    ring.expect_exact_ledgers();
  }
}

TEST_F(StageTest, a_run_is_not_continued_with_another_number_of_ranks) {
  const RoleRegistry registry = role_registry(nano_graph().parent_path());
  const LocalRun two(top / "two", ranked(2)), three(top / "three", ranked(3));
  std::filesystem::create_directory(top / "run");
  EXPECT_TRUE(continue_graph(two.graph, top / "run", registry, false).empty());
  EXPECT_TRUE(continue_graph(two.graph, top / "run", registry, false).empty());
  for (const bool change : {false, true}) try {
      continue_graph(three.graph, top / "run", registry, change);
      FAIL() << "not refused";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::bad_input);
      EXPECT_NE(std::string(e.what()).find("base_trainer.ranks: 2 -> 3"), std::string::npos) << e.what();
    }
}

}  // namespace
}  // namespace r1
