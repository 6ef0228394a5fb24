// Who may include whom (docs/architecture.md section 2). Reads every source file and checks each #include.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>

#include "tests/source_dir.h"

namespace {

namespace fs = std::filesystem;

const std::map<std::string, std::set<std::string>> kMayInclude = {
    {"base", {"base"}},
    {"kernels", {"base", "kernels"}},
    {"models", {"base", "kernels", "models"}},
    {"rewards", {"base", "rewards"}},
    {"tasks", {"base", "tasks"}},
    {"runtime", {"base", "runtime"}},
    {"actors", {"base", "kernels", "models", "rewards", "tasks", "runtime", "actors"}},
    {"tools", {"base", "kernels", "models", "rewards", "tasks", "runtime", "actors", "tools"}},
};

// The folders of runtime/, of which the same is asked; what lies in none of them is below all.
const std::map<std::string, std::set<std::string>> kRuntimeMayInclude = {
    {"graph", {}},
    {"store", {}},
    {"metrics", {}},
    {"flow", {"graph", "store"}},
    {"net", {"flow"}},
    {"shell", {"flow", "net", "store"}},
    {"conductor", {"flow", "graph", "shell", "store"}},
    {"nodes", {"conductor", "flow", "graph", "net", "shell", "store"}},
};

std::string folder_of(const std::string& path) { return path.substr(0, path.find('/')); }

// The reason why `file` (relative path) may not hold the include `name`, or "".
std::string objection(const std::string& file, const std::string& name, bool quoted) {
  const std::string from = folder_of(file);
  const auto in = [&file](const std::string& folder) { return file.rfind(folder + "/", 0) == 0; };
  if (name.rfind("caf/", 0) == 0 && !in("runtime/conductor") && !in("runtime/nodes"))
    return "CAF belongs to runtime/conductor/ and runtime/nodes/";
  if (name.rfind("zmq", 0) == 0 && !in("runtime/net") && !in("tools/bench")) return "ZeroMQ belongs to runtime/net/";
  static const std::regex cuda("^(cuda|cublas|cudnn|nccl|cute/|cutlass/|cooperative_groups|cub/|thrust/).*");
  if (std::regex_match(name, cuda) && !in("kernels/cuda")) return "CUDA belongs to kernels/cuda/";
  if (!quoted) return {};
  const std::string to = folder_of(name);
  if (kMayInclude.count(to) == 0) return "not a path from the top of the tree";
  if (kMayInclude.at(from).count(to) == 0) return from + " may not include " + to;
  static const std::regex in_runtime("^runtime/([a-z]+)/.*");
  std::smatch below, above;
  if (std::regex_match(name, below, in_runtime)) {
    if (!std::regex_match(file, above, in_runtime)) {
      if (from == "runtime") return "what lies in no folder of runtime/ is below all of them";
    } else if (kRuntimeMayInclude.count(above[1]) == 0) {
      return "say what runtime/" + above[1].str() + " may include";
    } else if (above[1] != below[1] && kRuntimeMayInclude.at(above[1]).count(below[1]) == 0) {
      return "runtime/" + above[1].str() + " may not include runtime/" + below[1].str();
    }
  }
  static const std::regex role("^actors/[a-z_]+_role\\.h$");
  static const std::regex role_file("^actors/[a-z_]+_role\\.(h|cpp)$");
  if (std::regex_match(name, role) && std::regex_match(file, role_file) && fs::path(name).stem() != fs::path(file).stem())
    return "roles never include roles";
  return {};
}

TEST(IncludeRule, every_include_points_down_the_house) {
  int includes = 0;
  const std::regex line_pattern("^\\s*#\\s*include\\s*([<\"])([^>\"]+)[>\"]");
  for (const auto& [folder, allowed] : kMayInclude) {
    const fs::path top = r1::source_dir() / folder;
    if (!fs::exists(top)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(top)) {
      const std::string extension = entry.path().extension();
      if (extension != ".h" && extension != ".cpp" && extension != ".cu" && extension != ".inc") continue;
      const std::string file = fs::relative(entry.path(), r1::source_dir());
      std::ifstream in(entry.path());
      int number = 0;
      for (std::string line; std::getline(in, line);) {
        ++number;
        std::smatch m;
        if (!std::regex_search(line, m, line_pattern)) continue;
        ++includes;
        if (m[2] == "hwy/foreach_target.h") continue;
        const std::string why = objection(file, m[2], m[1] == "\"");
        EXPECT_EQ(why, "") << file << ":" << number << ": " << line;
      }
    }
  }
  EXPECT_GT(includes, 20);
}

// Time comes to those who are simulated through their context (RoleContext::now_s), their StageHosts or as an argument, so that
// it may be virtual. Who looks at a real clock or sleeps is listed, and why it may.
TEST(IncludeRule, nobody_who_is_simulated_has_a_clock_of_its_own) {
  const std::map<std::string, std::string> may = {
      {"kernels/cpu/bf16_matmul.cpp", "which of two ways to the same bits is faster"},
      {"kernels/cpu/threads.cpp", "CPU time inside ops"},
      {"kernels/thread_ranks.cpp", "how long ranks wait for each other"},
      {"rewards/worker_pool.cpp", "between two tries to start a program"},
      {"actors/data_survey.cpp", "how often progress is shown, before a run"},
      {"runtime/flow/role_host.cpp", "the fault `slow`, which tests inject"},
      {"runtime/net/zmq_end.h", "real time's links"},
      {"runtime/net/zmq_head.cpp", "how long ports take to get free"},
      {"runtime/nodes/launcher.cpp", "deadlines of programs that it starts"},
      {"runtime/conductor/caf_stage.cpp", "real time's StageHosts"},
      {"runtime/store/run_store_impl.h", "of events, where no other clock is given"},
      {"runtime/nodes/fleet.cpp", "how long processes take to join and to go"},
      {"runtime/nodes/node_world.h", "real time's NodeWorld"},
      {"runtime/store/run_store_ledger.cpp", "lets a writer pass"},
  };
  const std::regex real("SystemClock|std::chrono::[a-z_]*clock|this_thread::sleep|clock_gettime|gettimeofday|nanosleep|usleep");
  std::set<std::string> found;
  int files = 0;
  for (const std::string folder : {"kernels", "models", "rewards", "tasks", "actors", "runtime", "tools/sim"})
    for (const auto& entry : fs::recursive_directory_iterator(r1::source_dir() / folder)) {
      const std::string file = fs::relative(entry.path(), r1::source_dir());
      // What stands at a run's outside: a socket, a program that is told metrics, a card.
      if (file.starts_with("runtime/shell/") || file.starts_with("runtime/metrics/") || file.starts_with("kernels/cuda/"))
        continue;
      std::ifstream in(entry.path());
      ++files;
      int number = 0;
      for (std::string line; std::getline(in, line);) {
        ++number;
        if (!std::regex_search(line, real)) continue;
        found.insert(file);
        EXPECT_EQ(may.count(file), 1u) << file << ":" << number << ": " << line;
      }
    }
  for (const auto& [file, why] : may)
    EXPECT_EQ(found.count(file), 1u) << file << " has no clock any more: take it off the list";
  EXPECT_GT(files, 200);
}

TEST(IncludeRule, objects_to_what_the_design_forbids) {
  EXPECT_NE(objection("kernels/ops.h", "models/tape.h", true), "");
  EXPECT_NE(objection("runtime/store.cpp", "kernels/tensor.h", true), "");
  EXPECT_NE(objection("rewards/a.cpp", "models/a.h", true), "");
  EXPECT_NE(objection("models/a.cpp", "caf/all.hpp", false), "");
  EXPECT_NE(objection("runtime/flow/a.h", "caf/all.hpp", false), "");
  EXPECT_EQ(objection("runtime/conductor/a.h", "caf/all.hpp", false), "");
  EXPECT_NE(objection("runtime/nodes/a.cpp", "zmq.hpp", false), "");
  EXPECT_NE(objection("runtime/flow/a.h", "runtime/conductor/b.h", true), "");
  EXPECT_NE(objection("runtime/store/a.h", "runtime/flow/b.h", true), "");
  EXPECT_NE(objection("runtime/until.h", "runtime/flow/b.h", true), "");
  EXPECT_NE(objection("runtime/new/a.h", "runtime/flow/b.h", true), "");
  EXPECT_EQ(objection("runtime/flow/a.h", "runtime/store/b.h", true), "");
  EXPECT_EQ(objection("runtime/flow/a.h", "runtime/until.h", true), "");
  EXPECT_NE(objection("kernels/cpu/a.cpp", "cuda_runtime.h", false), "");
  EXPECT_NE(objection("actors/judge_role.cpp", "actors/filter_role.h", true), "");
  EXPECT_NE(objection("actors/judge_role.cpp", "judge_role.h", true), "");
  EXPECT_EQ(objection("actors/judge_role.cpp", "actors/judge_role.h", true), "");
  EXPECT_EQ(objection("actors/judge_role.cpp", "models/tape.h", true), "");
  EXPECT_EQ(objection("kernels/cuda/a.cu", "cuda_runtime.h", false), "");
}

}  // namespace
