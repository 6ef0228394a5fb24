// r1-eval as a user runs it.
#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/e2e/model_fixture.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct EvalTest : ModelTest {
  Result eval(const std::string& arguments) const { return shell(std::string(R1_EVAL) + " " + model() + " " + arguments); }
  std::string data(int prompts) const {
    std::string lines;
    for (int i = 0; i < prompts; ++i)
      lines += json{{"question", "compute " + std::to_string(i) + " + 1"}, {"answer", std::to_string(i + 1)}}.dump() + "\n";
    return file("d.jsonl", lines) + "?prompt=question\\&template=tiny\\&shuffle=0";
  }
  static std::vector<json> lines_of(const std::string& text) {
    std::vector<json> out;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) out.push_back(json::parse(line));
    return out;
  }
};

TEST_F(EvalTest, json_says_what_the_responses_in_the_file_add_up_to_and_a_seed_repeats_itself) {
  const std::string ask =
      "--data " + data(6) + " --rewards '0.5 * format + 0.01 * length' --max-tokens 12 --samples 3 --json --out ";
  const Result first = eval(ask + "a.jsonl"), again = eval(ask + "b.jsonl --max-running 2"),
               other = eval(ask + "c.jsonl --seed 4");
  ASSERT_EQ(first.code, 0) << first.err;
  const json j = json::parse(first.out);
  EXPECT_EQ(j.at("prompts"), 6);
  EXPECT_EQ(j.at("responses"), 18);
  EXPECT_EQ(j.at("k"), 3);
  EXPECT_EQ(j.at("temperature"), 0.6);
  EXPECT_EQ(j.at("top_p"), 0.95);
  const std::string text = read_file(top / "a.jsonl");
  EXPECT_EQ(text, read_file(top / "b.jsonl")) << "what is sampled depends on nothing beside it";
  EXPECT_NE(text, read_file(top / "c.jsonl"));
  const auto lines = lines_of(text);
  ASSERT_EQ(lines.size(), 18u);
  double rewards = 0, tokens = 0, cut = 0;
  for (size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(lines[i].at("index"), i / 3);
    EXPECT_EQ(lines[i].at("answer"), json{std::to_string(i / 3 + 1)});
    EXPECT_NEAR(lines[i].at("reward").get<double>(),
                0.5 * lines[i].at("scores").at("format").get<double>() + 0.01 * lines[i].at("tokens").get<double>(), 1e-9);
    rewards += lines[i].at("reward").get<double>();
    tokens += lines[i].at("tokens").get<double>();
    cut += !lines[i].at("finished").get<bool>();
  }
  EXPECT_NEAR(j.at("reward").at("mean").get<double>(), rewards / 18, 1e-9);
  EXPECT_NEAR(j.at("tokens").at("mean").get<double>(), tokens / 18, 1e-9);
  EXPECT_NEAR(j.at("truncated").get<double>(), cut / 18, 1e-9);
  EXPECT_EQ(j.at("pass@1"), 0);
  (void)other;
}

TEST_F(EvalTest, a_table_has_a_row_a_source_and_one_of_all) {
  const Result r =
      eval("--data tiny:reasoning_test --data " + data(3) + " --rewards accuracy --max-tokens 8 --limit 5 --greedy -q");
  ASSERT_EQ(r.code, 0) << r.err;
  for (const char* part : {"pass@1 %", "reasoning_test", "\nd ", "\nall", "cut off %"})
    EXPECT_NE(r.out.find(part), std::string::npos) << part << "\n" << r.out;
  EXPECT_EQ(r.out.find("cons@"), std::string::npos) << "one response has no majority";
}

TEST_F(EvalTest, bad_input_is_exit_code_2_and_names_the_option) {
  const std::string good = "--data " + data(2) + " --rewards accuracy ";
  for (const auto& [arguments, word] :
       std::vector<std::pair<std::string, std::string>>{{"--data no.jsonl --rewards math", "no.jsonl"},
                                                        {"--data " + data(2) + " --rewards acuracy", "did you mean 'accuracy'"},
                                                        {good + "--max-tokens 0", "--max-tokens 0"},
                                                        {good + "--samples x", "--samples x"},
                                                        {good + "--temperature -1", "--temperature -1"},
                                                        {good + "--precision f8", "precision"},
                                                        {good + "--out /no/such/dir/x", "/no/such/dir/x"},
                                                        {"--data tiny:reasoning --rewards accuracy", "--limit"},
                                                        {"--data a,b --rewards accuracy", "comma"},
                                                        {"--data tiny:helpful_pairs_test --rewards accuracy", "pairs"},
                                                        {good + "--unknown", "--unknown"},
                                                        {"--data " + data(2), "--rewards"}}) {
    const Result r = eval(arguments);
    EXPECT_EQ(r.code, 2) << arguments << "\n" << r.err << r.out;
    EXPECT_NE(r.err.find(word), std::string::npos) << arguments << "\n" << r.err;
    EXPECT_EQ(r.err.find("digraph"), std::string::npos) << r.err;
  }
  const Result r = shell(std::string(R1_EVAL) + " no-such-model " + good);
  EXPECT_EQ(r.code, 2);
  EXPECT_NE(r.err.find("no-such-model"), std::string::npos) << r.err;
}

TEST_F(EvalTest, the_room_behind_a_prompt_is_no_warning_where_nobody_asked_for_more) {
  const std::string ask = "--data tiny:reasoning_test --rewards accuracy --limit 1 --samples 1 --json";
  const Result own = eval(ask);
  ASSERT_EQ(own.code, 0) << own.err;
  EXPECT_EQ(own.err.find("--max-tokens"), std::string::npos) << own.err;
  const Result asked = eval(ask + " --max-tokens " + json::parse(own.out).at("max_tokens").dump());
  EXPECT_NE(asked.err.find("warning: --max-tokens"), std::string::npos) << asked.err;
}

TEST_F(EvalTest, a_warning_names_the_option_and_not_an_attribute_of_a_graph_that_nobody_wrote) {
  const std::string path =
      file("half.jsonl", "{\"prompt\": \"compute 1 + 1\", \"answer\": \"2\"}\n{\"prompt\": \"compute 1 + 2\"}\n");
  const Result r = eval("--data " + path + "?template=tiny --rewards accuracy --max-tokens 4 --samples 1");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_NE((r.err + r.out).find("warning: --data jsonl:" + path), std::string::npos) << r.err << r.out;
  EXPECT_NE((r.err + r.out).find("1 of 2 prompts"), std::string::npos) << r.err << r.out;
  EXPECT_EQ((r.err + r.out).find("--set"), std::string::npos) << r.err << r.out;
}

TEST_F(EvalTest, what_compares_with_an_answer_that_is_not_there_is_not_measured) {
  const std::string options = "?template=tiny --max-tokens 4 --samples 2 --json --rewards ";
  const std::string none = file("none.jsonl", "{\"prompt\": \"compute 1 + 1\"}\n{\"prompt\": \"compute 1 + 2\"}\n");
  Result r = eval("--data " + none + options + "accuracy --out o.jsonl");
  EXPECT_EQ(r.code, 1) << r.out;
  EXPECT_NE(r.err.find("nothing was measured: no prompt has an answer to compare with"), std::string::npos) << r.err;
  EXPECT_NE(r.err.find("?answer=NAME"), std::string::npos) << r.err;
  json j = json::parse(r.out);
  for (const char* name : {"pass@1", "pass@1_se", "cons@k", "pass@k", "reward"}) EXPECT_TRUE(j.at(name).is_null()) << name;
  EXPECT_EQ(j.at("parts").count("accuracy"), 0u);
  EXPECT_EQ(j.at("without_answer"), 2);
  for (const json& line : lines_of(read_file(top / "o.jsonl"))) {
    EXPECT_TRUE(line.at("reward").is_null() && line.at("passed").is_null()) << line;
    EXPECT_EQ(line.count("error"), 0u);
  }
  r = eval("--data " + none + options + "'if(checkable, accuracy, 0.5 * finished)'");
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_FALSE(json::parse(r.out).at("reward").is_null()) << "such a reward asks for no answer";
  r = eval("--data " + none + options + "'format + exact'");
  EXPECT_EQ(r.code, 0) << r.err;
  j = json::parse(r.out);
  EXPECT_TRUE(j.at("pass@1").is_null());
  EXPECT_EQ(j.at("parts").size(), 1u) << "format was measured";
  const std::string half =
      file("half.jsonl", "{\"prompt\": \"compute 1 + 1\", \"answer\": \"2\"}\n{\"prompt\": \"compute 1 + 2\"}\n");
  r = eval("--data " + half + options + "accuracy");
  EXPECT_EQ(r.code, 0) << r.err;
  j = json::parse(r.out);
  EXPECT_EQ(j.at("reward").at("prompts"), 1);
  EXPECT_EQ(j.at("parts").at("accuracy").at("prompts"), 1);
  EXPECT_EQ(j.at("without_answer"), 1);
}

TEST_F(EvalTest, the_responses_of_last_time_stay_until_the_new_ones_are_whole) {
  const fs::path out = top / "kept.jsonl", partial = top / "kept.jsonl.partial";
  const auto refused = [&](const std::string& arguments, int code) {
    std::ofstream(out) << "of last time";
    const Result r = eval(arguments + " --max-tokens 8 --out kept.jsonl");
    EXPECT_EQ(r.code, code) << arguments << "\n" << r.err;
    EXPECT_EQ(read_file(out), "of last time") << arguments;
    EXPECT_FALSE(fs::exists(partial)) << "nothing came: " << arguments;
  };
  refused("--data " + file("broken.jsonl", "{\"prompt\": \"a\", \"answer\": \"1\"}\n{\n") + " --rewards accuracy", 2);
  refused("--data " + data(2) + " --rewards 'no_such_rule'", 2);
  refused("--data " + file("long.jsonl", json{{"prompt", std::string(20'000, '1')}, {"answer", "1"}}.dump() + "\n") +
              "\\?template=tiny --rewards accuracy",
          1);
  // Some responses, then an end.
  const Result r = shell("timeout -s KILL 60 sh -c 'ulimit -f 1; exec " + std::string(R1_EVAL) + " " + model() + " --data " +
                         data(200) + " --rewards length --max-tokens 8 --out kept.jsonl'");
  EXPECT_NE(r.code, 0) << r.out;
  EXPECT_EQ(read_file(out), "of last time");
  EXPECT_GT(fs::file_size(partial), 0u);
  const Result whole = eval("--data " + data(2) + " --rewards length --max-tokens 8 --out kept.jsonl");
  EXPECT_EQ(whole.code, 0) << whole.err;
  EXPECT_EQ(lines_of(read_file(out)).size(), 8u);
  EXPECT_FALSE(fs::exists(partial));
}

TEST_F(EvalTest, responses_are_not_written_over_what_is_read) {
  const std::string source = data(2);
  const std::string before = read_file(top / "d.jsonl");
  const Result r = eval("--data " + source + " --rewards length --max-tokens 8 --out d.jsonl");
  EXPECT_EQ(r.code, 2) << r.err;
  EXPECT_NE(r.err.find("--out d.jsonl"), std::string::npos) << r.err;
  EXPECT_EQ(read_file(top / "d.jsonl"), before);
}

TEST_F(EvalTest, says_who_it_is_and_gives_examples) {
  const Result version = eval("--version"), help = eval("--help");
  EXPECT_EQ(version.code, 0);
  EXPECT_NE(version.out.find("r1-eval"), std::string::npos);
  EXPECT_NE(help.out.find("Examples:"), std::string::npos);
}

}  // namespace
}  // namespace r1
