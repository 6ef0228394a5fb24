// Where actors compute, whether it fits, and what is said when it does not; on two emulated cards of 512 MiB.
#include "actors/devices.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "actors/roles.h"
#include "base/error.h"
#include "tests/source_dir.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

struct Devices : ::testing::Test {
  fs::path top = fs::path(testing::TempDir()) / ("devices" + std::to_string(::getpid()));

  void SetUp() override {
    setenv("R1_CUDA_PLUGIN", R1_EMULATED_PLUGIN, 1);
    fs::create_directories(top);
  }
  void TearDown() override {
    unsetenv("R1_CUDA_PLUGIN");
    unsetenv("R1_CUDA_EMULATED_FAULT");
    fs::remove_all(top);
  }

  static bool everywhere(const NodePlan&) { return true; }
  GraphView graph(const std::vector<std::string>& settings, const std::string& file = "") const {
    const fs::path dir = source_dir() / "tests/e2e/graphs";
    std::vector<Override> overrides;
    for (const std::string& s : settings) overrides.push_back(parse_override(s));
    return load_graph(file.empty() ? dir / "nano.graph" : fs::path(file), role_registry(dir), overrides);
  }
  RunEnv environment(const GraphView& g) const { return make_run_env(g, top / "run", source_dir() / "tests/e2e/graphs"); }

  struct Planned {
    GraphView graph;
    RunEnv env;
    DevicePlan plan;
    std::string device(const std::string& node) const {
      for (const PlacedActor& a : plan.actors)
        if (a.node->id == node) return a.device->name();
      return "none";
    }
  };
  std::unique_ptr<Planned> planned(const std::vector<std::string>& settings) const {
    auto p = std::make_unique<Planned>();
    p->graph = graph(settings);
    p->env = environment(p->graph);
    p->plan = plan_devices(p->env, p->graph, everywhere);
    use_devices(p->env, p->plan);
    return p;
  }
  std::string refusal(const std::vector<std::string>& settings) const {
    try {
      planned(settings);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::bad_input) << e.what();
      return e.what();
    }
    return "no error";
  }
};

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST_F(Devices, a_wish_is_a_device_or_a_range_of_cards_or_auto) {
  using Names = std::vector<std::string>;
  EXPECT_EQ(parse_device_wish("cpu", {}).names, Names{"cpu"});
  EXPECT_EQ(parse_device_wish("gpu", {}).names, Names{"gpu:0"});
  EXPECT_EQ(parse_device_wish("gpu:1-3", {}).names, (Names{"gpu:1", "gpu:2", "gpu:3"}));
  EXPECT_TRUE(parse_device_wish("auto", {}).names.empty());
  for (const char* wrong : {"gpu:3-1", "gpu:-1", "gpu:0-", "gpu:0-x", "gpu:0-1-2", "gpu:0-99999"})
    EXPECT_THROW(parse_device_wish(wrong, {}), Error) << wrong;
}

TEST_F(Devices, an_actor_is_where_it_says_and_the_others_are_where_the_graph_says) {
  const auto p = planned({"rl_trainer.on=gpu:1", "policy.on=gpu:1", "graph.precision=f32"});
  EXPECT_EQ(p->device("rl_trainer"), "gpu:1");
  EXPECT_EQ(p->device("policy"), "gpu:1");
  EXPECT_EQ(p->device("reference"), "cpu");
  EXPECT_EQ(p->device("judge"), "none") << "a judge without models computes nothing";
  EXPECT_EQ(p->device("rl2_judge"), "cpu") << "it has a reward model";
  EXPECT_EQ(env_of(p->env, *p->graph.node("policy")).device->name(), "gpu:1");
  EXPECT_EQ(env_of(p->env, *p->graph.node("reference")).device->name(), "cpu");
  const std::string print = devices_fingerprint(p->env);
  EXPECT_TRUE(contains(print, "emulated") && contains(print, open_device("cpu").fingerprint())) << print;
  const std::string text = device_plan_text(p->graph, p->plan);
  EXPECT_TRUE(contains(text, "gpu:1: 512") || contains(text, "gpu:1: 51")) << text;
  EXPECT_TRUE(contains(text, "stage rl\n") && contains(text, "masters") && contains(text, "KV cache up to")) << text;
}

TEST_F(Devices, without_on_all_is_as_before) {
  const auto p = planned({});
  EXPECT_TRUE(p->env.elsewhere.empty());
  EXPECT_EQ(devices_fingerprint(p->env), open_device("cpu").fingerprint());
  EXPECT_EQ(device_plan_text(p->graph, p->plan), "");
}

TEST_F(Devices, what_nobody_is_on_is_not_in_the_fingerprint_and_all_have_one_precision) {
  const auto p = planned({"node.on=gpu:0", "graph.precision=auto"});
  EXPECT_FALSE(contains(devices_fingerprint(p->env), open_device("cpu").fingerprint()));
  EXPECT_EQ(p->env.precision, DType::bf16);
  const auto mixed = planned({"rl_trainer.on=gpu:0", "policy.on=gpu:0", "graph.precision=auto"});
  EXPECT_EQ(mixed->env.precision, open_device("cpu").has_fast_bf16() ? DType::bf16 : DType::f32);
}

TEST_F(Devices, a_sampler_with_other_bits_than_its_trainers_is_refused_where_it_says_so) {
  const std::string said = refusal({"policy.on=gpu:0"});
  EXPECT_TRUE(contains(said, "'policy' on gpu:0 would sample with other bits than 'rl_trainer' on cpu")) << said;
  EXPECT_TRUE(contains(said, "--set policy.on=gpu:0")) << said;
  EXPECT_EQ(planned({"rs_policy.on=gpu:0"})->device("rs_policy"), "gpu:0") << "nothing is trained there";
}

TEST_F(Devices, a_range_is_a_choice_and_the_largest_actor_is_placed_first) {
  const auto p = planned({"rl_trainer.on=gpu:0-1", "policy.on=gpu:0-1", "reference.on=auto"});
  EXPECT_EQ(p->device("rl_trainer"), "gpu:0");
  EXPECT_EQ(p->device("policy"), "gpu:1");
  EXPECT_EQ(p->device("reference"), "gpu:1") << "two sets of weights are less than what a trainer has";
}

TEST_F(Devices, auto_is_the_cpu_where_there_is_no_card_and_says_why) {
  setenv("R1_CUDA_EMULATED_FAULT", "no_driver", 1);
  const auto p = planned({"node.on=auto"});
  EXPECT_EQ(p->device("policy"), "cpu");
  ASSERT_EQ(p->plan.notes.size(), 1u);
  EXPECT_TRUE(contains(p->plan.notes[0], "auto is the CPU: ") && contains(p->plan.notes[0], "driver")) << p->plan.notes[0];
}

TEST_F(Devices, more_than_a_card_has_is_refused_with_what_each_actor_needs) {
  std::ofstream(top / "large.json") << R"({"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": 400,
    "hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 4,
    "head_dim": 64, "max_position_embeddings": 256, "rms_norm_eps": 1e-6, "rope_theta": 100.0, "tie_word_embeddings": false,
    "attention_bias": false, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0})";
  const std::string config = "nano_model.config=" + (top / "large.json").string();
  const std::string said = refusal({config, "rl_trainer.on=gpu:0", "policy.on=gpu:0"});
  EXPECT_TRUE(contains(said, "stage 'rl' needs at least") && contains(said, "policy") && contains(said, "rl_trainer") &&
              contains(said, "are available") && contains(said, "precision=bf16"))
      << said;
  EXPECT_EQ(planned({config, "reference.on=gpu:0"})->device("reference"), "gpu:0") << "it fits alone";
}

TEST_F(Devices, stages_side_by_side_have_to_fit_together) {
  std::ofstream(top / "half.json") << R"({"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": 400,
    "hidden_size": 640, "intermediate_size": 1536, "num_hidden_layers": 3, "num_attention_heads": 8, "num_key_value_heads": 4,
    "head_dim": 64, "max_position_embeddings": 256, "rms_norm_eps": 1e-6, "rope_theta": 100.0, "tie_word_embeddings": false,
    "attention_bias": false, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0})";
  const std::vector<std::string> alone = {"nano_model.config=" + (top / "half.json").string(), "rm_trainer.on=gpu:0",
                                          "student.on=gpu:0"};
  EXPECT_EQ(planned(alone)->device("student"), "gpu:0");
  auto together = alone;
  together.push_back("graph.parallel_stages=2");
  const std::string said = refusal(together);
  EXPECT_TRUE(contains(said, "parallel_stages=2 needs at least") && contains(said, "rm_trainer") && contains(said, "student"))
      << said;
}

TEST_F(Devices, those_who_sample_share_what_the_others_leave) {
  const auto p = planned({"node.on=gpu:0", "node.max_running=65536"});
  double kv = 0, largest = 0;
  for (const PlacedActor& a : p->plan.actors) {
    if (a.need.kv_cache > 0) {
      EXPECT_GT(a.kv_bytes, 0) << a.node->id;
    }
    if (a.node->stage == p->graph.node("policy")->stage) kv += a.kv_bytes;
    largest = std::max(largest, a.need.kv_cache);
  }
  EXPECT_GT(largest, 512 << 20) << "the test is vacuous";
  EXPECT_LT(kv, 512 << 20);
}

TEST_F(Devices, ranks_of_a_trainer_are_counted_and_refused_on_a_card) {
  const std::string said = refusal({"rl_trainer.on=gpu:0", "policy.on=gpu:0", "rl_trainer.ranks=2"});
  EXPECT_TRUE(contains(said, "'rl_trainer' would have 2 ranks on gpu:0") && contains(said, "--set rl_trainer.ranks=2")) << said;
  const auto one = planned({"graph.precision=bf16"}), four = planned({"graph.precision=bf16", "rl_trainer.ranks=4"});
  EXPECT_EQ(device_plan_text(one->graph, one->plan), "") << "nothing to say of a CPU without ranks";
  const std::string text = device_plan_text(four->graph, four->plan);
  EXPECT_TRUE(contains(text, "rl_trainer") && contains(text, "of 4 ranks together") && !contains(text, "sft_trainer")) << text;
  const auto need = [](const Planned& p) {
    for (const PlacedActor& a : p.plan.actors)
      if (a.node->id == "rl_trainer") return a.need;
    return MemoryNeed{};
  };
  const MemoryNeed a = need(*one), b = need(*four);
  EXPECT_DOUBLE_EQ(b.gradients, 4 * a.gradients);
  EXPECT_DOUBLE_EQ(b.moments, a.moments);
  EXPECT_DOUBLE_EQ(b.weights, 2.5 * a.weights) << "of two versions at the first rank, of one at the others";
  EXPECT_DOUBLE_EQ(b.masters, 1.75 * a.masters) << "all at the first rank, their shards at the others";
}

TEST_F(Devices, a_trainer_that_recomputes_is_planned_with_fewer_activations) {
  const auto work = [&](const char* recompute) {
    const auto p = planned({"node.micro_batch_tokens=65536", std::string("rl_trainer.recompute=") + recompute});
    for (const PlacedActor& a : p->plan.actors)
      if (a.node->id == "rl_trainer") return a.need.work;
    return 0.0;
  };
  EXPECT_GT(work("true"), 0);
  EXPECT_LT(work("true"), 0.8 * work("false"));
}

TEST_F(Devices, a_device_that_is_not_there_is_named_at_the_attribute) {
  const std::string said = refusal({"reference.on=gpu:7"});
  EXPECT_TRUE(contains(said, "there is no device 'gpu:7': this machine has 2 GPUs") && contains(said, "gpu:0 to gpu:1") &&
              contains(said, "--set reference.on=gpu:7"))
      << said;
  EXPECT_TRUE(contains(refusal({"reference.on=gpx:0"}), "unknown device 'gpx:0'"));
}

}  // namespace
}  // namespace r1
