#include "actors/read_once.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "base/error.h"
#include "tasks/tiny/tokenizer_json.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

class ReadOnceTest : public testing::Test {
 protected:
  ReadOnceTest() {
    dir_ = fs::temp_directory_path() / ("r1_read_once_" + std::to_string(::getpid()));
    fs::create_directories(dir_);
  }
  ~ReadOnceTest() override { fs::remove_all(dir_); }
  void write(const std::string& text) { std::ofstream(dir_ / "f") << text; }

  fs::path dir_;
  ReadOnce once_;
};

TEST_F(ReadOnceTest, a_tokenizer_is_parsed_once_however_its_file_is_named_and_again_when_it_was_written_to) {
  write(tiny_tokenizer_json());
  int parsed = 0;
  const auto parse = [&] {
    ++parsed;
    return Tokenizer::from_json(tiny_tokenizer_json(), "f");
  };
  const auto first = once_.tokenizer(dir_ / "f", parse);
  EXPECT_EQ(once_.tokenizer(dir_ / "." / "f", parse), first);
  EXPECT_EQ(parsed, 1);
  write(tiny_tokenizer_json() + "\n");
  EXPECT_NE(once_.tokenizer(dir_ / "f", parse), first);
  EXPECT_EQ(parsed, 2);
  EXPECT_EQ(once_.tokenizer(std::string("tiny"), parse), once_.tokenizer(std::string("tiny"), parse));
  EXPECT_EQ(parsed, 3);
}

TEST_F(ReadOnceTest, what_cannot_be_parsed_says_so_each_time) {
  const auto refuse = []() -> Tokenizer { throw bad_input("no such file"); };
  EXPECT_THROW(once_.tokenizer(dir_ / "none", refuse), Error);
  write("{");
  EXPECT_THROW(once_.tokenizer(dir_ / "f", refuse), Error);
  EXPECT_THROW(once_.tokenizer(dir_ / "f", refuse), Error);
}

TEST_F(ReadOnceTest, a_file_is_hashed_once_where_it_was_certainly_left_alone_and_progress_reaches_its_end) {
  write(std::string(10'000'000, 'x'));
  int calls = 0;
  uint64_t last = 0;
  const FingerprintProgress progress = [&](uint64_t done, uint64_t of) {
    ++calls;
    EXPECT_LE(done, of);
    EXPECT_GE(done, last);
    last = done;
  };
  const FileFingerprint young = once_.fingerprint(dir_ / "f", progress);
  EXPECT_EQ(last, 10'000'000u);
  EXPECT_EQ(young, fingerprint_file(dir_ / "f"));
  last = 0;
  const int before = calls;
  once_.fingerprint(dir_ / "f", progress);
  EXPECT_GT(calls, before) << "written a moment ago: its stamp could hide another write";
  // One that was left alone: a file of the system.
  const fs::path old = "/proc/self/exe";
  once_.fingerprint(fs::canonical(old));
  calls = 0;
  last = 0;
  if (file_stamp(fs::canonical(old)).changed_ns + int64_t{5'000'000'000} <
      static_cast<int64_t>(::time(nullptr)) * 1'000'000'000) {
    once_.fingerprint(fs::canonical(old), progress);
    EXPECT_EQ(calls, 0);
  }
}

}  // namespace
}  // namespace r1
