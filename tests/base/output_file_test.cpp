#include "base/output_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "base/error.h"
#include "base/files.h"
#include "tests/runtime/temporary_directory.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

struct Output : testing::Test {
  TemporaryDirectory dir;
  fs::path file = dir.path() / "out", partial = dir.path() / "out.partial";
};

TEST_F(Output, takes_the_place_of_the_old_file_when_it_is_whole) {
  std::ofstream(file) << "old and longer";
  {
    OutputFile out(file);
    out.write("ne");
    EXPECT_EQ(read_file(partial), "ne");
    out.write("w");
    EXPECT_EQ(read_file(file), "old and longer");
    out.finish();
  }
  EXPECT_EQ(read_file(file), "new");
  EXPECT_FALSE(fs::exists(partial));
}

TEST_F(Output, that_is_not_finished_stays_beside_the_old_file_unless_nothing_came) {
  std::ofstream(file) << "old";
  OutputFile(file).write("some");
  EXPECT_EQ(read_file(file), "old");
  EXPECT_EQ(read_file(partial), "some");
  { const OutputFile nothing(file); }
  EXPECT_EQ(read_file(file), "old");
  EXPECT_FALSE(fs::exists(partial));
}

TEST_F(Output, goes_through_a_link_and_into_what_is_no_file) {
  fs::create_symlink("elsewhere", file);
  OutputFile out(file);
  out.write("new");
  out.finish();
  EXPECT_TRUE(fs::is_symlink(file));
  EXPECT_EQ(read_file(dir.path() / "elsewhere"), "new") << "it did not exist";
  fs::create_symlink("loop", dir.path() / "loop");
  EXPECT_THROW(OutputFile(dir.path() / "loop"), Error);
  const fs::path pipe = dir.path() / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  std::fstream reader(pipe, std::ios::in | std::ios::out);
  OutputFile into(pipe);
  into.write("line\n");
  into.finish();
  std::string line;
  std::getline(reader, line);
  EXPECT_EQ(line, "line");
  EXPECT_TRUE(fs::is_fifo(pipe));
}

TEST_F(Output, that_cannot_be_written_is_bad_input_and_a_full_disk_a_failure) {
  const auto code_of = [](const fs::path& path) {
    try {
      OutputFile out(path);
      out.write("x");
      return ExitCode::done;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(path.string()), std::string::npos);
      return e.code();
    }
  };
  EXPECT_EQ(code_of(dir.path() / "none/out"), ExitCode::bad_input);
  EXPECT_EQ(code_of(dir.path()), ExitCode::bad_input);
  EXPECT_EQ(code_of("/dev/full"), ExitCode::failed);
}

}  // namespace
}  // namespace r1
