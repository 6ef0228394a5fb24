// An installation of this build, moved away from where it was configured for. Thread rule: one test at a time.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

namespace r1 {

struct Result {
  int code;
  std::string text;  // stdout and stderr
};

inline Result shell(const std::string& command) {
  FILE* pipe = ::popen(("{ " + command + "; } 2>&1").c_str(), "r");
  std::string text;
  char buffer[4096];
  for (size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) text.append(buffer, n);
  const int status = ::pclose(pipe);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), text};
}

// One installation for all tests of this process, somewhere else than it was configured for.
class Installed : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    top_ = std::filesystem::temp_directory_path() / ("r1_install_" + std::to_string(::getpid()));
    std::filesystem::remove_all(top_);
    std::filesystem::create_directories(top_ / "elsewhere");
    const Result r =
        shell(std::string(R1_CMAKE) + " --install " + R1_BUILD_DIR + " --strip --prefix " + (top_ / "first").string());
    ASSERT_EQ(r.code, 0) << r.text;
    std::filesystem::rename(top_ / "first", top_ / "r1");  // moved as a whole
  }
  static void TearDownTestSuite() { std::filesystem::remove_all(top_); }

  static std::filesystem::path program(const std::string& name) { return top_ / "r1" / R1_BINDIR / name; }
  static std::filesystem::path graphs() { return top_ / "r1" / R1_DATADIR / "r1/graphs"; }
  // Runs it where neither the source tree nor a run is.
  static Result run(const std::string& name, const std::string& arguments) {
    return shell("cd " + (top_ / "elsewhere").string() + " && " + program(name).string() + " " + arguments);
  }
  static std::vector<std::string> programs() {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(top_ / "r1" / R1_BINDIR))
      names.push_back(entry.path().filename());
    return names;
  }
  static inline std::filesystem::path top_;
};

}  // namespace r1
