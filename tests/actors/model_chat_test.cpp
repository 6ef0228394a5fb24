// How models speak in a graph: template=auto from the model's files to what is trained on and what a checkpoint is taught; data
// sets that a student of another family learns in its own way.
#include "actors/model_chat.h"

#include <gtest/gtest.h>

#include <fstream>

#include "actors/chat_texts.h"
#include "actors/data_check.h"
#include "actors/dataset.h"
#include "actors/end_tokens.h"
#include "actors/roles.h"
#include "base/clock.h"
#include "tasks/tiny/tokenizer_json.h"
#include "tests/actors/stage_fixture.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

// The tiny world's tokenizer with the tags of Llama 3.
std::string llama_tokenizer_json() {
  std::string json = tiny_tokenizer_json();
  for (const auto& [from, to] : {std::pair<std::string, std::string>{"<bos>", "<|begin_of_text|>"},
                                 {"<user>", "<|start_header_id|>"},
                                 {"<asst>", "<|end_header_id|>"},
                                 {"<eos>", "<|eot_id|>"}})
    for (size_t at = json.find(from); at != std::string::npos; at = json.find(from, at + to.size()))
      json.replace(at, from.size(), to);
  return json;
}

constexpr const char* kOwnTemplate =
    "{% for m in messages %}{{ bos_token if loop.first }}{{ (\"<user> \" if m.role == \"user\" else \"<asst>\") + m.content }}"
    "{% if m.role == \"assistant\" %}<eos>{% endif %}{% endfor %}{% if add_generation_prompt %}<asst>{% endif %}";

struct ModelChatTest : StageTest {
  void SetUp() override {
    StageTest::SetUp();
    ModelConfig config = read_model_config_file(source_dir() / "tests/e2e/graphs/nano.json");
    WeightSet weights(open_device("cpu"), config, DType::f32);
    initialize(weights, 1);
    save_model_dir(top / "model", weights, tiny_tokenizer_json());
    save_model_dir(top / "llama", weights, llama_tokenizer_json());
    write("d.jsonl", "{\"prompt\": \"compute 1\", \"completion\": \"<answer> 1</answer>\"}\n");
    write("p.jsonl", "{\"prompt\": \"compute 1\", \"answer\": \"1\"}\n");
  }
  void write(const fs::path& name, const std::string& text) const { std::ofstream(top / name) << text; }
  void give_template(const std::string& source) const {
    write("model/tokenizer_config.json", nlohmann::json{{"bos_token", "<bos>"}, {"chat_template", source}}.dump());
  }
  void load(const std::string& text) {
    write("g.graph", text);
    graph = load_graph(top / "g.graph", role_registry(top));
    env = make_run_env(graph, top / "run", top);
  }
  static std::string sft(const std::string& source, const std::string& model = "",
                         const std::string& evaluated = "jsonl:p.jsonl") {
    return "digraph g { m [kind=model, path=model" + model + "]; subgraph cluster_s { p [role=prompter, source=\"" + source +
           "\"]; t [role=trainer, objective=sft, epochs=1]; p -> t; e [role=evaluator, source=\"" + evaluated +
           "\", problems=1]; t -> e [carries=weights]; } m -> t; }";
  }
  // A teacher whose answers a student learns.
  static std::string distill(const std::string& student, const std::string& source = "jsonl:p.jsonl") {
    return "digraph g { m [kind=model, path=model, template=tiny]; s [kind=model, " + student +
           "]; subgraph cluster_r { p [role=prompter, count=2, groups_per_batch=2, source=\"" + source +
           "\"]; g1 [role=generator, samples=2, max_tokens=4]; j [role=judge, rewards=\"1\"]; f [role=filter, keep=\"1\"]; p "
           "-> g1 "
           "-> j -> f; } subgraph cluster_d { d [role=distiller, epochs=1]; } m -> g1; s -> d; f -> d; }";
  }
  std::string refusal() {
    try {
      check_data(env, graph, {}, SystemClock());
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::bad_input);
      return e.what();
    }
    return "accepted";
  }
  Example read(const std::string& node) {
    const std::string spec = located_source(graph.node(node)->attrs.text("source"), top);
    return open_source(spec, 0, {.chat = node_chat(env, graph, *graph.node(node))})->example(0);
  }

  GraphView graph;
  RunEnv env;
};

TEST_F(ModelChatTest, the_models_own_template_is_the_default) {
  give_template(kOwnTemplate);
  load(sft("jsonl:d.jsonl"));
  EXPECT_EQ(read("p").prompt, "<bos><user> compute 1<asst>");
  EXPECT_EQ(read("p").completion, "<answer> 1</answer><eos>");
  EXPECT_EQ(refusal(), "accepted");
  EXPECT_TRUE(report_end_tokens(env, graph).warnings.empty());
  EXPECT_EQ(node_chat(env, graph, *graph.node("e"))->prompt(Conversation::of_user("a")), "<bos><user> a<asst>");
  load(sft("jsonl:d.jsonl?template=none"));
  EXPECT_EQ(read("p").prompt, "compute 1");
}

TEST_F(ModelChatTest, what_a_stage_names_is_what_its_model_speaks_from_then_on) {
  load(
      "digraph g { m [kind=model, path=model]; subgraph cluster_a { p [role=prompter, source=\"jsonl:d.jsonl?template=tiny\"]; "
      "t "
      "[role=trainer, objective=sft, epochs=1]; p -> t; e [role=evaluator, source=\"jsonl:p.jsonl\"]; t -> e "
      "[carries=weights]; } "
      "subgraph cluster_b { q [role=prompter, source=\"jsonl:d.jsonl\"]; u [role=trainer, objective=sft, epochs=1]; q -> u; } "
      "m -> t -> u; }");
  for (const char* node : {"p", "t", "e", "q", "u"})
    EXPECT_EQ(node_chat(env, graph, *graph.node(node))->name(), "tiny") << node;
}

TEST_F(ModelChatTest, a_model_without_one_reads_texts_as_they_stand_and_the_check_says_which_would_fit) {
  load(sft("jsonl:d.jsonl"));
  EXPECT_EQ(read("p").prompt, "compute 1");
  EXPECT_EQ(read("p").completion, "<answer> 1</answer>");
  const EndTokenReport report = report_end_tokens(env, graph);
  ASSERT_EQ(report.warnings.size(), 2u);
  for (const char* words : {"has no chat template in", "as they stand", "without an end token", "template=tiny would fit"})
    EXPECT_NE(report.warnings[0].find(words), std::string::npos) << report.warnings[0];
  write("d.jsonl", R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})");
  EXPECT_NE(refusal().find("d.jsonl:1: the model 'm' has no chat template in"), std::string::npos) << refusal();
  load(sft("jsonl:d.jsonl", ", template=tiny"));
  EXPECT_EQ(refusal(), "accepted");
  EXPECT_THROW(load(sft("jsonl:d.jsonl", ", template=tny")), Error);
}

TEST_F(ModelChatTest, a_template_with_tags_that_the_tokenizer_lacks_is_refused_wherever_it_comes_from) {
  give_template("{% for m in messages %}<|im_start|>{{ m.role + \" \" + m.content }}<|im_end|>{% endfor %}");
  load(sft("jsonl:d.jsonl"));
  EXPECT_NE(refusal().find("which the tokenizer of 'm' has no token for"), std::string::npos) << refusal();
  EXPECT_THROW(load_model_chat(top / "model"), Error);
  give_template(kOwnTemplate);
  load(sft("jsonl:d.jsonl", "", "jsonl:p.jsonl?template=llama3"));
  EXPECT_NE(refusal().find("<|begin_of_text|>"), std::string::npos) << refusal();
}

TEST_F(ModelChatTest, a_broken_template_is_named_with_its_line_when_it_is_needed) {
  give_template("a\n{% endfor %}");
  load(sft("jsonl:d.jsonl"));
  EXPECT_NE(refusal().find("tokenizer_config.json:2"), std::string::npos) << refusal();
  load(sft("jsonl:d.jsonl?template=tiny", "", "jsonl:p.jsonl?template=tiny"));
  EXPECT_EQ(refusal(), "accepted");
}

TEST_F(ModelChatTest, of_a_directory_renders_stops_and_takes_the_reply_back) {
  give_template(kOwnTemplate);
  const ModelChat chat = load_model_chat(top / "model");
  Conversation c = Conversation::of_user("compute 1");
  EXPECT_EQ(chat.tokenizer->decode(chat.prompt_tokens(c)), "<bos><user> compute 1<asst>");
  EXPECT_NE(std::find(chat.end_ids.begin(), chat.end_ids.end(), chat.tokenizer->id_of("<eos>").value()), chat.end_ids.end());
  EXPECT_EQ(chat.reply(c, "<answer> 1</answer><eos>"), "<answer> 1</answer>");
  EXPECT_EQ(load_model_chat(top / "model", "tiny").chat->name(), "tiny");
  EXPECT_THROW(load_model_chat(top / "model", "tny"), Error);
}

TEST_F(ModelChatTest, a_checkpoint_says_what_the_models_files_said_and_what_it_was_taught) {
  write("model/tokenizer_config.json",
        nlohmann::json{{"bos_token", "<bos>"}, {"eos_token", "<user>"}, {"x", 1}, {"chat_template", kOwnTemplate}}.dump());
  write("model/generation_config.json", R"({"temperature": 0.6, "eos_token_id": [3]})");
  write("model/special_tokens_map.json", R"({"eos_token": "<user>"})");
  const auto saved = [&](const std::string& source) {
    load(sft(source));
    const auto weights = load_start_weights(env, graph, *graph.node("t"), DType::f32);
    const auto texts = chat_texts(env, graph, *graph.node("t"), weights->config());
    save_model_dir(top / "saved", *weights, tiny_tokenizer_json(), texts);
    return texts;
  };
  // Its own template: as it was, and every end token.
  auto texts = saved("jsonl:d.jsonl");
  EXPECT_EQ(texts.at("chat_template.jinja"), kOwnTemplate);
  auto settings = nlohmann::json::parse(texts.at("tokenizer_config.json"));
  EXPECT_EQ(settings["eos_token"], "<user>");
  EXPECT_EQ(settings["x"], 1);
  EXPECT_FALSE(settings.contains("chat_template"));
  ModelChat chat = load_model_chat(top / "saved");
  EXPECT_EQ(chat.chat->prompt(Conversation::of_user("a")), "<bos><user> a<asst>");
  const auto generation = nlohmann::json::parse(texts.at("generation_config.json"));
  EXPECT_EQ(generation["temperature"], 0.6);
  EXPECT_EQ(generation["eos_token_id"].get<std::vector<int32_t>>(), read_model_config(top / "saved").eos_ids);
  EXPECT_GE(generation["eos_token_id"].size(), 2u);
  // One that the run named: what it was taught.
  texts = saved("jsonl:d.jsonl?template=tiny");
  EXPECT_EQ(nlohmann::json::parse(texts.at("tokenizer_config.json"))["eos_token"], "<eos>");
  EXPECT_EQ(nlohmann::json::parse(texts.at("special_tokens_map.json"))["eos_token"], "<eos>");
  chat = load_model_chat(top / "saved");
  EXPECT_EQ(chat.chat->prompt(Conversation::of_user("a   b")), "<bos><user> a b<asst>")
      << "the built-in one, read as a model's own";
  EXPECT_EQ(chat.chat->end_token(), "<eos>");
  // None: none.
  write("model/tokenizer_config.json", "{}");
  EXPECT_EQ(saved("jsonl:d.jsonl?template=none").count("chat_template.jinja"), 0u);
}

TEST_F(ModelChatTest, a_model_samples_no_id_that_its_tokenizer_lacks) {
  ModelConfig config = read_model_config(top / "model");
  config.vocab_size += 30;
  WeightSet weights(open_device("cpu"), config, DType::f32);
  initialize(weights, 1);
  save_model_dir(top / "model", weights, tiny_tokenizer_json());
  load(sft("jsonl:d.jsonl?template=tiny"));
  for (const char* node : {"t", "e"})
    EXPECT_EQ(load_start_weights(env, graph, *graph.node(node), DType::f32)->config().sampled_ids(), 400) << node;
}

TEST_F(ModelChatTest, a_tokenizer_with_more_ids_than_the_model_is_refused_wherever_it_is_read) {
  ModelConfig config = read_model_config(top / "model");
  config.vocab_size -= 1;
  WeightSet weights(open_device("cpu"), config, DType::f32);
  initialize(weights, 1);
  save_model_dir(top / "model", weights, tiny_tokenizer_json());
  const std::string why = "has 400 ids, the model only 399";
  for (const std::function<void()>& read : {std::function<void()>([&] { load_model_chat(top / "model", "tiny"); }),
                                            std::function<void()>([&] { load(sft("jsonl:d.jsonl?template=tiny")); })}) {
    try {
      read();
      ADD_FAILURE() << "accepted";
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(why), std::string::npos) << e.what();
    }
  }
}

// Its probabilities are over the ids that are sampled, whatever its own tokenizer knows besides.
TEST_F(ModelChatTest, a_reference_scores_over_the_ids_of_the_policy) {
  ModelConfig config = read_model_config(top / "model");
  config.vocab_size += 30;
  WeightSet weights(open_device("cpu"), config, DType::f32);
  initialize(weights, 1);
  nlohmann::json more = nlohmann::json::parse(tiny_tokenizer_json());
  more["added_tokens"].push_back(more["added_tokens"][0]);
  more["added_tokens"].back()["id"] = 400;
  more["added_tokens"].back()["content"] = "<one_more>";
  save_model_dir(top / "model", weights, tiny_tokenizer_json());
  save_model_dir(top / "other", weights, more.dump());
  load(R"__(digraph g { m [kind=model, path=model]; r [kind=model, path=other];
    subgraph cluster_s { p [role=prompter, source="jsonl:p.jsonl?template=tiny", groups_per_batch=1];
      g1 [role=generator, samples=2, max_tokens=4]; j [role=judge, rewards="length"]; f [role=filter]; ref [role=reference];
      t [role=trainer, objective=grpo, until="batches(1)"]; p -> g1 -> j -> f -> ref -> t; t -> g1 [carries=weights]; }
    m -> t; r -> ref; })__");
  ASSERT_EQ(node_tokenizer(env, graph, *graph.node("ref"))->vocab_size(), 401) << "the test is about nothing";
  for (const char* node : {"t", "ref"})
    EXPECT_EQ(load_start_weights(env, graph, *graph.node(node), DType::f32)->config().sampled_ids(), 400) << node;
}

TEST_F(ModelChatTest, a_data_set_is_learned_by_another_family_with_its_own_tags_and_end_token) {
  PromptMessage prompt;
  prompt.text = "<bos><user> compute 1<asst>";
  prompt.conversation = Conversation::of_user("compute 1").text();
  const auto teacher = ChatTemplate::named("tiny"), student = ChatTemplate::named("llama3");
  write("set.jsonl", dataset_line(prompt, {"<answer> 1</answer>", "<eos>"}, true, *teacher) +
                         dataset_line(prompt, {"<answer> 1", ""}, false, *teacher));
  const auto texts = [&](const Tokenizer& tokenizer, const std::shared_ptr<const ChatTemplate>& chat) {
    std::vector<std::pair<std::string, std::string>> out;
    read_dataset(env, top / "set.jsonl", tokenizer, chat, [&](const Sequence& s) {
      std::vector<int32_t> before, learned;
      for (size_t i = 0; i < s.tokens.size(); ++i) (s.trainable[i] ? learned : before).push_back(s.tokens[i]);
      out.emplace_back(tokenizer.decode(before), tokenizer.decode(learned));
    });
    return out;
  };
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(texts(Tokenizer::from_json(tiny_tokenizer_json(), "tiny"), teacher),
            (Pairs{{prompt.text, "<answer> 1</answer><eos>"}, {prompt.text, "<answer> 1"}}));
  const Tokenizer llama = Tokenizer::from_json(llama_tokenizer_json(), "llama");
  const Pairs learned = texts(llama, student);
  const std::string asked = llama.decode(llama.encode(student->prompt(Conversation::of_user("compute 1")), false));
  EXPECT_EQ(learned, (Pairs{{asked, "<answer> 1</answer><|eot_id|>"}, {asked, "<answer> 1"}}));
  EXPECT_NE(asked.find("<|start_header_id|>"), std::string::npos);
}

TEST_F(ModelChatTest, a_prompt_without_a_template_stays_a_text_in_a_data_set) {
  PromptMessage prompt;
  prompt.text = "compute 1";
  write("set.jsonl", dataset_line(prompt, {" 2", "<eos>"}, true, *ChatTemplate::none()));
  const auto s = open_source("jsonl:" + (top / "set.jsonl").string(), 0, {.chat = ChatTemplate::named("tiny")});
  EXPECT_EQ(s->example(0).prompt, "compute 1");
  EXPECT_EQ(s->example(0).completion, " 2<eos>") << "as the model wrote it";
}

TEST_F(ModelChatTest, a_student_that_cannot_say_what_it_is_to_learn_is_refused_by_the_check) {
  load(distill("path=llama"));
  EXPECT_NE(refusal().find("'f' leaves conversations to 'd', and the model 's' has no chat template"), std::string::npos);
  EXPECT_NE(refusal().find("template=llama3 would fit"), std::string::npos) << refusal();
  load(distill("path=llama, template=none"));
  EXPECT_NE(refusal().find("template=none"), std::string::npos) << refusal();
  load(distill("path=llama, template=qwen3"));
  EXPECT_NE(refusal().find("<|im_start|>"), std::string::npos) << refusal();
  load(distill("path=llama, template=llama3"));
  EXPECT_EQ(refusal(), "accepted");
  load(distill("path=llama", "jsonl:p.jsonl?template=none"));
  EXPECT_EQ(refusal(), "accepted") << "texts stand as they are";
}

}  // namespace
}  // namespace r1
