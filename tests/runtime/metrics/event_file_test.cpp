// Event files: checksums against published vectors, records against TensorBoard's own bytes, and what survives a crash.
#include "runtime/metrics/event_file.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "base/files.h"
#include "tests/runtime/temporary_directory.h"

namespace r1 {
namespace {

std::string hex(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    constexpr const char* kDigits = "0123456789abcdef";
    out += kDigits[static_cast<uint8_t>(c) >> 4];
    out += kDigits[static_cast<uint8_t>(c) & 15];
  }
  return out;
}

// RFC 3720, appendix B.4, and the check value of the CRC catalogue.
TEST(EventFile, crc32c_gives_the_published_values) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(crc32c(""), 0u);
}

// The bytes of tensorboard 2.x (summary.writer.record_writer) for the same event.
TEST(EventFile, a_record_has_the_bytes_that_tensorboard_writes) {
  const ScalarEvent event{1700000000.5, 300, {{"rl1/reward", 0.75}, {"rl1/kl", -2}}};
  EXPECT_EQ(
      hex(event_record(encode_event(event))),
      "300000000000000095f5d05f0900002040fc54d94110ac022a220a110a0a726c312f726577617264150000403f0a0d0a06726c312f6b6c15000000"
      "c029133722");
}

TEST(EventFile, opens_with_the_version_record_of_tensorboard) {
  const TemporaryDirectory dir;
  EventFile file(dir.path(), 1700000000);
  file.flush();
  EXPECT_EQ(hex(read_file(file.path())), "1800000000000000a37f4b220900000040fc54d9411a0d627261696e2e4576656e743a32eced8f9d");
  EXPECT_TRUE(file.path().filename().string().starts_with("events.out.tfevents.1700000000.")) << file.path();
}

TEST(EventFile, reads_back_what_was_written) {
  const TemporaryDirectory dir;
  EventFile file(dir.path(), 1700000000);
  for (int64_t step : {int64_t{0}, int64_t{127}, int64_t{128}, int64_t{1} << 40})
    file.add({1700000001.25, step, {{"a/b", 0.5}}});
  file.flush();
  ASSERT_EQ(event_files(dir.path()).size(), 1u);
  const auto events = read_event_file(event_files(dir.path())[0]);
  ASSERT_EQ(events.size(), 4u);
  EXPECT_EQ(events[3].step, int64_t{1} << 40);
  EXPECT_EQ(events[3].wall_s, 1700000001.25);
  ASSERT_EQ(events[3].scalars.size(), 1u);
  EXPECT_EQ(events[3].scalars[0].tag, "a/b");
  EXPECT_EQ(events[3].scalars[0].value, 0.5);
}

TEST(EventFile, a_record_cut_short_or_damaged_ends_what_is_read) {
  const TemporaryDirectory dir;
  std::string bytes;
  for (int64_t step = 0; step < 3; ++step) bytes += event_record(encode_event({1, step, {{"x", 1}}}));
  const size_t one = bytes.size() / 3;
  const auto read = [&](const std::string& content) {
    std::ofstream(dir.path() / "events", std::ios::binary) << content;
    return read_event_file(dir.path() / "events").size();
  };
  EXPECT_EQ(read(bytes), 3u);
  for (size_t cut = 1; cut < one; ++cut) EXPECT_EQ(read(bytes.substr(0, bytes.size() - cut)), 2u) << cut;
  for (const size_t at : {one, one + 9, one + 13, 2 * one - 1}) {
    std::string damaged = bytes;
    damaged[at] ^= 1;
    EXPECT_EQ(read(damaged), 1u) << at;
  }
  EXPECT_EQ(read(""), 0u);
  std::string huge = bytes;
  huge.replace(0, 8, 8, '\xff');
  EXPECT_EQ(read(huge), 0u);
}

TEST(EventFile, a_directory_that_is_not_there_is_an_error) { EXPECT_THROW(EventFile("/nowhere/at/all", 1), Error); }

}  // namespace
}  // namespace r1
