// Hints that print a command: as it is printed, it makes a file that is read, and says what the data said. Needs jq; without it
// the commands are compared only by their beginnings.
#include "tasks/conversion.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>

#include "base/error.h"
#include "base/files.h"
#include "tasks/source.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

class Conversion : public testing::Test {
 protected:
  Conversion() {
    dir_ = fs::temp_directory_path() / ("r1_conversion_" + std::to_string(::getpid()));
    fs::remove_all(dir_);
    fs::create_directories(dir_);
  }
  ~Conversion() override { fs::remove_all(dir_); }

  static bool have_jq() { return std::system("jq --version > /dev/null 2>&1") == 0; }
  std::string file(const std::string& text, const std::string& name) {
    std::ofstream(dir_ / name) << text;
    return (dir_ / name).string();
  }
  // What reading the file whole says of it; "" when nothing is wrong.
  static std::string hint_of(const std::string& path, const std::string& options = "") {
    try {
      const auto source = open_source("jsonl:" + path + options, 0, {std::nullopt, true});
      for (uint64_t i = 0; i < source->size().value(); ++i) {
        if (source->kind() == RecordKind::prompt) source->prompt(i);
        if (source->kind() == RecordKind::example) source->example(i);
        if (source->kind() == RecordKind::pair) source->pair(i);
      }
    } catch (const Error& e) {
      return e.hint();
    }
    return "";
  }
  // Runs the command in `hint` and gives the file that it makes.
  static std::string made_by(const std::string& hint) {
    const size_t begin = std::min(hint.find("jq -c "), hint.find("zcat "));
    EXPECT_NE(begin, std::string::npos) << hint;
    if (begin == std::string::npos) return "";
    std::string command = hint.substr(begin);
    command.resize(command.find(".jsonl", command.find(" > ")) + 6);
    if (command.find(" > '") != std::string::npos) command += "'";
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
    std::string path = command.substr(command.find(" > ") + 3);
    std::erase(path, '\'');
    return path;
  }
  static std::string lines(const std::string& path) {
    const auto source = open_source("jsonl:" + path + "?template=chatml", 0, {std::nullopt, true});
    std::string out;
    for (uint64_t i = 0; i < source->size().value(); ++i) {
      if (source->kind() == RecordKind::prompt) out += source->prompt(i).text;
      if (source->kind() == RecordKind::example) out += source->example(i).prompt + source->example(i).completion;
      if (source->kind() == RecordKind::pair)
        out += source->pair(i).prompt + source->pair(i).chosen + "|" + source->pair(i).rejected;
      out += "\n";
    }
    return out;
  }

  fs::path dir_;
};

constexpr const char* kAsked = "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n";

TEST_F(Conversion, a_file_that_is_one_list_is_made_lines_of_by_the_command_as_printed) {
  const std::string line = R"([{"prompt": "Q", "completion": "A"}, {"prompt": "Q", "completion": "B"}])",
                    pretty = "[\n  {\n    \"prompt\": \"Q\",\n    \"completion\": \"A\"\n  }\n]\n",
                    objects = "{\n  \"prompt\": \"Q\",\n  \"completion\": \"A\"\n}\n";
  for (const auto& [text, name, program] :
       {std::tuple{line, "it's one.json", ".[]"},
        {pretty, "b.json", ".[]"},
        {objects, "c.jsonl", "."},
        {R"({"data": [{"prompt": "Q", "completion": "A"}, {"prompt": "Q", "completion": "B"}]})", "d.json", ".data[]"}}) {
    const std::string path = file(text, name), hint = hint_of(path);
    EXPECT_NE(hint.find(fmt::format("jq -c {} ", std::string(program) == "." ? "." : fmt::format("'{}'", program))),
              std::string::npos)
        << hint;
    if (!have_jq()) continue;
    EXPECT_EQ(hint_of(made_by(hint)), "") << hint;
  }
}

TEST_F(Conversion, conversations_of_sharegpt_become_messages_by_the_command_as_printed) {
  const std::string said = R"([{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}])";
  const std::string expected = fmt::format("{}A<|im_end|>\n", kAsked), system = "<|im_start|>system\nS<|im_end|>\n";
  const std::pair<std::string, std::string> cases[] = {
      {R"({"id": 1, "conversations": )" + said + "}", expected},
      {R"({"conversation": )" + said + R"(, "system": "S"})", system + expected},
      {R"({"messages": )" + said + "}", expected},
      {R"({"prompt": [{"from": "human", "value": "Q"}], "answer": "3"})", kAsked + std::string("\n")},
      {R"({"data": {"conversations": )" + said + "}}", expected},
      {R"({"messages": [{"role": "human", "content": "Q"}, {"role": "gpt", "content": "A"}]})", expected},
      {R"({"conversations": [{"from": "human", "value": "Q"}], "chosen": {"from": "gpt", "value": "A"}, "rejected": {"from": "gpt", "value": "B"}})",
       fmt::format("{}A<|im_end|>|B<|im_end|>\n", kAsked)}};
  for (const auto& [text, want] : cases) {
    const std::string hint = hint_of(file(text + "\n", "s.jsonl"));
    EXPECT_EQ(hint.find("jq -c '"), 0u) << text << ": " << hint;
    if (!have_jq() || !hint.starts_with("jq -c '")) continue;
    EXPECT_EQ(lines(made_by(hint)), want) << hint;
  }
}

TEST_F(Conversion, contents_of_gemini_become_messages_by_the_command_as_printed) {
  const std::string
      said = R"([{"role": "user", "parts": [{"text": "Q"}]}, {"role": "model", "parts": [{"text": "A"}, {"text": "B"}]}])",
      expected = fmt::format("{}AB<|im_end|>\n", kAsked), system = "<|im_start|>system\nS<|im_end|>\n";
  const std::pair<std::string, std::string> cases[] = {
      {R"({"contents": )" + said + "}", expected},
      {R"({"systemInstruction": {"role": "system", "parts": [{"text": "S"}]}, "contents": )" + said + "}", system + expected},
      {R"({"messages": )" + said + R"(, "system_instruction": {"parts": [{"text": "S"}]}})", system + expected},
      {R"({"request": {"contents": )" + said + R"(, "systemInstruction": {"parts": [{"text": "S"}]}}})", system + expected},
      {R"({"contents": [{"parts": [{"text": "Q"}]}], "answer": "3"})", kAsked + std::string("\n")}};
  for (const auto& [text, want] : cases) {
    const std::string hint =
        hint_of(file(text + "\n", "g.jsonl"), text.find("answer") != text.npos ? "?messages=contents" : "");
    EXPECT_EQ(hint.find("jq -c '"), 0u) << text << ": " << hint;
    if (!have_jq() || !hint.starts_with("jq -c '")) continue;
    EXPECT_EQ(lines(made_by(hint)), want) << hint;
  }
  // An image is no text: there is no command that keeps it.
  EXPECT_EQ(hint_of(file(R"({"contents": [{"role": "user", "parts": [{"inlineData": {"data": "x"}}]}]})"
                         "\n",
                         "i.jsonl"))
                .find("jq"),
            std::string::npos);
}

TEST_F(Conversion, dialogues_of_anthropics_set_become_messages_by_the_command_as_printed) {
  const std::string q = "\\n\\nHuman: Q\\n\\nAssistant:", more = q + " a\\n\\nHuman: R\\n\\nover lines \\n\\nAssistant:";
  const auto pair = [](const std::string& chosen, const std::string& rejected) {
    return fmt::format("{{\"chosen\": \"{}\", \"rejected\": \"{}\"}}\n", chosen, rejected);
  };
  const std::string path = file(pair(q + " A", q + " B") + pair(more + " A", more + "B") + pair(q + " A", q + " A") +
                                    pair(q + " A", q + " ") + pair(more + " A", q + " A"),
                                "hh.jsonl"),
                    hint = hint_of(path);
  EXPECT_EQ(hint.find("jq -c '"), 0u) << hint;
  if (!have_jq()) GTEST_SKIP() << "no jq";
  const std::string first = fmt::format("{}A<|im_end|>|B<|im_end|>\n", kAsked),
                    second = fmt::format(
                        "{}a<|im_end|>\n<|im_start|>user\nR\n\nover lines<|im_end|>\n<|im_start|>assistant\n"
                        "A<|im_end|>|B<|im_end|>\n",
                        kAsked);
  EXPECT_EQ(lines(made_by(hint)), first + second) << hint;
}

TEST_F(Conversion, what_was_to_be_learned_becomes_a_prompt_with_its_reply_as_the_answer) {
  const std::string path = file(R"({"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "3"}]})"
                                "\n",
                                "c.jsonl");
  const std::string hint = hint_of(path, "?as=prompts");
  EXPECT_TRUE(hint.starts_with("jq -c '.answer = ")) << hint;
  if (!have_jq()) GTEST_SKIP() << "no jq";
  const auto made = open_source("jsonl:" + made_by(hint) + "?template=chatml", 0, {std::nullopt, true});
  ASSERT_EQ(made->kind(), RecordKind::prompt);
  EXPECT_EQ(made->prompt(0).text, kAsked);
  EXPECT_EQ(made->prompt(0).facts.at("answers"), "3");
}

TEST_F(Conversion, messages_within_another_field_are_named_by_the_mapping_that_reads_them) {
  const std::string said = R"([{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}])";
  EXPECT_EQ(hint_of(file(R"({"custom_id": "1", "body": {"model": "m", "messages": )" + said + "}}", "o.jsonl")),
            "if it is \"body.messages\" here, say so: ?messages=body.messages");
  EXPECT_EQ(hint_of((dir_ / "o.jsonl").string(), "?messages=body.messages"), "");
  EXPECT_EQ(hint_of(file(R"({"data": {"question": "Q", "answer": "A"}})", "q.jsonl")),
            "if it is \"data.question\" here, say so: ?prompt=data.question&answer=data.answer, or "
            "&completion=data.answer where it is to be learned");
}

TEST_F(Conversion, what_is_not_read_of_a_question_is_put_into_it_by_the_command) {
  if (!have_jq()) GTEST_SKIP() << "no jq";
  const std::string reply = "A<|im_end|>\n", system = "<|im_start|>system\nS<|im_end|>\n",
                    before = "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\na<|im_end|>\n",
                    alpaca = "prompt=instruction&completion=output";
  const std::tuple<std::string, std::string, std::string> cases[] = {
      {R"({"instruction": "Q", "input": "", "output": "A", "history": [["q", "a"]], "system": "S"})", alpaca,
       system + before + kAsked + reply},
      {R"({"instruction": "Q", "input": "I", "output": "A", "history": [["q", "a"]]})", alpaca,
       before + "<|im_start|>user\nQ\n\nI<|im_end|>\n<|im_start|>assistant\n" + reply},
      {R"({"System": "S", "messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]})", "",
       system + kAsked + reply},
      {R"({"system_prompt": "S", "question": "Q", "response": "A"})", "completion=response", system + kAsked + reply},
      {R"({"prompt": [{"role": "user", "content": "Q"}], "completion": "A", "system": "S"})", "", system + kAsked + reply}};
  for (const auto& [text, options, want] : cases) {
    const std::string path = file(text + "\n", "u.jsonl"),
                      made_options = "?template=chatml" + (options.empty() ? "" : "&" + options);
    const Unread unread = open_source("jsonl:" + path + made_options, 0, {std::nullopt, true})->unread(0);
    ASSERT_NE(unread.join, "") << text;
    const auto after =
        open_source("jsonl:" + made_by(jq_command(unread.join, path, "joined")) + made_options, 0, {std::nullopt, true});
    EXPECT_EQ(after->unread(0).field, "") << text;
    EXPECT_EQ(after->example(0).prompt + after->example(0).completion + "\n", want) << unread.join;
  }
}

TEST_F(Conversion, tables_become_lines_by_the_command_as_printed) {
  const std::string row = "\"Q, \"\"quoted\"\"\nin two lines\",3\n";
  for (const auto& [name, text] : {std::pair<std::string, std::string>{"t.csv", "\xEF\xBB\xBFprompt,answer\r\n" + row},
                                   {"it's a.tsv", "prompt\tanswer\nQ\t3\n"}}) {
    const std::string command = hint_of(file(text, name));
    ASSERT_TRUE(command.starts_with("python3 -c ")) << command;
    if (std::system("python3 --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "no python3";
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
    const auto made = open_source("jsonl:" + (dir_ / name).replace_extension().string() + "_lines.jsonl?template=none", 0);
    EXPECT_EQ(made->prompt(0).text, name == "t.csv" ? "Q, \"quoted\"\nin two lines" : "Q");
    EXPECT_EQ(made->prompt(0).facts.at("answers"), "3");
  }
}

TEST_F(Conversion, compressed_files_and_names_with_blanks_are_spelt_for_the_shell) {
  EXPECT_EQ(jq_command(".[]", "/d/a.jsonl.gz", "lines"), "zcat /d/a.jsonl.gz | jq -c '.[]' > /d/a_lines.jsonl");
  EXPECT_EQ(jq_command(".", "/d/a.json.zst", "lines"), "zstdcat /d/a.json.zst | jq -c . > /d/a_lines.jsonl");
  EXPECT_EQ(jq_command(".", "my data's.json", "x"), "jq -c . 'my data'\\''s.json' > 'my data'\\''s_x.jsonl'");
  EXPECT_EQ(jq_path("a.b c.1"), ".a[\"b c\"][\"1\"]");
}

}  // namespace
}  // namespace r1
