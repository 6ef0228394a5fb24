// What a file was: its size and the XXH3-128 of its content, so that a change is noticed; and a stamp that says cheaply whether
// a change is possible at all. Not a protection against somebody who wants two files of equal hash.
// Thread rule: pure functions but for reading files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "base/hash.h"

namespace r1 {

// Device, inode, size, modification and change time of a file. The kernel sets the change time at every write, truncation,
// rename over it and change of its times, and no program can set it back: while the stamp is the same, nothing was written
// through the file system. It says nothing about a disk that forgets.
struct FileStamp {
  uint64_t device = 0, inode = 0, bytes = 0;
  int64_t modified_ns = 0, changed_ns = 0;
  bool operator==(const FileStamp&) const = default;
  std::string text() const;  // five numbers, for a store
  // A change within the clock's grain after the stamp was taken could leave it as it is: a stamp is to be trusted only when the
  // file had been left alone for this long before.
  bool settled(double wall_s) const;
};
// Throws failure when the file is not there or cannot be read.
FileStamp file_stamp(const std::filesystem::path& file);
FileStamp file_stamp(int descriptor, const std::filesystem::path& name_for_errors);

struct FileFingerprint {
  uint64_t bytes = 0;
  Hash128 content;
  bool operator==(const FileFingerprint&) const = default;
  std::string hex() const { return content.hex(); }
};
// Is told between pieces how many bytes are done, of how many.
using FingerprintProgress = std::function<void(uint64_t done, uint64_t of)>;
// Reads the whole file in pieces of a few MiB (never maps it: a file that is cut short meanwhile is an error, not a signal).
// Throws failure, naming the file, when it cannot be read or changes while it is read. Looks for a stop between pieces.
FileFingerprint fingerprint_file(const std::filesystem::path& file, const FingerprintProgress& progress = {});

}  // namespace r1
