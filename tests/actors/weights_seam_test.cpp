// Between the trainer and those who receive its weights: what is used is what was published, checked by its hash - inside one
// process the weights themselves, between processes what deltas make of them.
#include <algorithm>
#include <functional>

#include "actors/messages.h"
#include "actors/training_plan.h"
#include "models/weights.h"
#include "tests/actors/stage_fixture.h"

namespace r1 {
namespace {

// Sits in front of a role and changes the weights that it receives; a change that gives null swallows the message.
using Change = std::function<std::shared_ptr<const WeightsMessage>(const WeightsMessage&)>;

class InFront final : public Role {
 public:
  InFront(std::unique_ptr<Role> behind, Change change) : behind_(std::move(behind)), change_(std::move(change)) {}
  bool recalls() const override { return behind_->recalls(); }
  void start(RoleContext& c) override { behind_->start(c); }
  void receive(RoleContext& c, int edge, PayloadPtr payload) override {
    if (auto weights = std::dynamic_pointer_cast<const WeightsMessage>(payload)) {
      payload = change_(*weights);
      if (!payload) return c.release(edge);
    }
    behind_->receive(c, edge, std::move(payload));
  }
  void on_room(RoleContext& c, int edge) override { behind_->on_room(c, edge); }
  void on_stage_end(RoleContext& c) override { behind_->on_stage_end(c); }

 private:
  std::unique_ptr<Role> behind_;
  Change change_;
};

// The same model with other values.
std::shared_ptr<const WeightsMessage> poisoned(const WeightsMessage& m) {
  auto other = std::make_shared<WeightSet>(m.weights->device(), m.weights->config(), m.weights->dtype());
  initialize(*other, 99);
  auto out = std::make_shared<WeightsMessage>(m);
  out->weights = std::move(other);
  return out;
}
std::shared_ptr<const WeightsMessage> as_sent(const WeightsMessage& m) { return std::make_shared<WeightsMessage>(m); }

struct WeightsSeam : StageTest {
  const std::vector<std::string> settings = {"judge.rewards=length", "rl_trainer.until=batches(5)"};
  LocalScheduler::Result run_rl(LocalRun& run, const std::string& node, Change change, bool as_bytes = false) {
    for (const char* stage : {"base", "sft"}) EXPECT_TRUE(run.run_stage(stage, 1)) << run.report;
    const RoleFactory plain = role_factory(run.env);
    const RoleFactory factory = [&](const GraphView& graph, const NodePlan& plan) -> std::unique_ptr<Role> {
      auto role = plain(graph, plan);
      return plan.id == node ? std::make_unique<InFront>(std::move(role), change) : std::move(role);
    };
    LocalScheduler scheduler(run.graph, "rl", *run.store, factory, local_options(as_bytes));
    return scheduler.run();
  }
  static std::string published(LocalRun& run, int64_t version) {
    return run.store->version_hash(run.id("rl"), version).value_or("none");
  }
};

// As between processes: no pointer is left, deltas follow each other or a version comes whole.
TEST_F(WeightsSeam, a_run_whose_messages_are_bytes_ends_in_the_same_weights) {
  for (const std::string staleness : {"0", "2"}) {
    const std::vector<std::string> asynchronous = {"judge.rewards=length", "rl_trainer.until=batches(5)",
                                                   "edge.staleness=" + staleness};
    LocalRun handed(top / ("handed" + staleness), asynchronous), bytes(top / ("bytes" + staleness), asynchronous);
    handed.as_bytes = false;
    bytes.as_bytes = true;
    handed.run_all(7);
    bytes.run_all(7);
    EXPECT_EQ(bytes.hashes(), handed.hashes()) << "staleness " << staleness;
  }
}

TEST_F(WeightsSeam, a_receiver_is_sent_the_versions_that_its_port_asks_for_and_no_other) {
  LocalRun run(top / "run", settings);
  std::map<std::string, std::vector<int64_t>> sent;
  const RoleFactory plain = role_factory(run.env);
  const RoleFactory factory = [&](const GraphView& graph, const NodePlan& plan) -> std::unique_ptr<Role> {
    return std::make_unique<InFront>(plain(graph, plan), [&sent, &plan](const WeightsMessage& m) {
      sent[plan.id].push_back(m.version);
      return as_sent(m);
    });
  };
  for (const char* stage : {"base", "sft", "rl"}) {
    LocalScheduler scheduler(run.graph, stage, *run.store, factory);
    const auto result = scheduler.run();
    ASSERT_EQ(result.outcome, LocalScheduler::Outcome::finished) << stage << ": " << result.report;
  }
  EXPECT_EQ(sent["base_eval"], (std::vector<int64_t>{12})) << "the last one";
  EXPECT_EQ(sent["policy"], (std::vector<int64_t>{0, 1, 2, 3, 4, 5})) << "each";
  EXPECT_EQ(sent["reference"], (std::vector<int64_t>{4})) << "every=4";
}

TEST_F(WeightsSeam, between_processes_the_generator_has_nothing_but_deltas_and_samples_the_same) {
  int64_t deltas = 0, whole = 0;
  LocalRun plain(top / "plain", settings), other(top / "other", settings);
  const auto expected = run_rl(plain, "policy", as_sent);
  ASSERT_EQ(expected.outcome, LocalScheduler::Outcome::finished) << expected.report;
  const auto count = [&](const WeightsMessage& m) {
    EXPECT_EQ(m.weights, nullptr);
    ++(m.delta.full() ? whole : deltas);
    return as_sent(m);
  };
  const auto result = run_rl(other, "policy", count, /*as_bytes=*/true);
  ASSERT_EQ(result.outcome, LocalScheduler::Outcome::finished) << result.report;
  EXPECT_EQ(other.hashes(), plain.hashes());
  EXPECT_EQ(published(other, 4), published(plain, 4));
  EXPECT_EQ(whole, 1) << "the first";
  EXPECT_GE(deltas, 4);
}

TEST_F(WeightsSeam, a_version_that_does_not_hash_to_what_was_published_ends_the_run) {
  for (const std::string node : {"policy", "reference"}) {
    SCOPED_TRACE(node);
    LocalRun run(top / node, settings);
    const auto result = run_rl(run, node, [&](const WeightsMessage& m) {
      auto out = std::make_shared<WeightsMessage>(m);
      if (m.version == (node == "policy" ? 2 : 4)) out->hash.lo ^= 1;
      return out;
    });
    ASSERT_EQ(result.outcome, LocalScheduler::Outcome::failed);
    EXPECT_TRUE(result.report.starts_with(node + ": ")) << result.report;
    EXPECT_NE(result.report.find("weights of version " + std::string(node == "policy" ? "2" : "4") + " hash to"),
              std::string::npos)
        << result.report;
  }
}

TEST_F(WeightsSeam, a_receiver_that_missed_a_version_goes_on_with_the_published_weights_or_not_at_all) {
  const std::vector<std::string> stale = {"judge.rewards=length", "rl_trainer.until=batches(5)", "edge.staleness=2"};
  const auto without_first = [](const WeightsMessage& m) { return m.version == 1 ? nullptr : as_sent(m); };
  LocalRun handed(top / "handed", stale), poison(top / "poisoned", stale), bytes(top / "bytes", stale);
  const auto whole = run_rl(handed, "policy", without_first);
  EXPECT_EQ(whole.outcome, LocalScheduler::Outcome::finished) << whole.report;
  const auto others = run_rl(poison, "policy", [&](const WeightsMessage& m) { return m.version == 1 ? nullptr : poisoned(m); });
  EXPECT_EQ(others.outcome, LocalScheduler::Outcome::failed);
  EXPECT_NE(others.report.find("policy: weights of version"), std::string::npos) << others.report;
  const auto lost = run_rl(bytes, "policy", without_first, /*as_bytes=*/true);
  EXPECT_EQ(lost.outcome, LocalScheduler::Outcome::failed);
  EXPECT_NE(lost.report.find("is the difference to version 1, and version 0 is held"), std::string::npos) << lost.report;
}

TEST_F(WeightsSeam, the_reference_becomes_the_published_version_or_nothing) {
  LocalRun plain(top / "plain", settings);
  const auto expected = run_rl(plain, "reference", as_sent);
  ASSERT_EQ(expected.outcome, LocalScheduler::Outcome::finished) << expected.report;
  const auto kept = plain.store->artifact(plain.id("rl"), "reference");
  ASSERT_TRUE(kept.has_value()) << "the test is vacuous: the reference was never renewed";
  EXPECT_EQ(load_weights(*plain.env.device, plain.dir / kept->first, plain.env.precision)->hash().hex(), published(plain, 4));
  LocalRun other(top / "other", settings);
  const auto result = run_rl(other, "reference", poisoned);
  ASSERT_EQ(result.outcome, LocalScheduler::Outcome::failed);
  EXPECT_NE(result.report.find("reference: weights of version 4 hash to"), std::string::npos) << result.report;
  EXPECT_FALSE(other.store->artifact(other.id("rl"), "reference").has_value());
}

TEST_F(WeightsSeam, the_evaluator_measures_the_published_version_or_nothing) {
  LocalRun run(top / "run", {});
  const RoleFactory plain = role_factory(run.env);
  const RoleFactory factory = [&](const GraphView& graph, const NodePlan& plan) -> std::unique_ptr<Role> {
    auto role = plain(graph, plan);
    return plan.id == "base_eval" ? std::make_unique<InFront>(std::move(role), poisoned) : std::move(role);
  };
  LocalScheduler scheduler(run.graph, "base", *run.store, factory);
  const auto result = scheduler.run();
  ASSERT_EQ(result.outcome, LocalScheduler::Outcome::failed);
  EXPECT_NE(result.report.find("base_eval: weights of version"), std::string::npos) << result.report;
}

// ---- staleness: the admission rule, not the filter, keeps the bound

TEST_F(StageTest, in_draw_order_no_draw_is_ever_too_old_to_be_trained_on) {
  for (const int bound : {0, 1, 2, 3}) {
    int64_t oldest = 0;
    for (const char* slow : {"", "rl_trainer", "judge"}) {
      SCOPED_TRACE("staleness " + std::to_string(bound) + ", slow: " + slow);
      LocalRun run(top / (std::to_string(bound) + slow),
                   {"edge.staleness=" + std::to_string(bound), "rl_trainer.until=batches(8)", "judge.rewards=length",
                    "prompts.groups_per_batch=2", "policy.samples=2"});
      for (const char* stage : {"base", "sft"}) ASSERT_TRUE(run.run_stage(stage, 1));
      ASSERT_TRUE(run.run_stage("rl", static_cast<uint64_t>(bound) + 1, 1'000'000, slow));
      const int64_t id = run.id("rl");
      EXPECT_EQ(run.store->ledger(id).dropped["stale"], 0);
      EXPECT_EQ(run.store->check_ledger(id, false), "");
      for (int64_t v = 0; v < run.store->batch_count(id); ++v)
        for (const Sequence& s : stored_batch(*run.store, id, v).sequences)
          for (size_t i = 0; i < s.tokens.size(); ++i)
            if (s.trainable[i]) oldest = std::max(oldest, v - s.version[i]);
    }
    EXPECT_EQ(oldest, bound) << "the bound is kept, and reached: the trainer never waits for fresher samples than it needs";
  }
}

}  // namespace
}  // namespace r1
