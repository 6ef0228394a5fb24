// Snapshots, versions, artifacts, metrics and events of RunStore.
#include "runtime/store/run_store.h"
#include "runtime/store/run_store_impl.h"

#include <fmt/format.h>

#include <algorithm>

namespace r1 {

void RunStore::add_snapshot(int64_t stage, const SnapshotRow& snapshot) {
  impl_->durable([&](Impl& impl) {
    impl.db.prepare("INSERT OR REPLACE INTO snapshots (stage, version, file) VALUES (?, ?, ?)")
        .bind(stage)
        .bind(snapshot.version)
        .bind_text(snapshot.file)
        .run();
  });
}

std::vector<SnapshotRow> RunStore::snapshots(int64_t stage) const {
  StoreReadLock lock(*impl_);
  Statement s = impl_->db.prepare("SELECT version, file FROM snapshots WHERE stage = ? ORDER BY version");
  s.bind(stage);
  std::vector<SnapshotRow> rows;
  while (s.step()) rows.push_back({s.integer(0), s.text(1)});
  return rows;
}

void RunStore::remove_snapshot(int64_t stage, int64_t version) {
  impl_->durable([&](Impl& impl) {
    impl.db.prepare("DELETE FROM snapshots WHERE stage = ? AND version = ?").bind(stage).bind(version).run();
  });
}

void RunStore::add_version(int64_t stage, int64_t version, const std::string& hash) {
  impl_->later([=](Impl& impl) {
    impl.db.prepare("INSERT OR REPLACE INTO versions (stage, version, hash) VALUES (?, ?, ?)")
        .bind(stage)
        .bind(version)
        .bind_text(hash)
        .run();
  });
}

std::optional<std::string> RunStore::version_hash(int64_t stage, int64_t version) const {
  StoreReadLock lock(*impl_);
  Statement s = impl_->db.prepare("SELECT hash FROM versions WHERE stage = ? AND version = ?");
  if (!s.bind(stage).bind(version).step()) return std::nullopt;
  return s.text(0);
}

std::vector<VersionRow> RunStore::versions(int64_t stage) const {
  StoreReadLock lock(*impl_);
  Statement s = impl_->db.prepare("SELECT version, hash FROM versions WHERE stage = ? ORDER BY version");
  s.bind(stage);
  std::vector<VersionRow> rows;
  while (s.step()) rows.push_back({s.integer(0), s.text(1)});
  return rows;
}

void RunStore::set_artifact(int64_t stage, const std::string& name, const std::string& path, const std::string& hash,
                            const std::vector<ArtifactFile>& files) {
  impl_->durable([&](Impl& impl) {
    impl.db.prepare("INSERT OR REPLACE INTO artifacts (stage, name, path, hash) VALUES (?, ?, ?, ?)")
        .bind(stage)
        .bind_text(name)
        .bind_text(path)
        .bind_text(hash)
        .run();
    impl.db.prepare("DELETE FROM artifact_files WHERE stage = ? AND name = ?").bind(stage).bind_text(name).run();
    for (const ArtifactFile& f : files)
      impl.db.prepare("INSERT INTO artifact_files (stage, name, file, bytes, hash) VALUES (?, ?, ?, ?, ?)")
          .bind(stage)
          .bind_text(name)
          .bind_text(f.file)
          .bind(f.bytes)
          .bind_text(f.hash)
          .run();
  });
}

std::vector<ArtifactFile> RunStore::artifact_files(int64_t stage, const std::string& name) const {
  StoreReadLock lock(*impl_);
  Statement s = impl_->db.prepare("SELECT file, bytes, hash FROM artifact_files WHERE stage = ? AND name = ? ORDER BY file");
  s.bind(stage).bind_text(name);
  std::vector<ArtifactFile> rows;
  while (s.step()) rows.push_back({s.text(0), s.integer(1), s.text(2)});
  return rows;
}

void RunStore::set_inputs(const std::vector<InputRow>& inputs) {
  impl_->durable([&](Impl& impl) {
    for (const InputRow& row : inputs)
      impl.db.prepare("INSERT OR REPLACE INTO inputs (file, what, bytes, hash, stamp) VALUES (?, ?, ?, ?, ?)")
          .bind_text(row.file)
          .bind_text(row.what)
          .bind(row.bytes)
          .bind_text(row.hash)
          .bind_text(row.stamp)
          .run();
  });
}

std::vector<InputRow> RunStore::inputs() const {
  StoreReadLock lock(*impl_);
  Statement s = impl_->db.prepare("SELECT file, what, bytes, hash, stamp FROM inputs ORDER BY file");
  std::vector<InputRow> rows;
  while (s.step()) rows.push_back({s.text(0), s.text(1), s.integer(2), s.text(3), s.text(4)});
  return rows;
}

void RunStore::add_changes(int64_t stage, const std::vector<ChangeRow>& changes) {
  impl_->durable([&](Impl& impl) {
    for (const ChangeRow& row : changes)
      impl.db.prepare("INSERT INTO changes (stage, version, attribute, before, after) VALUES (?, ?, ?, ?, ?)")
          .bind(stage)
          .bind(row.version)
          .bind_text(row.attribute)
          .bind_text(row.before)
          .bind_text(row.after)
          .run();
  });
}

std::vector<ChangeRow> RunStore::changes(int64_t stage) const {
  StoreReadLock lock(*impl_);
  Statement s = impl_->db.prepare("SELECT version, attribute, before, after FROM changes WHERE stage = ? ORDER BY id");
  s.bind(stage);
  std::vector<ChangeRow> rows;
  while (s.step()) rows.push_back({s.integer(0), s.text(1), s.text(2), s.text(3)});
  return rows;
}

namespace {
constexpr std::string_view kDrained = ".drained";
}

void RunStore::set_drained(const std::string& node, const std::string& host, bool drained) {
  add_changes(0, {{0, node + std::string(kDrained), drained ? "" : host, drained ? host : ""}});
}

std::map<std::string, std::string> RunStore::drained() const {
  std::map<std::string, std::string> hosts;
  for (const ChangeRow& row : changes(0)) {
    if (!row.attribute.ends_with(kDrained)) continue;
    const std::string node = row.attribute.substr(0, row.attribute.size() - kDrained.size());
    if (row.after.empty())
      hosts.erase(node);
    else
      hosts[node] = row.after;
  }
  return hosts;
}

std::optional<std::pair<std::string, std::string>> RunStore::artifact(int64_t stage, const std::string& name) const {
  StoreReadLock lock(*impl_);
  Statement s = impl_->db.prepare("SELECT path, hash FROM artifacts WHERE stage = ? AND name = ?");
  if (!s.bind(stage).bind_text(name).step()) return std::nullopt;
  return std::pair{s.text(0), s.text(1)};
}

std::map<std::string, Artifact> RunStore::artifacts(int64_t stage) const {
  StoreReadLock lock(*impl_);
  Statement s = impl_->db.prepare("SELECT name, path, hash FROM artifacts WHERE stage = ?");
  s.bind(stage);
  std::map<std::string, Artifact> found;
  while (s.step()) found[s.text(0)] = {s.text(1), s.text(2)};
  return found;
}

void RunStore::add_metric(int64_t stage, int64_t step, const std::string& name, double value) {
  impl_->later([=](Impl& impl) {
    impl.db.prepare("INSERT OR REPLACE INTO metrics (stage, name, step, value) VALUES (?, ?, ?, ?)")
        .bind(stage)
        .bind_text(name)
        .bind(step)
        .bind(value)
        .run();
  });
}

void RunStore::add_tally(int64_t stage, const std::string& name, double value) {
  impl_->later([=](Impl& impl) {
    impl.db
        .prepare(
            "INSERT INTO metrics (stage, name, step, value) "
            "SELECT ?1, ?2, coalesce(max(step) + 1, 0), ?3 FROM metrics WHERE stage = ?1 AND name = ?2")
        .bind(stage)
        .bind_text(name)
        .bind(value)
        .run();
  });
}

// What was recorded by add_metric, and the numbers in the statistics of batches under their version.
#define R1_ALL_METRICS                                       \
  "(SELECT stage, name, step, value FROM metrics UNION ALL " \
  "SELECT stage, key, version, value FROM batch_stats, json_each(stats) WHERE type IN ('integer', 'real'))"

// SQLite stops at a text that is no JSON, and does not say in which row.
void RunStore::Impl::check_stats(int64_t stage) {
  Statement s = db.prepare("SELECT version FROM batch_stats WHERE stage = ? AND NOT json_valid(stats) LIMIT 1");
  if (s.bind(stage).step())
    throw_damaged({file.string(), "batch_stats", fmt::format("stage={} and version={}", stage, s.integer(0))}, "not JSON");
}

std::vector<MetricRow> RunStore::metrics(int64_t stage, const std::string& name) const {
  StoreReadLock lock(*impl_);
  impl_->check_stats(stage);
  Statement s = impl_->db.prepare("SELECT step, value FROM " R1_ALL_METRICS " WHERE stage = ? AND name = ? ORDER BY step");
  s.bind(stage).bind_text(name);
  std::vector<MetricRow> rows;
  while (s.step()) rows.push_back({stage, s.integer(0), name, s.real(1)});
  return rows;
}

std::vector<MetricRow> RunStore::latest_metrics(int64_t stage) const {
  StoreReadLock lock(*impl_);
  impl_->check_stats(stage);
  // SQLite gives the bare columns of the row that holds the maximum.
  Statement s =
      impl_->db.prepare("SELECT name, max(step), value FROM " R1_ALL_METRICS " WHERE stage = ? GROUP BY name ORDER BY name");
  s.bind(stage);
  std::vector<MetricRow> rows;
  while (s.step()) rows.push_back({stage, s.integer(1), s.text(0), s.real(2)});
  return rows;
}

std::map<std::string, MetricTotal> RunStore::metric_totals(int64_t stage) const {
  StoreReadLock lock(*impl_);
  Statement s = impl_->db.prepare("SELECT name, count(*), total(value) FROM metrics WHERE stage = ? GROUP BY name");
  s.bind(stage);
  std::map<std::string, MetricTotal> totals;
  while (s.step()) totals[s.text(0)] = {s.integer(1), s.real(2)};
  return totals;
}

void RunStore::add_evaluation(int64_t stage, const EvaluationRow& row, const std::vector<ResponseRow>& kept) {
  impl_->durable([&](Impl& impl) {
    impl.db
        .prepare(
            "INSERT OR REPLACE INTO evaluations (stage, node, version, moment, evaluation, metrics) VALUES (?, ?, ?, ?, ?, ?)")
        .bind(stage)
        .bind_text(row.node)
        .bind(row.version)
        .bind_text(row.moment)
        .bind_text(row.evaluation)
        .bind_text(row.metrics_json)
        .run();
    for (const ResponseRow& r : kept) {
      Statement s = impl.db.prepare(
          "INSERT OR REPLACE INTO responses (evaluation, source, prompt, sample, text, response, tokens, finished, correct, "
          "reward, scores, error) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
      s.bind_text(row.evaluation).bind_text(r.source).bind(r.prompt).bind(int64_t{r.sample}).bind_text(r.text);
      s.bind_text(r.response).bind(r.tokens).bind(int64_t{r.finished});
      r.correct ? s.bind(int64_t{*r.correct}) : s.bind_null();
      r.reward ? s.bind(*r.reward) : s.bind_null();
      s.bind_text(r.scores_json).bind_text(r.error).run();
    }
  });
}

std::optional<std::string> RunStore::known_evaluation(const std::string& evaluation) const {
  StoreReadLock lock(*impl_);
  Statement s = impl_->db.prepare("SELECT metrics FROM evaluations WHERE evaluation = ? LIMIT 1");
  if (!s.bind_text(evaluation).step()) return std::nullopt;
  return s.text(0);
}

std::vector<EvaluationRow> RunStore::evaluations(int64_t stage) const {
  StoreReadLock lock(*impl_);
  Statement s = impl_->db.prepare(
      "SELECT node, moment, version, evaluation, metrics FROM evaluations WHERE stage = ? "
      "ORDER BY CASE moment WHEN 'before' THEN 0 WHEN 'during' THEN 1 ELSE 2 END, version, node");
  s.bind(stage);
  std::vector<EvaluationRow> rows;
  while (s.step()) rows.push_back({s.text(0), s.text(1), s.integer(2), s.text(3), s.text(4)});
  return rows;
}

std::vector<ResponseRow> RunStore::responses(const std::string& evaluation) const {
  StoreReadLock lock(*impl_);
  Statement s = impl_->db.prepare(
      "SELECT source, prompt, sample, text, response, tokens, finished, correct, reward, scores, error FROM responses WHERE "
      "evaluation = ? ORDER BY source, prompt, sample");
  s.bind_text(evaluation);
  std::vector<ResponseRow> rows;
  while (s.step()) {
    ResponseRow& r = rows.emplace_back();
    r.source = s.text(0);
    r.prompt = s.integer(1);
    r.sample = static_cast<int>(s.integer(2));
    r.text = s.text(3);
    r.response = s.text(4);
    r.tokens = s.integer(5);
    r.finished = s.integer(6) != 0;
    if (!s.null(7)) r.correct = s.integer(7) != 0;
    if (!s.null(8)) r.reward = s.real(8);
    r.scores_json = s.text(9);
    r.error = s.text(10);
  }
  return rows;
}

void RunStore::add_event(int64_t stage, const std::string& actor, const std::string& kind, const std::string& json) {
  const int64_t monotonic_ns = impl_->clock->now_ns();
  const double wall_s = wall_clock_s();
  impl_->later([=](Impl& impl) {
    impl.db.prepare("INSERT INTO events (stage, actor, kind, json, monotonic_ns, wall_s) VALUES (?, ?, ?, ?, ?, ?)")
        .bind(stage)
        .bind_text(actor)
        .bind_text(kind)
        .bind_text(json)
        .bind(monotonic_ns)
        .bind(wall_s)
        .run();
  });
}

std::vector<std::vector<std::string>> RunStore::events(int64_t stage, int64_t limit, const std::string& kind) const {
  StoreReadLock lock(*impl_);
  Statement s = impl_->db.prepare(
      "SELECT actor, kind, json FROM events WHERE stage = ?1 AND (?2 = '' OR kind = ?2) ORDER BY id DESC LIMIT ?3");
  s.bind(stage).bind_text(kind).bind(limit);
  std::vector<std::vector<std::string>> rows;
  while (s.step()) rows.push_back({s.text(0), s.text(1), s.text(2)});
  std::reverse(rows.begin(), rows.end());
  return rows;
}

}  // namespace r1
