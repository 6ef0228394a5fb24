// The rows of the run store (docs/formats.md). Thread rule: values.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "runtime/store/state_words.h"

namespace r1 {

struct StageRow {
  int64_t id = 0;
  std::string name;
  StageStatus status = StageStatus::waiting;
  double seconds = 0;        // accumulated over restarts
  std::string summary_json;  // metrics before/after etc., written when done
  std::string times_json;    // busy and overlap accounting so far (runtime/store/stage_times.h); "" at first
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

// How many values of a metric were added, and their sum.
struct MetricTotal {
  int64_t values = 0;
  double sum = 0;
};

struct Artifact {
  std::string path, hash;  // path: relative to the run directory
};

}  // namespace r1
