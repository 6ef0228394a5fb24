// TensorBoard event files: scalars by tag and step, in TensorFlow's record format with hand-encoded protocol buffers.
// Writes scalars only, and reads back what it wrote. Not a protobuf library.
//
//   file   := record*                                                       all integers little-endian
//   record := u64 length   u32 masked_crc(length's 8 bytes)   length bytes   u32 masked_crc(the bytes)
//   bytes  := Event { double wall_time = 1; int64 step = 2; string file_version = 3; Summary summary = 5 }
//   Summary { repeated Value value = 1 }   Value { string tag = 1; float simple_value = 2 }
//
// The first record holds file_version "brain.Event:2" and nothing else.
// Source: tensorflow/core/lib/io/record_writer.h, tensorflow/core/util/event.proto and tensorflow/core/framework/summary.proto.
// Thread rule: functions are pure but for reading files; an EventFile belongs to one thread at a time.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace r1 {

uint32_t crc32c(std::string_view bytes);         // Castagnoli, reflected; RFC 3720 B.4
uint32_t masked_crc32c(std::string_view bytes);  // rotated right by 15 bits, plus 0xa282ead8

struct Scalar {
  std::string tag;  // "rl1/reward"
  double value = 0;
};
struct ScalarEvent {
  double wall_s = 0;  // since 1970
  int64_t step = 0;
  std::vector<Scalar> scalars;
};

std::string event_record(std::string_view bytes);
std::string encode_event(const ScalarEvent& event);  // the bytes inside a record

class EventFile {
 public:
  // Creates DIR/events.out.tfevents.TIME.HOST.PID. Throws failure when the operating system refuses.
  EventFile(const std::filesystem::path& dir, double wall_s);
  void add(const ScalarEvent& event);  // buffered
  void flush();                        // to the operating system; not to the disk
  const std::filesystem::path& path() const { return path_; }

 private:
  void write(const std::string& record);

  std::filesystem::path path_;
  std::unique_ptr<FILE, int (*)(FILE*)> file_;
};

// The event files of a directory, by name: the oldest first.
std::vector<std::filesystem::path> event_files(const std::filesystem::path& dir);
// What a file holds up to its end, or to the first record that is cut short or damaged.
std::vector<ScalarEvent> read_event_file(const std::filesystem::path& path);

}  // namespace r1
