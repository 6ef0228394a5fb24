#include "runtime/flow/stage_memory.h"

#include <fmt/format.h>

#include "runtime/store/run_store.h"

namespace r1 {

StoredStage::StoredStage(RunStore& store, int64_t id, std::string name) : store_(store), id_(id), name_(std::move(name)) {}

Recovery StoredStage::recovery() const {
  Recovery r;
  r.batches = store_.batch_count(id_);
  r.next_draw = store_.next_draw(id_);
  const std::vector<int64_t> open = store_.open_draws(id_);
  r.open_draws = {open.begin(), open.end()};
  r.ledger = store_.ledger(id_);
  r.metrics = store_.metric_totals(id_);
  r.artifacts = store_.artifacts(id_);
  r.snapshots = store_.snapshots(id_);
  r.first_reward_error_place = place("events", "kind='reward_error'");
  if (const auto events = store_.events(id_, 1, "reward_error"); !events.empty()) r.first_reward_error = events[0][2];
  r.other_arithmetic = !store_.events(0, 1, "fingerprint").empty();
  return r;
}

void StoredStage::draw(int64_t draw, int64_t prompt_index) { store_.add_draw(id_, draw, prompt_index); }
void StoredStage::stats(int64_t version, const std::string& json) { store_.set_batch_stats(id_, version, json); }
void StoredStage::version(const VersionRow& row) { store_.add_version(id_, row.version, row.hash); }
void StoredStage::metric(int64_t step, const std::string& name, double value) { store_.add_metric(id_, step, name, value); }
void StoredStage::tally(const std::string& name, double value) { store_.add_tally(id_, name, value); }
void StoredStage::event(const std::string& actor, const std::string& kind, const std::string& json) {
  store_.add_event(id_, actor, kind, json);
}

void StoredStage::commit(const BatchRow& batch, const std::vector<Resolution>& resolutions,
                         const std::vector<TrajectoryRow>& trajectories) {
  store_.commit_batch(id_, batch, resolutions, trajectories);
}
void StoredStage::snapshot(const SnapshotRow& row) { store_.add_snapshot(id_, row); }
void StoredStage::forget_snapshot(int64_t version) { store_.remove_snapshot(id_, version); }
void StoredStage::artifact(const std::string& name, const Artifact& artifact, const std::vector<ArtifactFile>& files) {
  store_.set_artifact(id_, name, artifact.path, artifact.hash, files);
}
void StoredStage::evaluation(const EvaluationRow& row, const std::vector<ResponseRow>& kept) {
  store_.add_evaluation(id_, row, kept);
}
void StoredStage::remember(const std::string& key, const std::string& value) { store_.set_meta(key + "/" + name_, value); }

int64_t StoredStage::batches() const { return store_.batch_count(id_); }
BatchRow StoredStage::batch(int64_t version) const { return store_.batch(id_, version); }
std::vector<TrajectoryRow> StoredStage::trajectories(int64_t draw) const { return store_.trajectories(id_, draw); }
std::vector<std::pair<int64_t, std::string>> StoredStage::batch_stats() const { return store_.batch_stats(id_); }
std::vector<ChangeRow> StoredStage::changes() const { return store_.changes(id_); }
std::vector<EvaluationRow> StoredStage::evaluations() const { return store_.evaluations(id_); }
std::optional<std::string> StoredStage::known_evaluation(const std::string& evaluation) const {
  return store_.known_evaluation(evaluation);
}
std::optional<Artifact> StoredStage::artifact_of(const std::string& stage, const std::string& name) const {
  const auto found = store_.artifact(stage == name_ ? id_ : store_.ensure_stage(stage), name);
  if (!found) return std::nullopt;
  return Artifact{found->first, found->second};
}
StoredPlace StoredStage::place(const std::string& table, const std::string& row) const {
  return store_.place(table, fmt::format("stage={} and {}", id_, row));
}

}  // namespace r1
