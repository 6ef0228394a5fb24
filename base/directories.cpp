#include "base/directories.h"

#include "base/error.h"
#include "base/files.h"

namespace r1 {

void make_directories(const std::filesystem::path& dir) {
  const std::filesystem::path parent = dir.has_parent_path() ? dir.parent_path() : ".";
  std::error_code error;
  if (!std::filesystem::is_directory(dir, error)) {
    if (!std::filesystem::exists(parent, error)) make_directories(parent);
    std::filesystem::create_directory(dir, error);
    if (error) throw failure("cannot create directory: " + error.message(), {dir.string()}, no_space_hint(error.value()));
  }
  fsync_directory(parent);
}

}  // namespace r1
