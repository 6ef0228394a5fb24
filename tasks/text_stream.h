// A text file from its beginning to its end, in pieces, whether or not it is compressed: .gz (zlib) and .zst (zstd) are known
// by their first bytes, not by their names.
//
// Not random access: tasks/line_file.h makes that of it.
// Thread rule: one thread at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace r1 {

class TextStream {
 public:
  virtual ~TextStream();
  // Fills `to` from its beginning; 0: the end. Throws bad_input for a compressed file that is broken, cut off, or grows beyond
  // what kMostGrowth allows; failure when the system refuses to read.
  virtual size_t read(std::span<char> to) = 0;
  virtual bool compressed() const = 0;
};

// A compressed file may hold at most so many times its own bytes once it holds more than 64 MiB: JSON lines shrink by 3 to 100
// times, a file that would fill the disk by more.
constexpr uint64_t kMostGrowth = 2000;

// Throws bad_input where there is no such file, where it is none (a directory, a pipe, a device), and for formats that are
// plainly something else: UTF-16, .xz, .bz2, .zip, Parquet.
std::unique_ptr<TextStream> open_text(const std::filesystem::path& path);

}  // namespace r1
