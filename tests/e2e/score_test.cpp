// r1-score: lines in, the same lines with rewards out, in order; what cannot be scored and what is no input are told apart.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/files.h"
#include "base/line_process.h"
#include "tests/source_dir.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct ScoreTest : ::testing::Test {
  fs::path dir = fs::temp_directory_path() / ("r1_score_" + std::to_string(::getpid()));
  void SetUp() override { fs::create_directories(dir); }
  void TearDown() override { fs::remove_all(dir); }

  struct Result {
    int code;
    std::string out, err;
    std::vector<json> lines;
  };
  Result score(const std::string& expression, const std::string& input, const std::string& more = "",
               const std::string& from = "< in.jsonl") {
    std::ofstream(dir / "in.jsonl") << input;
    const std::string source = from == "< in.jsonl" ? "< " + (dir / "in.jsonl").string() : from;
    std::ofstream(dir / "expression") << expression;
    const std::string out = (dir / "out").string(), err = (dir / "err").string();
    const int status =
        std::system(("cd " + (source_dir() / "tests/rewards/programs").string() + " && " + R1_SCORE + " --rewards \"$(cat " +
                     (dir / "expression").string() + ")\" " + more + " " + source + " > " + out + " 2> " + err)
                        .c_str());
    Result r{WEXITSTATUS(status), read_file(out), read_file(err), {}};
    std::istringstream lines(r.out);
    for (std::string line; std::getline(lines, line);) r.lines.push_back(json::parse(line));
    return r;
  }
};

const std::string kLine =
    R"({"prompt": "what is 1/2?", "answer": "0.5", "response": "\\boxed{\\frac12}", "kind": "sum", "note": [1]})";

TEST_F(ScoreTest, every_line_comes_back_as_it_was_with_its_reward_and_scores) {
  const std::string timed = kLine.substr(0, kLine.size() - 1) + R"(, "tokens": 0})";
  const Result r =
      score("math * if(kind_sum, 2, 1) + 0.01 * length",
            timed + "\n\n" + R"({"z": 1, "prompt": "p", "answers": ["x", "3"], "response": "3", "tokens": 5, "reward": 9})");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(
      r.out.substr(0, r.out.find('\n')),
      R"({"prompt":"what is 1/2?","answer":"0.5","response":"\\boxed{\\frac12}","kind":"sum","note":[1],"tokens":0,"reward":2.0,)"
      R"("scores":{"kind_sum":1.0,"length":0.0,"math":1.0}})");
  ASSERT_EQ(r.lines.size(), 2u);
  EXPECT_EQ(r.lines[1]["reward"], 1.05) << "the old one is replaced";
  EXPECT_EQ(r.lines[1]["z"], 1);
}

TEST_F(ScoreTest, lines_stay_in_order_whoever_is_done_first_and_a_program_scores_them) {
  std::string input;
  for (int i = 0; i < 300; ++i) input += json{{"prompt", "p"}, {"response", std::to_string(i)}, {"i", i}}.dump() + "\n";
  const Result r = score("if(finished, command('python3 hostile.py good'), 0)", input, "--workers 3");
  ASSERT_EQ(r.code, 0) << r.err;
  ASSERT_EQ(r.lines.size(), 300u);
  for (int i = 0; i < 300; ++i) EXPECT_EQ(r.lines[static_cast<size_t>(i)]["reward"], i);
}

TEST_F(ScoreTest, a_line_that_cannot_be_scored_says_why_and_is_counted) {
  const Result r = score("1 / math", kLine + "\n" + R"({"prompt": "p", "answer": "3", "response": "4"})" + "\n" + kLine);
  EXPECT_EQ(r.code, 1);
  ASSERT_EQ(r.lines.size(), 3u);
  EXPECT_TRUE(r.lines[1]["reward"].is_null());
  EXPECT_EQ(r.lines[1]["error"], "the reward expression '1 / math' gives inf");
  EXPECT_NE(r.err.find("1 of 3 lines could not be scored; the first, line 2: the reward expression"), std::string::npos)
      << r.err;
}

TEST_F(ScoreTest, lines_without_an_answer_to_compare_with_are_counted) {
  const std::string none = R"({"prompt": "p", "response": "3"})";
  const Result r = score("math + 0 * finished", kLine + "\n" + none + "\n" + none);
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(r.err, "r1-score: warning: 2 of 3 lines have no \"answer\" to compare with: math is 0 for them\n");
  EXPECT_EQ(score("finished", none).err, "");
  EXPECT_EQ(score("math + 0 * finished", none).code, 0);
  const Result nothing = score("2 * math + accuracy", none + "\n" + none);
  EXPECT_EQ(nothing.code, 1) << "a 0 for every line is no measurement";
  EXPECT_NE(nothing.err.find("nothing was scored: no line has an answer"), std::string::npos) << nothing.err;
}

TEST_F(ScoreTest, a_length_that_no_line_says_is_refused_and_not_0) {
  for (const char* expression : {"math + 0.01 * length", "math + overlong(100, 50)"}) {
    const Result r = score(expression, kLine + "\n");
    EXPECT_EQ(r.code, 2) << expression << r.out;
    EXPECT_NE(r.err.find("standard input:1: no \"tokens\", and the expression measures length"), std::string::npos) << r.err;
  }
  EXPECT_EQ(score("math + overlong(think_length, 100, 50)", kLine).code, 0) << "words are in the text";
}

TEST_F(ScoreTest, a_program_hears_a_length_only_where_a_line_says_one) {
  const std::string counted = kLine.substr(0, kLine.size() - 1) + R"(, "tokens": 0})";
  const Result r = score("command('python3 -m r1_reward functions.py:counted')", counted + "\n" + kLine);
  EXPECT_EQ(r.code, 1) << r.err;
  ASSERT_EQ(r.lines.size(), 2u) << r.err;
  EXPECT_EQ(r.lines[0]["reward"], 0.0);
  EXPECT_TRUE(r.lines[1]["reward"].is_null()) << r.lines[1];
  EXPECT_NE(r.lines[1].value("error", "").find("it takes tokens, and there is no such field or fact"), std::string::npos)
      << r.out;
}

TEST_F(ScoreTest, what_is_no_input_ends_it_with_its_line_after_what_came_before) {
  for (const auto& [bad, words] : std::vector<std::pair<std::string, std::string>>{
           {"{\"prompt\": \"p\"}", "standard input:3: no \"response\""},
           {"[1]", "standard input:3: a line is an object"},
           {"{\"prompt\": \"p\", \"response\": \"x\"", "standard input:3:"},
           {"{\"response\": \"x\"}", "standard input:3"},
           {R"({"prompt": "p", "response": "x", "finished": 2})", "standard input:3: \"finished\" is true or false"},
           {R"({"prompt": "p", "response": "x", "tokens": -1})", "standard input:3: \"tokens\""},
           {R"({"prompt": [{"role": 1}], "response": "x"})", "standard input:3: a conversation is a list"}}) {
    const Result r = score("math", kLine + "\n\n" + bad + "\n" + kLine + "\n");
    EXPECT_EQ(r.code, 2) << bad;
    EXPECT_NE(r.err.find(words), std::string::npos) << bad << ": " << r.err;
    ASSERT_EQ(r.lines.size(), 1u) << bad;
    EXPECT_EQ(r.lines[0]["reward"], 1);
  }
}

TEST_F(ScoreTest, nothing_to_score_and_an_input_that_cannot_be_read_are_bad_input) {
  for (const char* input : {"", "\n", " \n\n"}) {
    const Result r = score("math", input);
    EXPECT_EQ(r.code, 2) << r.err;
    EXPECT_NE(r.err.find("no line came"), std::string::npos) << r.err;
  }
  for (const std::string& input : {"< " + dir.string(), std::string("<&-")}) {
    const Result r = score("math", kLine, "", input);
    EXPECT_EQ(r.code, 2) << r.err;
    EXPECT_NE(r.err.find("standard input: cannot be read"), std::string::npos) << r.err;
  }
}

TEST_F(ScoreTest, a_name_that_no_line_answers_is_refused_and_one_that_some_lack_is_0_there) {
  const Result unknown = score("math * kind_sun", kLine + "\n" + kLine + "\n");
  EXPECT_EQ(unknown.code, 2);
  EXPECT_EQ(unknown.out, "");
  EXPECT_NE(unknown.err.find("uses 'kind_sun'"), std::string::npos) << unknown.err;
  const Result slip = score("mth", kLine + "\n");
  EXPECT_EQ(slip.code, 2);
  EXPECT_NE(slip.err.find("did you mean 'math'?"), std::string::npos) << slip.err;
  const Result some = score("1 + kind_sum", R"({"prompt": "p", "response": "x"})" + std::string("\n") + kLine);
  ASSERT_EQ(some.code, 0) << some.err;
  EXPECT_EQ(some.lines[0]["reward"], 1);
  EXPECT_EQ(some.lines[1]["reward"], 2);
}

TEST_F(ScoreTest, an_answer_that_would_be_rounded_is_refused_with_its_line) {
  const Result r =
      score("math", R"({"prompt": "p", "answer": 12345678901234567890123, "response": "12345678901234567890123"})");
  EXPECT_EQ(r.code, 2) << r.out;
  EXPECT_NE(r.err.find("beyond 64 bits"), std::string::npos) << r.err;
}

TEST_F(ScoreTest, a_programs_part_with_the_name_of_a_rule_or_metric_is_refused_or_left_out) {
  const std::string line = R"({"prompt": "p", "response": "bad"})";
  const auto says = [](const std::string& parts) {
    return "command('python3 hostile.py says {~score~:1,~parts~:{~length~:3,~reward~:9,~mine~:2}}'" + parts + ")";
  };
  const Result r = score(says(""), line);
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(r.lines.at(0)["scores"].size(), 2u) << r.out;
  EXPECT_EQ(r.lines.at(0)["scores"]["mine"], 2) << r.out;
  EXPECT_EQ(score(says(",'mine'"), line).err, "");
  const Result missing = score(says(",'mine','yours'"), line);
  EXPECT_EQ(missing.code, 0) << missing.err;
  EXPECT_NE(missing.err.find("the part 'yours' that the expression declares came with none of 1 responses"), std::string::npos)
      << missing.err;
  const Result declared = score(says(",'length'"), line);
  EXPECT_EQ(declared.code, 2);
  EXPECT_NE(declared.err.find("length"), std::string::npos) << declared.err;
}

TEST_F(ScoreTest, arguments_are_checked_before_anything_is_read) {
  for (const auto& [expression, more, words] : std::vector<std::tuple<std::string, std::string, std::string>>{
           {"math *", "", "--rewards:1:7: the reward expression ends too early"},
           {"command('nobody_has_this x')", "", "no program 'nobody_has_this'"},
           {"rm", "--model rm", "expected NAME=DIRECTORY"},
           {"rm", "--model rm=/nowhere", "no such model directory"},
           {"math", "--model math=/tmp", "the name 'math' is taken"},
           {"math", "--workers 0", "--workers"},
           {"math", "--wokers 2", "--wokers"}}) {
    const Result r = score(expression, kLine + "\n", more);
    EXPECT_EQ(r.code, 2) << expression << more;
    EXPECT_EQ(r.out, "");
    EXPECT_NE(r.err.find(words), std::string::npos) << expression << more << ": " << r.err;
  }
}

TEST_F(ScoreTest, what_is_scored_is_written_while_the_input_waits) {
  LineProcess p({{R1_SCORE, "--rewards", "math"}, "", {}}, {});
  for (int i = 0; i < 3; ++i) {
    const auto reply = p.exchange(kLine, 60, nullptr);
    ASSERT_EQ(reply.outcome, LineProcess::Outcome::line);
    EXPECT_EQ(json::parse(reply.line)["reward"], 1);
  }
  EXPECT_EQ(p.finish(60).value_or(""), "exit code 0");
  LineProcess bad({{R1_SCORE, "--rewards", "math"}, "", {}}, {});
  EXPECT_EQ(bad.exchange("[]", 60, nullptr).how, "exit code 2") << "it does not wait for more";
}

}  // namespace
}  // namespace r1
