// Draws, their resolutions, batches and trajectories: the ledger and write-ahead log of RunStore.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <thread>

#include "base/error.h"
#include "base/hash.h"
#include "runtime/fault.h"
#include "runtime/store/run_store.h"
#include "runtime/store/run_store_impl.h"

namespace r1 {

void RunStore::Impl::insert_resolution(int64_t stage, const Resolution& resolution) {
  R1_CHECK(
      (resolution.batch >= 0) != !resolution.reason.empty(),
      fmt::format("stage {} draw {}: batch {} and reason '{}'", stage, resolution.draw, resolution.batch, resolution.reason));
  Statement s = db.prepare("INSERT OR IGNORE INTO resolutions (stage, draw, batch, reason) VALUES (?, ?, ?, ?)");
  s.bind(stage).bind(resolution.draw);
  if (resolution.batch >= 0) {
    s.bind(resolution.batch).bind_null();
  } else {
    s.bind_null().bind_text(resolution.reason);
  }
  s.run();
  R1_CHECK(db.changes() == 1, fmt::format("stage {} draw {} is resolved twice (now: batch {} reason '{}')", stage,
                                          resolution.draw, resolution.batch, resolution.reason));
}

// A table of their own: an update of a batch row would write its whole payload again.
void RunStore::Impl::write_batch_stats(int64_t stage, int64_t version, const std::string& stats_json) {
  db.prepare("INSERT OR REPLACE INTO batch_stats (stage, version, stats) VALUES (?, ?, ?)")
      .bind(stage)
      .bind(version)
      .bind_text(stats_json)
      .run();
}

void RunStore::Impl::write_batch(int64_t stage, const BatchRow& batch) {
  const std::string_view payload = batch.payload;
  const size_t parts = payload.empty() ? 0 : (payload.size() - 1) / row_bytes;
  db.prepare("INSERT INTO batches (stage, version, skipped, payload_hash, payload, parts) VALUES (?, ?, ?, ?, ?, ?)")
      .bind(stage)
      .bind(batch.version)
      .bind(int64_t{batch.skipped})
      .bind_text(batch.payload_hash.empty() ? hash_string(payload).hex() : batch.payload_hash)
      .bind_blob(payload.substr(0, row_bytes))
      .bind(static_cast<int64_t>(parts))
      .run();
  for (size_t part = 1; part <= parts; ++part)
    db.prepare("INSERT INTO batch_parts (stage, version, part, payload) VALUES (?, ?, ?, ?)")
        .bind(stage)
        .bind(batch.version)
        .bind(static_cast<int64_t>(part))
        .bind_blob(payload.substr(part * row_bytes, row_bytes))
        .run();
}

void RunStore::add_draw(int64_t stage, int64_t draw, int64_t prompt_index) {
  impl_->later([=](Impl& impl) {
    impl.db
        .prepare(
            "INSERT INTO draws (stage, draw, prompt) VALUES (?, ?, ?) ON CONFLICT (stage, draw) DO UPDATE SET issued = issued "
            "+ 1")
        .bind(stage)
        .bind(draw)
        .bind(prompt_index)
        .run();
  });
}

LedgerCounts RunStore::ledger(int64_t stage) const {
  StoreReadLock lock(*impl_);
  LedgerCounts counts;
  {
    Statement s = impl_->db.prepare("SELECT count(*) FROM draws WHERE stage = ?");
    s.bind(stage).step();
    counts.draws = s.integer(0);
  }
  Statement s = impl_->db.prepare("SELECT reason, count(*) FROM resolutions WHERE stage = ? GROUP BY reason");
  s.bind(stage);
  counts.open = counts.draws;
  while (s.step()) {
    if (s.null(0)) {
      counts.trained = s.integer(1);
    } else {
      counts.dropped[s.text(0)] = s.integer(1);
    }
    counts.open -= s.integer(1);
  }
  return counts;
}

std::vector<int64_t> RunStore::open_draws(int64_t stage) const {
  StoreReadLock lock(*impl_);
  Statement s = impl_->db.prepare(
      "SELECT draw FROM draws d WHERE stage = ? AND NOT EXISTS (SELECT 1 FROM resolutions r WHERE r.stage = d.stage AND r.draw "
      "= d.draw) "
      "ORDER BY draw");
  s.bind(stage);
  std::vector<int64_t> draws;
  while (s.step()) draws.push_back(s.integer(0));
  return draws;
}

int64_t RunStore::next_draw(int64_t stage) const {
  StoreReadLock lock(*impl_);
  Statement s = impl_->db.prepare("SELECT coalesce(max(draw) + 1, 0) FROM draws WHERE stage = ?");
  s.bind(stage).step();
  return s.integer(0);
}

std::optional<Resolution> RunStore::resolution(int64_t stage, int64_t draw) const {
  StoreReadLock lock(*impl_);
  Statement s = impl_->db.prepare("SELECT batch, reason FROM resolutions WHERE stage = ? AND draw = ?");
  if (!s.bind(stage).bind(draw).step()) return std::nullopt;
  return Resolution{draw, s.null(0) ? -1 : s.integer(0), s.text(1)};
}

std::vector<Resolution> RunStore::resolutions(int64_t stage) const {
  StoreReadLock lock(*impl_);
  Statement s = impl_->db.prepare("SELECT draw, batch, reason FROM resolutions WHERE stage = ? ORDER BY draw");
  s.bind(stage);
  std::vector<Resolution> rows;
  while (s.step()) rows.push_back({s.integer(0), s.null(1) ? -1 : s.integer(1), s.text(2)});
  return rows;
}

// Reads a table from its beginning, a page at a time, so that commits wait for no more than a page. Rows that are written
// meanwhile behind the place that was reached are seen too.
class RunStore::Impl::LedgerPages {
 public:
  // `sql`: (key, a, b) of the rows of stage ?1 with a key above ?2, by key, at most ?3.
  LedgerPages(Impl& impl, int64_t stage, const char* sql) : impl_(impl), stage_(stage), sql_(sql) {}

  struct Row {
    int64_t key, a, b;
  };
  template <class F>
  void each(F&& f) {
    std::vector<Row> page;
    int64_t after = std::numeric_limits<int64_t>::min();
    do {
      page.clear();
      {
        StoreReadLock lock(impl_);
        Statement s = impl_.db.prepare(sql_);
        s.bind(stage_).bind(after).bind(kPage);
        while (s.step()) page.push_back({s.integer(0), s.integer(1), s.integer(2)});
      }
      for (const Row& row : page) f(row);
      if (!page.empty()) after = page.back().key;
      if (page.size() == kPage) std::this_thread::sleep_for(std::chrono::microseconds(100));  // a mutex is not fair
    } while (page.size() == kPage);
  }

 private:
  static constexpr int64_t kPage = 4096;
  Impl& impl_;
  const int64_t stage_;
  const char* const sql_;
};

namespace {

// The ids that broke one rule: counted, the first ones named.
class Offenders {
 public:
  explicit Offenders(const char* complaint) : complaint_(complaint) {}
  void add(int64_t id) {
    if (++count_ <= 5) ids_ += fmt::format("{}{}", count_ > 1 ? ", " : " ", id);
  }
  void append_to(std::string& wrong) const {
    if (count_ == 0) return;
    wrong += fmt::format("{}{}{}{}", wrong.empty() ? "" : "\n", complaint_, ids_,
                         count_ > 5 ? fmt::format(" and {} more", count_ - 5) : "");
  }

 private:
  const char* complaint_;
  int64_t count_ = 0;
  std::string ids_;
};

}  // namespace

// Every rule looks at one row and at others by their keys, so all of it takes time linear in the rows.
std::string RunStore::check_ledger(int64_t stage, bool running) const {
  Offenders undrawn("resolved but never drawn: draw"), unstored("trained in a batch that is not stored: draw"),
      in_skipped("trained in a batch that was skipped: draw"), empty("a batch that trained no draw: version"),
      misnumbered("batches are not numbered 0, 1, 2, ...: version"), unresolved("trajectories of an unresolved draw: draw"),
      open("never resolved: draw");

  // Batches first: the draws of one are resolved in the transaction that stores it.
  std::vector<int64_t> with_draws;  // versions that were not skipped, ascending
  int64_t number = 0;
  Impl::LedgerPages(*impl_, stage,
                    "SELECT version, skipped, 0 FROM batches WHERE stage = ? AND version > ? ORDER BY version LIMIT ?")
      .each([&](const auto& row) {
        if (row.key != number++) misnumbered.add(row.key);
        if (row.a == 0) with_draws.push_back(row.key);
      });

  std::vector<uint8_t> trained(with_draws.size(), 0);
  constexpr int64_t kUnstored = -2;  // -1: dropped
  Impl::LedgerPages(
      *impl_, stage,
      "SELECT draw, CASE WHEN batch IS NULL THEN -1 ELSE coalesce((SELECT 2 * version + (skipped <> 0) FROM batches b "
      "WHERE b.stage = r.stage AND b.version = r.batch), -2) END, "
      "EXISTS (SELECT 1 FROM draws d WHERE d.stage = r.stage AND d.draw = r.draw) "
      "FROM resolutions r WHERE stage = ? AND draw > ? ORDER BY draw LIMIT ?")
      .each([&](const auto& row) {
        if (row.b == 0) undrawn.add(row.key);
        if (row.a == kUnstored) unstored.add(row.key);
        if (row.a < 0) return;
        if (row.a % 2 != 0) return in_skipped.add(row.key);
        const auto at = std::lower_bound(with_draws.begin(), with_draws.end(), row.a / 2);
        if (at != with_draws.end() && *at == row.a / 2) trained[static_cast<size_t>(at - with_draws.begin())] = 1;
      });

  bool drawn = false;  // stages that learn from examples draw no prompts
  Impl::LedgerPages(
      *impl_, stage,
      "SELECT draw, EXISTS (SELECT 1 FROM resolutions r WHERE r.stage = d.stage AND r.draw = d.draw), 0 FROM draws d "
      "WHERE stage = ? AND draw > ? ORDER BY draw LIMIT ?")
      .each([&](const auto& row) {
        drawn = true;
        if (row.a == 0 && !running) open.add(row.key);
      });
  for (size_t i = 0; i < trained.size() && drawn; ++i)
    if (trained[i] == 0) empty.add(with_draws[i]);

  Impl::LedgerPages(*impl_, stage,
                    "SELECT DISTINCT draw, EXISTS (SELECT 1 FROM resolutions r WHERE r.stage = t.stage AND r.draw = t.draw), 0 "
                    "FROM trajectories t WHERE stage = ? AND draw > ? ORDER BY draw LIMIT ?")
      .each([&](const auto& row) {
        if (row.a == 0) unresolved.add(row.key);
      });

  std::string wrong;
  for (const Offenders* o : {&undrawn, &unstored, &in_skipped, &empty, &misnumbered, &unresolved, &open}) o->append_to(wrong);
  return wrong;
}

void RunStore::commit_batch(int64_t stage, const BatchRow& batch, const std::vector<Resolution>& resolutions,
                            const std::vector<TrajectoryRow>& trajectories) {
  impl_->durable([&](Impl& impl) {
    {
      Statement s = impl.db.prepare("SELECT coalesce(max(version) + 1, 0) FROM batches WHERE stage = ?");
      s.bind(stage).step();
      R1_CHECK(s.integer(0) == batch.version,
               fmt::format("stage {}: batch {} committed after {} batches", stage, batch.version, s.integer(0)));
    }
    impl.write_batch(stage, batch);
    if (!batch.stats_json.empty()) impl.write_batch_stats(stage, batch.version, batch.stats_json);
    for (const Resolution& r : resolutions) {
      R1_CHECK(r.batch < 0 || r.batch == batch.version,
               fmt::format("draw {} resolved to batch {} in the commit of {}", r.draw, r.batch, batch.version));
      impl.insert_resolution(stage, r);
    }
    for (const TrajectoryRow& t : trajectories) {
      Statement s = impl.db.prepare(
          "INSERT INTO trajectories (stage, draw, sample, reward, scores, payload, payload_hash) VALUES (?, ?, ?, ?, ?, ?, ?)");
      s.bind(stage).bind(t.draw).bind(int64_t{t.sample});
      t.reward ? s.bind(*t.reward) : s.bind_null();
      s.bind_text(t.scores_json).bind_blob(t.payload).bind_text(hash_string(t.payload).hex()).run();
    }
    fault_point("before_commit");
  });
  fault_point("after_commit");
}

void RunStore::set_batch_stats(int64_t stage, int64_t version, const std::string& stats_json) {
  impl_->later([=](Impl& impl) { impl.write_batch_stats(stage, version, stats_json); });
}

int64_t RunStore::batch_count(int64_t stage) const {
  StoreReadLock lock(*impl_);
  Statement s = impl_->db.prepare("SELECT coalesce(max(version) + 1, 0) FROM batches WHERE stage = ?");
  s.bind(stage).step();
  return s.integer(0);
}

BatchRow RunStore::batch(int64_t stage, int64_t version) const {
  const auto damaged = [&](const std::string& why) {
    return failure(fmt::format("batch {} of stage {} is damaged: {}", version, stage, why), {},
                   "the run store was changed from outside, or the disk is failing");
  };
  BatchRow row;
  {
    StoreReadLock lock(*impl_);
    int64_t parts = 0;
    {
      Statement s = impl_->db.prepare(
          "SELECT skipped, payload, coalesce(stats, ''), payload_hash, parts FROM batches LEFT JOIN batch_stats USING (stage, "
          "version) WHERE stage = ? AND version = ?");
      if (!s.bind(stage).bind(version).step())
        throw failure(fmt::format("the run store has no batch {} of stage {}", version, stage));
      row = {version, s.integer(0) != 0, s.text(1), s.text(2), s.text(3)};
      parts = s.integer(4);
    }
    for (int64_t part = 1; part <= parts; ++part) {
      Statement s = impl_->db.prepare("SELECT payload FROM batch_parts WHERE stage = ? AND version = ? AND part = ?");
      if (!s.bind(stage).bind(version).bind(part).step())
        throw damaged(fmt::format("part {} of {} of its payload is missing in the table batch_parts", part, parts));
      row.payload += s.text(0);
    }
  }
  if (hash_string(row.payload).hex() != row.payload_hash) throw damaged("its bytes do not match its hash");
  return row;
}

std::vector<std::pair<int64_t, std::string>> RunStore::batch_stats(int64_t stage, int64_t first) const {
  StoreReadLock lock(*impl_);
  Statement s = impl_->db.prepare(
      "SELECT version, coalesce(stats, '') FROM batches LEFT JOIN batch_stats USING (stage, version) WHERE stage = ? AND "
      "version >= ? ORDER BY version");
  s.bind(stage).bind(first);
  std::vector<std::pair<int64_t, std::string>> rows;
  while (s.step()) rows.emplace_back(s.integer(0), s.text(1));
  return rows;
}

std::vector<TrajectoryRow> RunStore::trajectories(int64_t stage, int64_t draw) const {
  std::vector<TrajectoryRow> rows;
  std::vector<std::string> hashes;
  {
    StoreReadLock lock(*impl_);
    Statement s = impl_->db.prepare(
        "SELECT sample, reward, scores, payload, payload_hash FROM trajectories WHERE stage = ? AND draw = ? ORDER BY sample");
    s.bind(stage).bind(draw);
    while (s.step()) {
      rows.push_back(
          {draw, static_cast<int>(s.integer(0)), s.null(1) ? std::nullopt : std::optional(s.real(1)), s.text(2), s.text(3)});
      hashes.push_back(s.text(4));
    }
  }
  for (size_t i = 0; i < rows.size(); ++i)
    if (!hashes[i].empty() && hash_string(rows[i].payload).hex() != hashes[i])
      throw failure(fmt::format("sample {} of draw {} of stage {} is damaged: its bytes do not match its hash", rows[i].sample,
                                draw, stage),
                    {impl_->file.string(), 0, 0}, "the run store was changed from outside, or the disk is failing");
  return rows;
}

std::vector<std::pair<int64_t, int>> RunStore::samples_by_reward(int64_t stage, bool highest_first, int64_t count) const {
  StoreReadLock lock(*impl_);
  Statement s =
      impl_->db.prepare(highest_first ? "SELECT draw, sample FROM trajectories WHERE stage = ? AND reward IS NOT NULL "
                                        "ORDER BY reward DESC, draw DESC, sample DESC LIMIT ?"
                                      : "SELECT draw, sample FROM trajectories WHERE stage = ? AND reward IS NOT NULL "
                                        "ORDER BY reward, draw, sample LIMIT ?");
  s.bind(stage).bind(count);
  std::vector<std::pair<int64_t, int>> found;
  while (s.step()) found.emplace_back(s.integer(0), static_cast<int>(s.integer(1)));
  return found;
}

}  // namespace r1
