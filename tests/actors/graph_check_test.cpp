// Bad graphs that only the roles can recognise, and the graphs we ship.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "actors/roles.h"
#include "base/files.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

const fs::path kSource = R1_SOURCE_DIR;

TEST(GraphChecks, every_shipped_graph_passes) {
  int graphs = 0;
  for (const fs::path& dir : {kSource / "graphs", kSource / "tests/e2e/graphs"})
    for (const auto& entry : fs::directory_iterator(dir)) {
      if (entry.path().extension() != ".graph") continue;
      EXPECT_NO_THROW(load_graph(entry.path(), role_registry(dir))) << entry.path();
      ++graphs;
    }
  EXPECT_GE(graphs, 3);
}

struct BadCase {
  const char* setting;  // applied to nano.graph
  const char* message;  // expected inside the error
};

class BadSettings : public ::testing::TestWithParam<BadCase> {};

TEST_P(BadSettings, are_refused_before_anything_starts) {
  const fs::path dir = kSource / "tests/e2e/graphs";
  try {
    load_graph(dir / "nano.graph", role_registry(dir), {parse_override(GetParam().setting)});
    FAIL() << "accepted: " << GetParam().setting;
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::bad_input) << e.what();
    EXPECT_NE(std::string(e.what()).find(GetParam().message), std::string::npos) << e.what();
    EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos) << "one line: " << e.what();
  }
}

INSTANTIATE_TEST_SUITE_P(
    Cases, BadSettings,
    ::testing::Values(
        BadCase{"corpus.source=tiny:pretrian", "did you mean"}, BadCase{"corpus.source=jsonl:none.jsonl", "none.jsonl"},
        BadCase{"judge.rewards=format + acuracy", "acuracy"}, BadCase{"judge.rewards=format + (1", "judge"},
        BadCase{"rl2_judge.rewards=harmless", "harmless"}, BadCase{"rl_trainer.until=batches(x)", "batches"},
        BadCase{"rl_trainer.until=plateau(rewrd, 20, 0.1)", "rewrd"}, BadCase{"policy.top_p=0.9", "allow_truncated"},
        BadCase{"policy.top_k=5", "allow_truncated"}, BadCase{"policy.temperature=0", "greedy"},
        BadCase{"policy.samples=1", "one is not enough"}, BadCase{"docs.count=0", "endless"},
        BadCase{"rs_prompts.count=0", "count"}, BadCase{"rl2_trainer.kl=0.1", "reference"},
        BadCase{"rl_trainer.epochs=2", "epochs"}, BadCase{"nano_model.config=missing.json", "missing.json"},
        BadCase{"nano_model.config=nano.graph", "nano.graph"}, BadCase{"nano_model.tokenizer=nano.json", "nano.json"},
        BadCase{"nano_model.path=.", "both"}, BadCase{"base_eval.source=tiny:pretrain", "prompts or pairs"},
        BadCase{"rs_filter.keep=format *", "rs_filter"}, BadCase{"policy.sampels=3", "samples"},
        BadCase{"polcy.samples=3", "policy"}, BadCase{"rl_trainer.lr=fast", "lr"}, BadCase{"student.epochs=0", "epochs"}));

}  // namespace
}  // namespace r1
