#include "base/files.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/error.h"

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

}  // namespace
}  // namespace r1
