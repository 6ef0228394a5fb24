// The tokenised examples of a stage, on disk instead of in memory: appended once, then read in any order. 8 bytes of memory
// each, however long they are. Its file has no name and is gone with the object or the process, so nothing of it stays behind
// a kill; a stage that goes on fills it again.
//
// Not the run store: what was trained on stands there (P4), never here.
// Thread rule: append() in one thread at a time; read() may be called from any thread once nothing is appended any more.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "models/sequence.h"

namespace r1 {

class SequenceSpool {
 public:
  // `name`: PATH of a file that could lie there; its directory is created. Where the file system has no files without a name it
  // stands there as a temporary (base/files.h) for a moment.
  explicit SequenceSpool(const std::filesystem::path& name);
  ~SequenceSpool();
  SequenceSpool(const SequenceSpool&) = delete;
  SequenceSpool& operator=(const SequenceSpool&) = delete;

  int64_t size() const { return static_cast<int64_t>(ends_.size()); }
  // Throws failure when the disk refuses.
  void append(const Sequence& sequence);
  Sequence read(int64_t index) const;

 private:
  void write_buffer();

  std::filesystem::path name_;
  int fd_ = -1;
  std::vector<uint64_t> ends_;  // [index]: the byte behind it
  std::string buffer_;          // the last bytes, not yet in the file
  uint64_t written_ = 0;        // bytes in the file
};

}  // namespace r1
