// Rewards that are programs: whatever a program does - hang, die, flood, lie - the completion that met it has an error with a
// reason, the others have their scores, and nothing is left behind.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "base/clock.h"
#include "base/error.h"
#include "base/files.h"
#include "base/stop.h"
#include "rewards/expression_scorer.h"
#include "rewards/program_calls.h"
#include "rewards/score_protocol.h"
#include "rewards/worker_pool.h"
#include "tests/source_dir.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

ScoreItemPtr item(const std::string& response, Facts facts = {}) {
  auto i = std::make_shared<ScoreItem>();
  i->prompt = "compute 1 + 1";
  i->response = response;
  i->facts = std::move(facts);
  i->finished = true;
  i->tokens = 3;
  return i;
}

struct Program : ::testing::Test {
  fs::path dir = fs::temp_directory_path() / ("r1_program_" + std::to_string(::getpid()));
  ProgramOptions options;
  std::mutex mutex;
  std::vector<std::string> log;
  void SetUp() override {
    fs::create_directories(dir);
    options.directory = source_dir() / "tests/rewards/programs";
    options.workers = 2;
    options.timeout_s = 20;
    options.log = [this](const std::string& line) {
      std::lock_guard lock(mutex);
      log.push_back(line);
    };
  }
  void TearDown() override { fs::remove_all(dir); }
  std::string logged() {
    std::lock_guard lock(mutex);
    std::string all;
    for (const std::string& line : log) all += line + "\n";
    return all;
  }

  // The scores of `responses` by one expression.
  std::vector<ItemScore> score(const std::string& expression, const std::vector<std::string>& responses, Facts facts = {}) {
    auto parsed = RewardExpression::parse(expression);
    ExpressionScorer scorer(parsed, open_programs(parsed, options));
    for (size_t i = 0; i < responses.size(); ++i) scorer.add(i, item(responses[i], facts));
    std::vector<ItemScore> out(responses.size());
    while (scorer.under_way() > 0)
      for (auto& [key, s] : scorer.next(1)) out[key] = std::move(s);
    return out;
  }
  static std::string hostile(const std::string& words) { return "command('python3 hostile.py " + words + "')"; }
  // Of "1", "bad", "2": the others are scored, the bad one is an error that says `reason`.
  void expect_one_error(const std::string& words, const std::string& reason) {
    SCOPED_TRACE(words);
    const auto scores = score(hostile(words), {"1", "bad", "2"});
    EXPECT_EQ(scores[0].reward, 1) << scores[0].error;
    EXPECT_EQ(scores[2].reward, 2) << scores[2].error;
    EXPECT_FALSE(scores[1].reward);
    EXPECT_NE(scores[1].error.find("'hostile.py' gives no score: "), std::string::npos) << scores[1].error;
    EXPECT_NE(scores[1].error.find(reason), std::string::npos) << scores[1].error;
  }
};

TEST_F(Program, scores_many_completions_in_any_order_and_each_has_its_own) {
  std::vector<std::string> responses;
  for (int i = 0; i < 200; ++i) responses.push_back(std::to_string(i));
  const auto scores = score(hostile("good"), responses);
  for (int i = 0; i < 200; ++i) EXPECT_EQ(scores[static_cast<size_t>(i)].reward, i);
}

TEST_F(Program, hangs_and_its_completion_is_an_error_within_the_time_limit) {
  options.timeout_s = 1;
  options.start_s = 5;
  options.retries = 0;
  expect_one_error("hangs", "it did not answer within ");
  EXPECT_NE(logged().find("hostile.py worker "), std::string::npos) << logged();
}

TEST_F(Program, has_the_time_of_its_start_until_its_first_answer_and_never_again) {
  options.workers = 1;
  options.timeout_s = 0.5;
  options.start_s = 60;
  options.retries = 0;
  auto parsed = RewardExpression::parse(hostile("hangs"));
  ExpressionScorer scorer(parsed, open_programs(parsed, options));
  std::vector<ItemScore> scores;
  for (const char* response : {"1", "bad"}) {
    scorer.add(scores.size(), item(response));
    while (scorer.under_way() > 0)
      for (auto& [key, s] : scorer.next(1)) scores.push_back(std::move(s));
  }
  ASSERT_EQ(scores.size(), 2u);
  EXPECT_EQ(scores[0].reward, 1) << scores[0].error;
  EXPECT_NE(scores[1].error.find("it did not answer within 0.5 s"), std::string::npos) << scores[1].error;
}

TEST_F(Program, dies_and_is_started_again_and_the_completion_tried_again) {
  const auto scores = score(hostile("crashes_after 3"), {"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"});
  for (size_t i = 0; i < scores.size(); ++i) EXPECT_EQ(scores[i].reward, static_cast<double>(i + 1)) << scores[i].error;
  EXPECT_NE(logged().find("is ended: it ended (signal 11"), std::string::npos) << logged();
}

TEST_F(Program, that_writes_a_line_too_many_is_started_again_and_no_answer_is_taken_for_another_one) {
  options.workers = 1;
  const auto scores = score(hostile("twice"), {"1", "2", "3", "4"});
  for (size_t i = 0; i < scores.size(); ++i) EXPECT_EQ(scores[i].reward, static_cast<double>(i + 1)) << scores[i].error;
  EXPECT_NE(logged().find("after its last answer, when nothing was asked"), std::string::npos) << logged();
}

TEST_F(Program, says_nonsense_and_nothing_else) {
  expect_one_error("garbage", "it answered 'Traceback? no, hello', which is no JSON");
  expect_one_error("flood", "it wrote a line of more than 1048576 bytes");
  expect_one_error("wrong_id", "it answered for id ");
  expect_one_error("closes", "it ended (it closed its output)");
  const auto once = score(hostile("garbage_once " + (dir / "done").string()), {"1"});
  EXPECT_EQ(once[0].reward, 1) << "a retry mends what happens once: " << once[0].error;
}

TEST_F(Program, answers_with_an_error_of_its_own_and_is_not_asked_again) {
  expect_one_error("says {~error~:~no_such_unit~}", "no_such_unit");
  EXPECT_EQ(logged(), "") << "no worker was ended";
}

TEST_F(Program, gives_what_is_no_finite_number_as_score) {
  for (const auto& [says, reason] : std::vector<std::pair<std::string, std::string>>{
           {R"({"score":"1"})", "its score is \"1\", not a number"},
           {R"({"score":true})", "its score is true, not a number"},
           {R"({"score":null})", "its score is null, not a number"},
           {R"({"score":1e999})", "which is no JSON"},
           {R"({"score":NaN})", "which is no JSON"},
           {R"({"scores":1})", "without a \"score\""},
           {R"({"score":1,"error":"x"})", "it gave a score and an error"},
           {R"({"score":1,"parts":[1]})", "\"parts\" is no object"},
           {R"({"score":1,"parts":{"a-b":1}})", "the part 'a-b' is no name"},
           {R"({"score":1,"parts":{"a":"x"}})", "the part 'a' is \"x\", not a number"}}) {
    const auto answer = read_score_answer(says, 1);
    EXPECT_FALSE(answer.result.score) << says;
    EXPECT_NE(answer.nonsense.find(reason), std::string::npos) << says << ": " << answer.nonsense;
  }
  expect_one_error("says {~score~:null}", "its score is null");
}

TEST_F(Program, that_starts_slowly_has_time_for_it_once_and_not_for_every_completion) {
  options.timeout_s = 3;
  options.start_s = 30;
  options.workers = 1;
  const auto scores = score(hostile("slow_start 4"), {"1", "2"});
  EXPECT_EQ(scores[0].reward, 1) << scores[0].error;
  EXPECT_EQ(scores[1].reward, 2) << scores[1].error;
}

TEST_F(Program, that_never_runs_fails_every_completion_soon_and_says_what_it_said) {
  std::vector<std::string> responses(300, "1");
  const double begin = SystemClock().now_s();
  const auto scores = score(hostile("dies_at_once"), responses);
  EXPECT_LT(SystemClock().now_s() - begin, 60);
  for (const ItemScore& s : scores) {
    EXPECT_FALSE(s.reward);
    EXPECT_NE(s.error.find("exit code 3"), std::string::npos) << s.error;
  }
  EXPECT_NE(scores.back().error.find("cannot import the things I need"), std::string::npos) << scores.back().error;
  EXPECT_NE(scores.back().error.find("never answered"), std::string::npos) << scores.back().error;
  EXPECT_NE(logged().find("hostile.py worker 1: cannot import the things I need"), std::string::npos) << logged();
}

TEST_F(Program, and_what_it_forks_are_gone_when_the_source_is) {
  score(hostile("forks " + (dir / "pids").string()), {"1", "2", "3", "4"});
  std::istringstream pids(read_file(dir / "pids"));
  int count = 0;
  for (pid_t pid = 0; pids >> pid; ++count) {
    std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
    std::string text;
    std::getline(stat, text);
    EXPECT_TRUE(text.empty() || text.find(") Z") != std::string::npos) << text;
  }
  EXPECT_GE(count, 2);
}

TEST_F(Program, is_told_all_that_is_known_of_a_completion) {
  score(hostile("echo"), {"<think> x </think> <answer> 2 </answer><eos>"}, {{"answers", "2|t\\|wo"}, {"kind", "sum"}});
  const std::string said = logged();
  const auto request = nlohmann::json::parse(said.substr(said.find('{')));
  EXPECT_EQ(request, nlohmann::json({{"id", 1},
                                     {"prompt", "compute 1 + 1"},
                                     {"response", "<think> x </think> <answer> 2 </answer>"},
                                     {"answer", "2"},
                                     {"answers", {"2", "t|wo"}},
                                     {"facts", {{"kind", "sum"}}},
                                     {"finished", true},
                                     {"tokens", 3}}));
}

TEST_F(Program, parts_come_with_the_score) {
  const auto scores = score(hostile("echo") + " * 0.5", {"1"});
  EXPECT_EQ(scores[0].reward, 0.5);
  EXPECT_GT(scores[0].parts.at("size"), 10);
  EXPECT_EQ(scores[0].values.begin()->first, hostile("echo"));
}

TEST_F(Program, is_asked_only_for_completions_that_need_it) {
  const auto scores = score("if(finished == 0, " + hostile("dies_at_once") + ", length)", {"1", "2"});
  for (const ItemScore& s : scores) EXPECT_EQ(s.reward, 3) << s.error;
}

TEST_F(Program, that_hangs_does_not_hold_up_the_end_of_the_work) {
  options.timeout_s = 1000;
  auto parsed = RewardExpression::parse(hostile("hangs"));
  const double begin = SystemClock().now_s();
  {
    ExpressionScorer scorer(parsed, open_programs(parsed, options));
    scorer.add(0, item("bad"));
    std::atomic<bool> stop{false};
    StopScope scope(&stop);
    EXPECT_TRUE(scorer.next(0.5).empty());
    stop = true;
    EXPECT_THROW(scorer.next(1000), Stopped);
  }
  EXPECT_LT(SystemClock().now_s() - begin, 60);
}

// A source that answers when it is told to, from another thread.
class Slow final : public ScoreSource {
 public:
  void submit(std::vector<ScoreItemPtr> items, Done done) override {
    asked += items.size();
    for (size_t i = 0; i < items.size(); ++i) held.push_back([done, i] { done(i, {1.0, {}, ""}); });
  }
  size_t asked = 0;
  std::vector<std::function<void()>> held;
};

TEST(ExpressionScorer, holds_up_no_completion_for_another_one_and_is_woken) {
  ScoreSources sources;
  auto* slow = new Slow;
  sources["slow"].reset(slow);
  ExpressionScorer scorer(RewardExpression::parse("if(finished, slow, 0) + slow + length"), std::move(sources));
  auto unfinished = std::make_shared<ScoreItem>(*item("x"));
  unfinished->finished = false;
  scorer.add(7, item("x"));
  EXPECT_TRUE(scorer.next(0).empty());
  EXPECT_EQ(slow->asked, 1u) << "once, although it stands there twice";
  scorer.add(3, unfinished);
  EXPECT_TRUE(scorer.next(0).empty());
  std::thread waker([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    scorer.wake();
  });
  EXPECT_TRUE(scorer.next(1000).empty());
  waker.join();
  slow->held[1]();
  auto done = scorer.next(1000);
  ASSERT_EQ(done.size(), 1u);
  EXPECT_EQ(done[0].first, 3u);
  EXPECT_EQ(done[0].second.reward, 4);
  slow->held[0]();
  done = scorer.next(1000);
  ASSERT_EQ(done.size(), 1u);
  EXPECT_EQ(done[0].second.reward, 5);
  EXPECT_EQ(scorer.under_way(), 0u);
  EXPECT_TRUE(scorer.next(1000).empty()) << "with nothing under way there is nothing to wait for";
}

TEST(ExpressionScorer, asks_for_both_sides_at_once_but_not_behind_a_condition_that_is_pending) {
  ScoreSources sources;
  auto *a = new Slow, *b = new Slow, *c = new Slow;
  sources["a"].reset(a);
  sources["b"].reset(b);
  sources["c"].reset(c);
  ExpressionScorer scorer(RewardExpression::parse("a * b + if(a, 0, c)"), std::move(sources));
  scorer.add(0, item("x"));
  scorer.next(0);
  EXPECT_EQ(a->asked, 1u);
  EXPECT_EQ(b->asked, 1u);
  EXPECT_EQ(c->asked, 0u);
  a->held[0]();
  b->held[0]();
  EXPECT_EQ(scorer.next(1000).at(0).second.reward, 1);
  EXPECT_EQ(c->asked, 0u);
}

TEST(ProgramCalls, are_refused_with_a_reason_and_an_example) {
  const auto refusal = [](const std::string& text) {
    try {
      RewardExpression::parse(text);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_EQ(refusal("0.5 * command('python3 a.py --x \"y z\"', 'style', 'right') + http('http://localhost:1/x')"), "");
  for (const auto& [text, reason] : std::vector<std::pair<std::string, std::string>>{
           {"command", "'command' is a program with arguments"},
           {"command()", "command takes a text in quotes: command('python3 my_reward.py')"},
           {"command(3)", "command takes texts in quotes"},
           {"command(x)", "the arguments of a program are texts in quotes"},
           {"command('')", "the command is empty"},
           {"command('a \"b')", "a quote in the command is not closed"},
           {"command('python3', 'a.py')", "'a.py' is no name of a part"},
           {"command('a', 'x', 'x')", "the part 'x' is named twice"},
           {"command('" + std::string(5000, 'x') + "')", "longer than 4096 bytes"},
           {"http('127.0.0.1:8000')", "is no address: http('http://127.0.0.1:8000/score')"},
           {"http('ftp://x')", "is no address"},
           {"http('http://')", "is no address"},
           {"htp('x')", "did you mean 'http'?"}})
    EXPECT_NE(refusal(text).find(reason), std::string::npos) << text << ": " << refusal(text);
}

TEST_F(Program, files_are_the_script_with_those_of_its_kind_around_it_and_what_else_the_command_names) {
  fs::create_directories(dir / "code/pkg");
  fs::create_directories(dir / "code/__pycache__");
  fs::create_directories(dir / "code/run");
  for (const char* f : {"code/reward.py", "code/helper.py", "code/pkg/a.py", "code/__pycache__/x.py", "code/.hidden.py",
                        "code/data.txt", "code/run/run.db", "code/run/z.py", "words.txt"})
    std::ofstream(dir / f) << "x";
  const auto files = [&](const std::string& words) {
    std::vector<std::string> out;
    for (const auto& f : program_files(program_calls(RewardExpression::parse("command('" + words + "')")).at(0), dir))
      out.push_back(f.string());
    return out;
  };
  const std::vector<std::string> code = {"code/helper.py", "code/pkg/a.py", "code/reward.py"};
  EXPECT_EQ(files("python3 code/reward.py --fast"), code);
  EXPECT_EQ(files("python3 -m r1_reward code/reward.py:f"), code);
  EXPECT_EQ(files("python3 code/reward.py words.txt").back(), "words.txt");
  EXPECT_TRUE(files("python3 -c pass").empty());
}

TEST_F(Program, is_looked_at_before_a_run) {
  const auto problem = [&](const std::string& call, bool start) {
    try {
      check_program(program_calls(RewardExpression::parse(call)).at(0), options, start, {"g.graph", 3, 5});
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::bad_input);
      return std::string(e.what());
    }
    return std::string();
  };
  const auto ready = [&](const std::string& call) {
    return check_program(program_calls(RewardExpression::parse(call)).at(0), options, /*start=*/true, {});
  };
  EXPECT_EQ(problem(hostile("good"), true), "");
  EXPECT_NE(problem("command('pyhton3 hostile.py')", false).find("g.graph:3:5: no program 'pyhton3'"), std::string::npos);
  EXPECT_NE(problem("command('./hostile.py')", false).find("has to be executable"), std::string::npos);
  EXPECT_NE(problem("command('python3 hostil.py')", false).find("no file 'hostil.py'"), std::string::npos);
  EXPECT_NE(problem("command('python3 -m r1_reward hostil.py:f')", false).find("no file 'hostil.py'"), std::string::npos);
  options.python = source_dir() / "python";
  options.look_s = 0.01;
  EXPECT_FALSE(ready(hostile("good"))) << "it says nothing of itself";
  const std::string late = problem("command('python3 -m r1_reward late.py:f')", true);
  EXPECT_NE(late.find("it ended at once (exit code 1)"), std::string::npos) << late;
  EXPECT_NE(late.find("the large library is not here"), std::string::npos) << late;
  options.look_s = 60;  // it ends, or speaks, before, however busy the machine is
  EXPECT_TRUE(ready(hostile("slow_start 0")));
  EXPECT_NE(problem(hostile("talks"), true).find("it wrote 'loading the model' before anything was asked"), std::string::npos);
  const std::string dies = problem(hostile("dies_at_once"), true);
  EXPECT_NE(dies.find("does not run: it ended at once (exit code 3): cannot import"), std::string::npos) << dies;
  EXPECT_NE(problem("http('http://127.0.0.1:9/score')", true).find("nothing can be scored at"), std::string::npos);
  EXPECT_EQ(problem("http('http://127.0.0.1:9/score')", false), "");
}

}  // namespace
}  // namespace r1
