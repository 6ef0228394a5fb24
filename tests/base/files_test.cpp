#include "base/files.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <thread>

#include "base/deadline.h"
#include "base/error.h"
#include "base/fingerprint.h"
#include "base/stop.h"
#include "base/thread_count.h"
#include "tools/sim/power_cut.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

struct Files : ::testing::Test {
  fs::path dir = fs::temp_directory_path() / ("r1_files_" + std::to_string(::getpid()));
  void SetUp() override { fs::create_directories(dir); }
  void TearDown() override { fs::remove_all(dir); }
};

TEST_F(Files, an_atomic_write_replaces_the_whole_file_and_leaves_nothing_beside_it) {
  write_file_atomically(dir / "a", "long old content");
  write_file_atomically(dir / "a", "new");
  EXPECT_EQ(read_file(dir / "a"), "new");
  EXPECT_EQ(std::distance(fs::directory_iterator(dir), {}), 1);
}

TEST_F(Files, an_atomic_write_outlives_a_power_cut_as_soon_as_it_returns) {
  write_file_atomically(dir / "old", "old content");
  PowerCut power(dir);
  const fs::path left = dir.string() + "_left";
  const auto after_the_cut = [&](const std::string& name) {
    fs::remove_all(left);
    power.restore(left);
    return fs::exists(left / name) ? read_file(left / name) : "not there";
  };
  write_file_atomically(dir / "new", "new content");
  EXPECT_EQ(after_the_cut("new"), "new content");
  EXPECT_EQ(after_the_cut("old"), "old content");
  write_file_atomically(dir / "old", "replaced");
  EXPECT_EQ(after_the_cut("old"), "replaced");
  EXPECT_EQ(std::distance(fs::directory_iterator(left), {}), 2);
  std::ofstream(dir / "unsynced") << "bytes";  // the cut is no copy of the directory
  EXPECT_EQ(after_the_cut("unsynced"), "not there");
  fs::remove_all(left);
}

TEST_F(Files, reading_what_is_not_there_names_the_path) {
  try {
    read_file(dir / "none");
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("none"), std::string::npos);
    EXPECT_EQ(e.code(), ExitCode::failed);
  }
}

TEST_F(Files, a_map_shows_the_bytes_and_an_empty_file_is_an_empty_map) {
  write_file_atomically(dir / "m", "xyz");
  write_file_atomically(dir / "empty", "");
  MappedFile m(dir / "m");
  ASSERT_EQ(m.bytes().size(), 3u);
  EXPECT_EQ(static_cast<char>(m.bytes()[1]), 'y');
  EXPECT_TRUE(MappedFile(dir / "empty").bytes().empty());
}

TEST_F(Files, a_directory_lock_is_exclusive_until_released) {
  {
    auto held = DirectoryLock::try_lock(dir);
    ASSERT_TRUE(held.has_value());
    EXPECT_FALSE(DirectoryLock::try_lock(dir).has_value());
  }
  EXPECT_TRUE(DirectoryLock::try_lock(dir).has_value());
}

TEST_F(Files, a_directory_lock_leaves_nothing_in_the_directory_and_follows_it_when_it_is_renamed) {
  const fs::path first = dir / "first", aside = dir / "aside";
  fs::create_directory(first);
  auto held = DirectoryLock::try_lock(first);
  ASSERT_TRUE(held.has_value());
  EXPECT_TRUE(fs::is_empty(first));
  fs::rename(first, aside);
  EXPECT_FALSE(DirectoryLock::try_lock(aside).has_value());
  fs::create_directory(first);
  EXPECT_TRUE(DirectoryLock::try_lock(first).has_value());
}

TEST_F(Files, temporary_files_are_known_by_their_names) {
  EXPECT_TRUE(is_temporary_name(temporary_beside(dir / "graph.graph").filename().string()));
  EXPECT_TRUE(is_temporary_name("sft-12.state.tmp"));
  for (const char* name : {"graph.graph", "notes.tmpl", "tmp", "12", "", "a.tmp.12"})
    EXPECT_FALSE(is_temporary_name(name)) << name;
}

struct Fingerprints : Files {};

TEST_F(Fingerprints, are_those_of_the_bytes_however_many_pieces_they_are_read_in) {
  std::string bytes(9'000'001, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * i >> 3);
  write_file_atomically(dir / "f", bytes);
  const FileFingerprint f = fingerprint_file(dir / "f");
  EXPECT_EQ(f.bytes, bytes.size());
  EXPECT_EQ(f.content, hash_string(bytes));
  bytes[8'500'000] ^= 1;
  write_file_atomically(dir / "f", bytes);
  EXPECT_NE(fingerprint_file(dir / "f").content, f.content);
  EXPECT_EQ(fingerprint_file("/dev/null").bytes, 0u);
}

TEST_F(Fingerprints, stamps_change_with_every_write_and_are_not_trusted_while_they_are_young) {
  write_file_atomically(dir / "f", "abc");
  const FileStamp before = file_stamp(dir / "f");
  const double changed_s = static_cast<double>(before.changed_ns) * 1e-9;
  EXPECT_FALSE(before.settled(changed_s + 1));
  EXPECT_TRUE(before.settled(changed_s + 5));
  EXPECT_EQ(file_stamp(dir / "f"), before);
  write_file_atomically(dir / "f", "abd");  // another inode, if nothing else
  EXPECT_NE(file_stamp(dir / "f"), before);
}

TEST_F(Fingerprints, a_link_that_another_process_makes_meanwhile_is_no_write_and_a_write_is_one_whatever_its_time) {
  write_file_atomically(dir / "f", "abc");
  int links = 0;
  const auto linked = [&](uint64_t, uint64_t) { fs::create_hard_link(dir / "f", dir / std::to_string(links++)); };
  EXPECT_EQ(fingerprint_file(dir / "f", linked).content, hash_string("abc"));
  EXPECT_EQ(links, 2) << "it is read again";
  const auto time = fs::last_write_time(dir / "f");
  std::string next = "abd";
  const auto written = [&](uint64_t, uint64_t) {
    std::ofstream(dir / "f") << next;
    next = "abe";
    fs::last_write_time(dir / "f", time);
  };
  EXPECT_THROW(fingerprint_file(dir / "f", written), Error);
}

TEST_F(Fingerprints, stop_between_pieces) {
  write_file_atomically(dir / "f", "abc");
  std::atomic<bool> stop{true};
  const StopScope scope(&stop);
  EXPECT_THROW(fingerprint_file(dir / "f"), Stopped);
}

TEST(DeadlineDeathTest, a_step_that_hangs_is_named_and_ends_the_process_with_its_code) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        Deadline deadline;
        deadline.step("a quick step", 100, ExitCode::failed);
        deadline.step("counting sheep", 0.02, ExitCode::interrupted);
        std::this_thread::sleep_for(std::chrono::hours(1));
      },
      testing::ExitedWithCode(130), "counting sheep did not end within");
}

TEST(ThreadCount, that_the_system_gives_is_no_error) { require_threads(8); }

// What is held is counted in addresses: a limit of `room` MiB more than that.
static void require_threads_within(int64_t room) {
  int64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  const auto most = static_cast<rlim_t>(pages * ::sysconf(_SC_PAGESIZE) + (room << 20));
  const rlimit limit{most, most};
  ::setrlimit(RLIMIT_AS, &limit);
  try {
    require_threads(4);
  } catch (const Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    std::_Exit(3);
  }
  std::_Exit(0);
}

TEST(ThreadCountDeathTest, a_limit_on_addresses_is_named_before_a_library_ends_the_process) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(require_threads_within(60), testing::ExitedWithCode(3),
              "4 threads, and no 112 MiB of addresses beside them .*ulimit -v");
  EXPECT_EXIT(require_threads_within(20), testing::ExitedWithCode(3), "threads of the 4 .*limit on addresses .ulimit -v.");
  EXPECT_EXIT(require_threads_within(2000), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace r1
