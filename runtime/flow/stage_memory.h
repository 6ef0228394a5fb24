// What a run remembers of one stage, as the stage's roles have it - three things, by who may wait for the disk:
//
//   Recovery      what was there when the stage started, as values: read by the host before the role starts.
//   StageRecords  what a role notes as it goes. Never waits; durable with the next commit or within a second.
//   StageJournal  what has to be durable, and rows that are read again. Waits for the disk and behind the commits of others, so
//   it
//                 is for jobs only: a host ends the program where a role calls it itself.
//
// Not the run store (runtime/store/run_store.h), which knows all stages and which no role sees.
// Thread rule: Recovery is a value; the others are thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/stored.h"
#include "runtime/store/rows.h"

namespace r1 {

class RunStore;

struct Recovery {
  int64_t batches = 0;           // committed: the next one's version
  int64_t next_draw = 0;         // after the last one that was issued
  std::set<int64_t> open_draws;  // issued, and not resolved
  LedgerCounts ledger;
  std::map<std::string, MetricTotal> metrics;
  std::map<std::string, Artifact> artifacts;  // "checkpoint", "best", "reference", "dataset"
  std::vector<SnapshotRow> snapshots;         // by version
  std::string first_reward_error;             // the stage's event `reward_error`, JSON; "": none
  StoredPlace first_reward_error_place;
  bool other_arithmetic = false;  // the run was continued under another fingerprint
};

class StageRecords {
 public:
  virtual ~StageRecords() = default;
  virtual void draw(int64_t draw, int64_t prompt_index) = 0;  // is issued; again after a crash
  virtual void stats(int64_t version, const std::string& json) = 0;
  virtual void version(const VersionRow& row) = 0;  // was published
  virtual void metric(int64_t step, const std::string& name, double value) = 0;
  // A metric that belongs to no version: its step is how many of the name there were before, of whoever.
  virtual void tally(const std::string& name, double value) = 0;
  virtual void event(const std::string& actor, const std::string& kind, const std::string& json) = 0;
};

class StageJournal {
 public:
  virtual ~StageJournal() = default;

  // ---- durable when they return (RunStore says what each means)
  virtual void commit(const BatchRow& batch, const std::vector<Resolution>& resolutions,
                      const std::vector<TrajectoryRow>& trajectories) = 0;
  virtual void snapshot(const SnapshotRow& row) = 0;
  virtual void forget_snapshot(int64_t version) = 0;
  virtual void artifact(const std::string& name, const Artifact& artifact, const std::vector<ArtifactFile>& files = {}) = 0;
  virtual void evaluation(const EvaluationRow& row, const std::vector<ResponseRow>& kept) = 0;
  virtual void remember(const std::string& key, const std::string& value) = 0;  // KEY/STAGE in the table meta

  // ---- read again
  virtual int64_t batches() const = 0;
  virtual BatchRow batch(int64_t version) const = 0;
  virtual std::vector<TrajectoryRow> trajectories(int64_t draw) const = 0;
  virtual std::vector<std::pair<int64_t, std::string>> batch_stats() const = 0;
  virtual std::vector<ChangeRow> changes() const = 0;
  virtual std::vector<EvaluationRow> evaluations() const = 0;
  virtual std::optional<std::string> known_evaluation(const std::string& evaluation) const = 0;
  virtual std::optional<Artifact> artifact_of(const std::string& stage, const std::string& name) const = 0;
  // For the errors of whoever reads the text of a row of this stage; `row`: further conditions, "version=3".
  virtual StoredPlace place(const std::string& table, const std::string& row) const = 0;
};

class StageMemory : public StageRecords, public StageJournal {
 public:
  virtual Recovery recovery() const = 0;
};

// The same of a stage in a run store, which outlives it. A store that is read only serves the reading half.
class StoredStage final : public StageMemory {
 public:
  StoredStage(RunStore& store, int64_t id, std::string name);
  Recovery recovery() const override;

  void draw(int64_t draw, int64_t prompt_index) override;
  void stats(int64_t version, const std::string& json) override;
  void version(const VersionRow& row) override;
  void metric(int64_t step, const std::string& name, double value) override;
  void tally(const std::string& name, double value) override;
  void event(const std::string& actor, const std::string& kind, const std::string& json) override;

  void commit(const BatchRow& batch, const std::vector<Resolution>& resolutions,
              const std::vector<TrajectoryRow>& trajectories) override;
  void snapshot(const SnapshotRow& row) override;
  void forget_snapshot(int64_t version) override;
  void artifact(const std::string& name, const Artifact& artifact, const std::vector<ArtifactFile>& files) override;
  void evaluation(const EvaluationRow& row, const std::vector<ResponseRow>& kept) override;
  void remember(const std::string& key, const std::string& value) override;

  int64_t batches() const override;
  BatchRow batch(int64_t version) const override;
  std::vector<TrajectoryRow> trajectories(int64_t draw) const override;
  std::vector<std::pair<int64_t, std::string>> batch_stats() const override;
  std::vector<ChangeRow> changes() const override;
  std::vector<EvaluationRow> evaluations() const override;
  std::optional<std::string> known_evaluation(const std::string& evaluation) const override;
  std::optional<Artifact> artifact_of(const std::string& stage, const std::string& name) const override;
  StoredPlace place(const std::string& table, const std::string& row) const override;

 private:
  RunStore& store_;
  const int64_t id_;
  const std::string name_;
};

}  // namespace r1
