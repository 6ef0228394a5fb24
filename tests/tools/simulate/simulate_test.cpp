#include "tools/simulate/simulate.h"

#include <gtest/gtest.h>

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
  const auto stages =
      simulate_graph(graph, parse_setting("hosts=2,gpus=4,trainer=2,batches=3"), source_dir() / "docs/costs_7b.json");
  ASSERT_EQ(stages.size(), 1u) << "pre-training samples nothing";
  EXPECT_EQ(stages[0].name, "zero");
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
