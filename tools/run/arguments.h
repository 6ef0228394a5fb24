// What r1-run is asked for, from its command line. Thread rule: a plain value.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace r1 {

struct RunArguments {
  std::filesystem::path graph, run, replay, report, samples, hostfile, costs;
  std::string listen, address, dashboard, shell_listen, simulate;
  int64_t invite = 0;
  int64_t count = 4;
  std::vector<std::string> set;
  bool check = false, draw = false, fresh = false, json = false, accept_fingerprint = false, accept_inputs = false,
       change = false, quiet = false, help_roles = false, allow_missing = false, slurm = false;

  bool over_nodes() const { return slurm || !hostfile.empty(); }
  // --run's, or runs/<the graph's name>.
  std::filesystem::path run_dir() const { return run.empty() ? std::filesystem::path("runs") / graph.stem() : run; }
};

// The exit code where the command line was answered (--help, --version) or is wrong; else `args` is set. Throws bad_input for
// options that would do nothing.
std::optional<int> parse_run_arguments(int argc, char** argv, RunArguments& args);

}  // namespace r1
