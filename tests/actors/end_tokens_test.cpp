// What ends a completion: the union of what a model's files and the chat templates of a stage say, in weights, checkpoints and
// --check.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "actors/end_tokens.h"
#include "actors/evaluation.h"
#include "actors/roles.h"
#include "models/weights.h"
#include "tasks/tiny/tokenizer_json.h"
#include "tests/actors/stage_fixture.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

struct EndTokens : StageTest {
  // A model directory whose files each name another end token, and a graph that starts from it.
  void SetUp() override {
    StageTest::SetUp();
    const Tokenizer tokenizer = Tokenizer::from_json(tiny_tokenizer_json(), "tiny");
    for (const char* name : {"<user>", "<asst>", "<bos>", "<eos>"}) ids.push_back(tokenizer.id_of(name).value());
    ModelConfig config = read_model_config_file(source_dir() / "tests/e2e/graphs/nano.json");
    config.eos_ids = {ids[0]};
    WeightSet weights(open_device("cpu"), config, DType::f32);
    initialize(weights, 1);
    save_model_dir(top / "model", weights, tiny_tokenizer_json());
    write("model/generation_config.json",
          "{\"eos_token_id\": [" + std::to_string(ids[0]) + ", " + std::to_string(ids[1]) + "]}");
    write("model/tokenizer_config.json", R"({"eos_token": {"content": "<bos>", "special": true}})");
    write("d.jsonl", R"({"prompt": "compute 1", "completion": "<think></think> 1"})"
                     "\n");
    write("p.jsonl", R"({"prompt": "compute 1", "answer": "1"})"
                     "\n");
  }
  void write(const fs::path& name, const std::string& text) const { std::ofstream(top / name) << text; }
  void load(const std::string& examples, const std::string& prompts) {
    write("g.graph",
          "digraph g { graph [seed=0, precision=f32]; m [kind=model, path=\"model\"]; subgraph cluster_s { docs "
          "[role=prompter, source=\"" +
              examples + "\"]; trainer [role=trainer, objective=sft, epochs=1]; ev [role=evaluator, source=\"" + prompts +
              "\", problems=1]; docs -> trainer; trainer -> ev [carries=weights]; } m -> trainer; }");
    graph = load_graph(top / "g.graph", role_registry(top));
    env = make_run_env(graph, top / "run", top);
  }
  std::vector<int32_t> trained_with() const {
    auto ends = load_start_weights(env, graph, *graph.node("trainer"), DType::f32)->config().eos_ids;
    std::sort(ends.begin(), ends.end());
    return ends;
  }
  std::vector<int32_t> sorted(std::initializer_list<size_t> which) const {
    std::vector<int32_t> out;
    for (const size_t i : which) out.push_back(ids[i]);
    std::sort(out.begin(), out.end());
    return out;
  }

  std::vector<int32_t> ids;
  GraphView graph;
  RunEnv env;
};

TEST_F(EndTokens, are_those_of_all_files_and_of_the_template_that_is_taught) {
  load("jsonl:d.jsonl", "jsonl:p.jsonl");
  EXPECT_EQ(trained_with(), sorted({0, 1, 2}));
  load("jsonl:d.jsonl?template=tiny", "jsonl:p.jsonl?template=tiny");
  EXPECT_EQ(trained_with(), sorted({0, 1, 2, 3}));
}

TEST_F(EndTokens, are_all_written_to_a_checkpoint_and_read_back) {
  load("jsonl:d.jsonl?template=tiny", "jsonl:p.jsonl?template=tiny");
  const auto weights = load_start_weights(env, graph, *graph.node("trainer"), DType::f32);
  save_model_dir(top / "checkpoint", *weights, tiny_tokenizer_json());
  EXPECT_EQ(read_model_config(top / "checkpoint").eos_ids, weights->config().eos_ids);
  EXPECT_EQ(weights->config().eos_ids.size(), 4u);
}

TEST_F(EndTokens, all_stop_what_is_sampled) {
  load("jsonl:d.jsonl?template=tiny", "jsonl:p.jsonl?template=tiny");
  const auto weights = load_start_weights(env, graph, *graph.node("trainer"), DType::f32);
  const auto tokenizer = std::make_shared<const Tokenizer>(Tokenizer::from_json(tiny_tokenizer_json(), "tiny"));
  std::vector<int32_t> everything(static_cast<size_t>(tokenizer->vocab_size()));
  for (size_t i = 0; i < everything.size(); ++i) everything[i] = static_cast<int32_t>(i);
  weights->add_end_tokens(everything);
  EvaluationSpec spec;
  spec.sources = {"jsonl:p.jsonl?template=tiny"};
  spec.problems = 1;
  spec.max_tokens = 20;
  EXPECT_EQ(evaluate_model(env, spec, {weights, tokenizer}).metrics.at("length"), 1);
}

TEST_F(EndTokens, are_said_by_the_check_and_their_absence_is_a_warning) {
  load("jsonl:d.jsonl", "jsonl:p.jsonl?template=tiny");
  const EndTokenReport report = report_end_tokens(env, graph);
  ASSERT_EQ(report.lines.size(), 1u);
  EXPECT_NE(report.lines[0].find("<eos>"), std::string::npos) << report.lines[0];
  ASSERT_EQ(report.warnings.size(), 1u);
  EXPECT_NE(report.warnings[0].find("without an end token"), std::string::npos) << report.warnings[0];
}

TEST_F(EndTokens, that_a_models_own_template_does_not_write_behind_a_reply_are_warned_of) {
  const std::string open = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}",
                    close =
                        "{% endfor %}{% if "
                        "add_generation_prompt %}[assistant]{% endif %}";
  write("model/tokenizer_config.json", R"({"eos_token": "<eos>"})");
  write("model/chat_template.jinja", open + "[/{{ m['role'] }}]" + close);
  load("jsonl:d.jsonl", "jsonl:p.jsonl");
  EndTokenReport report = report_end_tokens(env, graph);
  ASSERT_EQ(report.warnings.size(), 1u);
  EXPECT_NE(report.warnings[0].find("'jsonl:d.jsonl': completions are learned without an end token"), std::string::npos)
      << report.warnings[0];
  write("model/chat_template.jinja", open + "{{ eos_token }}" + close);
  load("jsonl:d.jsonl", "jsonl:p.jsonl");
  report = report_end_tokens(env, graph);
  EXPECT_TRUE(report.warnings.empty()) << report.warnings[0];
}

TEST_F(EndTokens, that_the_tokenizer_lacks_are_refused) {
  write("model/tokenizer_config.json", R"({"eos_token": "<|im_end|>"})");
  load("jsonl:d.jsonl", "jsonl:p.jsonl");
  EXPECT_THROW(report_end_tokens(env, graph), Error);
  write("model/tokenizer_config.json", R"({"eos_token": 5})");
  EXPECT_THROW(report_end_tokens(env, graph), Error);
  write("model/tokenizer_config.json", "{}");
  write("model/generation_config.json", R"({"eos_token_id": 99999999})");
  EXPECT_THROW(report_end_tokens(env, graph), Error);
}

}  // namespace
}  // namespace r1
