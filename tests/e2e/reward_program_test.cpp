// Rewards that are programs, in whole runs: scored, recorded, fingerprinted, replayed without them, and gone with the run.
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "base/line_process.h"
#include "base/error.h"
#include "base/files.h"
#include "runtime/store/run_store.h"
#include "tests/e2e/bad_input.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// `judge`: the judge's attributes; `until`: of the trainer.
std::string graph_with(const std::string& judge, const std::string& until = "batches(3)", const std::string& start = "") {
  return R"__(digraph g {
  graph [seed=5, precision=f32];
  m [kind=model, config="nano.json", tokenizer=tiny];
  subgraph cluster_rl {
    prompts [role=prompter, source="tiny:reasoning", groups_per_batch=4];
    policy [role=generator, samples=4, max_tokens=16];
    judge [role=judge, )__" +
         judge + R"__(];
    groups [role=filter];
    t [role=trainer, objective=grpo, lr="1e-3", until=")__" +
         until + R"__("];
    prompts -> policy -> judge -> groups -> t;
    t -> policy [carries=weights, staleness=1];
  }
  m -> t;
)__" + start +
         "}\n";
}

constexpr const char* kReward = R"(import os, sys, time
from r1_reward import reward, serve
import helper
open("pids", "a").write("%d\n" % os.getpid())

@reward
def f(response, tokens, kind="?"):
    print("scoring a", kind)
    time.sleep(float(os.environ.get("SLOW", "0")))
    return helper.score(response), {"style": 0.5}

serve(f)
)";
constexpr const char* kHelper = "def score(text):\n    return len(text) % 7 / 7\n";
const std::string kCommand = R"__(rewards="0.5 * command('python3 reward.py', 'style') + format")__";

bool alive(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(in, text);
  return !text.empty() && text.find(") Z") == std::string::npos;
}

struct RewardProgram : BadInputTest {
  void SetUp() override {
    BadInputTest::SetUp();
    write_text(top / "reward.py", kReward);
    write_text(top / "helper.py", kHelper);
  }
  ProgramResult run(const std::string& text, std::vector<std::string> more = {}) {
    write_text(top / "g.graph", text);
    more.insert(more.begin(), {(top / "g.graph").string(), "--run", (top / "run").string()});
    return run_program(more);
  }
  std::vector<json> batches() const {
    std::vector<json> out;
    const auto store = RunStore::open_read_only(top / "run");
    for (const StageRow& stage : store->stages())
      for (const auto& [version, text] : store->batch_stats(stage.id)) out.push_back(json::parse(text));
    return out;
  }
  std::vector<pid_t> pids() const {
    std::vector<pid_t> out;
    std::ifstream in(top / "pids");
    for (pid_t pid = 0; in >> pid;) out.push_back(pid);
    return out;
  }
};

TEST_F(RewardProgram, scores_a_run_and_its_parts_are_metrics_that_until_may_name) {
  const ProgramResult r = run(graph_with(kCommand, "above(style, 0.4, 2) or batches(20)"));
  ASSERT_EQ(r.code, 0) << r.err;
  const auto stats = batches();
  EXPECT_LT(stats.size(), 20u) << "until was reached by the part";
  EXPECT_EQ(stats.at(0).at("style"), 0.5);
  EXPECT_TRUE(stats[0].contains("command('python3 reward.py', 'style')"));
  EXPECT_NE(read_file(top / "run/r1.log").find("reward.py worker 1: scoring a "), std::string::npos);
  EXPECT_EQ(ledger_complaints(top / "run"), "");
  EXPECT_EQ(r.err.find("lack the fact"), std::string::npos) << r.err;
  for (const pid_t pid : pids()) EXPECT_FALSE(alive(pid)) << pid;

  // What was scored is stored: neither a replay nor a look at the finished run asks the program.
  fs::remove(top / "reward.py");
  const ProgramResult replayed = run_program({"--replay", (top / "run").string()});
  EXPECT_EQ(replayed.code, 0) << replayed.out << replayed.err;
  EXPECT_EQ(run_program({(top / "g.graph").string(), "--run", (top / "run").string()}).code, 0);
}

TEST_F(RewardProgram, is_gone_when_the_run_is_killed_and_a_changed_one_is_refused_by_name_on_continuation) {
  const std::string text = graph_with(kCommand, "batches(6)");
  write_text(top / "g.graph", text);
  const std::vector<std::string> arguments = {(top / "g.graph").string(), "--run", (top / "run").string()};
  {
    Program slow(arguments, {"SLOW=0.05"});
    const auto begun = [&] {
      try {
        return !batches().empty();
      } catch (const Error&) {
        return false;  // it is being made
      }
    };
    for (int i = 0; i < 1200 && !begun(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    slow.send(SIGKILL);
    slow.result();
  }
  ASSERT_FALSE(pids().empty());
  for (const pid_t pid : pids()) {
    for (int i = 0; i < 500 && alive(pid); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_FALSE(alive(pid)) << pid;
  }
  write_text(top / "helper.py", "def score(text):\n    return len(text) % 5 / 5\n");
  const ProgramResult changed = run_program(arguments);
  EXPECT_EQ(changed.code, 2) << changed.err;
  EXPECT_NE(changed.err.find("helper.py: a reward program of 'judge'"), std::string::npos) << changed.err;
  write_text(top / "helper.py", kHelper);
  const ProgramResult as_it_was = run_program(arguments);
  EXPECT_EQ(as_it_was.code, 0) << as_it_was.err;
  EXPECT_EQ(batches().size(), 6u);
  EXPECT_EQ(ledger_complaints(top / "run"), "");
}

TEST_F(RewardProgram, that_fails_is_an_error_with_its_reason_and_never_a_number) {
  write_text(top / "helper.py", "def score(text):\n    raise ValueError('no such unit')\n");
  const ProgramResult r = run(graph_with(kCommand));
  EXPECT_EQ(r.code, 1) << r.err;
  EXPECT_NE(r.err.find("ValueError: no such unit"), std::string::npos) << r.err;
  EXPECT_NE(read_file(top / "run/r1.log").find("Traceback"), std::string::npos);
  for (const json& b : batches()) EXPECT_FALSE(b.contains("reward"));
}

TEST_F(RewardProgram, that_hangs_now_and_then_costs_its_groups_and_not_the_run) {
  write_text(
      top / "helper.py",
      "import time\nasked = 0\ndef score(text):\n    global asked\n    asked += 1\n    time.sleep(1000 if asked == 9 else "
      "0)\n    return len(text) % 7 / 7\n");
  const ProgramResult r =
      run(graph_with(kCommand + ", reward_workers=2, reward_retries=0, reward_timeout_s=1, max_reward_errors=1"));
  EXPECT_EQ(r.code, 0) << r.err;
  double errors = 0;
  for (const json& b : batches()) errors += b.at("reward_errors").get<double>();
  EXPECT_GE(errors, 1);
  EXPECT_NE(r.err.find("'reward.py' gives no score: it did not answer within 1 s"), std::string::npos) << r.err;
  EXPECT_EQ(ledger_complaints(top / "run"), "");
}

TEST_F(RewardProgram, over_http_gives_the_same_scores_as_over_lines) {
  ProcessSpec spec;
  spec.words = {"python3", "reward.py", "--http", "0"};
  spec.directory = top;
  spec.environment = {"PYTHONPATH=" + (source_dir() / "python").string()};
  std::string address;
  std::mutex mutex;
  LineProcessOptions options;
  options.on_error_line = [&](const std::string& line) {
    std::lock_guard lock(mutex);
    if (const size_t at = line.find("http://"); at != std::string::npos) address = line.substr(at);
  };
  LineProcess server(spec, options);
  const auto known = [&] {
    std::lock_guard lock(mutex);
    return address;
  };
  for (int i = 0; i < 1000 && known().empty(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  ASSERT_NE(known(), "");
  const std::vector<std::string> on_policy = {"--set", "edge.staleness=0"};  // else timing decides what is trained on
  const ProgramResult over_http = run(graph_with("rewards=\"0.5 * http('" + known() + "', 'style') + format\""), on_policy);
  ASSERT_EQ(over_http.code, 0) << over_http.err;
  const auto hashes = summary_hashes(top / "run");
  ASSERT_EQ(run(graph_with(kCommand), {"--fresh", "--set", "edge.staleness=0"}).code, 0);
  EXPECT_EQ(summary_hashes(top / "run"), hashes);
}

TEST_F(RewardProgram, is_checked_before_anything_starts) {
  const auto refused = [&](const std::string& judge, const std::vector<std::string>& words) {
    expect_refused(graph_with(judge), words, {"--check"});
    expect_refused(graph_with(judge), words);
  };
  refused(R"__(rewards="command('pyhton3 reward.py')")__", {"g.graph:7:32", "no program 'pyhton3'", "looked for on the PATH"});
  refused(R"__(rewards="command('python3 rewad.py')")__", {"no file 'rewad.py'", "a path begins at "});
  refused(R"__(rewards="command('./reward.py')")__", {"no program './reward.py'", "executable"});
  refused(R"__(rewards="command('python3 reward.py', 'loss')")__", {"'loss' is the name of another metric"});
  refused(R"__(rewards="command('python3 reward.py', 'format')")__", {"'format' is the name of another metric"});
  refused(R"__(rewards="command('python3 reward.py', 'a') + http('http://127.0.0.1:9/x', 'a')")__",
          {"two programs have a part 'a'"});
  refused(R"__(rewards="http('http://127.0.0.1:9/score')")__",
          {"nothing can be scored at 'http://127.0.0.1:9/score'", "--http 8000"});
  refused(R"__(rewards="command('python3 reward.py')", reward_timeout_s=500)__", {"job_stall_s=900", "graph [job_stall_s="});
  refused(R"__(rewards="command('python3 reward.py')", reward_timeout_s=0)__", {"reward_timeout_s"});
  write_text(top / "reward.py", "import no_such_module\n");
  refused(R"__(rewards="command('python3 reward.py')")__",
          {"does not run: it ended at once (exit code 1)", "No module named 'no_such_module'"});
  expect_refused(graph_with(R"__(rewards="format")__", "above(style, 0.4, 2) or batches(20)"), {"style"});
}

TEST_F(RewardProgram, check_starts_a_worker_and_asks_it_nothing) {
  write_text(top / "helper.py", "def score(text):\n    open('asked', 'w')\n    return 1\n");
  write_text(top / "g.graph", graph_with(kCommand));
  const ProgramResult r = run_program({(top / "g.graph").string(), "--check"});
  EXPECT_EQ(r.code, 0) << r.err;
  // Whether it was ready within two seconds is a question of how busy the machine is; which of both is seen is said.
  EXPECT_TRUE(r.out.find("reward of 'judge': reward.py starts; nothing was sent") != std::string::npos ||
              r.out.find("reward of 'judge': reward.py ran for 2 s without saying that it is ready") != std::string::npos)
      << r.out;
  EXPECT_EQ(pids().size(), 1u);
  EXPECT_FALSE(fs::exists(top / "asked"));
  write_text(top / "g.graph", graph_with(R"__(rewards="command('cat')")__"));
  const ProgramResult silent = run_program({(top / "g.graph").string(), "--check"});
  EXPECT_EQ(silent.code, 0) << silent.err;
  EXPECT_NE(silent.out.find("cat ran for 2 s without saying that it is ready: a start that fails later is not seen here"),
            std::string::npos)
      << silent.out;
}

TEST_F(RewardProgram, that_was_changed_in_mid_run_is_not_started_again) {
  write_text(top / "reward.py",
             "import os\nfrom r1_reward import reward, serve\nimport helper\n\n@reward\ndef f(response):\n"
             "    if os.path.exists('die'):\n        os._exit(3)\n    return helper.score(response)\n\nserve(f)\n");
  write_text(top / "g.graph", graph_with(R"__(rewards="command('python3 reward.py')")__", "batches(100000)"));
  Program live({(top / "g.graph").string(), "--run", (top / "run").string(), "-q"});
  const auto begun = [&] {
    try {
      return batches().size() > 2;
    } catch (const Error&) {
      return false;
    }
  };
  while (!begun()) ASSERT_FALSE(live.wait(0.02));
  write_text(top / "helper.py", "def score(text):\n    return len(text) % 5 / 5\n");
  write_text(top / "die", "");
  const ProgramResult r = live.result();
  EXPECT_EQ(r.code, 1) << r.err;
  EXPECT_NE(r.err.find("helper.py: the file has been changed while it is in use"), std::string::npos) << r.err;
}

// prompter -> generator -> judge, and nothing that learns.
std::string scoring_graph(const std::string& count,
                          const std::string& judge = R"__(rewards="0.5 * accuracy + length / 100")__") {
  return R"__(digraph g {
  graph [seed=5, precision=f32];
  m [kind=model, config="nano.json", tokenizer=tiny];
  subgraph cluster_scores {
    prompts [role=prompter, source="tiny:reasoning", groups_per_batch=4)__" +
         count + R"__(];
    policy [role=generator, samples=3, max_tokens=16];
    judge [role=judge, )__" +
         judge + R"__(];
    prompts -> policy -> judge;
  }
  m -> policy;
}
)__";
}

TEST_F(RewardProgram, prompter_generator_and_judge_alone_write_the_scored_responses) {
  const ProgramResult r = run(scoring_graph(", count=10"));
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_NE(r.out.find("scored 30 completions of 10 prompts"), std::string::npos) << r.out;
  EXPECT_EQ(ledger_complaints(top / "run"), "");
  const std::string text = read_file(top / "run/datasets/scores.jsonl");
  std::istringstream lines(text);
  int n = 0;
  for (std::string line; std::getline(lines, line); ++n) {
    const json j = json::parse(line);
    EXPECT_EQ(j["draw"], n / 3);
    EXPECT_EQ(j["sample"], n % 3);
    EXPECT_EQ(j["reward"].get<double>(), 0.5 * j["scores"]["accuracy"].get<double>() + j["tokens"].get<double>() / 100);
    EXPECT_FALSE(j["answers"].empty());
  }
  EXPECT_EQ(n, 30);
  const ProgramResult replay = run_program({"--replay", (top / "run").string()});
  EXPECT_EQ(replay.code, 2);
  EXPECT_NE(replay.err.find("no stage of this run learns"), std::string::npos) << replay.err;
  EXPECT_EQ(run(scoring_graph(", count=10"), {"--fresh"}).code, 0);
  EXPECT_EQ(read_file(top / "run/datasets/scores.jsonl"), text) << "the same again";
}

TEST_F(RewardProgram, responses_that_a_run_scored_are_what_r1_score_reads) {
  ASSERT_EQ(run(scoring_graph(", count=4")).code, 0);
  const std::string file = (top / "run/datasets/scores.jsonl").string(), out = (top / "out.jsonl").string();
  ASSERT_EQ(std::system((std::string(R1_SCORE) + " --rewards '0.5 * accuracy + length / 100' < " + file + " > " + out).c_str()),
            0);
  std::istringstream before(read_file(file)), after(read_file(out));
  int n = 0;
  for (std::string a, b; std::getline(before, a) && std::getline(after, b); ++n)
    EXPECT_EQ(json::parse(a)["reward"], json::parse(b)["reward"]) << a;
  EXPECT_EQ(n, 12);
}

TEST_F(RewardProgram, scoring_goes_on_behind_the_last_window_after_a_kill) {
  const std::string judge = R"__(rewards="command('python3 reward.py')")__";
  ASSERT_EQ(run(scoring_graph(", count=16", judge)).code, 0);
  const std::string whole = read_file(top / "run/datasets/scores.jsonl");
  fs::remove_all(top / "run");
  const std::vector<std::string> arguments = {(top / "g.graph").string(), "--run", (top / "run").string()};
  {
    Program slow(arguments, {"SLOW=0.1"});
    const auto begun = [&] {
      try {
        return !batches().empty();
      } catch (const Error&) {
        return false;
      }
    };
    for (int i = 0; i < 1200 && !begun(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    slow.send(SIGKILL);
    slow.result();
  }
  EXPECT_FALSE(fs::exists(top / "run/datasets/scores.jsonl"));
  ASSERT_EQ(run_program(arguments).code, 0);
  EXPECT_EQ(read_file(top / "run/datasets/scores.jsonl"), whole);
  EXPECT_EQ(ledger_complaints(top / "run"), "");
}

TEST_F(RewardProgram, scores_without_an_end_or_beside_a_trainer_are_refused_and_without_a_score_a_failure) {
  expect_refused(scoring_graph(""), {"'judge' writes the scored responses, which need an end", "add count=1000"});
  std::string beside = graph_with(R"__(rewards="format")__");
  beside.replace(beside.find("-> judge -> groups -> t"), 23, "-> judge");
  expect_refused(beside, {"groups"});
  const ProgramResult r = run(scoring_graph(", count=8", R"__(rewards="1 / (length - length)", max_reward_errors=1)__"));
  EXPECT_EQ(r.code, 1);
  EXPECT_NE(r.err.find("scored nothing of 8 prompts"), std::string::npos) << r.err;
  const json line = json::parse(
      read_file(top / "run/datasets/scores.jsonl").substr(0, read_file(top / "run/datasets/scores.jsonl").find('\n')));
  EXPECT_TRUE(line["reward"].is_null());
  EXPECT_NE(line["error"].get<std::string>().find("gives"), std::string::npos);
}

}  // namespace
}  // namespace r1
