#include "tests/e2e/program.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/resident_memory.h"
#include "base/files.h"
#include "runtime/store/run_store.h"

namespace r1 {

namespace fs = std::filesystem;

static fs::path scratch_file(const char* suffix) {
  static std::atomic<int> next{0};
  return fs::temp_directory_path() / ("r1_program_" + std::to_string(::getpid()) + "_" + std::to_string(next++) + suffix);
}

Program::Program(const std::vector<std::string>& arguments, const std::vector<std::string>& environment, int64_t file_bytes,
                 std::string program)
    : out_(scratch_file(".out")), err_(scratch_file(".err")) {
  if (program.empty()) program = R1_RUN;
  std::vector<std::string> words = {program};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (auto& w : words) argv.push_back(w.data());
  argv.push_back(nullptr);
  std::vector<std::string> settings;
  for (char** e = environ; *e != nullptr; ++e) {
    const std::string name = std::string(*e).substr(0, std::string(*e).find('=') + 1);
    if (std::none_of(environment.begin(), environment.end(), [&](const std::string& s) { return s.starts_with(name); }))
      settings.emplace_back(*e);
  }
  settings.insert(settings.end(), environment.begin(), environment.end());
  std::vector<char*> envp;
  for (auto& s : settings) envp.push_back(s.data());
  envp.push_back(nullptr);
  // Made here: who is killed as soon as it is there has still said nothing, in two empty files.
  const auto made = [](const fs::path& file) { return ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600); };
  const int out = made(out_), err = made(err_);
  pid_ = ::fork();
  if (pid_ == 0) {
    ::dup2(out, 1);
    ::dup2(err, 2);
    ::dup2(::open("/dev/null", O_RDONLY), 0);
    if (file_bytes > 0) {
      const rlimit limit{static_cast<rlim_t>(file_bytes), static_cast<rlim_t>(file_bytes)};
      ::setrlimit(RLIMIT_FSIZE, &limit);
    }
    ::execve(program.c_str(), argv.data(), envp.data());
    ::_exit(127);
  }
  ::close(out);
  ::close(err);
}

Program::~Program() {
  if (!reaped_) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, &status_, 0);
  }
  fs::remove(out_);
  fs::remove(err_);
}

bool Program::wait(double seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (!reaped_) {
    if (::waitpid(pid_, &status_, WNOHANG) == pid_) {
      reaped_ = true;
      break;
    }
    if (std::chrono::steady_clock::now() >= end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

void Program::send(int signal) {
  if (!reaped_) ::kill(pid_, signal);
}

ProgramResult Program::result() {
  if (!reaped_) ::waitpid(pid_, &status_, 0);
  reaped_ = true;
  ProgramResult r;
  r.code = WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
  r.out = read_file(out_);
  r.err = read_file(err_);
  return r;
}

long Program::resident_kib() const { return test::resident_kib(pid_); }

ProgramResult run_program(const std::vector<std::string>& arguments, const std::vector<std::string>& environment,
                          int64_t file_bytes) {
  return Program(arguments, environment, file_bytes).result();
}

std::map<std::string, std::string> summary_hashes(const fs::path& run_dir) {
  const auto summary = nlohmann::json::parse(read_file(run_dir / "summary.json"));
  std::map<std::string, std::string> hashes;
  for (const auto& stage : summary["stages"])
    for (const char* name : {"weights_hash", "dataset_hash"})
      if (stage.contains(name)) hashes[stage["name"]] = stage[name];
  return hashes;
}

std::string ledger_complaints(const fs::path& run_dir) {
  const auto store = RunStore::open_read_only(run_dir);
  std::string all;
  for (const StageRow& row : store->stages()) {
    const std::string complaint = store->check_ledger(row.id, false);
    if (!complaint.empty()) all += row.name + ": " + complaint + "\n";
  }
  return all;
}

void ProgramTest::SetUp() {
  const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
  std::string name = info->name();  // parametrised tests have a '/' in it
  std::replace(name.begin(), name.end(), '/', '_');
  top = fs::temp_directory_path() / ("r1_e2e_" + std::to_string(::getpid()) + "_" + name);
  fs::remove_all(top);
  fs::create_directories(top);
}

void ProgramTest::TearDown() { fs::remove_all(top); }

}  // namespace r1
