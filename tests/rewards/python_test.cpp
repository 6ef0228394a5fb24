// python/r1_reward.py: functions of other trainers are served as they are, and what they do wrong is an error of one
// completion.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <mutex>
#include <nlohmann/json.hpp>

#include "base/line_process.h"
#include "rewards/expression_scorer.h"
#include "rewards/program_calls.h"
#include "rewards/score_protocol.h"
#include "tests/source_dir.h"

namespace r1 {
namespace {

using nlohmann::json;

struct Python : ::testing::Test {
  std::mutex mutex;
  std::string errors;

  ProcessSpec spec(const std::string& target) const {
    return {{"python3", "-m", "r1_reward", target},
            source_dir() / "tests/rewards/programs",
            {"PYTHONPATH=" + (source_dir() / "python").string()}};
  }
  LineProcessOptions noting() {
    LineProcessOptions options;
    options.on_error_line = [this](const std::string& line) {
      std::lock_guard lock(mutex);
      errors += line + "\n";
    };
    return options;
  }
  // The answers of functions.py's `function` to requests, one after the other.
  std::vector<json> ask_all(const std::string& function, const std::vector<json>& requests) {
    std::vector<json> answers;
    LineProcess process(spec("functions.py:" + function), noting());
    const auto ready = process.read_line(60, nullptr);
    EXPECT_TRUE(says_ready(ready.line)) << function << ": " << ready.line << ready.how << process.last_words();
    for (const json& request : requests) {
      const auto reply = process.exchange(request.dump(), 60, nullptr);
      answers.push_back(reply.outcome == LineProcess::Outcome::line ? json::parse(reply.line) : json(reply.how));
    }
    EXPECT_EQ(process.finish(60).value_or("no end"), "exit code 0") << "it ends when its input does";
    return answers;
  }
  json ask(const std::string& function, const json& request) { return ask_all(function, std::vector<json>{request}).at(0); }
};

const json kRequest = {{"id", 7},
                       {"prompt", "what is 1 + 1?"},
                       {"response", "2"},
                       {"answer", "2"},
                       {"answers", {"2", "two"}},
                       {"finished", true},
                       {"tokens", 2},
                       {"facts", {{"kind", "sum"}, {"data_source", "gsm8k"}}}};

TEST_F(Python, functions_of_trl_are_served_as_they_are) {
  EXPECT_EQ(ask("reward_len", kRequest), json({{"id", 7}, {"score", -19.0}}));
  json wrong = kRequest;
  wrong["response"] = "3";
  const auto two = ask_all("reward_equal", {kRequest, wrong});
  EXPECT_EQ(two[0]["score"], 1.0);
  EXPECT_EQ(two[1]["score"], 0.0);
  json chat = kRequest;
  chat["messages"] = {{{"role", "user"}, {"content", "what is 1 + 1?"}}};
  EXPECT_EQ(ask("reward_chat", chat)["score"], 1.0) << "conversations are lists of messages, completions too";
  EXPECT_EQ(ask("reward_async", kRequest)["score"], 0.25);
  EXPECT_NE(ask("gives_two", kRequest)["error"].get<std::string>().find("a list with a score for each completion"),
            std::string::npos);
}

TEST_F(Python, functions_of_verl_are_served_as_they_are) {
  EXPECT_EQ(ask("compute_score", kRequest), json({{"id", 7}, {"score", 1.0}, {"parts", {{"acc", 1.0}}}}));
  EXPECT_EQ(ask("compute_number", kRequest)["score"], 1.0);
}

TEST_F(Python, a_function_takes_fields_and_facts_by_name_and_gives_parts) {
  EXPECT_EQ(ask("with_parts", kRequest)["parts"], json({{"n", 2.0}, {"sum", 1.0}, {"tokens", 2.0}}));
}

TEST_F(Python, what_a_function_or_its_child_prints_goes_to_stderr_and_requests_are_not_its_to_read) {
  const auto answers = ask_all("loud", {kRequest, kRequest});
  for (const json& a : answers) EXPECT_EQ(a, json({{"id", 7}, {"score", 1.0}}));
  for (const char* word : {"a word on stdout", "a word on file 1", "a word of a child"})
    EXPECT_NE(errors.find(word), std::string::npos) << errors;
}

TEST_F(Python, an_exception_is_an_error_with_the_last_line_of_its_traceback_and_the_next_completion_is_scored) {
  const auto answers = ask_all("raises", {kRequest, kRequest});
  for (const json& a : answers) EXPECT_EQ(a, json({{"id", 7}, {"error", "ValueError: no such unit: 2"}}));
  EXPECT_NE(errors.find("Traceback (most recent call last)"), std::string::npos);
  EXPECT_EQ(ask("leaves", kRequest)["error"], "SystemExit: 3");
  for (const char* f : {"gives_none", "gives_nan", "gives_text"}) {
    const json a = ask(f, kRequest);
    EXPECT_TRUE(a.contains("error") && !a.contains("score")) << f << a;
  }
}

TEST_F(Python, a_child_that_the_function_forks_never_answers_in_its_place) {
  json raises = kRequest, leaves = kRequest;
  raises["response"] = "raises";
  leaves["response"] = "leaves";
  const auto answers = ask_all("forks", {kRequest, raises, leaves, kRequest});
  EXPECT_EQ(answers.at(0), json({{"id", 7}, {"score", 1.0}})) << "its parent's, which saw it end";
  EXPECT_EQ(answers.at(1), json({{"id", 7}, {"score", 1.0}}));
  EXPECT_EQ(answers.at(2), json({{"id", 7}, {"score", 3.0}}));
  EXPECT_EQ(answers.at(3), json({{"id", 7}, {"score", 1.0}})) << "and no line of a child stands between";
  EXPECT_NE(errors.find("a child process came back from the reward"), std::string::npos) << errors;
  EXPECT_NE(errors.find("a word of a child that failed"), std::string::npos) << errors;
}

TEST_F(Python, a_parameter_that_no_fact_answers_is_an_error_and_not_a_none_to_compare_with) {
  const std::string error = ask("wants_solution", kRequest).value("error", "");
  EXPECT_NE(error.find("it takes solution, and there is no such field or fact, only answer, answers,"), std::string::npos)
      << error;
  json with = kRequest, without = kRequest, uncounted = kRequest;
  uncounted.erase("tokens");
  EXPECT_EQ(ask("counted", kRequest)["score"], 2.0);
  EXPECT_NE(ask("counted", uncounted).value("error", "").find("it takes tokens, and"), std::string::npos);
  EXPECT_EQ(ask("with_parts", uncounted)["parts"]["tokens"], 0.0) << "its own default";
  with["facts"]["solution"] = "2";
  EXPECT_EQ(ask("wants_solution", with)["score"], 1.0);
  without.erase("answer");
  without.erase("answers");
  EXPECT_EQ(ask("wants_answer", without)["score"], 1.0) << "a prompt may have no answer";
}

TEST_F(Python, the_id_is_that_of_the_data_where_it_has_one) {
  json with = kRequest;
  with["facts"]["id"] = "train-17";
  EXPECT_EQ(ask("wants_id", with)["score"], 1.0);
  EXPECT_EQ(ask("wants_id", kRequest)["parts"]["of_request"], 1.0);
}

TEST_F(Python, what_is_no_reward_is_said_before_the_first_request) {
  for (const auto& [target, words] : std::vector<std::pair<std::string, std::string>>{
           {"functions.py:takes_nothing", "a reward takes completions (TRL), solution_str (verl), or response"},
           {"functions.py:not_a_function", "functions.py has no function not_a_function"},
           {"functions.py:nobody", "functions.py has no function nobody"},
           {"nothing.py:f", "No such file"}}) {
    LineProcess process(spec(target), {});
    const auto reply = process.read_line(60, nullptr);
    EXPECT_EQ(reply.outcome, LineProcess::Outcome::ended) << target;
    EXPECT_NE(process.last_words().find(words), std::string::npos) << target << ": " << process.last_words();
  }
  LineProcess only_one(spec("functions.py"), {});  // without a name: the one that is marked
  EXPECT_TRUE(says_ready(only_one.read_line(60, nullptr).line));
}

TEST_F(Python, the_examples_run_or_say_what_they_need) {
  const auto examples = source_dir() / "python/examples";
  ProcessSpec own = spec("");
  own.words = {"python3", (examples / "my_reward.py").string()};
  LineProcess mine(own, {});
  ASSERT_TRUE(says_ready(mine.read_line(60, nullptr).line));
  const auto answer = read_score_answer(mine.exchange(kRequest.dump(), 60, nullptr).line, 7);
  EXPECT_EQ(answer.result.parts.at("right"), 1) << answer.nonsense;
  EXPECT_GT(answer.result.score.value_or(0), 1);
  ProcessSpec other = own;
  other.words = {"python3", "-S", (examples / "math_verify_reward.py").string()};  // -S: no package is found
  LineProcess verify(other, {});
  EXPECT_EQ(verify.read_line(60, nullptr).outcome, LineProcess::Outcome::ended);
  EXPECT_NE(verify.last_words().find("pip install math-verify"), std::string::npos) << verify.last_words();
}

struct Http : Python {
  LineProcess server{{{"python3", "server.py"}, source_dir() / "tests/rewards/programs", {}}, {}};
  std::string port = server.read_line(60, nullptr).line;
  ProgramOptions options;

  ItemScore score(const std::string& path, const std::string& address = "") {
    const std::string at = address.empty() ? "http://127.0.0.1:" + port + "/" + path : address;
    auto parsed = RewardExpression::parse("http('" + at + "')");
    options.workers = 1;
    ExpressionScorer scorer(parsed, open_programs(parsed, options));
    auto item = std::make_shared<ScoreItem>();
    item->response = "2";
    scorer.add(0, item);
    while (true)
      if (auto done = scorer.next(1); !done.empty()) return done[0].second;
  }
  void expect_error(const std::string& path, const std::string& reason) {
    const ItemScore s = score(path);
    EXPECT_FALSE(s.reward) << path;
    EXPECT_NE(s.error.find(reason), std::string::npos) << path << ": " << s.error;
  }
};

TEST_F(Http, a_server_scores_and_gives_parts) {
  const ItemScore s = score("good");
  EXPECT_EQ(s.reward, 1) << s.error;
  EXPECT_EQ(s.parts.at("two"), 2);
}

TEST_F(Http, what_a_server_does_wrong_for_a_moment_is_tried_again) {
  EXPECT_EQ(score("busy_twice").reward, 3);
  EXPECT_EQ(score("fails_once").reward, 2);
  EXPECT_EQ(score("breaks").reward, 2);
}

TEST_F(Http, what_a_server_does_wrong_for_good_is_an_error_with_its_reason) {
  expect_error("fails", "it answered with HTTP status 500: out of memory");
  expect_error("not_found", "it answered with HTTP status 404: no such path");
  expect_error("moved", "it answered with HTTP status 302");
  expect_error("garbage", "it answered '<html>hello</html>', which is no JSON");
  expect_error("floods", "it answered with more than 1048576 bytes");
  options.timeout_s = 1;
  expect_error("hangs", "it did not answer within 1 s");
  expect_error("drips", "it did not answer within 1 s");
  const ItemScore nobody = score("", "http://127.0.0.1:9/score");
  EXPECT_NE(nobody.error.find("Failed to connect"), std::string::npos) << nobody.error;
  const ItemScore no_host = score("", "http://no-such-host.invalid/score");
  EXPECT_FALSE(no_host.reward);
  EXPECT_NE(no_host.error, "");
}

TEST_F(Http, r1_reward_serves_over_http_too) {
  ProcessSpec s = spec("functions.py:reward_len");
  s.words.insert(s.words.end(), {"--http", "0"});
  LineProcess process(s, noting());
  const auto address = [&] {
    std::lock_guard lock(mutex);
    const size_t at = errors.find("http://");
    return at == std::string::npos ? "" : errors.substr(at, errors.find('\n', at) - at);
  };
  while (address().empty() && process.read_line(0.05, nullptr).outcome == LineProcess::Outcome::timed_out) {
  }
  EXPECT_EQ(score("", address()).reward, -19);
}

}  // namespace
}  // namespace r1
