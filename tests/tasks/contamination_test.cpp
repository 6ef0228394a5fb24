#include "tasks/contamination.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "tasks/source.h"

namespace r1 {
namespace {

const char* const kQuestion = "Natalia sold clips to 48 of her friends in April, and then half as many in May.";

EvaluationGrams grams(const std::vector<std::string>& questions) {
  EvaluationGrams out;
  out.add(questions);
  return out;
}

TEST(Contamination, ten_words_in_a_row_are_found_whatever_stands_around_and_between_them) {
  const EvaluationGrams g = grams({kQuestion});
  EXPECT_TRUE(g.meet({kQuestion}));
  EXPECT_TRUE(g.meet({"x", "<|user|>NATALIA sold   clips\nto 48 - of her friends (in April)! Then what?"})) << "exactly ten";
  EXPECT_FALSE(g.meet({"Natalia sold clips to 48 of her friends in March, and then half"})) << "nine, another word, four";
  EXPECT_FALSE(g.meet({"Natalia sold clips to 48 of her friends in", "April, and then half as many in May."}))
      << "not across texts";
  EXPECT_FALSE(g.meet({}));
  EXPECT_FALSE(g.meet({""}));
}

TEST(Contamination, a_short_question_is_met_only_by_the_same_text) {
  const EvaluationGrams g = grams({"compute 1 + 2", "What  is\tÉté?"});
  EXPECT_TRUE(g.meet({"Compute 1 +  2\n"}));
  EXPECT_TRUE(g.meet({"what is été?"}));
  EXPECT_FALSE(g.meet({"compute 1 - 2"}));
  EXPECT_FALSE(g.meet({"compute 1 + 2 + 3"}));
}

TEST(Contamination, characters_are_words_where_no_blanks_part_words) {
  const EvaluationGrams g = grams({"小明有三个苹果和五个梨子"});
  EXPECT_TRUE(g.meet({"问：小明有三个苹果和五个橘子"}));
  EXPECT_FALSE(g.meet({"问：小明有四个苹果和五个梨子"}));
}

TEST(Contamination, how_the_questions_of_an_evaluation_are_put_gives_nothing_away) {
  const std::string form = " Please reason step by step, and put your final answer within boxed braces.";
  std::vector<std::string> questions;
  for (int i = 0; i < 60; ++i) questions.push_back("What is " + std::to_string(i) + " times seven?" + form);
  const EvaluationGrams g = grams(questions);
  EXPECT_FALSE(g.meet({"Name a prime." + form}));
  EXPECT_TRUE(g.meet({"what is 17 times seven? Please reason step by step"})) << "the numbers are its own";
  EXPECT_TRUE(grams({questions[0], questions[1]}).meet({"Name a prime." + form})) << "two of two is no form";
}

TEST(Contamination, bytes_that_are_no_utf8_are_compared_all_the_same) {
  EXPECT_TRUE(grams({std::string("a b c d e f g h i \xFF j k")}).meet({"b c d e f g h i \xFE j k"}));
}

TEST(Contamination, equal_evaluations_have_equal_hashes) {
  const EvaluationGrams a = grams({kQuestion, "short"}), b = grams({"short", kQuestion}), c = grams({kQuestion});
  EXPECT_EQ(a.hash(), b.hash());
  EXPECT_NE(a.hash(), c.hash());
  EXPECT_TRUE(grams({}).empty());
}

TEST(Contamination, a_source_shows_what_its_records_say_without_a_template_and_leaves_out_what_it_is_told_to) {
  const auto dir = std::filesystem::temp_directory_path() / ("r1_texts_" + std::to_string(::getpid()));
  std::filesystem::create_directories(dir);
  const auto texts = [&](const std::string& line, const std::string& options = "") {
    std::ofstream(dir / "d.jsonl") << line;
    return open_source("jsonl:" + (dir / "d.jsonl").string() + "?template=chatml" + options, 0)->texts(0);
  };
  using Texts = std::vector<std::string>;
  EXPECT_EQ(texts(R"({"prompt": "Q", "answer": "1"})"), (Texts{"Q"}));
  EXPECT_EQ(texts(R"({"question": "Q", "answer": "1"})"), (Texts{"Q"}));
  EXPECT_EQ(texts(R"({"ask": {"it": "Q"}, "completion": "A"})", "&prompt=ask.it"), (Texts{"Q", "A"}));
  EXPECT_EQ(texts(R"({"text": "D"})"), (Texts{"D"}));
  EXPECT_EQ(texts(R"({"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"},)"
                  R"({"role": "assistant", "content": "A"}, {"role": "user", "content": [{"type": "text", "text": "R"}]},)"
                  R"({"role": "assistant", "content": "B"}]})"),
            (Texts{"Q\nA\nR", "B"}));
  EXPECT_EQ(texts(R"({"prompt": "Q", "chosen": "A", "rejected": "B"})"), (Texts{"Q", "A", "B"}));
  EXPECT_EQ(texts(R"({"chosen": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}],)"
                  R"("rejected": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "B"}]})"),
            (Texts{"Q", "A", "B"}));
  const std::string steps = R"({"role": "assistant", "content": "A"}, {"role": "user", "content": "R"}, )";
  EXPECT_EQ(texts(R"({"prompt": "Q", "completion": [)" + steps + R"({"role": "assistant", "content": "B"}]})"),
            (Texts{"Q", "A\nR\nB"}));
  EXPECT_EQ(texts(R"({"prompt": "Q", "chosen": [)" + steps + R"({"role": "assistant", "content": "B"}], "rejected": [)" + steps +
                  R"({"role": "assistant", "content": "C"}]})"),
            (Texts{"Q", "A\nR", "B", "C"}));
  std::ofstream(dir / "d.jsonl") << "{\"text\": \"one\"}\n{\"text\": \"two\"}\n{\"text\": \"three\"}\n{\"text\": 4}\n";
  SourceUse use;
  use.left_out = [](const Texts& t) { return t[0] == "two"; };
  const auto source = open_source("jsonl:" + (dir / "d.jsonl").string() + "?shuffle=0", 0, use);
  EXPECT_EQ(source->size(), 3u);
  EXPECT_EQ(source->left_out(), 1u);
  EXPECT_EQ(source->example(1).completion, "three");
  EXPECT_THROW(source->example(2), Error) << "a broken record is not left out in silence";
  std::filesystem::remove_all(dir);
}

}  // namespace
}  // namespace r1
