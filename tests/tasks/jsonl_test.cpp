#include "tasks/jsonl.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "base/error.h"

namespace r1 {
namespace {

class Jsonl : public testing::Test {
 protected:
  Jsonl() {
    dir_ = std::filesystem::temp_directory_path() / ("r1_jsonl_" + std::to_string(::getpid()));
    std::filesystem::create_directories(dir_);
  }
  ~Jsonl() override { std::filesystem::remove_all(dir_); }

  std::string file(const std::string& text) {
    const auto path = dir_ / ("f" + std::to_string(count_++) + ".jsonl");
    std::ofstream(path) << text;
    return path.string();
  }
  static void read_all(const std::string& spec) {
    const auto source = open_source(spec, 0, {std::nullopt, true});
    for (uint64_t i = 0; i < *source->size(); ++i) {
      if (source->kind() == RecordKind::prompt)
        source->prompt(i);
      else if (source->kind() == RecordKind::example)
        source->example(i);
      else
        source->pair(i);
    }
  }
  std::string refusal(const std::string& text, int line, const std::string& options = "") {
    const std::string path = file(text);
    try {
      read_all("jsonl:" + path + options);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::bad_input);
      EXPECT_EQ(e.where().file, path);
      EXPECT_EQ(e.where().line, line) << e.what();
      return e.what();
    }
    return "accepted";
  }

  std::filesystem::path dir_;
  int count_ = 0;
};

TEST_F(Jsonl, reads_examples_as_they_are_and_through_a_template) {
  const std::string path = file("{\"prompt\": \"Q\", \"completion\": \"A\"}\n\n");
  EXPECT_EQ(source_kind("jsonl:" + path), RecordKind::example);
  const auto plain = open_source("jsonl:" + path, 0);
  EXPECT_EQ(plain->size(), 1u);
  EXPECT_EQ(plain->example(0).prompt, "Q");
  EXPECT_EQ(plain->example(0).completion, "A");
  const auto qwen = open_source("jsonl:" + path + "?template=qwen3", 0);
  EXPECT_EQ(qwen->example(0).prompt, "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(qwen->example(0).completion, "A<|im_end|>");
}

TEST_F(Jsonl, reads_conversations) {
  const std::string path =
      file(R"({"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "<think>\nhm\n</think>\n\nA"}]})"
           "\n");
  const auto s = open_source("jsonl:" + path + "?template=r1", 0);
  EXPECT_EQ(s->kind(), RecordKind::example);
  EXPECT_EQ(s->example(0).prompt, "<｜begin▁of▁sentence｜><｜User｜>Q<｜Assistant｜><think>\n");
  EXPECT_EQ(s->example(0).completion, "hm\n</think>\n\nA<｜end▁of▁sentence｜>");
}

TEST_F(Jsonl, reads_plain_documents) {
  const auto s = open_source("jsonl:" + file("{\"text\": \"Once\"}\n") + "?template=tiny", 0);
  EXPECT_TRUE(s->example(0).loss_on_prompt);
  EXPECT_EQ(s->example(0).completion, "Once<eos>");
}

TEST_F(Jsonl, reads_prompts_with_answers_and_facts) {
  const std::string path = file(
      "{\"prompt\": \"2+2\", \"answer\": 4, \"kind\": \"sum\", \"harm\": false, \"level\": 3}\n"
      "{\"prompt\": \"计算 二加二\", \"answers\": [\"4\", \"|4|\"]}\n"
      "{\"prompt\": \"write a poem\"}\n");
  const auto s = open_source("jsonl:" + path + "?shuffle=0", 0);
  EXPECT_EQ(s->kind(), RecordKind::prompt);
  const auto a = s->prompt(0).facts, b = s->prompt(1).facts, c = s->prompt(2).facts;
  EXPECT_EQ(a.at("answers"), "4");
  EXPECT_EQ(a.at("kind"), "sum");
  EXPECT_EQ(a.at("harm"), "0");
  EXPECT_EQ(a.at("level"), "3");
  EXPECT_EQ(a.at("checkable"), "1");
  EXPECT_EQ(a.at("language"), "en");
  EXPECT_EQ(a.at("domain"), "reasoning");
  EXPECT_EQ(b.at("answers"), "4|\\|4\\|");
  EXPECT_EQ(b.at("language"), "zh");
  EXPECT_EQ(c.at("checkable"), "0");
  EXPECT_EQ(c.at("domain"), "general");
  EXPECT_EQ(s->fact_values().at("domain"), (std::set<std::string>{"general", "reasoning"}));
  EXPECT_EQ(s->fact_values().count("answers"), 0u);
}

TEST_F(Jsonl, reads_pairs) {
  const auto s =
      open_source("jsonl:" + file("{\"prompt\": \"Q\", \"chosen\": \"good\", \"rejected\": \"bad\"}") + "?template=tiny", 0);
  EXPECT_EQ(s->kind(), RecordKind::pair);
  EXPECT_EQ(s->pair(0).prompt, "<bos><user> Q<asst>");
  EXPECT_EQ(s->pair(0).chosen, "good<eos>");
  EXPECT_EQ(s->pair(0).rejected, "bad<eos>");
}

TEST_F(Jsonl, every_fault_is_named_with_its_line) {
  const std::string ok = "{\"prompt\": \"Q\", \"completion\": \"A\"}\n";
  EXPECT_NE(refusal(ok + "oops\n", 2).find("not JSON"), std::string::npos);
  EXPECT_NE(refusal(ok + "\n[1]\n", 3).find("expected a JSON object"), std::string::npos);
  EXPECT_NE(refusal("{}\n", 1).find("expected \"prompt\""), std::string::npos);
  EXPECT_NE(refusal("{\"completion\": \"A\"}\n", 1).find("no \"prompt\""), std::string::npos);
  EXPECT_NE(refusal("{\"prompt\": 3, \"completion\": \"A\"}\n", 1).find("\"prompt\": expected a string"), std::string::npos);
  EXPECT_NE(refusal("{\"prompt\": \"Q\", \"chosen\": \"A\"}\n", 1).find("no \"rejected\""), std::string::npos);
  EXPECT_NE(refusal("{\"prompt\": \"Q\", \"chosen\": \"A\", \"rejected\": \"A\"}\n", 1).find("are the same"),
            std::string::npos);
  EXPECT_NE(refusal(ok + "{\"prompt\": \"Q\", \"answer\": \"A\"}\n", 2).find("one of prompts, those before are examples"),
            std::string::npos);
  EXPECT_NE(refusal("{\"prompt\": \"Q\", \"answers\": []}\n", 1).find("\"answers\": expected a list"), std::string::npos);
  EXPECT_NE(refusal("{\"prompt\": \"Q\", \"answer\": null}\n", 1).find("expected text or a number"), std::string::npos);
  EXPECT_NE(refusal("{\"messages\": []}\n", 1).find("\"messages\": expected a list"), std::string::npos);
  EXPECT_NE(refusal("{\"messages\": [{\"role\": \"bot\", \"content\": \"x\"}]}\n", 1).find("unknown role 'bot'"),
            std::string::npos);
  EXPECT_NE(refusal("{\"messages\": [{\"role\": \"user\"}]}\n", 1).find("messages[0]: expected"), std::string::npos);
  EXPECT_NE(refusal("{\"messages\": [{\"role\": \"assistant\", \"content\": \"x\"}]}\n", 1).find("nothing comes before"),
            std::string::npos);
  EXPECT_NE(refusal("{\"messages\": "
                    "[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"user\",\"content\":\"b\"},{\"role\":\"assistant\","
                    "\"content\":\"c\"}]}\n",
                    1)
                .find("needs a chat template"),
            std::string::npos);
  EXPECT_NE(refusal("\n\n", 0).find("holds no records"), std::string::npos);
  EXPECT_NE(refusal("", 0).find("holds no records"), std::string::npos);
}

TEST_F(Jsonl, options_are_checked) {
  const std::string path = file("{\"prompt\": \"Q\"}\n");
  EXPECT_THROW(open_source("jsonl:" + path + "?template=nope", 0), Error);
  EXPECT_THROW(open_source("jsonl:" + path + "?tmplate=tiny", 0), Error);
  EXPECT_THROW(open_source("jsonl:" + path + "?shuffle=maybe", 0), Error);
}

TEST_F(Jsonl, each_epoch_is_a_permutation_of_its_own) {
  std::string text;
  constexpr uint64_t n = 37;
  for (uint64_t i = 0; i < n; ++i) text += "{\"prompt\": \"" + std::to_string(i) + "\"}\n";
  const std::string path = file(text);
  const auto s = open_source("jsonl:" + path, 3), same = open_source("jsonl:" + path, 3),
             other = open_source("jsonl:" + path, 4);
  const auto epoch = [&](const Source& source, uint64_t e) {
    std::vector<std::string> out;
    for (uint64_t i = 0; i < n; ++i) out.push_back(source.prompt(e * n + i).text);
    return out;
  };
  for (uint64_t e = 0; e < 3; ++e) {
    const auto order = epoch(*s, e);
    EXPECT_EQ(std::set<std::string>(order.begin(), order.end()).size(), n);
    EXPECT_EQ(order, epoch(*same, e));
    EXPECT_NE(order, epoch(*other, e));
    EXPECT_NE(order, epoch(*s, e + 1));
  }
  const auto plain = open_source("jsonl:" + path + "?shuffle=0", 3);
  EXPECT_EQ(plain->prompt(5).text, "5");
  EXPECT_EQ(plain->prompt(n + 5).text, "5");
}

TEST(Permute, is_a_bijection_for_every_size) {
  for (uint64_t n = 1; n < 70; ++n) {
    std::set<uint64_t> seen;
    for (uint64_t i = 0; i < n; ++i) {
      const uint64_t to = permute(i, n, 99);
      ASSERT_LT(to, n);
      seen.insert(to);
    }
    ASSERT_EQ(seen.size(), n);
  }
  EXPECT_LT(permute(800'000'000'000ull, 1'000'000'000'000ull, 5), 1'000'000'000'000ull);
}

}  // namespace
}  // namespace r1
