// The tiny tokenizer: one id per word (docs/recipe.md section 14).
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "models/tokenizer/tokenizer.h"
#include "tasks/source.h"
#include "tasks/tiny/documents.h"
#include "tasks/tiny/tokenizer_json.h"
#include "tasks/tiny/vocabulary.h"
#include "tests/tasks/tiny_solver.h"

namespace r1::tiny {
namespace {

Tokenizer tokenizer() { return Tokenizer::from_json(tiny_tokenizer_json(), "tiny"); }

TEST(TinyTokenizer, has_137_words_256_bytes_and_names_for_the_rest_of_the_models_rows) {
  const Tokenizer t = tokenizer();
  EXPECT_EQ(vocabulary().size(), 137u);
  EXPECT_EQ(std::set<std::string>(vocabulary().begin(), vocabulary().end()).size(), 137u);
  EXPECT_EQ(t.vocab_size(), 400);
  EXPECT_EQ(t.token_of(137 + 256), "<reserved_0>");
  for (size_t i = 0; i < vocabulary().size(); ++i) {
    const std::string& word = vocabulary()[i];
    const auto ids = t.encode(i < 9 ? word : " " + word);
    ASSERT_EQ(ids, std::vector<int32_t>{static_cast<int32_t>(i)}) << word;
  }
}

TEST(TinyTokenizer, lists_the_specials_in_its_vocabulary_too) {
  // huggingface/tokenizers renumbers added tokens that the vocabulary does not hold.
  const auto j = nlohmann::json::parse(tiny_tokenizer_json());
  for (const auto& token : j["added_tokens"]) EXPECT_EQ(j["model"]["vocab"][token["content"].get<std::string>()], token["id"]);
  EXPECT_EQ(j["model"]["vocab"].size(), 400u);
}

TEST(TinyTokenizer, keeps_think_and_answer_tags_when_specials_are_skipped) {
  const Tokenizer t = tokenizer();
  const std::string text = "<bos><user> compute 4 + 3<asst><think> so .</think><answer> 7</answer><eos>";
  const auto ids = t.encode(text);
  EXPECT_EQ(ids.size(), 15u);
  EXPECT_EQ(t.decode(ids), text);
  EXPECT_EQ(t.decode(ids, true), " compute 4 + 3<think> so .</think><answer> 7</answer>");
}

TEST(TinyTokenizer, any_other_text_falls_into_bytes) {
  const Tokenizer t = tokenizer();
  EXPECT_EQ(t.encode(" hello").size(), 6u);
  EXPECT_EQ(t.decode(t.encode(" hello w\xC3\xB6rld")), " hello w\xC3\xB6rld");
}

TEST(TinyTokenizer, every_generated_text_is_one_id_per_word_and_comes_back_unchanged) {
  const Tokenizer t = tokenizer();
  const auto check = [&](const std::string& text) {
    const auto ids = t.encode(text);
    for (const int32_t id : ids) ASSERT_LT(id, 137) << text;
    std::string apart = text;
    for (const char* tag : {"<bos>", "<eos>", "<user>", "<asst>", "<think>", "</think>", "<answer>", "</answer>"})
      apart = replaced(apart, tag, std::string(" ") + tag + " ");
    ASSERT_EQ(ids.size(), split_words(apart).size()) << text;
    ASSERT_EQ(t.decode(ids), text);
  };
  for (const std::string& name : source_names()) {
    if (!name.starts_with("tiny:")) continue;
    const auto source = open_source(name, 4);
    for (uint64_t i = 0; i < 400; ++i) {
      switch (source->kind()) {
        case RecordKind::prompt:
          check(source->prompt(i).text);
          break;
        case RecordKind::example:
          check(source->example(i).prompt + source->example(i).completion);
          break;
        case RecordKind::pair:
          check(source->pair(i).prompt + source->pair(i).chosen), check(source->pair(i).rejected);
          break;
      }
    }
  }
}

TEST(TinyTokenizer, pretraining_documents_are_about_25_tokens_long) {
  const Tokenizer t = tokenizer();
  const auto source = open_source("tiny:pretrain", 0);
  double sum = 0;
  size_t longest = 0;
  constexpr int n = 12000;
  for (uint64_t i = 0; i < n; ++i) {
    const Example e = source->example(i);
    const size_t tokens = t.encode(e.prompt + e.completion).size();
    sum += static_cast<double>(tokens);
    longest = std::max(longest, tokens);
  }
  RecordProperty("mean_tokens", std::to_string(sum / n));
  // The prototype had 24 to 25; longer colour and secret tasks and needs of two digits add about half a token.
  EXPECT_GE(sum / n, 24) << "longest " << longest;
  EXPECT_LE(sum / n, 25.8) << "longest " << longest;
  EXPECT_LE(longest, 128u);
}

}  // namespace
}  // namespace r1::tiny
