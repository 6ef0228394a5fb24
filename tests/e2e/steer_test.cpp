// What r1-shell changes of a run that goes on: from when on, that it outlives a kill, that a replay honours it - and that what
// is no change changes no bit.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <thread>

#include "runtime/shell/render.h"
#include "runtime/shell/shell_client.h"
#include "runtime/store/run_store.h"
#include "tests/e2e/continued_run.h"
#include "tests/free_port.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

struct Steer : ContinuedRunTest {
  Steer() : ContinuedRunTest(12) {}
  // Slow enough to be steered.
  const std::vector<std::string> slow = {"R1_FAULT=slow:t:40"};
  const std::string endless = "t.until=batches(100000)";

  std::string ask(const std::string& line) const {
    return nlohmann::json::parse(ShellClient(run()).ask(line, 60)).value("text", "");
  }
  // What was wrong with it, and the hint.
  std::string refused(const std::string& line) const {
    const auto answer = nlohmann::json::parse(ShellClient(run()).ask(line, 60));
    return answer.value("error", "") + " (" + answer.value("hint", "") + ")";
  }
  // What r1-shell printed, stderr included; `code` is what it must end with.
  static std::string shell(const std::string& arguments, int code, const std::string& environment = "") {
    FILE* const pipe = ::popen((environment + R1_SHELL + " " + arguments + " 2>&1").c_str(), "r");
    std::string out;
    char buffer[4096];
    for (size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) out.append(buffer, n);
    const int status = ::pclose(pipe);
    EXPECT_EQ(WIFEXITED(status) ? WEXITSTATUS(status) : -1, code) << arguments << "\n" << out;
    return out;
  }
  int64_t batches() const { return RunStore::open_read_only(run())->batch_count(1); }
  void wait_for_batches(int64_t n) const {
    while (!fs::exists(run() / "shell/socket")) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    while (batches() < n) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  // Of an answer "...: A -> B, from batch N on".
  static int64_t from_batch(const std::string& answer) {
    const std::string words = "from batch ";
    const size_t at = answer.find(words);
    return at == answer.npos ? -1 : std::stoll(answer.substr(at + words.size()));
  }
  void expect_learning_rates(int64_t from, double before, double after) const {
    const auto store = RunStore::open_read_only(run());
    for (const auto& [version, stats] : store->batch_stats(1))
      EXPECT_EQ(nlohmann::json::parse(stats)["lr"].get<double>(), version < from ? before : after) << "batch " << version;
  }
};

TEST_F(Steer, a_set_takes_effect_at_the_batch_that_it_names_and_a_replay_honours_it) {
  Program program(command({"--set", endless}), slow);
  wait_for_batches(3);
  const int64_t from = from_batch(ask("set t.lr 1e-3"));
  ASSERT_GE(from, 3);
  const std::string until = ask("set t.until=\"batches(" + std::to_string(from + 3) + ")\"");
  EXPECT_NE(until.find("t.until: batches(100000) -> batches("), std::string::npos) << until;
  EXPECT_EQ(ask("set t.lr 1e-3"), "t.lr is 1e-3 already");
  const ProgramResult r = program.result();
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(batches(), from + 3);
  expect_learning_rates(from, 1e-2, 1e-3);
  const auto store = RunStore::open_read_only(run());
  EXPECT_EQ(store->changes(1).size(), 2u);
  EXPECT_EQ(store->events(1, 10, "changed").size(), 2u);
  const ProgramResult replay = run_program({"--replay", run().string()});
  EXPECT_EQ(replay.code, 0) << replay.out << replay.err;
  EXPECT_EQ(run_program(command({"--set", endless})).code, 0) << "the same command shows the run that is complete";
}

TEST_F(Steer, a_set_that_was_acknowledged_outlives_a_kill) {
  int64_t from = 0;
  {
    Program program(command(), slow);
    wait_for_batches(3);
    from = from_batch(ask("set t.lr 1e-3"));
    program.send(SIGKILL);
    EXPECT_EQ(program.result().code, 128 + 9);
  }
  fs::remove_all(run() / "snapshots");  // all that was trained is trained again, each batch as it was
  const ProgramResult r = run_program(command());
  ASSERT_EQ(r.code, 0) << r.err;
  ASSERT_GE(from, 3);
  EXPECT_EQ(batches(), 12);
  expect_learning_rates(from, 1e-2, 1e-3);
  EXPECT_EQ(run_program({"--replay", run().string()}).code, 0);
}

TEST_F(Steer, the_newest_word_counts_whether_it_was_a_command_or_the_shell) {
  {
    Program program(command(), slow);
    wait_for_batches(2);
    ASSERT_GE(from_batch(ask("set t.lr 1e-3")), 2);
    ASSERT_GE(from_batch(ask("set t.until batches(10)")), 2);
    program.send(SIGKILL);
    program.result();
  }
  const int64_t then = batches();
  const ProgramResult r = run_program(command({"--set", "t.lr=3e-3", "--set", "t.until=batches(11)", "--change"}));
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(batches(), 11);
  const auto store = RunStore::open_read_only(run());
  for (const auto& [version, stats] : store->batch_stats(1, then)) EXPECT_EQ(nlohmann::json::parse(stats)["lr"], 3e-3);
  const ProgramResult replay = run_program({"--replay", run().string()});
  EXPECT_EQ(replay.code, 0) << replay.out << replay.err;
}

TEST_F(Steer, pausing_asking_a_checkpoint_and_a_kill_change_no_bit) {
  Program program(command({"--set", "graph.stall_s=0.5"}), slow);
  wait_for_batches(2);
  EXPECT_NE(ask("pause").find("paused"), std::string::npos);
  std::this_thread::sleep_for(std::chrono::milliseconds(200));  // the job at hand ends
  const int64_t then = batches();
  // Longer than stall_s: standing still is no stall.
  const auto answer = nlohmann::json::parse(ShellClient(run()).ask("ask \"1 + 1\"", 60));
  EXPECT_EQ(answer.value("stage", ""), "a") << answer;
  EXPECT_GT(answer.value("tokens", 0), 0) << answer;
  const std::string written = ask("checkpoint");
  EXPECT_NE(written.find("version "), std::string::npos) << written;
  std::this_thread::sleep_for(std::chrono::milliseconds(800));
  EXPECT_EQ(nlohmann::json::parse(ShellClient(run()).ask("stages"))["rows"][0]["phase"], "paused");
  EXPECT_EQ(batches(), then);
  EXPECT_NE(ask("resume").find("goes on"), std::string::npos);
  bool model = false;
  for (const auto& entry : fs::directory_iterator(run() / "checkpoints"))
    model = model || (entry.path().filename().string().starts_with("a-v") && fs::exists(entry.path() / "config.json"));
  EXPECT_TRUE(model);
  wait_for_batches(then + 1);
  EXPECT_NE(ask("kill t").find("t is killed"), std::string::npos);
  const ProgramResult r = program.result();
  ASSERT_EQ(r.code, 0) << r.err;
  const auto store = RunStore::open_read_only(run());
  for (const char* kind : {"pause", "resume", "kill"})
    EXPECT_EQ(store->events(kind[0] == 'k' ? 1 : 0, 10, kind).size(), 1u) << kind;
  EXPECT_EQ(store->events(1, 10, "stall").size(), 0u);
  EXPECT_EQ(ledger_complaints(run()), "");
  ASSERT_EQ(run_program({(top / "g.graph").string(), "--run", (top / "whole").string(), "-q"}).code, 0);
  EXPECT_EQ(summary_hashes(run()), summary_hashes(top / "whole"));
}

TEST_F(Steer, by_a_key_over_the_network_and_by_ssh_as_here) {
  const int port = test::free_port();
  const std::string place = "127.0.0.1:" + std::to_string(port);
  Program program(command({"--set", endless, "--shell-listen", place}), slow);
  wait_for_batches(1);
  const std::string keys = (run() / "keys").string();
  // 1: who has a key.
  EXPECT_NE(shell(place + " --key " + keys + "/read.key -c stages", 0).find("running"), std::string::npos);
  EXPECT_NE(shell(place + " --key " + keys + "/read.key -c 'set t.lr 1e-3'", 2).find("for looking"), std::string::npos);
  EXPECT_GE(from_batch(shell(place + " --key " + keys + "/control.key -c 'set t.lr 1e-3'", 0)), 1);
  EXPECT_NE(shell(place + " --key " + keys + "/control.key -c 'live' --json", 0).find(R"("t.lr","value":"1e-3")"),
            std::string::npos);
  EXPECT_NE(shell(place + " -c stages", 2).find("--key"), std::string::npos);
  EXPECT_NE(shell(place + " --key " + (top / "g.graph").string() + " -c stages", 2).find("key"), std::string::npos);
  // 2: ssh. What stands in for it prints a greeting and runs the command in a shell, as a login does.
  fs::create_directories(top / "bin");
  write_text(top / "bin/ssh", "#!/bin/sh\nfor last; do :; done\necho 'welcome to $HOST'\ncd '" + top.string() + "'\nPATH='" +
                                  fs::path(R1_SHELL).parent_path().string() + "':$PATH exec sh -c \"$last\"\n");
  fs::permissions(top / "bin/ssh", fs::perms::owner_all);
  const std::string path = "PATH=" + (top / "bin").string() + ":$PATH ";
  EXPECT_NE(shell("ssh://me@gpu07:2222/run -c stages", 0, path).find("running"), std::string::npos);
  EXPECT_GE(from_batch(shell("ssh://gpu07//" + run().string() + " -c 'set t.lr 3e-3'", 0, path)), 1);
  const std::string asked = shell("ssh://gpu07/run -c 'ask hello'", 0, path);
  EXPECT_NE(asked.find(" of a, "), std::string::npos) << asked;
  EXPECT_NE(shell("ssh://gpu07/nothing -c stages", 2, path).find("no such run directory"), std::string::npos);
  EXPECT_NE(shell("ssh://gpu07 -c stages", 2, path).find("names no run"), std::string::npos);
  EXPECT_NE(shell("ssh://-oProxyCommand=x/run -c stages", 2, path).find("names no host"), std::string::npos);
  EXPECT_NE(shell(run().string() + " -c top --json", 0).find(R"({"stages":{"title":"stages")"), std::string::npos);
  EXPECT_NE(shell(run().string() + " -c stop", 0).find("stopping"), std::string::npos);
  EXPECT_EQ(program.result().code, 130);
}

TEST_F(Steer, what_cannot_be_set_is_refused_with_what_can) {
  Program program(command({"--set", endless}), slow);
  wait_for_batches(1);
  EXPECT_NE(refused("set t.batch 7").find("cannot be set while"), std::string::npos) << refused("set t.batch 7");
  EXPECT_NE(refused("set t.lr banana").find("banana"), std::string::npos);
  EXPECT_NE(refused("set t.lr -1").find("lr"), std::string::npos);
  EXPECT_NE(refused("set t.clipnorm 1").find("did you mean 'clip_norm'"), std::string::npos) << refused("set t.clipnorm 1");
  EXPECT_NE(refused("set p.source x").find("nothing of a prompter"), std::string::npos) << refused("set p.source x");
  EXPECT_NE(refused("set t.until \"batches(\"").find("batches"), std::string::npos);
  EXPECT_NE(refused("set lr 1").find("ACTOR.ATTR"), std::string::npos);
  EXPECT_NE(refused("kill nobody").find("no role"), std::string::npos);
  EXPECT_NE(refused("checkpoint b").find("no stage b"), std::string::npos);
  EXPECT_NE(refused("ask").find("prompt"), std::string::npos);
  EXPECT_EQ(RunStore::open_read_only(run())->changes(1).size(), 0u);
  EXPECT_NE(ask("stop").find("stopping"), std::string::npos);
  EXPECT_EQ(program.result().code, 130);
}

}  // namespace
}  // namespace r1
