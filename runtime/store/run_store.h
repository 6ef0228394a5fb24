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

namespace r1 {

// failed: it came to its end and had nothing to show for it; a stage that an error ended stays `running`.
enum class StageStatus { waiting, running, done, failed };

struct StageRow {
  int64_t id = 0;
  std::string name;
  StageStatus status = StageStatus::waiting;
  double seconds = 0;        // accumulated over restarts
  std::string summary_json;  // metrics before/after etc., written when done
  std::string times_json;    // busy and overlap accounting so far (runtime/conductor/stage_times.h); "" at first
  std::string verdict;       // what it learned, in one line; written when it ended
  bool ended() const { return status == StageStatus::done || status == StageStatus::failed; }
};

// How a draw ended. `batch` >= 0: trained in that batch. Otherwise dropped for `reason`.
struct Resolution {
  int64_t draw = 0;
  int64_t batch = -1;
  std::string reason;  // "" when trained
};

struct TrajectoryRow {
  int64_t draw = 0;
  int sample = 0;
  std::optional<double> reward;  // absent: it could not be computed
  std::string scores_json;       // {"accuracy":1,...}
  std::string payload;           // opaque blob: tokens, log-probabilities, versions (format of actors/)
};

struct BatchRow {
  int64_t version = 0;       // the batch trained on top of this version makes version+1
  bool skipped = false;      // every draw was dropped
  std::string payload;       // opaque blob: all that the update depends on
  std::string stats_json;    // learning statistics, filled in later by set_batch_stats
  std::string payload_hash;  // hex, checked when read back
};

struct SnapshotRow {
  int64_t version = 0;
  std::string file;  // relative to the run directory
};

struct VersionRow {
  int64_t version = 0;
  std::string hash;
};

// A file of an artifact, and what it was when it was written.
struct ArtifactFile {
  std::string file;  // relative to the run directory
  int64_t bytes = 0;
  std::string hash;  // XXH3-128 of the content, hex
};

// A file that the run reads and did not write, as it was when the run began (or when a change of it was accepted).
struct InputRow {
  std::string file;  // as the graph names it
  std::string what;  // "the weights of model 'base'"
  int64_t bytes = 0;
  std::string hash, stamp;  // stamp: FileStamp::text(), "" when it was too young to be trusted
};

// An attribute that a continued run trains with from `version` on.
struct ChangeRow {
  int64_t version = 0;
  std::string attribute, before, after;  // "rl_trainer.lr", "1e-4", "1e-5"
};

struct LedgerCounts {
  int64_t draws = 0, trained = 0, open = 0;
  std::map<std::string, int64_t> dropped;  // by reason
};

// What an evaluator measured: of the weights before the stage's first batch, of a version on the way, of the last ones.
struct EvaluationRow {
  std::string node;
  std::string moment;  // "before", "during", "after"
  int64_t version = 0;
  std::string evaluation;  // what was measured, and of which weights: equal text, equal result
  std::string metrics_json;
};

// A response that an evaluation kept.
struct ResponseRow {
  std::string source;  // as the graph spells it
  int64_t prompt = 0;  // its index there
  int sample = 0;      // -1: of the greedy pass
  std::string text;    // the prompt, rendered
  std::string response;
  int64_t tokens = 0;
  bool finished = false;        // by itself, not for want of room
  std::optional<bool> correct;  // absent: the prompt has no answer
  std::optional<double> reward;
  std::string scores_json;  // {"math":1,...}
  std::string error;        // why there is no reward, where one was asked for
};

struct MetricRow {
  int64_t stage = 0, step = 0;
  std::string name;
  double value = 0;
};

struct StoreOptions {
  const Clock* clock = nullptr;  // of events; null: the system's. Outlives the store
  bool flusher = true;           // false: nothing is committed in the background; whoever opens the store calls flush()
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
  void set_meta(const std::string& key, const std::string& value);  // durable on return

  // ---- stages
  int64_t ensure_stage(const std::string& name);  // id; creates a waiting row
  std::vector<StageRow> stages() const;
  void set_stage_status(int64_t stage, StageStatus status);  // durable
  void add_stage_seconds(int64_t stage, double seconds);
  // Marks done or failed, resolves every open draw as dropped("stage_ended"), stores the summary and the verdict: one durable
  // transaction.
  void complete_stage(int64_t stage, const std::string& summary_json, const std::string& verdict = "", bool failed = false);
  void set_stage_summary(int64_t stage, const std::string& summary_json);
  void set_stage_times(int64_t stage, const std::string& times_json);  // buffered

  // ---- ledger
  // A draw is issued (idempotent: re-issuing after a crash changes nothing but `issued` count).
  void add_draw(int64_t stage, int64_t draw, int64_t prompt_index);
  // Draws dropped outside a batch (reward_error, ...); buffered, but ordered before later commits. CHECK: not resolved yet.
  void drop_draw(int64_t stage, int64_t draw, const std::string& reason);
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
  BatchRow batch(int64_t stage, int64_t version) const;  // throws failure when the payload does not match its hash
  // (version, json) in order, of the batches from `first` on.
  std::vector<std::pair<int64_t, std::string>> batch_stats(int64_t stage, int64_t first = 0) const;
  // Throws failure, naming draw and sample, when a payload does not match its hash.
  std::vector<TrajectoryRow> trajectories(int64_t stage, int64_t draw) const;

  // ---- snapshots: the file must be durable before its row
  void add_snapshot(int64_t stage, const SnapshotRow& snapshot);  // durable
  std::optional<SnapshotRow> latest_snapshot(int64_t stage) const;
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
  void set_inputs(const std::vector<InputRow>& inputs);                    // durable; in place of rows of the same files
  std::vector<InputRow> inputs() const;                                    // by file
  void add_changes(int64_t stage, const std::vector<ChangeRow>& changes);  // durable
  std::vector<ChangeRow> changes(int64_t stage) const;                     // in the order they were made
  void add_metric(int64_t stage, int64_t step, const std::string& name, double value);
  // By step, buffered ones included. The numbers in the statistics of batches are metrics too, under their version.
  std::vector<MetricRow> metrics(int64_t stage, const std::string& name) const;
  std::vector<MetricRow> latest_metrics(int64_t stage) const;  // the newest value of every name, by name
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
