// A disk that fills (P10): exit code 1, a message with the file and the reason, and with space again the same command ends with
// the same weights.
#include <sys/mount.h>
#include <sys/statvfs.h>

#include <cstring>
#include <fstream>

#include "tests/e2e/program.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

struct Unmount {
  fs::path dir;
  ~Unmount() { ::umount2(dir.c_str(), MNT_DETACH); }
};

struct DiskFull : ProgramTest {
  std::vector<std::string> arguments(const fs::path& run) const {
    return {nano(), "--run", run.string(), "-q", "--set", "node.snapshot_s=0"};
  }
  // Exit code 1, and one of the reasons beside the name of a file of the run directory.
  static void expect_reason(const ProgramResult& r, const fs::path& run, const std::vector<std::string>& reasons) {
    EXPECT_EQ(r.code, 1) << r.err;
    EXPECT_NE(r.err.find(run.string() + "/"), std::string::npos) << r.err;
    bool said = false;
    for (const std::string& reason : reasons) said = said || r.err.find(reason) != std::string::npos;
    EXPECT_TRUE(said) << r.err;
    EXPECT_NE(r.err.find("free some space"), std::string::npos) << r.err;
    if (std::getenv("R1_SHOW_MESSAGES") != nullptr) std::fputs((r.err + "\n").c_str(), stderr);
  }
  void expect_as_undisturbed(const fs::path& run) {
    ASSERT_EQ(run_program(arguments(top / "whole")).code, 0);
    EXPECT_EQ(summary_hashes(run), summary_hashes(top / "whole"));
    EXPECT_EQ(ledger_complaints(run), "");
    for (const auto& entry : fs::recursive_directory_iterator(run))
      EXPECT_EQ(entry.path().string().find(".tmp"), std::string::npos) << entry.path() << " was left behind";
  }
};

// Every limit stops another writer: at first the run store cannot be made, then it cannot grow, then snapshots and checkpoints.
TEST_F(DiskFull, files_that_may_not_grow_end_the_run_resumable) {
  const fs::path run = top / "run";
  int failures = 0;
  ProgramResult r;
  for (int64_t bytes = 3000;; bytes = bytes * 3 / 2) {
    SCOPED_TRACE("files of at most " + std::to_string(bytes) + " bytes");
    r = run_program(arguments(run), {}, bytes);
    if (r.code == 0) break;
    expect_reason(r, run, {"File too large", "disk I/O error"});
    ++failures;
    ASSERT_LT(bytes, 1 << 24) << r.err;
    if (HasFailure()) return;
  }
  EXPECT_GE(failures, 5);
  expect_as_undisturbed(run);
}

// The same on a real file system with little room, where the order of writers is another one.
TEST_F(DiskFull, a_small_file_system_ends_the_run_resumable) {
  const fs::path disk = top / "disk";
  fs::create_directories(disk);
  if (::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=16M") != 0)
    GTEST_SKIP() << "a tmpfs cannot be mounted here: " << std::strerror(errno);
  const Unmount unmount{disk};
  const fs::path run = disk / "run", filler = disk / "filler";
  int failures = 0;
  for (int64_t room = 40'000;; room = room * 3 / 2) {
    SCOPED_TRACE("room of " + std::to_string(room) + " bytes");
    fs::remove(filler);
    struct statvfs now {};
    ASSERT_EQ(::statvfs(disk.c_str(), &now), 0);
    const auto available = static_cast<int64_t>(now.f_bavail * now.f_bsize);
    if (available > room) std::ofstream(filler) << std::string(static_cast<size_t>(available - room), 'x');
    const ProgramResult r = run_program(arguments(run));
    if (r.code == 0) break;
    expect_reason(r, run, {"No space left on device", "disk is full"});
    ++failures;
    ASSERT_GT(available, room) << r.err;
    if (HasFailure()) return;
  }
  EXPECT_GE(failures, 3);
  fs::remove(filler);
  expect_as_undisturbed(run);
}

// Files reach a node by content; where its disk has no room for them, the run says which node, and goes on when there is.
TEST_F(DiskFull, a_node_whose_cache_is_full_is_named_and_the_run_goes_on_with_space_again) {
  const fs::path disk = top / "cache", run = top / "run", hosts = top / "hosts";
  fs::create_directories(disk);
  if (::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=16k") != 0)
    GTEST_SKIP() << "a tmpfs cannot be mounted here: " << std::strerror(errno);
  const Unmount unmount{disk};
  std::ofstream(hosts) << "localhost slots=1\n";
  std::vector<std::string> command = arguments(run);
  command.insert(command.end(), {"--hostfile", hosts.string()});
  const ProgramResult full = run_program(command, {"XDG_CACHE_HOME=" + disk.string()});
  expect_reason(full, disk, {"No space left on device"});
  EXPECT_NE(full.err.find("(at node1/"), std::string::npos) << full.err;
  ASSERT_EQ(::mount("tmpfs", disk.c_str(), "tmpfs", MS_REMOUNT, "size=64M"), 0) << std::strerror(errno);
  const ProgramResult r = run_program(command, {"XDG_CACHE_HOME=" + disk.string()});
  ASSERT_EQ(r.code, 0) << r.err;
  expect_as_undisturbed(run);
}

}  // namespace
}  // namespace r1
