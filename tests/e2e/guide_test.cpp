// The worked example of docs/guide.md, taken from its text and run: what a newcomer is told works.
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/files.h"
#include "tests/e2e/program.h"

namespace r1 {
namespace {

using Guide = ProgramTest;

// The text of the first ```LANGUAGE block that holds `marker`; "" when there is none.
std::string code_block(const std::string& page, const std::string& language, const std::string& marker) {
  std::istringstream lines(page);
  std::string block;
  bool inside = false, wanted = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("```")) {
      if (inside && wanted && block.find(marker) != std::string::npos) return block;
      inside = !inside;
      wanted = inside && line.substr(3) == language;
      block.clear();
    } else if (inside) {
      block += line + "\n";
    }
  }
  return "";
}

TEST_F(Guide, own_task_is_started_cold_and_learned_from_a_rule) {
  const char* main_job = std::getenv("R1_MAIN_JOB");
  if (main_job == nullptr) GTEST_SKIP() << "set R1_MAIN_JOB to the directory of a finished run of graphs/r1_full.graph";
  const std::string page = read_file(source_dir() / "docs/guide.md");
  const std::string data = code_block(page, "sh", "awk"),
                    expression = code_block(page, "", "rewards=\"format * (accuracy * if");
  std::string graph = code_block(page, "dot", "digraph letters");
  ASSERT_FALSE(data.empty() || graph.empty() || expression.empty());
  const std::string start = "runs/r1_full";
  ASSERT_NE(graph.find(start), std::string::npos);
  graph.replace(graph.find(start), start.size(), main_job);
  write_file_atomically(top / "letters.graph", graph);
  write_file_atomically(top / "data.sh", data);
  ASSERT_EQ(std::system(("cd " + top.string() + " && sh data.sh").c_str()), 0);

  const std::string file = (top / "letters.graph").string();
  std::string rewards = expression.substr(0, expression.find('\n'));
  std::erase(rewards, '"');
  const ProgramResult check = run_program({file, "--check", "--set", "judge." + rewards});
  EXPECT_EQ(check.code, 0) << check.err;
  for (const std::string seed : {"0", "3"}) {
    const ProgramResult run =
        run_program({file, "--run", (top / ("run" + seed)).string(), "--json", "--set", "graph.seed=" + seed});
    ASSERT_EQ(run.code, 0) << run.err;
    const auto metrics = nlohmann::json::parse(run.out)["stages"][1]["metrics"];
    EXPECT_GE(metrics["before"]["accuracy"].get<double>(), 0.05) << "seed " << seed << ": RL would wait for a lucky sample";
    EXPECT_LE(metrics["before"]["accuracy"].get<double>(), 0.5) << "seed " << seed << ": the examples alone teach the task";
    EXPECT_GE(metrics["after"]["accuracy"].get<double>(), 0.9) << "seed " << seed;
  }
}

}  // namespace
}  // namespace r1
