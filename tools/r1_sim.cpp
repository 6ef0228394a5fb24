// r1-sim: whole runs in virtual time, from seeds, with faults. See docs/testing.md.
#include <fmt/format.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "kernels/device.h"
#include "tools/command_line.h"
#include "tools/guarded_main.h"
#include "tools/sim/one_core.h"
#include "tools/sim/simulation.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

constexpr const char* kExamples = R"TEXT(Examples:
  r1-sim --seeds 2000              seeds 1 to 2000 on all cores; a line for each that breaks a promise
  r1-sim --seeds 500 --first 8000  seeds 8000 to 8499
  r1-sim --seed 17                 one seed: its schedule, event by event, and how it ended; always the same

A seed is a graph of five stages, how long everything takes, and faults: the process is killed, or the power fails, at any
step or before any fsync; messages are lost, repeated or damaged; engines fail. Two seeds of five are stars: nodes do the work
of roles and, of some, ranks of trainers, and are killed, stopped, cut off one way or both, damaged, drained and scaled. The conductor, roles, pools, links,
messages, run store and files are the real ones, engines pretend to compute (docs/testing.md).

Exit codes: 0 every promise was kept, 1 one was broken, 2 bad input.)TEXT";

struct Arguments {
  int64_t seeds = 200, first = 1, jobs = 0;
  std::optional<int64_t> seed;
  fs::path dir;
  bool quiet = false;
  std::string broken;
};

Scenario scenario(const Arguments& args, int64_t seed) {
  Scenario s = scenario_of(static_cast<uint64_t>(seed));
  s.broken.fencing = args.broken == "fencing";
  s.broken.dedupe = args.broken == "dedupe";
  s.broken_admission = args.broken == "admission";
  return s;
}

fs::path work_dir(const Arguments& args) {
  std::error_code none;
  const fs::path memory = "/dev/shm";
  const fs::path top = !args.dir.empty()                                                       ? args.dir
                       : fs::is_directory(memory, none) && ::access(memory.c_str(), W_OK) == 0 ? memory
                                                                                               : fs::temp_directory_path();
  return top / fmt::format("r1-sim-{}", ::getpid());
}

struct Totals {
  int64_t seeds = 0, steps = 0, processes = 0, kills = 0, power_cuts = 0, interrupts = 0, links = 0, engines = 0, restarts = 0,
          batches = 0, nodes = 0;
  double seconds = 0;
};

// What a worker process says: one line a seed.
std::string line_of(const SimulationResult& r) {
  return fmt::format("{} {} {} {} {} {} {} {} {} {} {}", r.steps, r.processes, r.kills, r.power_cuts, r.interrupts, r.links,
                     r.engines, r.restarts, r.batches, r.nodes, r.seconds);
}

void add(Totals& t, const std::string& line) {
  std::istringstream in(line);
  Totals r;
  in >> r.steps >> r.processes >> r.kills >> r.power_cuts >> r.interrupts >> r.links >> r.engines >> r.restarts >> r.batches >>
      r.nodes >> r.seconds;
  ++t.seeds;
  t.steps += r.steps, t.processes += r.processes, t.kills += r.kills, t.power_cuts += r.power_cuts;
  t.interrupts += r.interrupts, t.links += r.links, t.engines += r.engines, t.restarts += r.restarts, t.batches += r.batches;
  t.nodes += r.nodes, t.seconds += r.seconds;
}

void say(int out, const std::string& line) {
  const std::string text = line + "\n";
  for (size_t done = 0; done < text.size();) {
    const ssize_t n = ::write(out, text.data() + done, text.size() - done);
    if (n < 0 && errno != EINTR) ::_exit(3);
    if (n > 0) done += static_cast<size_t>(n);
  }
}

// A worker process: every jobs-th seed. "S seed" before one, then "D numbers" or "F violation".
[[noreturn]] void work(const Arguments& args, int64_t number, int out) {
  set_cpu_threads(1);
  const OneCore core(number);
  SimulationOptions options;
  options.dir = work_dir(args);
  std::map<std::string, std::map<std::string, std::string>> known;
  for (int64_t i = number; i < args.seeds; i += args.jobs) {
    const int64_t seed = args.first + i;
    say(out, fmt::format("S {}", seed));
    const SimulationResult r = simulate_and_compare(scenario(args, seed), options, known);
    std::string violation = r.violation;
    for (char& c : violation)
      if (c == '\n') c = ' ';
    say(out, violation.empty() ? "D " + line_of(r) : "F " + violation);
  }
  ::_exit(0);
}

struct Worker {
  pid_t pid = -1;
  int in = -1;
  std::string text;  // of a line that has not ended
  std::string seed;  // at work on; "": none
};

int many(const Arguments& args) {
  const SystemClock clock;
  const double begin = clock.now_s();
  std::vector<Worker> workers(static_cast<size_t>(args.jobs));
  for (size_t i = 0; i < workers.size(); ++i) {
    int ends[2];
    if (::pipe(ends) != 0) throw failure(fmt::format("no pipe: {}", std::strerror(errno)));
    workers[i].pid = ::fork();
    if (workers[i].pid < 0) throw failure(fmt::format("no process: {}", std::strerror(errno)));
    if (workers[i].pid == 0) {
      ::close(ends[0]);
      work(args, static_cast<int64_t>(i), ends[1]);
    }
    ::close(ends[1]);
    workers[i].in = ends[0];
  }
  Totals totals;
  std::vector<std::string> broken;
  const auto take = [&](Worker& w, const std::string& line) {
    if (line.starts_with("S ")) {
      w.seed = line.substr(2);
      return;
    }
    if (line.starts_with("D ")) {
      add(totals, line.substr(2));
    } else {
      broken.push_back(w.seed);
      fmt::print("seed {}: {}\n", w.seed, line.substr(2));
      std::fflush(stdout);
    }
    w.seed.clear();
  };
  for (;;) {
    std::vector<pollfd> open;
    for (const Worker& w : workers)
      if (w.in >= 0) open.push_back({w.in, POLLIN, 0});
    if (open.empty()) break;
    if (::poll(open.data(), open.size(), -1) < 0 && errno != EINTR) throw failure(std::strerror(errno));
    for (Worker& w : workers) {
      if (w.in < 0) continue;
      const auto at = std::find_if(open.begin(), open.end(), [&](const pollfd& p) { return p.fd == w.in; });
      if (at == open.end() || at->revents == 0) continue;
      char buffer[4096];
      const ssize_t n = ::read(w.in, buffer, sizeof buffer);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) {
        ::close(w.in);
        w.in = -1;
        int status = 0;
        ::waitpid(w.pid, &status, 0);
        if (!w.seed.empty())
          take(w, fmt::format("F the program ended in it ({} {})", WIFSIGNALED(status) ? "signal" : "exit code",
                              WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status)));
        continue;
      }
      w.text.append(buffer, static_cast<size_t>(n));
      for (size_t end; (end = w.text.find('\n')) != w.text.npos; w.text.erase(0, end + 1)) take(w, w.text.substr(0, end));
    }
  }
  const double seconds = clock.now_s() - begin;
  rusage used{};
  ::getrusage(RUSAGE_CHILDREN, &used);
  const auto cpu_s = static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                     static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
  fmt::print(
      "{} seeds in {:.1f} s ({:.1f} a second; {:.1f} s of CPU time): {} steps, {:.0f} s of virtual time, {} processes; {} "
      "kills, {} power cuts, {} "
      "interrupts, "
      "{} messages lost, repeated or damaged, {} engine failures, {} faults of nodes and links, {} stage restarts; {} batches "
      "looked at\n",
      totals.seeds, seconds, static_cast<double>(totals.seeds) / std::max(seconds, 1e-9), cpu_s, totals.steps, totals.seconds,
      totals.processes, totals.kills, totals.power_cuts, totals.interrupts, totals.links, totals.engines, totals.nodes,
      totals.restarts, totals.batches);
  if (broken.empty() && totals.seeds == args.seeds) {
    fmt::print("every promise was kept\n");
    return 0;
  }
  if (!broken.empty())
    fmt::print("{} of {} seeds broke a promise; the schedule of the first: r1-sim --seed {}\n", broken.size(), args.seeds,
               broken[0]);
  else
    fmt::print("{} of {} seeds were run\n", totals.seeds, args.seeds);
  return 1;
}

int one(const Arguments& args) {
  set_cpu_threads(1);
  const OneCore core;
  const Scenario scenario = r1::scenario(args, *args.seed);
  SimulationOptions options;
  options.dir = work_dir(args);
  if (!args.quiet) options.trace = [](const std::string& line) { fmt::print("{}\n", line); };
  std::map<std::string, std::map<std::string, std::string>> known;
  const SimulationResult r = simulate_and_compare(scenario, options, known);
  fmt::print("seed {}: {}\n", *args.seed, scenario.text());
  for (const auto& [name, hash] : r.hashes) fmt::print("  {:<24} {}\n", name, hash);
  fmt::print("schedule {:016x}: {} steps, {} processes, {:.3f} s of virtual time\n", r.schedule, r.steps, r.processes,
             r.seconds);
  fmt::print("{}\n", r.violation.empty() ? "every promise was kept" : r.violation);
  return r.violation.empty() ? 0 : 1;
}

int main_checked(int argc, char** argv) {
  Arguments args;
  CLI::App app("Simulates whole runs in virtual time, with faults, and checks what r1 promises after every event.", "r1-sim");
  add_common_flags(app, kExamples);
  const auto counts = [](int64_t most) { return CLI::Range(int64_t{1}, most).description(""); };
  CLI::Option* const seeds =
      app.add_option("--seeds", args.seeds, "how many seeds; default 200")->type_name("N")->check(counts(int64_t{1} << 40));
  app.add_option("--first", args.first, "the first of them; default 1")->type_name("SEED")->check(counts(int64_t{1} << 40));
  app.add_option("--seed", args.seed, "this seed alone, and print its schedule")
      ->type_name("SEED")
      ->check(counts(int64_t{1} << 40))
      ->excludes(seeds);
  app.add_option("--jobs", args.jobs, "processes at a time; default one for each core")->type_name("N")->check(counts(1024));
  app.add_option("--dir", args.dir, "where the simulated disk lies; default memory, /dev/shm")->type_name("DIR");
  app.add_option("--break", args.broken, "leave out a check of the star: promises are to break")
      ->type_name("WHAT")
      ->check(CLI::IsMember({"fencing", "admission", "dedupe"}));
  app.add_flag("-q,--quiet", args.quiet, "no schedule");
  if (const auto code = parse_command_line(app, argc, argv)) return *code;
  if (!args.dir.empty() && !fs::is_directory(args.dir)) throw bad_input("no such directory", {args.dir.string()});
  if (args.seed) return one(args);
  if (args.jobs == 0) args.jobs = std::max(1u, std::thread::hardware_concurrency());
  args.jobs = std::min(args.jobs, args.seeds);
  std::fflush(stdout);
  return many(args);
}

}  // namespace
}  // namespace r1

int main(int argc, char** argv) { return r1::guarded_main("r1-sim", argc, argv, r1::main_checked); }
