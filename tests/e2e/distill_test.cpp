// Distillation across families: what a teacher of one tokenizer and chat template sampled is taught to a student of another.
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "models/weights.h"
#include "tasks/tiny/tokenizer_json.h"
#include "tests/e2e/program.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) text.replace(at, from.size(), to);
  return text;
}

struct Distillation : ProgramTest {
  // A model of random weights whose special tokens have these names.
  void model(const std::string& name, const std::string& config_edits, const std::string& user, const std::string& assistant,
             const std::string& end) const {
    json config = json::parse(read_file(source_dir() / "tests/e2e/graphs/nano.json"));
    config.merge_patch(json::parse(config_edits));
    const fs::path config_file = top / (name + ".json");
    write_file_atomically(config_file, config.dump());
    WeightSet weights(open_device("cpu"), read_model_config_file(config_file), DType::f32);
    initialize(weights, 1);
    std::string tokenizer = tiny_tokenizer_json();
    for (const auto& [from, to] : {std::pair{"<user>", user}, {"<asst>", assistant}, {"<eos>", end}})
      tokenizer = replaced(tokenizer, std::string("\"") + from + "\"", "\"" + to + "\"");
    save_model_dir(top / name, weights, tokenizer);
    const std::string chat = "{% for m in messages %}{{ '" + user + " ' + m.content if m.role == 'user' else '" + assistant +
                             "' + m.content + '" + end + "' }}{% endfor %}{% if add_generation_prompt %}{{ '" + assistant +
                             "' }}{% endif %}";
    std::ofstream(top / name / "tokenizer_config.json") << json{{"chat_template", chat}};
  }
};

TEST_F(Distillation, a_student_of_another_family_answers_and_stops_in_its_own_way) {
  model("teacher", "{}", "<user>", "<asst>", "<eos>");
  model("student", R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama"})", "<|ask|>", "<|say|>", "<|end|>");
  const json question = {{"role", "user"}, {"content", "compute 1 + 2"}};
  std::ofstream examples(top / "examples.jsonl"), questions(top / "questions.jsonl");
  for (int i = 0; i < 64; ++i) examples << json{{"messages", {question, {{"role", "assistant"}, {"content", "3"}}}}} << "\n";
  for (int i = 0; i < 4; ++i) questions << json{{"prompt", "compute 1 + 2"}, {"answer", "3"}} << "\n";
  examples.close();
  questions.close();
  write_file_atomically(top / "g.graph", R"__(digraph g { graph [seed=1];
    teacher [kind=model, path="teacher"]; student [kind=model, path="student"];
    subgraph cluster_taught { e [role=prompter, source="jsonl:examples.jsonl"]; tr [role=trainer,
      objective=sft, epochs=10, lr="1e-2"]; e -> tr; }
    subgraph cluster_sampled { p [role=prompter, source="jsonl:questions.jsonl", count=32, groups_per_batch=8];
      gen [role=generator, samples=2, max_tokens=24]; j [role=judge, rewards="exact"]; f [role=filter, keep="exact"];
      p -> gen -> j -> f; }
    subgraph cluster_learnt { d [role=distiller, epochs=20, batch=8, lr="1e-2"];
      ev [role=evaluator, source="jsonl:questions.jsonl", problems=4, max_tokens=24, rewards="exact * finished"];
      d -> ev [carries=weights]; }
    teacher -> tr; tr -> gen; student -> d; f -> d; })__");
  const fs::path run = top / "run";
  const ProgramResult r = run_program({(top / "g.graph").string(), "--run", run.string(), "--json"});
  ASSERT_EQ(r.code, 0) << r.err;

  const std::string dataset = read_file(run / "datasets" / "sampled.jsonl");
  for (const char* tag : {"<user>", "<asst>", "<eos>", "<|ask|>", "<|say|>", "<|end|>"})
    EXPECT_EQ(dataset.find(tag), std::string::npos) << "a tag is a template's, not a conversation's: " << tag;
  const json learnt = json::parse(r.out)["stages"][2];
  ASSERT_EQ(learnt["name"], "learnt");
  EXPECT_LT(learnt["metrics"]["before"]["reward"].get<double>(), 0.5);
  EXPECT_EQ(learnt["metrics"]["after"]["reward"].get<double>(), 1) << "its own end token ends the answer";
  const fs::path made = run / "checkpoints" / "learnt";
  EXPECT_EQ(read_file(made / "tokenizer.json"), read_file(top / "student" / "tokenizer.json"));
  EXPECT_EQ(json::parse(read_file(made / "config.json"))["model_type"], "llama");
}

}  // namespace
}  // namespace r1
