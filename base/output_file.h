// A file that a user names for the results of a program: what was there stays until the new results are whole. Not for files of
// a run (base/files.h: AtomicFile). Thread rule: one thread.
#pragma once

#include <filesystem>
#include <string_view>

namespace r1 {

// Written beside its place as PATH.partial and renamed by finish(). What is not finished - an error, a kill - stays there, as
// far as it came; without a byte it goes. A link is followed; what is no file (a pipe, a device) is written as it is.
class OutputFile {
 public:
  explicit OutputFile(const std::filesystem::path& path);  // throws bad_input when it cannot be written
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  void write(std::string_view bytes);  // in the file when it returns; throws failure
  void finish();                       // throws failure; nothing is written after it

 private:
  std::filesystem::path path_, written_;  // equal for what is no file
  int fd_ = -1;
  bool empty_ = true;
};

}  // namespace r1
