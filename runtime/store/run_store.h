// The run store: one SQLite file (run.db) that is the run's memory, ledger and write-ahead log. Schema in docs/formats.md.
//
// One writer: this object, in the head process. Batch commits are durable when the call returns (WAL, synchronous=FULL);
// everything else (draws, metrics, events) is buffered and rides with the next commit, a flush(), or the background flusher
// within a second. Knows ids, counts, versions and blobs; no tokens. Thread rule: thread-safe (one mutex); calls that commit
// block on the disk, so roles reach them through submit_io.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/stored.h"
#include "runtime/store/rows.h"

namespace r1 {

struct StoreOptions {
  const Clock* clock = nullptr;  // of events; null: the system's. Outlives the store
  bool flusher = true;           // false: nothing is committed in the background; whoever opens the store calls flush()
  // Of a batch's payload in one row, at least 1; a longer one goes into several. SQLite takes no row of more than 1e9 bytes.
  size_t row_bytes = size_t{64} << 20;
};

class RunStore {
 public:
  // Opens or creates DIR/run.db. Throws: bad_input for another schema version or a file that is not a run store; failure for
  // I/O. Network file systems are refused (bad_input).
  static std::unique_ptr<RunStore> open(const std::filesystem::path& run_dir, const StoreOptions& options = {});
  // Read-only view of a run (shell, report, --replay); may be open while a run writes.
  static std::unique_ptr<RunStore> open_read_only(const std::filesystem::path& run_dir);
  ~RunStore();

  // For the errors of whoever reads the text of a row.
  StoredPlace place(const std::string& table, const std::string& row) const;

  std::optional<std::string> meta(const std::string& key) const;
  void set_meta(const std::string& key, const std::string& value);        // durable on return
  void set_meta_later(const std::string& key, const std::string& value);  // buffered

  // ---- stages
  int64_t ensure_stage(const std::string& name);  // id; creates a waiting row
  std::vector<StageRow> stages() const;
  void set_stage_status(int64_t stage, StageStatus status);  // durable
  void add_stage_seconds(int64_t stage, double seconds);
  // Marks done or failed, resolves every open draw as dropped("stage_ended"), stores the summary and the verdict: one durable
  // transaction.
  void complete_stage(int64_t stage, const std::string& summary_json, const std::string& verdict = "", bool failed = false);
  void set_stage_times(int64_t stage, const std::string& times_json);  // buffered

  // ---- ledger
  // A draw is issued (idempotent: re-issuing after a crash changes nothing but `issued` count).
  void add_draw(int64_t stage, int64_t draw, int64_t prompt_index);
  LedgerCounts ledger(int64_t stage) const;
  // First draw number never resolved and every resolved one after it (for recovery).
  std::vector<int64_t> open_draws(int64_t stage) const;
  int64_t next_draw(int64_t stage) const;  // max issued + 1
  std::optional<Resolution> resolution(int64_t stage, int64_t draw) const;
  std::vector<Resolution> resolutions(int64_t stage) const;  // all of them, by draw
  // "" when every draw of the stage has exactly one resolution (open ones allowed while `running`), else what is wrong.
  std::string check_ledger(int64_t stage, bool running) const;

  // ---- batches: the write-ahead log
  // One durable transaction: the batch, the resolutions of its draws (trained or dropped), its trajectories. CHECK:
  // batch.version is the next one of the stage, no draw is resolved twice. An empty payload_hash is computed here. Passes the
  // fault points "before_commit" (all written, nothing durable) and "after_commit" (durable, the caller does not know yet).
  void commit_batch(int64_t stage, const BatchRow& batch, const std::vector<Resolution>& resolutions,
                    const std::vector<TrajectoryRow>& trajectories);
  void set_batch_stats(int64_t stage, int64_t version, const std::string& stats_json);  // buffered
  int64_t batch_count(int64_t stage) const;                                             // = next version
  // Throws failure when a part of the payload is missing, or the payload does not match its hash.
  BatchRow batch(int64_t stage, int64_t version) const;
  // (version, json) in order, of the batches from `first` on.
  std::vector<std::pair<int64_t, std::string>> batch_stats(int64_t stage, int64_t first = 0) const;
  // Throws failure, naming draw and sample, when a payload does not match its hash.
  std::vector<TrajectoryRow> trajectories(int64_t stage, int64_t draw) const;
  // (draw, sample) of those that have a reward, from one end of their order by reward, draw and sample: at most `count`, the
  // highest (and of equal ones the newest) first or the lowest (the oldest) first. In time that follows from `count` alone.
  std::vector<std::pair<int64_t, int>> samples_by_reward(int64_t stage, bool highest_first, int64_t count) const;

  // ---- snapshots: the file must be durable before its row
  void add_snapshot(int64_t stage, const SnapshotRow& snapshot);  // durable
  std::vector<SnapshotRow> snapshots(int64_t stage) const;
  void remove_snapshot(int64_t stage, int64_t version);  // row first; the caller deletes the file afterwards

  // ---- versions published, artifacts, metrics, events
  void add_version(int64_t stage, int64_t version, const std::string& hash);  // buffered
  std::optional<std::string> version_hash(int64_t stage, int64_t version) const;
  std::vector<VersionRow> versions(int64_t stage) const;  // in order
  // Durable, with the fingerprints of its files, in place of those of an earlier artifact of that name.
  void set_artifact(int64_t stage, const std::string& name, const std::string& path, const std::string& hash,
                    const std::vector<ArtifactFile>& files = {});
  std::vector<ArtifactFile> artifact_files(int64_t stage, const std::string& name) const;
  std::optional<std::pair<std::string, std::string>> artifact(int64_t stage, const std::string& name) const;
  std::map<std::string, Artifact> artifacts(int64_t stage) const;          // by name
  void set_inputs(const std::vector<InputRow>& inputs);                    // durable; in place of rows of the same files
  std::vector<InputRow> inputs() const;                                    // by file
  void add_changes(int64_t stage, const std::vector<ChangeRow>& changes);  // durable
  std::vector<ChangeRow> changes(int64_t stage) const;                     // in the order they were made
  // Processes of the run that were told to stay away: host by name. Kept as changes of no stage.
  void set_drained(const std::string& node, const std::string& host, bool drained);  // durable
  std::map<std::string, std::string> drained() const;
  void add_metric(int64_t stage, int64_t step, const std::string& name, double value);
  void add_tally(int64_t stage, const std::string& name, double value);  // under the step after the name's last one
  // By step, buffered ones included. The numbers in the statistics of batches are metrics too, under their version.
  std::vector<MetricRow> metrics(int64_t stage, const std::string& name) const;
  std::vector<MetricRow> latest_metrics(int64_t stage) const;             // the newest value of every name, by name
  std::map<std::string, MetricTotal> metric_totals(int64_t stage) const;  // of those that were added, by name
  // Durable: the evaluation, and in place of an earlier one's what it kept.
  void add_evaluation(int64_t stage, const EvaluationRow& row, const std::vector<ResponseRow>& kept);
  // Another measurement of the same: what is known about it already.
  std::optional<std::string> known_evaluation(const std::string& evaluation) const;
  std::vector<EvaluationRow> evaluations(int64_t stage) const;              // before, on the way by version, after
  std::vector<ResponseRow> responses(const std::string& evaluation) const;  // by source, prompt, sample
  void add_event(int64_t stage, const std::string& actor, const std::string& kind, const std::string& json);
  // Events in order, newest last, at most `limit`: (actor, kind, json). With `kind`: only those.
  std::vector<std::vector<std::string>> events(int64_t stage, int64_t limit, const std::string& kind = "") const;
  void flush();  // what is buffered becomes durable
  // Why nothing can be written any more - a full disk, a run directory that is gone; "" while all is well. No restart of a
  // stage helps then.
  std::string broken() const;

 private:
  friend class StoreReadLock;
  struct Impl;
  explicit RunStore(std::unique_ptr<Impl>);
  std::unique_ptr<Impl> impl_;
};

}  // namespace r1
