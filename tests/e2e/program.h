// Runs r1-run as a user does: a process with arguments, its output, its exit code; or killed on the way.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tests/source_dir.h"

namespace r1 {

struct ProgramResult {
  int code = -1;  // exit code; 128 + signal when a signal ended it
  std::string out, err;
};

// A started r1-run; the destructor ends it by SIGKILL and reaps it.
class Program {
 public:
  // `environment`: "NAME=VALUE" added to this process's own. `file_bytes` > 0: no file of the process grows beyond (EFBIG).
  // `program`: another one in its place.
  Program(const std::vector<std::string>& arguments, const std::vector<std::string>& environment = {}, int64_t file_bytes = 0,
          std::string program = {});
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  // Waits for the end; nullopt-like false when `seconds` passed first.
  bool wait(double seconds);
  void send(int signal);
  ProgramResult result();  // waits without limit
  int pid() const { return pid_; }
  long resident_kib() const;  // VmRSS; 0 when it is gone

 private:
  int pid_ = -1, status_ = 0;
  bool reaped_ = false;
  std::filesystem::path out_, err_;
};

ProgramResult run_program(const std::vector<std::string>& arguments, const std::vector<std::string>& environment = {},
                          int64_t file_bytes = 0);

// The graph of a whole small run.
inline std::string nano() { return (source_dir() / "tests/e2e/graphs/nano.graph").string(); }

// stage -> weights_hash or dataset_hash, from summary.json.
std::map<std::string, std::string> summary_hashes(const std::filesystem::path& run_dir);
// "" when every ledger of the run is exact.
std::string ledger_complaints(const std::filesystem::path& run_dir);

// A directory of the test's own, removed at its end.
struct ProgramTest : ::testing::Test {
  std::filesystem::path top;
  void SetUp() override;
  void TearDown() override;
};

}  // namespace r1
