// The program as a user meets it: shipped graphs in a shortened form, continuing, refusing, drawing, replaying.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <thread>
#include <utility>

#include "base/files.h"
#include "runtime/metrics/event_file.h"
#include "tests/e2e/bad_input.h"
#include "tests/e2e/program.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string graph(const char* name) { return (source_dir() / name).string(); }

// Every stage of a shipped graph, cut down to seconds.
std::vector<std::string> shortened(const std::string& file, const fs::path& run_dir) {
  std::vector<std::string> a = {file,
                                "--run",
                                run_dir.string(),
                                "--quiet",
                                "--set",
                                "node.until=batches(3)",
                                "--set",
                                "node.problems=24",
                                "--set",
                                "node.max_tokens=24",
                                "--set",
                                "node.groups_per_batch=8",
                                "--set",
                                "graph.precision=f32"};
  // An untrained model earns nothing else, and equal rewards teach nothing.
  const std::string text = read_file(file);
  const std::regex judge("(\\w+) +\\[role=judge");
  for (std::sregex_iterator at(text.begin(), text.end(), judge), end; at != end; ++at)
    a.insert(a.end(), {"--set", (*at)[1].str() + ".rewards=think_length"});
  if (file.find("r1_full") != std::string::npos) {
    for (const char* set : {"cold_docs.count=64", "rs_prompts.count=16", "teacher_prompts.count=16", "sft_general.count=64",
                            "helpful_pairs.count=32", "harmless_pairs.count=32", "rs_filter.keep=think_length >= 0",
                            "teacher_filter.keep=think_length >= 0"})
      a.insert(a.end(), {"--set", set});
  }
  return a;
}

struct ShippedGraph : ProgramTest, ::testing::WithParamInterface<const char*> {};

TEST_P(ShippedGraph, runs_in_a_shortened_form_and_leaves_what_it_promises) {
  const fs::path dir = top / "run";
  const std::string file = graph("graphs") + "/" + GetParam();
  const ProgramResult r = run_program(shortened(file, dir));
  ASSERT_EQ(r.code, 0) << r.err << r.out;
  const json summary = json::parse(read_file(dir / "summary.json"));
  for (const char* key : {"graph", "seed", "seconds", "machine", "fingerprint", "stages"})
    EXPECT_TRUE(summary.contains(key)) << key;
  ASSERT_FALSE(summary["stages"].empty());
  const std::string log = read_file(dir / "r1.log");
  for (const json& stage : summary["stages"]) {
    SCOPED_TRACE(stage["name"].get<std::string>());
    for (const char* key : {"name", "seconds", "steps", "tokens_trained", "tokens_generated"})
      EXPECT_TRUE(stage.contains(key)) << key;
    const json& rest = stage["not_busy"];
    EXPECT_LE(rest["no_engine_at_work"].get<double>() + rest["engines_outside_ops"].get<double>(), 1.001);
    EXPECT_FALSE(stage["engines_at_work"].empty());
    EXPECT_NE(log.find("stage " + stage["name"].get<std::string>() + " starts"), std::string::npos);
    if (stage.contains("weights_hash")) {
      for (const char* part : {"config.json", "model.safetensors", "tokenizer.json"})
        EXPECT_TRUE(fs::exists(dir / "checkpoints" / stage["name"].get<std::string>() / part)) << part;
      EXPECT_GT(stage["tokens_trained"].get<int64_t>(), 0);
    }
    if (stage.contains("logprob_gap_max")) {
      EXPECT_EQ(stage["logprob_gap_max"].get<double>(), 0);
      EXPECT_GT(stage["logprob_gap_tokens"].get<int64_t>(), 0);
      EXPECT_LE(stage["staleness_max"].get<double>(), 2);
    }
    if (stage.contains("metrics")) {
      for (const char* when : {"before", "after"}) EXPECT_TRUE(stage["metrics"].contains(when)) << when;
    }
  }
  EXPECT_EQ(ledger_complaints(dir), "");
}

INSTANTIATE_TEST_SUITE_P(Graphs, ShippedGraph,
                         ::testing::Values("r1_full.graph", "rl_only.graph", "sft_only.graph", "grpo_variants.graph",
                                           "language_reward.graph"));

TEST_F(ProgramTest, every_shipped_graph_is_drawn_by_dot) {
  if (std::system("command -v dot >/dev/null") != 0) GTEST_SKIP() << "graphviz is not installed";
  for (const auto& entry : fs::directory_iterator(source_dir() / "graphs")) {
    if (entry.path().extension() != ".graph" || read_file(entry.path()).find("path=\"model") != std::string::npos) continue;
    EXPECT_EQ(std::system(("dot -Tsvg '" + entry.path().string() + "' -o '" + (top / "plain.svg").string() + "'").c_str()), 0)
        << entry.path();
    const ProgramResult r = run_program({entry.path().string(), "--draw"});
    ASSERT_EQ(r.code, 0) << r.err;
    std::ofstream(top / "drawn.dot") << r.out;
    EXPECT_EQ(
        std::system(("dot -Tsvg '" + (top / "drawn.dot").string() + "' -o '" + (top / "drawn.svg").string() + "'").c_str()), 0);
    EXPECT_NE(read_file(top / "drawn.svg").find("</svg>"), std::string::npos);
  }
}

TEST_F(ProgramTest, a_finished_run_shows_its_result_again_and_starts_over_only_when_told) {
  const std::string dir = (top / "run").string();
  ASSERT_EQ(run_program({nano(), "--run", dir, "-q"}).code, 0);
  const std::string summary = read_file(top / "run/summary.json");
  const ProgramResult again = run_program({nano(), "--run", dir});
  EXPECT_EQ(again.code, 0);
  EXPECT_NE(again.out.find("complete"), std::string::npos) << again.out;
  EXPECT_EQ(read_file(top / "run/summary.json"), summary);

  const ProgramResult other = run_program({nano(), "--run", dir, "--set", "rl_trainer.lr=2e-3"});
  EXPECT_EQ(other.code, 2);
  EXPECT_NE(other.err.find("rl_trainer.lr"), std::string::npos) << other.err;
  EXPECT_NE(other.err.find("2e-3"), std::string::npos) << other.err;

  const ProgramResult fresh = run_program({nano(), "--run", dir, "--fresh", "--json"});
  EXPECT_EQ(fresh.code, 0) << fresh.err;
  EXPECT_TRUE(fs::exists(top / "run.1/summary.json"));
  EXPECT_EQ(json::parse(fresh.out)["stages"].size(), 7u);
  EXPECT_EQ(summary_hashes(top / "run"), summary_hashes(top / "run.1"));
}

TEST_F(ProgramTest, the_report_says_the_precision_whatever_else_the_fingerprint_says) {
  for (const auto& [precision, fingerprint] :
       {std::pair{"bf16", "; bf16; Muon by bf16; prompts once"}, std::pair{"f32", "; f32; prompts once"}}) {
    const fs::path dir = top / precision;
    ASSERT_EQ(run_program({nano(), "--run", dir.string(), "-q", "--set", std::string("graph.precision=") + precision}).code, 0);
    const std::string said = json::parse(read_file(dir / "summary.json"))["fingerprint"];
    EXPECT_TRUE(said.ends_with(fingerprint)) << said;
    EXPECT_NE(read_file(dir / "report.html").find(std::string("<dt>precision</dt><dd>") + precision + "</dd>"),
              std::string::npos);
  }
}

TEST_F(ProgramTest, a_run_leaves_a_report_that_needs_no_network_and_event_files) {
  const fs::path dir = top / "run";
  ASSERT_EQ(run_program({nano(), "--run", dir.string(), "-q"}).code, 0);
  const auto expect_a_report = [&] {
    std::string page = read_file(dir / "report.html");
    for (const char* stage : {"base", "rl", "rejection", "reward", "distill", "rl2"})
      EXPECT_NE(page.find(std::string("id=\"stage-") + stage + "\""), std::string::npos) << stage;
    EXPECT_NE(page.find("compared tokens"), std::string::npos);
    EXPECT_NE(page.find("Samples, early and late"), std::string::npos);
    page = std::regex_replace(page, std::regex(" xmlns(:xlink)?=\"[^\"]*\""), "");
    EXPECT_FALSE(std::regex_search(page, std::regex("https?:|<link|<img| src=|url\\((?!#)")));
  };
  expect_a_report();
  fs::remove(dir / "report.html");
  const ProgramResult again = run_program({"--report", dir.string()});
  EXPECT_EQ(again.code, 0) << again.err;
  expect_a_report();
  EXPECT_EQ(run_program({"--report", (top / "nothing").string()}).code, 2);
  EXPECT_EQ(run_program({nano(), "--report", dir.string()}).code, 2);

  std::map<std::string, std::set<int64_t>> steps;
  for (const fs::path& file : event_files(dir))
    for (const ScalarEvent& event : read_event_file(file))
      for (const Scalar& scalar : event.scalars) steps[scalar.tag].insert(event.step);
  EXPECT_EQ(steps["rl/reward"], (std::set<int64_t>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(steps["base/loss"].size(), 12u);
  EXPECT_EQ(steps["base/held_out/accuracy"], (std::set<int64_t>{0, 12}));
}

TEST_F(ProgramTest, control_c_stops_cleanly_and_the_same_command_continues) {
  ASSERT_EQ(run_program({nano(), "--run", (top / "whole").string(), "-q"}).code, 0);
  int stops = 0;
  for (int attempt = 0; attempt < 40; ++attempt) {
    Program p({nano(), "--run", (top / "run").string(), "-q"}, {"R1_FAULT=slow:rl_trainer:20"});
    // Ever longer, so that a busy machine comes to the end too.
    if (p.wait(0.25 + 0.05 * attempt)) {
      const ProgramResult r = p.result();
      ASSERT_EQ(r.code, 0) << r.err;
      break;
    }
    p.send(SIGINT);
    ASSERT_TRUE(p.wait(20)) << "does not stop";
    const ProgramResult r = p.result();
    if (r.code == 0) break;
    // A signal before the handler is installed ends the process by itself.
    ASSERT_TRUE(r.code == 130) << r.code << r.err;
    ++stops;
  }
  EXPECT_GE(stops, 1);
  EXPECT_EQ(summary_hashes(top / "run"), summary_hashes(top / "whole"));
  EXPECT_EQ(ledger_complaints(top / "run"), "");
}

// A pipe that is full and that nobody reads for now, as of a pager or of a tee on a file system that hangs.
struct FullPipe {
  int ends[2] = {-1, -1};
  FullPipe() {
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    ::fcntl(ends[1], F_SETPIPE_SZ, 4096);
    while (::write(ends[1], "x", 1) == 1) continue;
    ::fcntl(ends[1], F_SETFL, 0);  // as whoever gets it finds it
  }
  ~FullPipe() {
    for (const int end : ends)
      if (end >= 0) ::close(end);
  }
  // What stands in it, through the end of its writers when `whole`.
  std::string read(bool whole) {
    if (whole) {
      ::close(std::exchange(ends[1], -1));
      ::fcntl(ends[0], F_SETFL, 0);
    }
    std::string text(4096, ' ');
    std::string all;
    for (ssize_t n; (n = ::read(ends[0], text.data(), text.size())) > 0;) all.append(text, 0, static_cast<size_t>(n));
    return all;
  }
};

TEST_F(ProgramTest, a_reader_that_takes_nothing_holds_up_neither_the_stages_nor_a_stop) {
  FullPipe pipe;
  const auto started = [&](const std::string& run, const std::vector<std::string>& environment) {
    const std::string out = fmt::format("/proc/{}/fd/{}", ::getpid(), pipe.ends[1]);
    return std::make_unique<Program>(
        std::vector<std::string>{"-c", fmt::format("exec {} {} --run {} >{} 2>&1", R1_RUN, nano(), (top / run).string(), out)},
        environment, 0, "/bin/sh");
  };
  const auto appears = [&](const fs::path& file, Program& program) {
    for (int i = 0; i < 1200 && !fs::exists(top / file); ++i)
      if (program.wait(0.1)) break;
    return fs::exists(top / file);
  };
  {
    const auto stopped = started("stopped", {"R1_FAULT=slow:rl_trainer:50"});
    ASSERT_TRUE(appears("stopped/checkpoints/base", *stopped)) << "no stage comes to its end";
    stopped->send(SIGINT);
    ASSERT_TRUE(stopped->wait(60)) << "does not hear it";
    EXPECT_EQ(stopped->result().code, 130);
  }
  const auto whole = started("whole", {});
  ASSERT_TRUE(appears("whole/report.html", *whole));
  const std::string said = pipe.read(true);
  EXPECT_EQ(whole->result().code, 0);
  for (const char* line : {"starts: ", "done  1/", "trained on", "train/inference gap"})
    EXPECT_NE(said.find(line), std::string::npos) << line << " in: " << said;
}

TEST_F(ProgramTest, a_reader_that_goes_away_ends_no_run) {
  fs::copy_file(source_dir() / "tests/e2e/graphs/nano.json", top / "nano.json");
  write_text(top / "g.graph", minimal());
  const auto run = [&](const std::string& name, const std::string& options) {
    const std::string dir = (top / name).string();
    Program program({"-c", fmt::format("{{ {} {} --run {} {}; echo $? > {}.code; }} | :", R1_RUN, (top / "g.graph").string(),
                                       dir, options, dir)},
                    {}, 0, "/bin/sh");
    const std::string err = program.result().err;
    EXPECT_TRUE(fs::exists(top / name / "summary.json")) << name << ": " << err;
    return std::pair(read_file(dir + ".code"), err);
  };
  const auto [code, err] = run("out", "");
  EXPECT_EQ(code, "0\n") << err;
  EXPECT_NE(err.find("nobody reads standard output any more: the run goes on"), std::string::npos) << err;
  EXPECT_EQ(run("both", "2>&1").first, "0\n");
  // With --json standard output is the answer: one that nobody got is none.
  const auto [unread, why] = run("json", "--json");
  EXPECT_EQ(unread, "1\n");
  EXPECT_NE(why.find("the output cannot be written: Broken pipe"), std::string::npos) << why;
}

// Both engines are slowed alike, so that what is seen does not depend on how busy the machine is.
double overlap_of_rl(const fs::path& dir, const char* staleness) {
  const ProgramResult r = run_program({nano(), "--run", dir.string(), "-q", "--set", std::string("edge.staleness=") + staleness,
                                       "--set", "rl_trainer.until=batches(20)", "--set", "node.snapshot_s=60"},
                                      {"R1_FAULT=slow:policy:25,slow:rl_trainer:20"});
  EXPECT_EQ(r.code, 0) << r.err;
  const json summary = json::parse(read_file(dir / "summary.json"));
  for (const json& stage : summary["stages"]) {
    if (stage["name"] == "rl") return stage["overlap"].get<double>();
  }
  return -1;
}

TEST_F(ProgramTest, generation_and_learning_overlap_when_staleness_allows_it_and_only_then) {
  EXPECT_GT(overlap_of_rl(top / "asynchronous", "2"), 0.1);
  EXPECT_LT(overlap_of_rl(top / "synchronous", "0"), 0.02);
}

// Ops and copies of each thread queue until it waits; whoever touches what another thread has not finished ends the program.
TEST_F(ProgramTest, on_a_device_that_works_beside_the_host_a_run_ends_in_the_same_weights) {
  const fs::path cpu = top / "cpu", fake = top / "fake";
  for (const fs::path& dir : {cpu, fake}) {
    const ProgramResult r = run_program(
        {nano(), "--run", dir.string(), "-q", "--set", "edge.staleness=0", "--set", "graph.device=" + dir.filename().string()});
    ASSERT_EQ(r.code, 0) << r.out << r.err;
  }
  EXPECT_EQ(summary_hashes(fake), summary_hashes(cpu));
  EXPECT_EQ(summary_hashes(cpu).size(), 7u);
}

TEST_F(ProgramTest, replay_says_equal_and_after_one_token_is_changed_it_does_not) {
  const fs::path dir = top / "run";
  ASSERT_EQ(run_program({nano(), "--run", dir.string(), "-q", "--set", "edge.staleness=2"}).code, 0);
  const ProgramResult equal = run_program({"--replay", dir.string()});
  EXPECT_EQ(equal.code, 0) << equal.out << equal.err;
  EXPECT_NE(equal.out.find("every update is equal"), std::string::npos);
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open((dir / "run.db").c_str(), &db), SQLITE_OK);
  // Byte 3 of a sequence blob lies in its token ids (docs/formats.md).
  ASSERT_EQ(
      sqlite3_exec(
          db,
          "UPDATE trajectories SET payload = CAST(substr(payload,1,3) || X'15' || substr(payload,5) AS BLOB) WHERE rowid IN "
          "(SELECT t.rowid FROM trajectories t JOIN resolutions r ON r.stage=t.stage AND r.draw=t.draw WHERE r.batch IS NOT "
          "NULL "
          "AND t.stage=(SELECT id FROM stages WHERE name='rl') LIMIT 1)",
          nullptr, nullptr, nullptr),
      SQLITE_OK)
      << sqlite3_errmsg(db);
  ASSERT_EQ(sqlite3_changes(db), 1);
  sqlite3_close(db);
  const ProgramResult changed = run_program({"--replay", dir.string()});
  EXPECT_EQ(changed.code, 1) << changed.out;
  EXPECT_NE(changed.out.find("DIFFERENT"), std::string::npos) << changed.out;
}

struct RunDirectory : ProgramTest {};

TEST_F(RunDirectory, is_for_its_user_alone) {
  const fs::path dir = top / "run";
  const ProgramResult r = run_program({nano(), "--run", dir.string(), "--quiet"});
  ASSERT_EQ(r.code, 0) << r.err;
  int entries = 0;
  const auto look = [&](const fs::path& path) {
    ++entries;
    const auto others = fs::status(path).permissions() & (fs::perms::group_all | fs::perms::others_all);
    EXPECT_EQ(others, fs::perms::none) << path;
  };
  look(dir);
  for (const auto& entry : fs::recursive_directory_iterator(dir)) look(entry.path());
  EXPECT_GT(entries, 8);
}

}  // namespace
}  // namespace r1
