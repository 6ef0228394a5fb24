#include "actors/snapshots.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "base/directories.h"
#include "base/log.h"
#include "runtime/fault.h"

namespace r1 {

namespace fs = std::filesystem;

Snapshots::Snapshots(fs::path run_dir, std::string stage, double interval_s, double share, double now_s,
                     std::vector<SnapshotRow> known)
    : run_dir_(std::move(run_dir)),
      stage_(std::move(stage)),
      interval_s_(interval_s),
      share_(share),
      due_s_(now_s + interval_s),
      known_(std::move(known)) {}

void Snapshots::load(RoleContext& context, Learner& engine) const {
  if (known_.empty()) return;
  const SnapshotRow& snapshot = known_.back();
  try {
    engine.load(run_dir_ / snapshot.file);
  } catch (const Error& e) {
    log_warn(
        fmt::format("stage {}: its snapshot cannot be used and is not needed: {}; the {} batches in the run store are "
                    "trained on again",
                    stage_, e.what(), context.recovered().batches));
    context.event("lost_snapshot", nlohmann::json{{"file", snapshot.file}, {"error", e.what()}}.dump());
  }
}

bool Snapshots::due(double now_s) const { return now_s >= due_s_; }

void Snapshots::wrote(double seconds, double now_s) {
  due_s_ = now_s + (interval_s_ > 0 ? std::max(interval_s_, seconds / share_) : 0);
}

Snapshots::Begun Snapshots::begin(const Learner& engine) const {
  const std::string file = fmt::format("snapshots/{}-{}.state", stage_, engine.version());
  make_directories(run_dir_ / "snapshots");
  return {{engine.version(), file}, engine.begin_save(run_dir_ / file)};
}

void Snapshots::record(StageJournal& journal, const Begun& begun) {
  if (!known_.empty() && known_.back().version == begun.row.version) return;  // it is there
  begun.finish();
  fault_point("after_snapshot_file");
  journal.snapshot(begun.row);
  remove_all(journal);
  known_ = {begun.row};
}

void Snapshots::remove_all(StageJournal& journal) {
  for (const SnapshotRow& old : std::exchange(known_, {})) {
    journal.forget_snapshot(old.version);
    std::error_code gone;
    fs::remove(run_dir_ / old.file, gone);
  }
}

}  // namespace r1
