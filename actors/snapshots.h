// The trainer's state on disk between two batches, so that a restarted stage trains few of them again. A snapshot only saves
// time: without one, all committed batches are trained on again, with the same result. Not the checkpoint of a stage that ended
// (actors/checkpoint_files.h).
// Thread rule: due() and wrote() on the role, load() and begin() on the executor, the rest on the I/O thread; one at a time,
// but that training goes on while a snapshot is put into place and recorded.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "models/engines.h"
#include "runtime/flow/role.h"

namespace r1 {

class Snapshots {
 public:
  Snapshots() = default;
  // At least `interval_s` lie between two, and so many that training stands still for no more than `share` of the time
  // (`interval_s` 0: one whenever it is asked). `now_s`: of the stage's clock, as below. `known`: those that are there already,
  // by version.
  Snapshots(std::filesystem::path run_dir, std::string stage, double interval_s, double share, double now_s,
            std::vector<SnapshotRow> known);

  // The newest one, where there is one. One that cannot be used is logged, told (event lost_snapshot), and leaves the engine as
  // it was.
  void load(RoleContext& context, Learner& engine) const;

  // Whether it is time for one.
  bool due(double now_s) const;
  struct Begun {
    SnapshotRow row;
    std::function<void()> finish;  // Learner::begin_save
  };
  // snapshots/STAGE-VERSION.state of the engine's version, from which on the engine may learn again. Throws failure when the
  // disk refuses.
  Begun begin(const Learner& engine) const;
  // Training stood still for `seconds`, until `now_s`.
  void wrote(double seconds, double now_s);
  // Puts the file into place: it is the stage's newest snapshot; those before it go, row first.
  void record(StageJournal& journal, const Begun& begun);
  // Of a stage that ended.
  void remove_all(StageJournal& journal);

 private:
  std::filesystem::path run_dir_;
  std::string stage_;
  double interval_s_ = 0, share_ = 1, due_s_ = 0;
  std::vector<SnapshotRow> known_;  // on disk, by version
};

}  // namespace r1
