// Several sources as one, and one file as two.
#include "tasks/mixture.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "base/error.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

class MixtureTest : public testing::Test {
 protected:
  MixtureTest() {
    dir_ = fs::temp_directory_path() / ("r1_mixture_" + std::to_string(::getpid()));
    fs::create_directories(dir_);
  }
  ~MixtureTest() override { fs::remove_all(dir_); }

  // A file of prompts "a0", "a1", ...
  std::string file(const std::string& letter, int records) {
    std::ofstream out(dir_ / (letter + ".jsonl"));
    for (int i = 0; i < records; ++i)
      out << R"({"prompt": ")" << letter << i << R"(", "answer": "1"})"
          << "\n";
    return "jsonl:" + (dir_ / (letter + ".jsonl")).string();
  }
  static std::vector<std::string> drawn(const std::string& spec, uint64_t n, uint64_t first = 0, uint64_t seed = 7) {
    const auto source = open_source(spec, seed);
    std::vector<std::string> out;
    for (uint64_t i = first; i < first + n; ++i) out.push_back(source->prompt(i).text);
    return out;
  }
  static std::string refusal(const std::string& spec) {
    try {
      open_source(spec, 0);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::bad_input);
      return e.what();
    }
    return "accepted";
  }

  fs::path dir_;
};

TEST_F(MixtureTest, weights_are_shares_of_every_stretch_and_each_part_follows_its_own_epochs) {
  const std::string spec = file("a", 5) + "?weight=3&shuffle=0, " + file("b", 2) + "?shuffle=0&weight=1";
  EXPECT_EQ(drawn(spec, 12),
            (std::vector<std::string>{"a0", "a1", "b0", "a2", "a3", "a4", "b1", "a0", "a1", "a2", "b0", "a3"}));
  EXPECT_EQ(open_source(spec, 7)->size(), 7u) << "until a4 and b1 were there";
  for (const uint64_t first : {0u, 13u, 400u}) {
    std::map<char, int> count;
    for (const std::string& p : drawn(spec, 40, first)) ++count[p[0]];
    EXPECT_EQ(count['a'], 30) << "from " << first;
  }
}

TEST_F(MixtureTest, a_draw_depends_on_nothing_but_its_number_and_the_seed) {
  const std::string spec = file("a", 50) + "?weight=0.7, " + file("b", 20) + "?weight=0.3";
  const auto all = drawn(spec, 200);
  EXPECT_EQ(std::vector<std::string>(all.begin() + 113, all.begin() + 150), drawn(spec, 37, 113)) << "resumed at 113";
  EXPECT_NE(all, drawn(spec, 200, 0, 8));
  std::set<std::string> once(all.begin(), all.begin() + 70);
  EXPECT_EQ(once.size(), 69u) << "49 of a and 21 of b, of which there are 20";
}

TEST_F(MixtureTest, without_weights_every_record_of_every_part_comes_once_an_epoch) {
  const std::string spec = file("a", 30) + ", " + file("b", 7) + "," + file("c", 1);
  const auto source = open_source(spec, 3);
  ASSERT_EQ(source->size(), 38u);
  const auto first = drawn(spec, 38), second = drawn(spec, 38, 38);
  EXPECT_EQ(std::set<std::string>(first.begin(), first.end()).size(), 38u);
  EXPECT_EQ(std::set<std::string>(second.begin(), second.end()).size(), 38u);
  EXPECT_NE(first, second);
  EXPECT_NE(std::string(1, first[0][0]) + first[1][0] + first[2][0] + first[3][0] + first[4][0] + first[30][0], "aaaaab")
      << "mixed";
  const auto ordered = drawn(file("a", 2) + "?shuffle=0, " + file("b", 2) + "?shuffle=0", 6);
  EXPECT_EQ(ordered, (std::vector<std::string>{"a0", "a1", "b0", "b1", "a0", "a1"}));
}

TEST_F(MixtureTest, what_is_made_is_mixed_in_by_weight) {
  const std::string spec = file("a", 5) + "?weight=1, tiny:reasoning?weight=4&find=0.5";
  const auto source = open_source(spec, 0);
  EXPECT_EQ(source->size(), std::nullopt);
  int files = 0;
  for (uint64_t i = 0; i < 50; ++i) files += source->prompt(i).text[0] == 'a';
  EXPECT_EQ(files, 10);
  EXPECT_TRUE(is_endless(spec));
  EXPECT_TRUE(reads_files(spec));
}

TEST_F(MixtureTest, shares_are_exact_where_a_cycle_of_ten_thousand_draws_can_have_them) {
  EXPECT_EQ(cycle_shares({3, 1}), (std::vector<int>{3, 1}));
  EXPECT_EQ(cycle_shares({0.7, 0.2, 0.1}), (std::vector<int>{7, 2, 1}));
  EXPECT_EQ(cycle_shares({1, 1, 1}), (std::vector<int>{1, 1, 1}));
  EXPECT_EQ(cycle_shares({1, 9999}), (std::vector<int>{1, 9999}));
  const auto root = cycle_shares({1, 1.41421356});
  EXPECT_EQ(root, (std::vector<int>{4142, 5858}));
  EXPECT_EQ(cycle_shares({1, 1e6})[0], 0) << "which mix_sources refuses";
}

TEST_F(MixtureTest, bad_mixtures_are_refused_by_name) {
  const std::string a = file("a", 3), b = file("b", 3);
  std::ofstream(dir_ / "e.jsonl") << R"({"prompt": "x", "completion": "y"})";
  const std::string e = "jsonl:" + (dir_ / "e.jsonl").string();
  EXPECT_NE(refusal(a + "?weight=1, " + b).find("other parts of the source have a weight, '" + b + "' has none"),
            std::string::npos);
  EXPECT_NE(refusal(a + ", tiny:reasoning").find("'tiny:reasoning' has no end"), std::string::npos);
  EXPECT_NE(refusal(a + ", " + e).find("and '" + e + "' examples"), std::string::npos);
  EXPECT_NE(refusal(a + "?weight=0, " + b + "?weight=1").find("weight=0 is not a number from"), std::string::npos);
  EXPECT_NE(refusal(a + "?weight=nan, " + b + "?weight=1").find("weight=nan"), std::string::npos);
  EXPECT_NE(refusal(a + "?weight=1e-6, " + b + "?weight=1").find("less than once in 10000 draws"), std::string::npos);
  EXPECT_NE(refusal(a + ", b.jsonl").find("a file is 'jsonl:b.jsonl'"), std::string::npos);
  std::string many = a;
  for (int i = 0; i < 256; ++i) many += ", " + a;
  EXPECT_NE(refusal(many).find("at most 256 can be mixed"), std::string::npos);
  EXPECT_NE(refusal(" , ").find("unknown source"), std::string::npos);
}

TEST_F(MixtureTest, a_comma_parts_sources_only_where_another_one_follows) {
  EXPECT_EQ(split_sources("tiny:reasoning, jsonl:a.jsonl?weight=1,tiny:general_prompts"),
            (std::vector<std::string>{"tiny:reasoning", "jsonl:a.jsonl?weight=1", "tiny:general_prompts"}));
  EXPECT_EQ(split_sources("jsonl:a,b.jsonl"), (std::vector<std::string>{"jsonl:a,b.jsonl"}));
  EXPECT_EQ(located_source("jsonl:a.jsonl, tiny:reasoning, jsonl:/b.jsonl", "/d"),
            "jsonl:/d/a.jsonl, tiny:reasoning, jsonl:/b.jsonl");
}

// ---- held out of one file

TEST_F(MixtureTest, a_record_is_in_one_part_of_its_file_whatever_the_seed_and_the_order) {
  const std::string a = file("a", 2000);
  const auto part = [&](const std::string& options, uint64_t seed) {
    const auto source = open_source(a + options, seed);
    std::set<std::string> out;
    for (uint64_t i = 0; i < *source->size(); ++i) out.insert(source->prompt(i).text);
    EXPECT_EQ(out.size(), *source->size());
    return out;
  };
  const auto train = part("?split=train&held_out=0.1", 1), test = part("?split=test&held_out=0.1&shuffle=0", 2);
  EXPECT_EQ(train.size() + test.size(), 2000u);
  for (const std::string& p : test) EXPECT_EQ(train.count(p), 0u);
  EXPECT_NEAR(static_cast<double>(test.size()), 200, 4 * std::sqrt(2000 * 0.1 * 0.9));
  EXPECT_EQ(part("?split=test&held_out=0.1", 9), test);
  EXPECT_NE(part("?split=test&held_out=0.1&split_seed=1", 9), test);
  const auto smaller = part("?split=test&held_out=0.05", 1);
  for (const std::string& p : smaller) EXPECT_EQ(test.count(p), 1u) << "a smaller part is part of a larger one";
}

TEST_F(MixtureTest, equal_lines_are_in_the_same_part_and_places_are_those_of_the_file) {
  std::ofstream out(dir_ / "d.jsonl");
  for (int i = 0; i < 100; ++i)
    out << R"({"prompt": "p)" << i % 10 << R"(", "answer": "1"})"
        << "\n\n";
  out.close();
  const auto test = open_source("jsonl:" + (dir_ / "d.jsonl").string() + "?split=test&held_out=0.5&shuffle=0", 0);
  EXPECT_EQ(*test->size() % 10, 0u);
  const int number = test->place(0).line;
  EXPECT_EQ(test->prompt(0).text, "p" + std::to_string((number - 1) / 2 % 10));
}

TEST_F(MixtureTest, bad_parts_of_a_file_are_refused_by_name) {
  const std::string a = file("a", 3);
  EXPECT_NE(refusal(a + "?split=test").find("split=test of how much?"), std::string::npos);
  EXPECT_NE(refusal(a + "?held_out=0.1").find("not which part this is"), std::string::npos);
  EXPECT_NE(refusal(a + "?split=dev&held_out=0.1").find("split=dev is no part"), std::string::npos);
  EXPECT_NE(refusal(a + "?split=test&held_out=1").find("held_out=1 is not a number from"), std::string::npos);
  EXPECT_NE(refusal(a + "?split=test&held_out=0.1&split_seed=0.5").find("split_seed=0.5 is not a whole number"),
            std::string::npos);
  EXPECT_NE(refusal(a + "?split=test&held_out=0.000001").find("none of its 3 records is in split=test"), std::string::npos);
  EXPECT_NE(refusal(a + "?spilt=test").find("did you mean 'split'"), std::string::npos);
}

}  // namespace
}  // namespace r1
