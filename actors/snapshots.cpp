#include "actors/snapshots.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "base/directories.h"
#include "base/log.h"
#include "runtime/flow/fault.h"

namespace r1 {

namespace fs = std::filesystem;

Snapshots::Snapshots(fs::path run_dir, std::string stage, double interval_s, double share, double now_s)
    : run_dir_(std::move(run_dir)),
      stage_(std::move(stage)),
      interval_s_(interval_s),
      share_(share),
      due_s_(now_s + interval_s) {}

void Snapshots::load(RoleContext& context, Learner& engine) const {
  const auto snapshot = context.store().latest_snapshot(context.stage_id());
  if (!snapshot) return;
  try {
    engine.load(run_dir_ / snapshot->file);
  } catch (const Error& e) {
    log_warn(
        fmt::format("stage {}: its snapshot cannot be used and is not needed: {}; the {} batches in the run store are "
                    "trained on again",
                    stage_, e.what(), context.store().batch_count(context.stage_id())));
    context.event("lost_snapshot", nlohmann::json{{"file", snapshot->file}, {"error", e.what()}}.dump());
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

void Snapshots::record(RunStore& store, int64_t stage_id, const Begun& begun) const {
  begun.finish();
  fault_point("after_snapshot_file");
  store.add_snapshot(stage_id, begun.row);
  remove_before(store, stage_id, begun.row.version);
}

void Snapshots::remove_all(RunStore& store, int64_t stage_id) const {
  remove_before(store, stage_id, std::numeric_limits<int64_t>::max());
}

void Snapshots::remove_before(RunStore& store, int64_t stage_id, int64_t version) const {
  for (const SnapshotRow& old : store.snapshots(stage_id)) {
    if (old.version >= version) continue;
    store.remove_snapshot(stage_id, old.version);
    std::error_code gone;
    fs::remove(run_dir_ / old.file, gone);
  }
}

}  // namespace r1
