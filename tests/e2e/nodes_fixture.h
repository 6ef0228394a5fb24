// Runs of nano.graph over several processes: their arguments, and which processes there are.
#pragma once

#include <signal.h>

#include <algorithm>
#include <chrono>
#include <fstream>
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

  // Sends one living node the next of `signals` whenever `every` batches more of a stage that samples are committed; how often.
  static int disturb(Program& program, const std::filesystem::path& run, int64_t every, const std::vector<int>& signals) {
    std::unique_ptr<RunStore> store;
    std::map<std::string, int64_t> next;
    int kills = 0;
    while (!program.wait(0.003)) {
      try {
        if (!store && std::filesystem::exists(run / "run.db")) store = RunStore::open_read_only(run);
        if (!store) continue;
        for (const StageRow& stage : store->stages()) {
          if (stage.status != StageStatus::running || stage.name.rfind("rl", 0) != 0 ||
              kills >= static_cast<int>(signals.size()))
            continue;
          int64_t& due = next.try_emplace(stage.name, every).first->second;
          if (store->batch_count(stage.id) < due) continue;
          due += every;
          const std::vector<pid_t> known = processes(run);
          std::vector<pid_t> living;
          for (const pid_t pid : known)
            if (lives(pid)) living.push_back(pid);
          if (living.empty()) continue;
          ::kill(living[static_cast<size_t>(kills) % living.size()], signals[static_cast<size_t>(kills)]);
          ++kills;
        }
      } catch (const Error&) {  // the store is being made
        store.reset();
      }
    }
    return kills;
  }
};

}  // namespace r1
