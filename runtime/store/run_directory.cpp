#include "runtime/store/run_directory.h"

#include <unistd.h>

#include <algorithm>
#include <set>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "runtime/store/arithmetic.h"
#include "runtime/store/sqlite.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSubdirectories[] = {"checkpoints", "snapshots", "datasets"};
constexpr const char* kAnother = "choose another one with --run";

// What a run writes into the directory itself, as it is called or will be.
bool is_own_file(const std::string& name) {
  static const std::set<std::string> known = {"graph.graph", "shell.json", "summary.json", "report.html", "run.mark"};
  return known.count(name.substr(0, name.find(".tmp"))) != 0;
}

// What may lie in a directory before a run has begun in it: a start that was killed, the lock file of older versions.
bool is_of_a_start(const std::string& name) {
  return name == "lock" || name == "r1.log" || (is_temporary_name(name) && is_own_file(name));
}

fs::path aside_name(const fs::path& dir) {
  fs::path plain = dir;
  if (!plain.has_filename()) plain = plain.parent_path();  // "runs/x/"
  for (int i = 1;; ++i)
    if (fs::path p = plain.string() + "." + std::to_string(i); !fs::exists(fs::symlink_status(p))) return p;
}

void check_usable(const fs::path& dir) {
  if (!fs::is_directory(dir)) throw bad_input("is not a directory", {dir.string()}, kAnother);
  if (::access(dir.c_str(), R_OK | W_OK | X_OK) != 0)
    throw bad_input("the run directory is not writable", {dir.string()}, kAnother);
  if (on_network_file_system(dir))
    throw bad_input("the run directory is on a network file system, where the run store is not safe", {dir.string()},
                    "choose a local one with --run");
  if (holds_run(dir)) return;
  // A directory that holds other things is neither filled with a run nor moved aside.
  for (const auto& entry : fs::directory_iterator(dir))
    if (!is_of_a_start(entry.path().filename()))
      throw bad_input("the directory is not empty and holds no run", {dir.string()}, kAnother);
}

DirectoryLock lock_alone(const fs::path& dir) {
  auto lock = DirectoryLock::try_lock(dir);
  if (!lock)
    throw bad_input("another r1-run is using this run directory", {dir.string()}, "wait for it, or choose another with --run");
  return std::move(*lock);
}

void create(const fs::path& dir) {
  std::error_code error;
  fs::create_directories(dir, error);
  if (error) throw bad_input("cannot create the run directory: " + error.message(), {dir.string()}, kAnother);
}

std::vector<fs::path> entries(const fs::path& dir) {
  std::vector<fs::path> found;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(dir, none)) found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  return found;
}

void remove_left(const fs::path& what) {
  std::error_code error;
  fs::remove_all(what, error);
  if (error)
    log_warn("cannot remove what an earlier process left: " + what.string() + ": " + error.message());
  else
    log_info("removed what an earlier process left: " + what.filename().string());
}

}  // namespace

bool holds_run(const fs::path& dir) { return fs::exists(dir / "run.db") || fs::exists(dir / "graph.graph"); }

RunDirectory RunDirectory::take(const fs::path& dir, bool fresh) {
  check_database_path(dir / "run.db");
  if (!fs::exists(dir)) create(dir);
  check_usable(dir);
  DirectoryLock lock = lock_alone(dir);
  // Whoever held the lock until now may have changed what is there.
  check_usable(dir);
  if (!fresh || !holds_run(dir)) return RunDirectory(dir, std::move(lock));
  const fs::path aside = aside_name(dir);
  std::error_code error;
  fs::rename(dir, aside, error);
  if (error) throw bad_input("cannot move the old run aside: " + error.message(), {dir.string()});
  create(dir);
  RunDirectory taken(dir, lock_alone(dir));  // the old directory stays locked until the new one is
  taken.aside_ = aside;
  return taken;
}

void remove_leftovers(const fs::path& dir, const RunStore& store) {
  for (const fs::path& file : entries(dir))
    if (const std::string name = file.filename(); is_temporary_name(name) && is_own_file(name)) remove_left(file);
  for (const char* sub : kSubdirectories)
    for (const fs::path& file : entries(dir / sub)) {
      if (is_temporary_name(file.filename().string())) {
        remove_left(file);
      } else if (file.extension() == ".old") {
        const fs::path whole = file.parent_path() / file.stem();
        if (fs::exists(whole))
          remove_left(file);
        else
          fs::rename(file, whole);
      }
    }
  std::set<std::string> named;
  for (const StageRow& stage : store.stages()) {
    for (const SnapshotRow& row : store.snapshots(stage.id)) named.insert(row.file);
    if (const auto reference = store.artifact(stage.id, "reference")) named.insert(reference->first);
  }
  named.merge(arithmetic_files(store));
  for (const fs::path& file : entries(dir / "snapshots"))
    if (named.count("snapshots/" + file.filename().string()) == 0) remove_left(file);
}

}  // namespace r1
