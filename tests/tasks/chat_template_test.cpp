// Chat templates: the built-in ones literal by literal as docs/recipe.md section 2 describes them; those of models equal to
// Hugging Face's apply_chat_template over a committed table; what is taught, and what comes back.
#include "tasks/chat_template.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/files.h"
#include "tasks/chat_files.h"
#include "tasks/source.h"
#include "tests/source_dir.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

Conversation chat(const std::vector<std::pair<std::string, std::string>>& turns) {
  Conversation c;
  for (const auto& [role, text] : turns) c.messages.push_back(Json{{"role", role}, {"content", text}});
  return c;
}
const Conversation kOne = chat({{"user", "1+1?"}});
const Conversation kTurns =
    chat({{"system", "Be brief."}, {"user", "Hi"}, {"assistant", "<think>\nhm\n</think>\n\nHello"}, {"user", "1+1?"}});

std::string prompt(const char* name, const Conversation& c) { return ChatTemplate::named(name)->prompt(c); }
ChatTemplate::Taught taught(const ChatTemplate& t, Conversation c, const std::string& reply, bool finished = true) {
  c.messages.push_back(Json{{"role", "assistant"}, {"content", reply}});
  return t.example(c, finished);
}
std::string completion(const char* name, const std::string& reply) {
  return taught(*ChatTemplate::named(name), kOne, reply).completion;
}
std::string refusal(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::bad_input);
    return e.what();
  }
  return "accepted";
}

TEST(ChatTemplate, r1_starts_the_thought_and_drops_earlier_ones) {
  EXPECT_EQ(prompt("r1", kOne), "<｜begin▁of▁sentence｜><｜User｜>1+1?<｜Assistant｜><think>\n");
  EXPECT_EQ(prompt("r1", kTurns),
            "<｜begin▁of▁sentence｜>Be "
            "brief.<｜User｜>Hi<｜Assistant｜>\n\nHello<｜end▁of▁sentence｜><｜User｜>1+1?<｜Assistant｜><think>\n");
  EXPECT_EQ(completion("r1", "<think>\na\n</think>\n\n2"), "a\n</think>\n\n2<｜end▁of▁sentence｜>");
  EXPECT_EQ(completion("r1", "a</think>2<｜end▁of▁sentence｜>"), "a</think>2<｜end▁of▁sentence｜>");
}

TEST(ChatTemplate, qwen25_has_a_default_system_message_and_chatml_has_none) {
  const std::string one = "<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n";
  EXPECT_EQ(prompt("qwen2.5", kOne),
            "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n" + one);
  const std::string turns =
      "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
      "<|im_start|>assistant\n<think>\nhm\n</think>\n\nHello<|im_end|>\n" +
      one;
  EXPECT_EQ(prompt("qwen2.5", kTurns), turns);
  EXPECT_EQ(completion("qwen2.5", "2"), "2<|im_end|>");
  EXPECT_EQ(prompt("chatml", kOne), one);
  EXPECT_EQ(prompt("chatml", kTurns), turns);
  EXPECT_EQ(completion("chatml", "2"), "2<|im_end|>");
}

TEST(ChatTemplate, qwen3_prefills_an_empty_thought_only_when_not_thinking) {
  EXPECT_EQ(prompt("qwen3", kOne), "<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(prompt("qwen3_no_think", kOne), "<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n");
  EXPECT_EQ(prompt("qwen3", kTurns),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n"
            "<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(completion("qwen3", "<think>\na\n</think>\n\n2"), "<think>\na\n</think>\n\n2<|im_end|>");
  EXPECT_EQ(completion("qwen3_no_think", "<think>\na\n</think>\n\n2"), "2<|im_end|>");
}

TEST(ChatTemplate, llama3_has_headers) {
  EXPECT_EQ(prompt("llama3", chat({{"system", " Be brief.\n"}, {"user", "1+1?"}})),
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\n1+1?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n");
  EXPECT_EQ(completion("llama3", "2"), "2<|eot_id|>");
}

TEST(ChatTemplate, r1_zero_fills_the_papers_template) {
  const std::string text = prompt("r1_zero", kOne);
  EXPECT_TRUE(
      text.starts_with("A conversation between User and Assistant. The user asks a question, and the Assistant solves it."));
  EXPECT_TRUE(text.ends_with("<answer> answer here </answer>. User: 1+1?. Assistant:"));
  EXPECT_NE(refusal([] { prompt("r1_zero", kTurns); }).find("exactly one user message"), std::string::npos);
  EXPECT_EQ(completion("r1_zero", "<think> a </think>"), " <think> a </think><｜end▁of▁sentence｜>");
}

TEST(ChatTemplate, tiny_puts_a_space_before_every_word) {
  EXPECT_EQ(prompt("tiny", chat({{"user", "compute 4  + 3 "}})), "<bos><user> compute 4 + 3<asst>");
  EXPECT_EQ(prompt("tiny", chat({{"user", "a"}, {"assistant", "<answer> b</answer>"}, {"user", " c"}})),
            "<bos><user> a<asst><answer> b</answer><eos><user> c<asst>");
  EXPECT_NE(refusal([] { prompt("tiny", kTurns); }).find("has no system message"), std::string::npos);
}

TEST(ChatTemplate, renders_the_tiny_worlds_prompts_as_that_world_does) {
  for (const char* name : {"tiny:reasoning", "tiny:general_prompts", "tiny:all_scenarios", "tiny:reasoning_test"}) {
    const auto source = open_source(name, 3);
    for (uint64_t i = 0; i < 500; ++i) {
      const Prompt p = source->prompt(i);
      ASSERT_EQ(prompt("tiny", Conversation::parse(p.conversation)), p.text);
    }
  }
}

TEST(ChatTemplate, names_are_checked) {
  for (const std::string& name : chat_template_names()) EXPECT_EQ(ChatTemplate::named(name)->name(), name);
  EXPECT_TRUE(ChatTemplate::named("none")->is_none());
  EXPECT_NE(refusal([] { ChatTemplate::named("qwen25"); }).find("did you mean 'qwen2.5'?"), std::string::npos);
  EXPECT_NE(refusal([] {
              ChatTemplate::named("my/chat.jinja");
            }).find("one of your own is the chat_template.jinja in the model's directory"),
            std::string::npos);
}

TEST(ChatTemplate, every_built_in_one_teaches_what_it_gives_back) {
  for (const std::string& name : chat_template_names()) {
    const auto t = ChatTemplate::named(name);
    EXPECT_FALSE(t->end_token().empty()) << name;
    for (const std::string reply : {"<think>\nhm\n</think>\n\nTwo.", "<think>\n\n</think>\n\nTwo."}) {
      const ChatTemplate::Taught example = taught(*t, kOne, reply);
      EXPECT_EQ(example.prompt, t->prompt(kOne)) << name;
      EXPECT_TRUE(example.completion.ends_with(t->end_token())) << name << ": " << example.completion;
      const std::string back = t->reply(example.prompt, example.completion);
      EXPECT_EQ(taught(*t, kOne, back).completion, example.completion) << name << ": " << back;
      EXPECT_TRUE(back.ends_with("\n\nTwo.") || name == "qwen3_no_think") << name << ": " << back;
      EXPECT_EQ(taught(*t, kOne, reply, false).completion + t->end_token(), example.completion) << name << ": cut off";
    }
  }
}

TEST(ChatTemplate, a_built_in_one_has_no_tools) {
  Conversation c = kOne;
  c.tools = Json::array({Json{{"type", "function"}}});
  EXPECT_NE(refusal([&] { prompt("qwen2.5", c); }).find("has no tools"), std::string::npos);
  EXPECT_NE(refusal([&] { prompt("qwen2.5", chat({{"tool", "x"}})); }).find("no tool message"), std::string::npos);
}

TEST(ChatTemplate, without_one_a_text_stands_as_it_is_and_a_conversation_is_refused) {
  EXPECT_EQ(ChatTemplate::none()->prompt(Conversation::of_user(" Q ")), " Q ");
  EXPECT_NE(refusal([] { ChatTemplate::none()->prompt(kTurns); }).find("needs a chat template"), std::string::npos);
  const auto missing = ChatTemplate::missing("m has none", "name one");
  EXPECT_EQ(missing->prompt(Conversation::of_user("Q")), "Q");
  EXPECT_NE(refusal([&] { missing->prompt(kOne); }).find("m has none (name one)"), std::string::npos);
}

// ---- of models

ChatFiles files(const std::string& source) {
  ChatFiles f;
  f.place = "chat_template.jinja";
  f.templates = {{"default", source}};
  f.special_tokens = {{"bos_token", "<s>"}, {"eos_token", "</s>"}};
  return f;
}

TEST(ModelTemplate, renders_what_apply_chat_template_renders) {
  const Json golden = Json::parse(read_file(source_dir() / "tests/tasks/golden/chat_templates.json"));
  size_t compared = 0;
  for (const Json& c : golden["cases"]) {
    if (c.contains("template") || !c["variables"]["add_generation_prompt"].get<bool>()) continue;
    const auto t = ChatTemplate::of_model(files(golden["templates"][c["name"].get<std::string>()]), {"<|im_end|>"});
    Conversation conversation;
    conversation.messages = c["variables"]["messages"];
    conversation.tools = c["variables"]["tools"];
    if (c["variables"].contains("enable_thinking"))
      conversation.variables = {{"enable_thinking", c["variables"]["enable_thinking"]}};
    const Conversation stored = Conversation::parse(conversation.text());
    if (c.contains("error")) {
      EXPECT_NE(refusal([&] { t->prompt(stored); }), "accepted");
      continue;
    }
    EXPECT_EQ(t->prompt(stored), c["rendered"].get<std::string>()) << c["name"];
    ++compared;
  }
  EXPECT_GE(compared, 100u);
}

constexpr const char* kChatml =
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

TEST(ModelTemplate, its_end_token_and_tags_are_found_in_what_it_writes) {
  const auto t = ChatTemplate::of_model(files(kChatml), {"<|im_start|>", "<|im_end|>", "<|im"});
  EXPECT_EQ(t->end_token(), "<|im_end|>");
  EXPECT_EQ(t->document_end(), "</s>");
  EXPECT_EQ(t->tags(), (std::vector<std::string>{"<|im_end|>", "<|im_start|>"}));
  EXPECT_EQ(taught(*t, kOne, "2").completion, "2<|im_end|>") << "without the newline behind it";
  const auto spaced =
      ChatTemplate::of_model(files("{% for m in messages %}{{ bos_token if loop.first }}{{ '[I] ' + m.content + ' [/I]' if "
                                   "m.role == 'user' else ' ' + m.content + ' ' + eos_token }}{% endfor %}"),
                             {});
  EXPECT_EQ(spaced->end_token(), "</s>");
  EXPECT_EQ(spaced->tags(), (std::vector<std::string>{"</s>", "<s>"}));
  EXPECT_EQ(taught(*spaced, kOne, "2").completion, " 2 </s>");
  EXPECT_EQ(spaced->reply("<s>[I] 1+1? [/I]", " 2 </s>"), "2 ");
  EXPECT_EQ(ChatTemplate::of_model(files("{% for m in messages %}{{ m.content }}{% endfor %}"), {"<x>"})->end_token(), "");
}

TEST(ModelTemplate, that_writes_a_reply_elsewhere_than_behind_its_generation_prompt_cannot_teach_it) {
  // As published for DeepSeek-R1: the generation prompt opens a thought, a reply is written without it.
  const auto t = ChatTemplate::of_model(files("{% for m in messages %}{{ '<U>' + m.content if m.role == 'user' else '<A>' + "
                                              "m.content.split('</think>')[-1] + eos_token }}"
                                              "{% endfor %}{% if add_generation_prompt %}{{ '<A><think>\\n' }}{% endif %}"),
                                        {});
  EXPECT_EQ(t->prompt(kOne), "<U>1+1?<A><think>\n");
  const std::string text = refusal([&] { taught(*t, kOne, "<think>\na\n</think>\n\n2"); });
  EXPECT_NE(text.find("does not write a reply behind its own generation prompt"), std::string::npos) << text;
  EXPECT_NE(text.find("template=NAME"), std::string::npos) << text;
}

TEST(ModelTemplate, that_cannot_be_read_is_refused_when_it_is_used) {
  const auto t = ChatTemplate::of_model(files("{% if x %}"), {});
  EXPECT_NE(refusal([&] { t->prompt(kOne); }).find("chat_template.jinja:1"), std::string::npos);
  const auto throws = ChatTemplate::of_model(files("{{ raise_exception('no system') }}"), {});
  EXPECT_NE(refusal([&] { throws->prompt(kOne); }).find("no system"), std::string::npos);
}

struct ChatFilesTest : testing::Test {
  fs::path dir = fs::temp_directory_path() / ("r1_chat_files_" + std::to_string(::getpid()));
  void SetUp() override {
    fs::remove_all(dir);
    fs::create_directories(dir / "additional_chat_templates");
  }
  void TearDown() override { fs::remove_all(dir); }
  void write(const std::string& name, const std::string& text) const { std::ofstream(dir / name) << text; }
};

TEST_F(ChatFilesTest, are_looked_for_in_the_order_of_hugging_face) {
  EXPECT_TRUE(read_chat_files(dir).templates.empty());
  write("chat_template.json", R"({"chat_template": "old"})");
  EXPECT_EQ(read_chat_files(dir).templates[0].second, "old");
  write("tokenizer_config.json",
        R"({"chat_template": "config", "bos_token": "<s>", "add_bos_token": true, "eos_token": {"content": "</s>"}})");
  ChatFiles f = read_chat_files(dir);
  EXPECT_EQ(f.templates[0].second, "config");
  EXPECT_EQ(f.special_tokens, (std::vector<std::pair<std::string, std::string>>{{"bos_token", "<s>"}, {"eos_token", "</s>"}}));
  write("special_tokens_map.json", R"({"bos_token": "<other>", "pad_token": "<pad>", "additional_special_tokens": ["<x>"]})");
  EXPECT_EQ(read_chat_files(dir).special_tokens.back(), (std::pair<std::string, std::string>{"pad_token", "<pad>"}));
  write("chat_template.jinja", "file");
  write("additional_chat_templates/tool_use.jinja", "tools");
  f = read_chat_files(dir);
  EXPECT_EQ(f.templates, (std::vector<std::pair<std::string, std::string>>{{"default", "file"}, {"tool_use", "tools"}}));
  const auto t = ChatTemplate::of_model(f, {});
  Conversation c = kOne;
  EXPECT_EQ(t->prompt(c), "file");
  c.tools = Json::array({Json::object()});
  EXPECT_EQ(t->prompt(c), "tools");
}

TEST_F(ChatFilesTest, may_hold_a_list_of_named_templates) {
  write("tokenizer_config.json",
        R"({"chat_template": [{"name": "default", "template": "d"}, {"name": "rag", "template": "r"}]})");
  EXPECT_EQ(ChatTemplate::of_model(read_chat_files(dir), {})->prompt(kOne), "d");
  write("tokenizer_config.json", R"({"chat_template": [{"name": "a", "template": "d"}, {"name": "b", "template": "r"}]})");
  EXPECT_NE(refusal([&] { ChatTemplate::of_model(read_chat_files(dir), {})->prompt(kOne); }).find("no default"),
            std::string::npos);
}

TEST_F(ChatFilesTest, that_are_broken_are_refused_by_name) {
  for (const char* text :
       {"[]", "{", R"({"chat_template": 5})", R"({"chat_template": [{"name": "a"}]})", R"({"eos_token": 5})"}) {
    write("tokenizer_config.json", text);
    EXPECT_NE(refusal([&] { read_chat_files(dir); }).find("tokenizer_config.json"), std::string::npos) << text;
  }
  write("tokenizer_config.json", "{}");
  write("chat_template.jinja", std::string((1 << 20) + 1, ' '));
  EXPECT_NE(refusal([&] { read_chat_files(dir); }), "accepted");
}

}  // namespace
}  // namespace r1
