// A text file whose lines can be read in any order, however large it is: an index of offsets (8 bytes a line) and pread.
// Nothing is mapped, so that a file that somebody rewrites is an error with its name, never a signal and never other text.
//
// A compressed file (tasks/text_stream.h) is decompressed once into a temporary without a name, which is gone with the object.
// Thread rule: immutable once made; any thread may call.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace r1 {

constexpr uint64_t kLongestLine = uint64_t{64} << 20;  // of text, bytes: a record is held in memory several times

class LineFile {
 public:
  // Reads the file once to find its lines; those of nothing but blanks do not count. Throws bad_input as open_text does, and
  // for a line longer than kLongestLine. `keep`: which lines are there, asked of each, in their order; empty: all.
  using Keep = std::function<bool(const std::string& line)>;
  explicit LineFile(const std::filesystem::path& path, const Keep& keep = {});
  ~LineFile();
  LineFile(const LineFile&) = delete;
  LineFile& operator=(const LineFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  uint64_t size() const { return offsets_.size(); }
  // Without its newline. Throws failure when the file has changed since it was opened.
  std::string line(uint64_t index) const;
  // Size and time of the last change of the file under its name, when it was opened.
  std::string stamp_text() const;
  // The number of that line in the file, from 1. Reads the file up to there: for messages.
  int number(uint64_t index) const;

 private:
  struct Stamp {
    int64_t bytes = 0, seconds = 0, nanoseconds = 0;
    bool operator==(const Stamp&) const = default;
  };
  static Stamp stamp(int fd, const std::filesystem::path& path);
  void check_unchanged() const;
  void index(const Keep& keep);
  size_t read_at(uint64_t offset, char* to, size_t bytes) const;

  std::filesystem::path path_;
  int fd_ = -1;
  bool temporary_ = false;
  Stamp stamp_, opened_;  // of what is read from; of the file as it was opened (another one where it is compressed)
  std::vector<uint64_t> offsets_;
};

// The first line that is not blank, its number in `number`; "" when there is none. Reads no further than there.
std::string first_line(const std::filesystem::path& path, int& number);

}  // namespace r1
