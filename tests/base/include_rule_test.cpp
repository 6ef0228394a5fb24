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

std::string folder_of(const std::string& path) { return path.substr(0, path.find('/')); }

// The reason why `file` (relative path) may not hold the include `name`, or "".
std::string objection(const std::string& file, const std::string& name, bool quoted) {
  const std::string from = folder_of(file);
  if (name.rfind("caf/", 0) == 0 && from != "runtime" && from != "actors" && from != "tools")
    return "CAF belongs to runtime/, actors/ and tools/";
  static const std::regex cuda("^(cuda|cublas|cudnn|nccl|cooperative_groups|cub/|thrust/).*");
  if (std::regex_match(name, cuda) && file.rfind("kernels/cuda/", 0) != 0) return "CUDA belongs to kernels/cuda/";
  if (!quoted) return {};
  const std::string to = folder_of(name);
  if (kMayInclude.count(to) == 0) return "not a path from the top of the tree";
  if (kMayInclude.at(from).count(to) == 0) return from + " may not include " + to;
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

// Time comes to those who are simulated through their context (RoleContext::now_s) or as an argument, so that it may be
// virtual.
TEST(IncludeRule, nothing_but_base_runtime_and_the_programs_makes_a_clock_of_its_own) {
  int files = 0;
  const std::regex any_clock("SystemClock|std::chrono::[a-z_]*clock|this_thread::sleep");
  for (const std::string folder : {"models", "rewards", "tasks", "actors"})
    for (const auto& entry : fs::recursive_directory_iterator(r1::source_dir() / folder)) {
      const std::string file = fs::relative(entry.path(), r1::source_dir());
      const bool role = std::regex_search(file, std::regex("_role\\.(h|cpp)$"));
      std::ifstream in(entry.path());
      ++files;
      for (std::string line; std::getline(in, line);) {
        EXPECT_EQ(line.find("SystemClock"), std::string::npos) << file << ": " << line;
        EXPECT_FALSE(role && std::regex_search(line, any_clock)) << file << ": " << line;
      }
    }
  EXPECT_GT(files, 100);
}

TEST(IncludeRule, objects_to_what_the_design_forbids) {
  EXPECT_NE(objection("kernels/ops.h", "models/tape.h", true), "");
  EXPECT_NE(objection("runtime/store.cpp", "kernels/tensor.h", true), "");
  EXPECT_NE(objection("rewards/a.cpp", "models/a.h", true), "");
  EXPECT_NE(objection("models/a.cpp", "caf/all.hpp", false), "");
  EXPECT_NE(objection("kernels/cpu/a.cpp", "cuda_runtime.h", false), "");
  EXPECT_NE(objection("actors/judge_role.cpp", "actors/filter_role.h", true), "");
  EXPECT_NE(objection("actors/judge_role.cpp", "judge_role.h", true), "");
  EXPECT_EQ(objection("actors/judge_role.cpp", "actors/judge_role.h", true), "");
  EXPECT_EQ(objection("actors/judge_role.cpp", "models/tape.h", true), "");
  EXPECT_EQ(objection("kernels/cuda/a.cu", "cuda_runtime.h", false), "");
}

}  // namespace
