// The directory of a run as a whole: who may use it, what of it is a run's, and what a kill leaves behind in it. Not its
// content: that is the run store's (run_store.h) and the roles'. Thread rule: one thread.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "base/files.h"
#include "runtime/store/run_store.h"

namespace r1 {

class RunDirectory {
 public:
  // Takes the directory for this process alone: makes it when it is not there, and with `fresh` moves a run that lies there
  // aside (never deletes it, never moves anything that is not a run). Throws bad_input when another process uses it, when it
  // holds something else, cannot be written, lies on a network file system or at too long a path; it is then left as it was.
  static RunDirectory take(const std::filesystem::path& dir, bool fresh);

  const std::filesystem::path& path() const { return path_; }
  const std::optional<std::filesystem::path>& moved_aside_to() const { return aside_; }

 private:
  RunDirectory(std::filesystem::path path, DirectoryLock lock) : path_(std::move(path)), lock_(std::move(lock)) {}
  std::filesystem::path path_;
  DirectoryLock lock_;
  std::optional<std::filesystem::path> aside_;
};

// Whether `dir` holds a run, whatever its state.
bool holds_run(const std::filesystem::path& dir);

// Removes what killed processes left half written: temporary files and directories beside those they were to become, snapshots
// that no row of the store names; and puts back a checkpoint whose replacement was killed between two renames. Call with the
// directory taken.
void remove_leftovers(const std::filesystem::path& dir, const RunStore& store);

}  // namespace r1
