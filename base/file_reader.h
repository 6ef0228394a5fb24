// A regular file read piece by piece at given places (pread), for files too large to be held or whose bytes somebody else may
// rewrite: a file that becomes shorter is an error here, where a memory map would be a signal.
// Not a stream and not a cache: each read is one of the file system's.
// Thread rule: immutable after construction; any thread may read.
#pragma once

#include <cstdint>
#include <filesystem>

namespace r1 {

class FileReader {
 public:
  // Throws bad_input when there is no such regular file, failure when the operating system refuses.
  explicit FileReader(const std::filesystem::path& path);
  ~FileReader();
  FileReader(const FileReader&) = delete;
  FileReader& operator=(const FileReader&) = delete;

  const std::filesystem::path& path() const { return path_; }
  uint64_t size() const { return size_; }  // when it was opened
  // Exactly `bytes` at `offset`, within size(). Throws failure when the file has become shorter or cannot be read.
  void read(uint64_t offset, void* out, size_t bytes) const;

 private:
  std::filesystem::path path_;
  int fd_ = -1;
  uint64_t size_ = 0;
};

}  // namespace r1
