#include "actors/snapshots.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "base/log.h"
#include "runtime/flow/fault.h"

namespace r1 {

namespace fs = std::filesystem;

Snapshots::Snapshots(fs::path run_dir, std::string stage, double interval_s)
    : run_dir_(std::move(run_dir)), stage_(std::move(stage)), interval_s_(interval_s) {}

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

bool Snapshots::due(double now_s) {
  if (now_s - last_s_ < interval_s_) return false;
  last_s_ = now_s;
  return true;
}

SnapshotRow Snapshots::write(const Learner& engine) const {
  const SnapshotRow row = {engine.version(), fmt::format("snapshots/{}-{}.state", stage_, engine.version())};
  fs::create_directories(run_dir_ / "snapshots");
  engine.save(run_dir_ / row.file);
  fault_point("after_snapshot_file");
  return row;
}

void Snapshots::record(RunStore& store, int64_t stage_id, const SnapshotRow& written) const {
  store.add_snapshot(stage_id, written);
  for (const SnapshotRow& old : store.snapshots(stage_id)) {
    if (old.version >= written.version) continue;
    store.remove_snapshot(stage_id, old.version);
    std::error_code gone;
    fs::remove(run_dir_ / old.file, gone);
  }
}

}  // namespace r1
