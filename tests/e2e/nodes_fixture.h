// Runs of nano.graph over several processes: their arguments, and which processes there are.
#pragma once

#include <signal.h>

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <functional>
#include <map>
#include <regex>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "runtime/store/run_store.h"
#include "tests/e2e/program.h"

namespace r1 {

struct Nodes : ProgramTest {
  static constexpr double kPatience_s = 240;
  std::filesystem::path hosts;

  void SetUp() override {
    ProgramTest::SetUp();
    hosts = top / "hosts";
    std::ofstream(hosts) << "localhost slots=1\nlocalhost slots=1  # the second\nlocalhost slots=1\n";
  }
  std::vector<std::string> arguments(const std::filesystem::path& run, const std::vector<std::string>& more) const {
    std::vector<std::string> a = {(source_dir() / "tests/e2e/graphs/nano.graph").string(), "--run", run.string(), "-q"};
    a.insert(a.end(), more.begin(), more.end());
    return a;
  }
  std::vector<std::string> over_nodes(const std::filesystem::path& run, std::vector<std::string> more = {}) const {
    more.insert(more.end(), {"--hostfile", hosts.string()});
    return arguments(run, more);
  }
  std::vector<std::string> cache() const { return {"XDG_CACHE_HOME=" + (top / "cache").string()}; }

  // Processes of all nodes that ever joined.
  static std::vector<pid_t> processes(const std::filesystem::path& run) {
    std::vector<pid_t> found;
    std::ifstream log(run / "r1.log");
    const std::regex joins("node ((?:node|join)[0-9]+) on .* joins: process ([0-9]+),");
    std::smatch m;
    for (std::string line; std::getline(log, line);)
      if (std::regex_search(line, m, joins)) found.push_back(static_cast<pid_t>(std::stol(m[2])));
    return found;
  }
  static bool lives(pid_t pid) { return ::kill(pid, 0) == 0; }
  static bool all_gone(const std::vector<pid_t>& pids, double seconds) {
    for (int i = 0; i < seconds * 20; ++i) {
      if (std::none_of(pids.begin(), pids.end(), lives)) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return false;
  }

  // Calls the next of `acts` whenever `every` batches more of a stage that samples are committed; again where it says that
  // there was nothing to do. How many were done when the program ended.
  static int at_batches(Program& program, const std::filesystem::path& run, int64_t every,
                        const std::vector<std::function<bool()>>& acts) {
    std::unique_ptr<RunStore> store;
    std::map<std::string, int64_t> next;
    size_t done = 0;
    while (!program.wait(0.003)) {
      try {
        if (!store && std::filesystem::exists(run / "run.db")) store = RunStore::open_read_only(run);
        if (!store) continue;
        for (const StageRow& stage : store->stages()) {
          if (stage.status != StageStatus::running || stage.name.rfind("rl", 0) != 0 || done >= acts.size()) continue;
          int64_t& due = next.try_emplace(stage.name, every).first->second;
          if (store->batch_count(stage.id) < due) continue;
          due += every;
          done += acts[done]();
        }
      } catch (const Error&) {  // the store is being made
        store.reset();
      }
    }
    return static_cast<int>(done);
  }
  // Sends one living node the next of `signals`; how often.
  static int disturb(Program& program, const std::filesystem::path& run, int64_t every, const std::vector<int>& signals) {
    std::vector<std::function<bool()>> acts;
    for (size_t i = 0; i < signals.size(); ++i)
      acts.emplace_back([&run, &signals, i] {
        std::vector<pid_t> living;
        for (const pid_t pid : processes(run))
          if (lives(pid)) living.push_back(pid);
        if (!living.empty()) ::kill(living[i % living.size()], signals[i]);
        return !living.empty();
      });
    return at_batches(program, run, every, acts);
  }
};

// With trainers of several ranks, whose weights are those of ranks that are threads.
struct RankNodes : Nodes {
  static std::vector<std::string> ranked(const std::vector<std::string>& more = {}) {
    std::vector<std::string> set;
    const std::map<std::string, int> ranks = {{"base_trainer", 2}, {"sft_trainer", 2}, {"rl_trainer", 3},
                                              {"rm_trainer", 2},   {"student", 2},     {"rl2_trainer", 4}};
    for (const auto& [trainer, n] : ranks)
      set.insert(set.end(),
                 {"--set", fmt::format("{}.ranks={}", trainer, n), "--set", fmt::format("{}.micro_batch_tokens=64", trainer)});
    set.insert(set.end(),
               {"--set", "rl_trainer.until=batches(20)", "--set", "node.snapshot_s=0", "--set", "graph.max_restarts=20"});
    set.insert(set.end(), more.begin(), more.end());
    return set;
  }
  static int lives_at_a_node(const std::filesystem::path& run) {
    std::ifstream log(run / "r1.log");
    int times = 0;
    for (std::string line; std::getline(log, line);) times += line.find("of rl_trainer lives at ") != std::string::npos;
    return times;
  }
};

}  // namespace r1
