#include "tools/simulate/simulate.h"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "actors/roles.h"
#include "base/error.h"
#include "base/files.h"
#include "tests/runtime/temporary_directory.h"
#include "tests/source_dir.h"

namespace r1::simulate {
namespace {

std::string refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::bad_input);
    return e.what();
  }
  return "";
}

TEST(SimulateSetting, says_hosts_gpus_and_who_trains) {
  const Setting s = parse_setting("hosts=4,gpus=8");
  EXPECT_EQ(s.hosts, 4);
  EXPECT_EQ(s.trainer, 8) << "the first host";
  EXPECT_EQ(parse_setting("gpus=8").trainer, 4) << "half of it";
  EXPECT_EQ(parse_setting("hosts=2,gpus=8,trainer=2,batches=7").batches, 7);
  for (const char* bad : {"hosts", "hosts=0", "hosts=-1", "hosts=4x", "nodes=3", "hosts=2,gpus=0", "hosts=4097", "gpus=65",
                          "gpus=1", "gpus=4,trainer=4", "hosts=2,gpus=4,trainer=5", "hosts=1000,gpus=8", "gpus=2,batches=0"})
    EXPECT_NE(refusal([&] { parse_setting(bad); }).find("--simulate"), std::string::npos) << bad;
}

TEST(SimulateCosts, are_numbers_of_known_names) {
  const TemporaryDirectory dir;
  const auto file = dir.path() / "costs.json";
  const auto read = [&](const std::string& text) {
    write_file_atomically(file, text);
    return read_costs(file);
  };
  EXPECT_EQ(read(R"({"kept": 0.5, "train": {"token_s": 1e-6}})").train.token_s, 1e-6);
  EXPECT_EQ(read(R"({"evaluate": {"problem_s": 2}, "between": {"batch_s": 3}})").evaluate.problem_s, 2);
  for (const auto& [text, said] :
       std::vector<std::pair<std::string, std::string>>{{R"([])", "object"},
                                                        {R"({"kept": 2})", "from 0 to 1"},
                                                        {R"({"kept": "1"})", "number"},
                                                        {R"({"train": {"tokens_s": 1}})", "train.token_s"},
                                                        {R"({"trian": {"token_s": 1}})", "trian.token_s"},
                                                        {R"({"tokens": {"mean": 0}})", "from 1"},
                                                        {R"({"link": {"bytes_per_s": 0}})", "from 1"},
                                                        {R"({)", "costs.json"}})
    EXPECT_NE(refusal([&] { read(text); }).find(said), std::string::npos) << text;
}

struct SimulatedGraph : testing::Test {
  GraphView graph = load_graph(source_dir() / "graphs/rl_only.graph", role_registry(source_dir() / "graphs"),
                               {parse_override("policy.replicas=3")});
};

TEST_F(SimulatedGraph, stages_that_sample_and_train_are_simulated_where_the_graph_places_them) {
  auto stages = simulate_graph(graph, parse_setting("hosts=2,gpus=4,trainer=2,batches=3"), source_dir() / "docs/costs_7b.json");
  ASSERT_EQ(stages.size(), 2u);
  const SimulatedStage learned = stages[0];
  EXPECT_EQ(learned.shape.sort, StageSort::learns_from_examples);
  EXPECT_EQ(learned.result.batches, 3);
  EXPECT_EQ(learned.machines.trainers, 2);
  EXPECT_EQ(learned.machines.idle, 6);
  stages.erase(stages.begin());
  EXPECT_EQ(stages[0].name, "zero");
  EXPECT_EQ(stages[0].machines.idle, 3);
  EXPECT_EQ(stages[0].machines.generators, (std::vector<int>{0, 0, 1})) << "replicas=3 of six devices";
  EXPECT_EQ(stages[0].machines.trainers, 2);
  EXPECT_EQ(stages[0].shape.groups, 32);
  EXPECT_EQ(stages[0].shape.staleness, 1);
  EXPECT_TRUE(stages[0].shape.reference);
  EXPECT_EQ(stages[0].result.batches, 3);
  const auto json = nlohmann::json::parse(simulation_json(stages));
  EXPECT_EQ(json[0]["generators"], 3);
  EXPECT_NE(simulation_table(stages).find("age when trained"), std::string::npos);
}

TEST_F(SimulatedGraph, every_stage_of_the_main_job_says_its_time_and_what_to_scale) {
  const GraphView all = load_graph(source_dir() / "graphs/r1_full.graph", role_registry(source_dir() / "graphs"));
  const auto stages = simulate_graph(all, parse_setting("hosts=2,gpus=4"), source_dir() / "docs/costs_7b.json");
  ASSERT_EQ(stages.size(), all.stages.size());
  std::map<std::string, SimulatedStage> by_name;
  for (const SimulatedStage& s : stages) by_name[s.name] = s;
  EXPECT_EQ(by_name["base"].result.batches, 2400) << "all of them: they are a sum";
  EXPECT_EQ(by_name["cold_start"].result.batches, 600 * 4 / 32) << "count=, epochs= and batch= of the graph";
  EXPECT_EQ(by_name["helpful"].shape.sort, StageSort::learns_from_examples);
  EXPECT_EQ(by_name["qwen_distill"].result.batches, 64) << "how much a teacher keeps is not known";
  EXPECT_EQ(by_name["rejection"].shape.sort, StageSort::samples);
  EXPECT_EQ(by_name["rejection"].result.batches, 3072 / 64);
  EXPECT_EQ(by_name["rejection"].machines.generators.size(), 8u) << "nobody trains: all devices sample";
  EXPECT_EQ(by_name["rl1"].machines.generators.size(), 4u);
  const auto json = nlohmann::json::parse(simulation_json(stages));
  for (const auto& stage : json) {
    EXPECT_GT(stage["seconds"], 0) << stage;
    EXPECT_EQ(stage["use"].contains("trainer"), stage.contains("trainers")) << stage;
    EXPECT_EQ(stage["use"].contains("generators"), stage.contains("generators")) << stage;
    EXPECT_NE(stage["so"], "") << stage;
  }
  EXPECT_EQ(simulate_graph(all, parse_setting("gpus=8"), source_dir() / "docs/costs_7b.json")[0].machines.trainers, 8)
      << "where nobody samples all devices of the host train";
}

TEST_F(SimulatedGraph, evaluators_measure_what_the_stage_before_has_not) {
  const GraphView full = load_graph(source_dir() / "graphs/r1_full.graph", role_registry(source_dir() / "graphs"));
  const auto problems = [&](const char* stage) {
    return shape_of(full, static_cast<int>(full.stage(stage) - full.stages.data()), parse_setting("gpus=0")).problems;
  };
  EXPECT_EQ(problems("base").before, 600) << "problems_before of two sets";
  EXPECT_EQ(problems("base").after, 3000);
  EXPECT_EQ(problems("rl1").before, 0) << "known of the stage that it begins with";
  EXPECT_EQ(problems("rl1").after, 3000);
  EXPECT_EQ(problems("helpful").before, 1500) << "pairs, which nobody has asked about";
  EXPECT_EQ(problems("rejection").after, 0);
}

TEST_F(SimulatedGraph, an_evaluation_is_done_by_one_device) {
  const GraphView alone = load_graph_text(R"(digraph g {
  m [kind=model, config="tiny_base.json", tokenizer=tiny];
  subgraph cluster_e { e [role=evaluator, source="tiny:reasoning_test, tiny:general_test", problems=100, samples=2]; }
  m -> e;
})",
                                          "g", role_registry(source_dir() / "graphs/models"));
  const auto stages = simulate_graph(alone, parse_setting("hosts=2,gpus=4"), source_dir() / "docs/costs_7b.json");
  ASSERT_EQ(stages.size(), 1u);
  EXPECT_EQ(stages[0].shape.groups, 200);
  EXPECT_EQ(stages[0].machines.generators.size(), 1u);
  EXPECT_EQ(stages[0].machines.idle, 7);
  const auto json = nlohmann::json::parse(simulation_json(stages));
  EXPECT_FALSE(json[0].contains("batches"));
  EXPECT_GT(json[0]["seconds"], 0);
}

TEST_F(SimulatedGraph, what_cannot_be_simulated_is_said) {
  const Setting setting = parse_setting("hosts=2,gpus=4");
  EXPECT_NE(refusal([&] { simulate_graph(graph, setting, ""); }).find("--costs"), std::string::npos);
  EXPECT_NE(
      refusal([&] { simulate_graph(graph, parse_setting("gpus=2"), source_dir() / "docs/costs_7b.json"); }).find("replicas"),
      std::string::npos)
      << "three replicas on one device";
}

}  // namespace
}  // namespace r1::simulate
