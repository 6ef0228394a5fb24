// What a file was: its size and the XXH3-128 of its content, so that a change is noticed. Not a protection against somebody who
// wants two files of equal hash.
// Thread rule: pure functions but for reading files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/hash.h"

namespace r1 {

struct FileFingerprint {
  uint64_t bytes = 0;
  Hash128 content;
  bool operator==(const FileFingerprint&) const = default;
  std::string hex() const { return content.hex(); }
};
// Reads the whole file in pieces (never maps it: a file that is cut short meanwhile is no signal). Throws failure, naming the
// file, when it cannot be read.
FileFingerprint fingerprint_file(const std::filesystem::path& file);

}  // namespace r1
