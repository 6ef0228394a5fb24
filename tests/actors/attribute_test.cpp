// No attribute is lost between a graph and the engines: every one of the roles that learn or sample, turned alone, changes the
// weights that its stage learns, or stands below with the reason why it does not.
#include <set>

#include "tests/actors/stage_fixture.h"

namespace r1 {
namespace {

// How one attribute is turned, and what else is set (before and after alike) so that it matters: ATTR=VALUE of the same node,
// or NODE.ATTR=VALUE.
struct Turn {
  std::string value;
  std::vector<std::string> with = {};
};

// A stage of nano.graph, the node whose attributes are turned, and what is set in all its runs.
struct Bench {
  const char* stage;
  const char* node;
  std::vector<std::string> settings;
  std::map<std::string, Turn> turns;
  std::map<std::string, const char*> exempt;  // attribute -> why the weights do not change
};

const std::map<std::string, const char*> kNoResult = {
    {"snapshot_s", "when state is saved; continued runs give the same weights"},
    {"snapshot_share", "the same"},
    {"keep_versions", "what is written beside the run"},
    {"save_dtype", "what is written beside the checkpoint"},
    {"min_trained", "how little learning fails the stage"},
    {"idle_batches", "how long a stage may learn nothing"},
    {"micro_batch_tokens", "how work is cut; sums may round differently or not"},
    {"recompute", "the same weights with less memory (test_models.Recompute)"},
    {"on", "where it is computed; test_cards"},
    {"host", "where ranks are, and any place gives the same (tests/e2e/rank_nodes_test.cpp)"},
    {"tags", "the same"},
    {"objective", "what a stage is; every one has a stage of its own"},
    {"sees", "of reward models; a_reward_model_is_trained_on_what_it_will_be_shown"},
};

std::map<std::string, const char*> also(std::map<std::string, const char*> more) {
  more.insert(kNoResult.begin(), kNoResult.end());
  return more;
}

std::map<std::string, const char*> only_grpo() {
  std::map<std::string, const char*> out;
  for (const char* name : {"advantage", "ratio", "clip", "clip_low", "clip_high", "kl", "loss_mean", "mask_truncated",
                           "decoupled", "behave_cap", "behave_above", "mean_over", "inner_epochs", "shuffle"})
    out[name] = "of grpo";
  return out;
}

std::map<std::string, const char*> joined(std::map<std::string, const char*> a, const std::map<std::string, const char*>& b) {
  a.insert(b.begin(), b.end());
  return a;
}

const std::vector<std::string> kMuon = {"optimizer=muon"};
// So that ranks have something to share.
const std::vector<std::string> kManyMicroBatches = {"micro_batch_tokens=64"};

const std::map<std::string, Turn> kOptimizer = {
    {"optimizer", {"muon"}},
    {"lr", {"3e-3"}},
    {"beta1", {"0.5"}},
    {"beta2", {"0.5"}},
    {"eps", {"1e-3"}},
    {"weight_decay", {"0.1"}},
    {"clip_norm", {"0.001"}},
    {"muon_lr", {"0.05", kMuon}},
    {"muon_momentum", {"0.5", kMuon}},
    {"muon_weight_decay", {"0.5", kMuon}},
    {"schedule", {"linear"}},
    {"lr_end", {"0.5", {"schedule=cosine"}}},
    {"warmup", {"3"}},
};

std::map<std::string, Turn> turns(std::map<std::string, Turn> more) {
  more.insert(kOptimizer.begin(), kOptimizer.end());
  return more;
}

std::vector<Bench> benches() {
  return {
      {"rl",
       "rl_trainer",
       {"until=batches(3)"},
       turns({{"until", {"batches(2)"}},
              {"mini_batches", {"3"}},
              {"ranks", {"2", kManyMicroBatches}},
              {"advantage", {"mean"}},
              {"ratio", {"sequence"}},
              {"clip", {"cispo", {"clip_low=1e-4", "clip_high=1e-4"}}},
              {"clip_low", {"1e-4"}},
              {"clip_high", {"1e-4"}},
              {"kl", {"0.5"}},
              {"loss_mean", {"token"}},
              {"mask_truncated", {"true"}},
              {"mean_over", {"all", {"clip_norm=0.001"}}},
              {"inner_epochs", {"2"}},
              {"shuffle", {"false", {"mini_batches=2"}}},
              {"decoupled", {"true", {"edge.staleness=2"}}},
              {"behave_cap", {"0.25", {"decoupled=true"}}},
              {"behave_above", {"mask", {"decoupled=true", "behave_cap=0.9"}}}}),
       also({{"epochs", "of a finite set of examples"},
             {"batch", "the prompter's groups_per_batch"},
             {"bias_update_rate", "of experts: see the stage base"},
             {"balance_loss", "of experts: see the stage base"},
             {"mtp", "of pretrain: see the stage base"},
             {"mtp_weight", "of pretrain: see the stage base"},
             {"score_l2", "of reward models: see the stage reward"}})},
      {"base",
       "base_trainer",
       {"until=batches(3)", "optimizer=adamw"},
       turns({{"until", {"batches(2)"}},
              {"batch", {"8"}},
              {"mini_batches", {"2"}},
              {"ranks", {"2", kManyMicroBatches}},
              {"bias_update_rate", {"0.1"}},
              {"balance_loss", {"0.5"}},
              {"mtp", {"true"}},
              {"mtp_weight", {"0.9", {"mtp=true"}}}}),
       also(joined(only_grpo(), {{"epochs", "of a finite set of examples"}, {"score_l2", "of reward models"}}))},
      {"reward",
       "rm_trainer",
       {},
       turns({{"epochs", {"2"}},
              {"batch", {"4"}},
              {"mini_batches", {"2"}},
              {"ranks", {"3", kManyMicroBatches}},
              {"score_l2", {"0.5"}}}),
       also(joined(only_grpo(), {{"until", "epochs ends it"},
                                 {"bias_update_rate", "of experts: see the stage base"},
                                 {"balance_loss", "of experts: see the stage base"},
                                 {"mtp", "of pretrain: see the stage base"},
                                 {"mtp_weight", "of pretrain: see the stage base"}}))},
      {"distill",
       "student",
       {},
       turns({{"epochs", {"2"}}, {"batch", {"4"}}, {"mini_batches", {"2"}}, {"ranks", {"2", kManyMicroBatches}}}),
       also(joined(only_grpo(), {{"until", "epochs ends it"},
                                 {"bias_update_rate", "of experts: see the stage base"},
                                 {"balance_loss", "of experts: see the stage base"},
                                 {"mtp", "of pretrain: see the stage base"},
                                 {"mtp_weight", "of pretrain: see the stage base"},
                                 {"score_l2", "of reward models"}}))},
      {"rl",
       "policy",
       {},
       {{"samples", {"3"}},
        {"temperature", {"0.7"}},
        {"max_tokens", {"9"}},
        {"stop", {"."}},
        {"top_k", {"5", {"allow_truncated=true"}}},
        {"top_p", {"0.5", {"allow_truncated=true"}}}},
       {{"allow_truncated", "permits top_k and top_p"},
        {"on_flip", "of samples that run when weights arrive: none with staleness 0 (generator_flip_test)"},
        {"max_running", "no token depends on its batch (OnPolicy)"},
        {"on", "where it is computed; test_cards"},
        {"host", "which nodes do the work, and any gives the same (tests/e2e/nodes_test.cpp)"},
        {"tags", "the same"},
        {"replicas", "the same"},
        {"draft", "the same tokens in fewer steps (draft_test)"}}},
  };
}

TEST_F(StageTest, every_attribute_of_a_role_that_learns_or_samples_changes_the_weights_or_has_a_reason_not_to) {
  const RoleRegistry registry = role_registry(nano_graph().parent_path());
  const std::vector<std::string> common = {"nano_model.config=nano_deepseek.json", "graph.precision=f32",
                                           "rl_trainer.until=batches(3)"};
  {
    LocalRun run(top / "before", common);
    for (const char* stage : {"base", "sft", "rl", "rejection"}) ASSERT_TRUE(run.run_stage(stage, 1)) << stage;
  }
  std::map<std::string, std::string> known;  // settings -> weights
  const auto learned = [&](const Bench& b, std::vector<std::string> own) -> std::string {
    std::vector<std::string> settings = common;
    for (const std::string& s : b.settings) own.insert(own.begin(), s);
    for (const std::string& s : own) settings.push_back(s.find('.') < s.find('=') ? s : std::string(b.node) + "." + s);
    std::string key = b.stage;
    for (const std::string& s : settings) key += " " + s;
    if (const auto it = known.find(key); it != known.end()) return it->second;
    // Stages before it are there; its own rows are not.
    const auto dir = top / ("run" + std::to_string(known.size()));
    LocalRun run(dir, settings);
    std::filesystem::copy(top / "before/checkpoints", dir / "checkpoints", std::filesystem::copy_options::recursive);
    std::filesystem::copy(top / "before/datasets", dir / "datasets", std::filesystem::copy_options::recursive);
    EXPECT_TRUE(run.run_stage(b.stage, 1)) << key;
    const std::string hash = run.hashes()[b.stage];
    std::filesystem::remove_all(dir);
    return known[key] = hash;
  };
  for (const Bench& b : benches()) {
    const LocalRun run(top / "names", common);
    const RoleSpec* role = registry.find(run.graph.node(b.node)->role);
    ASSERT_NE(role, nullptr);
    std::set<std::string> names;
    for (const AttrSpec& a : role->attrs) {
      names.insert(a.name);
      const auto turn = b.turns.find(a.name);
      const bool exempt = b.exempt.count(a.name) != 0;
      EXPECT_NE(turn != b.turns.end(), exempt) << b.node << "." << a.name << " stands in one of the two lists";
      if (turn == b.turns.end()) continue;
      std::vector<std::string> turned = turn->second.with;
      turned.push_back(a.name + "=" + turn->second.value);
      const std::string before = learned(b, turn->second.with), after = learned(b, turned);
      EXPECT_NE(before, after) << b.node << "." << a.name << "=" << turn->second.value << " changes nothing";
      EXPECT_FALSE(after.empty());
    }
    for (const auto& [name, turn] : b.turns) EXPECT_EQ(names.count(name), 1u) << b.node << " has no " << name;
    for (const auto& [name, why] : b.exempt) EXPECT_EQ(names.count(name), 1u) << b.node << " has no " << name;
  }
}

}  // namespace
}  // namespace r1
