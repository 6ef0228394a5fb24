// r1-run --simulate: says how fast a graph would be, and touches nothing.
#include <filesystem>

#include "tests/e2e/program.h"

namespace r1 {
namespace {

struct SimulateProgram : ProgramTest {
  const std::string graph = (source_dir() / "graphs/rl_only.graph").string();
  const std::string costs = (source_dir() / "docs/costs_7b.json").string();
};

TEST_F(SimulateProgram, prints_a_table_or_json_and_writes_nothing) {
  const ProgramResult table = run_program({graph, "--simulate", "hosts=2,gpus=4,batches=2", "--costs", costs});
  EXPECT_EQ(table.code, 0) << table.err;
  EXPECT_NE(table.out.find("stage zero: 2 batches of 32 groups"), std::string::npos) << table.out;
  const ProgramResult json = run_program({graph, "--simulate", "hosts=2,gpus=4,batches=2", "--costs", costs, "--json"});
  EXPECT_EQ(json.code, 0) << json.err;
  EXPECT_EQ(json.out.rfind("[\n", 0), 0u) << json.out;
  EXPECT_NE(table.out.find("batches of 64 examples"), std::string::npos) << table.out;
  EXPECT_FALSE(std::filesystem::exists("runs/rl_only"));
}

TEST_F(SimulateProgram, what_makes_no_sense_is_bad_input) {
  for (const std::vector<std::string>& more : {std::vector<std::string>{"--simulate", "hosts=2,gpus=4"},
                                               {"--simulate", "hosts=2,gpus=4", "--costs", "no such file"},
                                               {"--simulate", "hosts=two", "--costs", costs},
                                               {"--costs", costs},
                                               {"--simulate", "gpus=8", "--costs", costs, "--dashboard", "0"}}) {
    std::vector<std::string> arguments = {graph};
    arguments.insert(arguments.end(), more.begin(), more.end());
    EXPECT_EQ(run_program(arguments).code, 2) << more.back();
  }
}

}  // namespace
}  // namespace r1
