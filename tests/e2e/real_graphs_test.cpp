// The shipped graphs that want models and data of one's own, on small stand-ins: what they say about themselves is enough to
// run them.
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>

#include "base/files.h"
#include "models/weights.h"
#include "tasks/tiny/tokenizer_json.h"
#include "tests/e2e/program.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kTemplate =
    "{% for m in messages %}{{ '<user> ' + m.content if m.role == 'user' else '<asst>' + m.content + '<eos>' }}{% endfor %}"
    "{% if add_generation_prompt %}<asst>{% endif %}";

struct RealGraphs : ProgramTest {
  void SetUp() override {
    ProgramTest::SetUp();
    ModelConfig config = read_model_config_file(source_dir() / "tests/e2e/graphs/nano.json");
    WeightSet weights(open_device("cpu"), config, DType::f32);
    initialize(weights, 1);
    for (const char* model : {"model", "models/base", "models/student"}) {
      fs::create_directories((top / model).parent_path());
      save_model_dir(top / model, weights, tiny_tokenizer_json());
      std::ofstream(top / model / "tokenizer_config.json") << json{{"chat_template", kTemplate}};
    }
    const json chat = {
        {"messages", {{{"role", "user"}, {"content", "compute 1 + 2"}}, {{"role", "assistant"}, {"content", "3"}}}}};
    const json question = {{"question", "compute 1 + 2"}, {"answer", "#### 3"}};
    const json pair = {{"prompt", "compute 1 + 2"}, {"chosen", "3"}, {"rejected", "4"}};
    const json countdown = {{"prompt", "compute 1 + 2"}, {"numbers", "1 2"}, {"target", "3"}};
    const json sum = {{"prompt", "compute 1 + 2"}, {"answer", "3"}};
    const auto mixed = [](int reasoning) {
      return json{{"prompt", "compute 1 + 2"}, {"answer", "3"}, {"reasoning", reasoning}};
    };
    for (const char* file : {"gsm8k/train.jsonl", "gsm8k/test.jsonl"}) rows(file, {question, question});
    for (const char* file : {"countdown/train.jsonl", "countdown/test.jsonl"}) rows(file, {countdown});
    for (const char* file : {"arithmetic/train.jsonl", "arithmetic/test.jsonl"}) rows(file, {sum});
    for (const char* file : {"data/reasoning.jsonl", "data/reasoning_test.jsonl"}) rows(file, {mixed(1)});
    for (const char* file : {"chat/train.jsonl", "data/cold.jsonl", "data/general.jsonl"})
      rows(file, std::vector<json>(40, chat));
    for (const char* file : {"data/helpful_pairs.jsonl", "data/harmless_pairs.jsonl"}) rows(file, {pair});
    rows("data/mixed.jsonl", {mixed(1), mixed(0)});
    for (const auto& entry : fs::directory_iterator(source_dir() / "graphs"))
      if (entry.is_regular_file()) fs::copy_file(entry.path(), top / entry.path().filename());
  }
  void rows(const std::string& file, const std::vector<json>& lines) const {
    fs::create_directories((top / file).parent_path());
    std::ofstream out(top / file);
    for (const json& line : lines) out << line << "\n";
  }
};

TEST_F(RealGraphs, pass_the_check_and_are_drawn_when_what_they_name_is_there) {
  for (const std::string name :
       {"grpo_gsm8k.graph", "grpo_countdown.graph", "grpo_arithmetic.graph", "sft_chat.graph", "r1_real.graph"}) {
    SCOPED_TRACE(name);
    std::vector<std::string> check = {(top / name).string(), "--check"};
    // The stand-in's tokenizer has the tags of its own template only.
    if (name == "r1_real.graph") check.insert(check.end(), {"--set", "base.template=auto"});
    const ProgramResult r = run_program(check);
    EXPECT_EQ(r.code, 0) << r.err << r.out;
    check[1] = "--draw";
    EXPECT_EQ(run_program(check).code, 0);
  }
}

TEST_F(RealGraphs, without_a_model_say_which_file_is_missing) {
  fs::remove_all(top / "model");
  const ProgramResult r = run_program({(top / "sft_chat.graph").string(), "--check"});
  EXPECT_EQ(r.code, 2);
  EXPECT_NE(r.err.find((top / "model").string()), std::string::npos) << r.err;
}

TEST_F(RealGraphs, sft_chat_learns) {
  const ProgramResult r = run_program({(top / "sft_chat.graph").string(), "--run", (top / "run").string(), "--set",
                                       "trainer.lr=1e-2", "--set", "trainer.warmup=1", "--json"});
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_GT(json::parse(r.out)["stages"][0]["tokens_trained"].get<int64_t>(), 0);
  EXPECT_EQ(read_file(top / "run/r1.log").find("the learning rate comes to"), std::string::npos);
}

TEST_F(RealGraphs, a_warm_up_that_the_stage_does_not_outlast_is_said) {
  const ProgramResult r = run_program({(top / "sft_chat.graph").string(), "--run", (top / "run").string(), "--set",
                                       "trainer.lr=1e-2", "--set", "trainer.warmup=4000"});
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_TRUE(
      std::regex_search(read_file(top / "run/r1.log"),
                        std::regex("trainer: warmup=4000 is more than the stage's [0-9]+ optimizer steps?, so the learning "
                                   "rate comes to [0-9.e-]+ and not to lr=0.01")))
      << read_file(top / "run/r1.log");
}

// Every random completion is wrong: the reward program says so, and the stage that learned nothing is no success.
TEST_F(RealGraphs, grpo_countdown_asks_its_reward_program) {
  const ProgramResult r = run_program({(top / "grpo_countdown.graph").string(), "--run", (top / "run").string(), "--set",
                                       "prompts.groups_per_batch=2", "--set", "trainer.until=batches(2)", "--set",
                                       "policy.max_tokens=8", "--set", "test.max_tokens=8"});
  EXPECT_EQ(r.code, 1) << r.err;
  EXPECT_NE(r.err.find("4 of 4 groups had equal rewards"), std::string::npos) << r.err;
}

}  // namespace
}  // namespace r1
