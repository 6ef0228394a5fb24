// The trainer's state on disk between two batches, so that a restarted stage trains few of them again. A snapshot only saves
// time: without one, all committed batches are trained on again, with the same result. Not the checkpoint of a stage that ended
// (actors/checkpoint_files.h).
// Thread rule: due() on the role, load() and write() on the executor, record() on the I/O thread; one at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "models/engines.h"
#include "runtime/flow/role.h"
#include "runtime/store/run_store.h"

namespace r1 {

class Snapshots {
 public:
  Snapshots() = default;
  // `interval_s`: of the stage's clock.
  Snapshots(std::filesystem::path run_dir, std::string stage, double interval_s);

  // The newest one, where there is one. One that cannot be used is logged, told (event lost_snapshot), and leaves the engine as
  // it was.
  void load(RoleContext& context, Learner& engine) const;

  // Whether it is time for one; then the next is due an interval later.
  bool due(double now_s);
  // snapshots/STAGE-VERSION.state of the engine's version. Throws failure when the disk refuses.
  SnapshotRow write(const Learner& engine) const;
  // The file is the stage's newest snapshot; those before it go, row first.
  void record(RunStore& store, int64_t stage_id, const SnapshotRow& written) const;

 private:
  std::filesystem::path run_dir_;
  std::string stage_;
  double interval_s_ = 0, last_s_ = 0;
};

}  // namespace r1
