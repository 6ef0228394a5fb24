#include "runtime/store/run_store.h"

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <cstdlib>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "runtime/store/run_store_impl.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSchema = R"sql(
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE stages (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
  status TEXT NOT NULL CHECK (status IN ('waiting', 'running', 'done', 'failed')),
  seconds REAL NOT NULL DEFAULT 0, summary TEXT NOT NULL DEFAULT '', times TEXT NOT NULL DEFAULT '',
  verdict TEXT NOT NULL DEFAULT '');
CREATE TABLE draws (stage INTEGER NOT NULL, draw INTEGER NOT NULL, prompt INTEGER NOT NULL, issued INTEGER NOT NULL DEFAULT 1,
  PRIMARY KEY (stage, draw)) WITHOUT ROWID;
CREATE TABLE resolutions (stage INTEGER NOT NULL, draw INTEGER NOT NULL, batch INTEGER, reason TEXT,
  PRIMARY KEY (stage, draw), CHECK ((batch IS NULL) <> (reason IS NULL))) WITHOUT ROWID;
CREATE TABLE batches (id INTEGER PRIMARY KEY, stage INTEGER NOT NULL, version INTEGER NOT NULL, skipped INTEGER NOT NULL,
  payload_hash TEXT NOT NULL, payload BLOB NOT NULL, parts INTEGER NOT NULL DEFAULT 0, UNIQUE (stage, version));
CREATE TABLE batch_stats (stage INTEGER NOT NULL, version INTEGER NOT NULL, stats TEXT NOT NULL,
  PRIMARY KEY (stage, version)) WITHOUT ROWID;
CREATE TABLE trajectories (id INTEGER PRIMARY KEY, stage INTEGER NOT NULL, draw INTEGER NOT NULL, sample INTEGER NOT NULL,
  reward REAL, scores TEXT NOT NULL, payload BLOB NOT NULL, payload_hash TEXT NOT NULL DEFAULT '', UNIQUE (stage, draw, sample));
CREATE TABLE snapshots (stage INTEGER NOT NULL, version INTEGER NOT NULL, file TEXT NOT NULL,
  PRIMARY KEY (stage, version)) WITHOUT ROWID;
CREATE TABLE versions (stage INTEGER NOT NULL, version INTEGER NOT NULL, hash TEXT NOT NULL,
  PRIMARY KEY (stage, version)) WITHOUT ROWID;
CREATE TABLE artifacts (stage INTEGER NOT NULL, name TEXT NOT NULL, path TEXT NOT NULL, hash TEXT NOT NULL,
  PRIMARY KEY (stage, name)) WITHOUT ROWID;
CREATE TABLE metrics (stage INTEGER NOT NULL, name TEXT NOT NULL, step INTEGER NOT NULL, value REAL,
  PRIMARY KEY (stage, name, step)) WITHOUT ROWID;
CREATE TABLE events (id INTEGER PRIMARY KEY, stage INTEGER NOT NULL, actor TEXT NOT NULL, kind TEXT NOT NULL,
  json TEXT NOT NULL, monotonic_ns INTEGER NOT NULL, wall_s REAL NOT NULL);
CREATE INDEX events_by_stage ON events (stage, kind);
CREATE TABLE artifact_files (stage INTEGER NOT NULL, name TEXT NOT NULL, file TEXT NOT NULL, bytes INTEGER NOT NULL,
  hash TEXT NOT NULL, PRIMARY KEY (stage, name, file)) WITHOUT ROWID;
CREATE TABLE inputs (file TEXT PRIMARY KEY, what TEXT NOT NULL, bytes INTEGER NOT NULL, hash TEXT NOT NULL,
  stamp TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE changes (id INTEGER PRIMARY KEY, stage INTEGER NOT NULL, version INTEGER NOT NULL, attribute TEXT NOT NULL,
  before TEXT NOT NULL, after TEXT NOT NULL);
)sql";

// What schema 4 has and schema 3 had not: evaluations and what models answered in them.
#define R1_EVALUATION_TABLES(temporary)                                                                                       \
  "CREATE " temporary                                                                                                         \
  " TABLE evaluations (stage INTEGER NOT NULL, node TEXT NOT NULL, version INTEGER NOT NULL, "                                \
  "moment TEXT NOT NULL CHECK (moment IN ('before', 'during', 'after')), evaluation TEXT NOT NULL, metrics TEXT NOT NULL, "   \
  "PRIMARY KEY (stage, node, moment, version)) WITHOUT ROWID;"                                                                \
  "CREATE " temporary                                                                                                         \
  " TABLE responses (evaluation TEXT NOT NULL, source TEXT NOT NULL, prompt INTEGER NOT NULL, "                               \
  "sample INTEGER NOT NULL, text TEXT NOT NULL, response TEXT NOT NULL, tokens INTEGER NOT NULL, finished INTEGER NOT NULL, " \
  "correct INTEGER, reward REAL, scores TEXT NOT NULL, error TEXT NOT NULL, "                                                 \
  "PRIMARY KEY (evaluation, source, prompt, sample)) WITHOUT ROWID;"
constexpr const char* kEvaluations = R1_EVALUATION_TABLES("");
constexpr const char* kNoEvaluations = R1_EVALUATION_TABLES("TEMP");

// For readers by reward. No part of the schema's version: SQLite keeps it up to date whoever writes, and a file without it
// gives the same rows, later.
constexpr const char* kIndexes =
    "CREATE INDEX IF NOT EXISTS trajectories_by_reward ON trajectories (stage, reward, draw, sample)";

// What schema 6 has and schema 5 had not: what does not fit into the first row of a batch.
#define R1_BATCH_PARTS(temporary)                                                                                   \
  "CREATE " temporary                                                                                               \
  " TABLE batch_parts (id INTEGER PRIMARY KEY, stage INTEGER NOT NULL, version INTEGER NOT NULL, part INTEGER NOT " \
  "NULL, payload BLOB NOT NULL, UNIQUE (stage, version, part));"
constexpr const char* kBatchParts = R1_BATCH_PARTS("");
// For a reader: the view is found before the table of its name.
constexpr const char* kNoBatchParts =
    R1_BATCH_PARTS("TEMP") "CREATE TEMP VIEW batches AS SELECT *, 0 AS parts FROM main.batches;";

// The first look into a file failed. An error with a way out (no space, in use) is the machine's, not the file's.
[[noreturn]] void refuse_file(const Error& e, const fs::path& file) {
  if (!e.hint().empty()) throw e;
  throw bad_input(fmt::format("not a run store ({})", e.message()), {file.string(), 0, 0}, "give the directory of a run");
}

// The schema version of the file, one that this program can use.
int64_t check_schema(Database& db, const fs::path& file) {
  int64_t application = 0, version = 0;
  try {
    application = db.one_integer("PRAGMA application_id");
    version = db.one_integer("PRAGMA user_version");
  } catch (const Error& e) {
    refuse_file(e, file);
  }
  if (application != kRunStoreApplication)
    throw bad_input("not a run store of r1", {file.string(), 0, 0}, "give the directory of a run");
  if (version < kOldestRunStoreSchema || version > kRunStoreSchema)
    throw bad_input(fmt::format("the run store has schema version {}, this program knows {} to {}", version,
                                kOldestRunStoreSchema, kRunStoreSchema),
                    {file.string(), 0, 0}, "continue the run with the program that began it");
  return version;
}

// A run that an earlier program began goes on with this one.
void bring_up_to_date(Database& db, int64_t version) {
  if (version == kRunStoreSchema) return;
  db.execute("BEGIN IMMEDIATE");
  if (version < 4) db.execute(kEvaluations);
  if (version < 5) db.execute("ALTER TABLE versions DROP COLUMN bytes; ALTER TABLE versions DROP COLUMN whole");
  if (version < 6) {
    db.execute("ALTER TABLE batches ADD COLUMN parts INTEGER NOT NULL DEFAULT 0");
    db.execute(kBatchParts);
  }
  db.execute(
      fmt::format("UPDATE meta SET value = '{0}' WHERE key = 'schema'; PRAGMA user_version = {0}; COMMIT", kRunStoreSchema)
          .c_str());
}

}  // namespace

// ---- transactions -----------------------------------------------------------------------------------------------------

RunStore::Impl::~Impl() {
  if (flusher.joinable()) {
    {
      std::lock_guard lock(flusher_mutex);
      closing = true;
    }
    flusher_wake.notify_all();
    flusher.join();
  }
  if (read_only) return;
  try {
    std::lock_guard lock(mutex);
    drain();
    commit();
  } catch (const Error& e) {
    log_error(e.what());
  }
  if (mark >= 0) ::close(mark);
}

void RunStore::Impl::later(Write write) {
  R1_CHECK(!read_only, "write to a run store opened read-only");
  std::lock_guard lock(queue_mutex);
  queue.push_back(std::move(write));
}

void RunStore::Impl::begin() {
  if (!db.in_transaction()) db.execute("BEGIN IMMEDIATE");
}

void RunStore::Impl::drain() {
  while (true) {
    std::deque<Write> taken;
    {
      std::lock_guard lock(queue_mutex);
      taken.swap(queue);
    }
    if (taken.empty()) return;
    if (!broken.empty()) return;  // what cannot be written is lost, as in a crash
    try {
      begin();
      for (const Write& write : taken) write(*this);
    } catch (const Error& e) {
      broken = e.what();
      if (db.in_transaction()) db.execute("ROLLBACK");
      throw;
    }
  }
}

void RunStore::Impl::check_in_place() const {
  struct stat here {};
  if (::stat(file.c_str(), &here) == 0 && here.st_dev == device && here.st_ino == inode) return;
  const bool there = fs::is_directory(file.parent_path());
  throw failure(there ? "the run's store was removed or replaced while the run was going on"
                      : "the run's directory was removed or replaced while the run was going on",
                {(there ? file : file.parent_path()).string(), 0, 0},
                "what was not in it any more is lost; a copy of it can be continued");
}

void RunStore::Impl::commit() {
  if (!db.in_transaction()) return;
  check_in_place();
  db.prepare("INSERT OR REPLACE INTO meta (key, value) VALUES ('commits', ?)").bind_text(std::to_string(commits + 1)).run();
  db.execute("COMMIT");
  ++commits;
  write_mark();
}

// ---- the mark: how many commits the store beside it has had at least

// Not synced: after a loss of power it may be behind the store, which says nothing; it is never ahead of what was committed.
void RunStore::Impl::write_mark() const {
  if (mark < 0) return;
  const std::string text = fmt::format("r1 run store, commits: {:>20}\n", commits);
  [[maybe_unused]] const auto written = ::pwrite(mark, text.data(), text.size(), 0);
}

namespace {

fs::path mark_file(const fs::path& store_file) { return store_file.parent_path() / "run.mark"; }

// 0: no mark, or none that can be read.
int64_t marked_commits(const fs::path& store_file) {
  if (!fs::exists(mark_file(store_file))) return 0;
  const std::string text = read_file(mark_file(store_file));
  const size_t digits = std::min(text.size(), text.find_first_of("0123456789", std::min(text.find(':'), text.size())));
  int64_t commits = 0;
  std::from_chars(text.data() + digits, text.data() + text.size(), commits);
  return commits;
}

[[noreturn]] void refuse_store(const std::string& what, const fs::path& file) {
  throw bad_input(what, {file.string(), 0, 0}, "put run.db and run.db-wal back as they were, or start over with --fresh");
}

// A store without a table in it, where there was a run.
void check_not_emptied(const fs::path& file) {
  const char* why = "it was emptied, or its write-ahead log run.db-wal is gone";
  if (const int64_t marked = marked_commits(file); marked > 0)
    refuse_store(fmt::format("the run store is empty, but it has held {} commits: {}", marked, why), file);
  for (const char* results : {"checkpoints", "snapshots", "datasets"})
    if (fs::exists(file.parent_path() / results))
      refuse_store(fmt::format("the run store is empty, but the run has {}: {}", results, why), file);
}

}  // namespace

void RunStore::Impl::open_mark() {
  {
    Statement s = db.prepare("SELECT value FROM meta WHERE key = 'commits'");
    if (s.step()) commits = stored_integer(s.text(0), {file.string(), "meta", "key='commits'"});
  }
  if (const int64_t marked = marked_commits(file); marked > commits)
    refuse_store(
        fmt::format("the run store holds {} of its {} commits: its write-ahead log run.db-wal is gone, or an older copy was "
                    "put in its place",
                    commits, marked),
        file);
  mark = ::open(mark_file(file).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  write_mark();
}

void RunStore::Impl::durable(const Write& write) {
  R1_CHECK(!read_only, "write to a run store opened read-only");
  std::lock_guard lock(mutex);
  drain();
  if (!broken.empty()) throw failure("the run store failed before: " + broken);
  try {
    begin();
    write(*this);
    commit();
  } catch (const Error& e) {
    broken = e.what();
    if (db.in_transaction()) db.execute("ROLLBACK");
    throw;
  }
}

void RunStore::Impl::start_flusher() {
  flusher = std::thread([this] {
    std::unique_lock lock(flusher_mutex);
    while (!flusher_wake.wait_for(lock, std::chrono::seconds(1), [this] { return closing; })) {
      lock.unlock();
      try {
        std::lock_guard write_lock(mutex);
        if (broken.empty()) {
          drain();
          commit();
        }
      } catch (const Error& e) {
        std::lock_guard write_lock(mutex);
        if (broken.empty()) broken = e.what();
        log_error(e.what());
      }
      lock.lock();
    }
  });
}

StoreReadLock::StoreReadLock(RunStore::Impl& impl) : lock_(impl.mutex) {
  if (!impl.read_only) impl.drain();
}

// ---- opening ----------------------------------------------------------------------------------------------------------

RunStore::RunStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RunStore::~RunStore() = default;

std::unique_ptr<RunStore> RunStore::open(const fs::path& run_dir, const StoreOptions& options) {
  std::error_code ec;
  fs::create_directories(run_dir, ec);
  if (ec) throw failure("cannot create the run directory: " + ec.message(), {run_dir.string(), 0, 0});
  if (on_network_file_system(run_dir))
    throw bad_input("the run directory lies on a network file system, where the run store is not safe",
                    {run_dir.string(), 0, 0}, "choose a local directory with --run");
  const fs::path file = run_dir / "run.db";
  const bool existed = fs::exists(file);
  auto impl = std::make_unique<Impl>(file, Database::Mode::create);
  Database& db = impl->db;
  struct stat st {};
  if (::stat(file.c_str(), &st) != 0) throw failure("cannot stat the run store", {file.string(), 0, 0});
  impl->device = st.st_dev;
  impl->inode = st.st_ino;
  bool fresh = false;
  try {
    fresh = db.one_integer("PRAGMA application_id") == 0 && db.one_integer("SELECT count(*) FROM sqlite_master") == 0;
  } catch (const Error& e) {
    refuse_file(e, file);
  }
  if (fresh) {
    if (existed || fs::exists(mark_file(file))) check_not_emptied(file);
    db.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; BEGIN IMMEDIATE");
    db.execute(kSchema);
    db.execute(kEvaluations);
    db.execute(kBatchParts);
    db.execute(
        fmt::format("INSERT INTO meta VALUES ('schema', '{}'); PRAGMA application_id = {}; PRAGMA user_version = {}; COMMIT",
                    kRunStoreSchema, kRunStoreApplication, kRunStoreSchema)
            .c_str());
    fsync_directory(run_dir);
  }
  const int64_t version = check_schema(db, file);
  db.execute(
      "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = OFF; "
      "PRAGMA journal_size_limit = 67108864; PRAGMA temp_store = MEMORY");
  impl->open_mark();
  bring_up_to_date(db, version);
  db.execute(kIndexes);
  if (options.clock != nullptr) impl->clock = options.clock;
  R1_CHECK(options.row_bytes > 0, "rows of 0 bytes");
  impl->row_bytes = options.row_bytes;
  if (options.flusher) impl->start_flusher();
  return std::unique_ptr<RunStore>(new RunStore(std::move(impl)));
}

std::unique_ptr<RunStore> RunStore::open_read_only(const fs::path& run_dir) {
  const fs::path file = run_dir / "run.db";
  if (!fs::exists(file))
    throw bad_input("no run here (there is no run.db)", {run_dir.string(), 0, 0}, "give the directory of a run");
  auto impl = std::make_unique<Impl>(file, Database::Mode::read_only);
  // An older file stays as it is: what it does not have is empty.
  if (const int64_t version = check_schema(impl->db, file); version < kRunStoreSchema) {
    impl->db.execute("PRAGMA query_only = OFF");
    if (version < 4) impl->db.execute(kNoEvaluations);
    if (version < 6) impl->db.execute(kNoBatchParts);
    impl->db.execute("PRAGMA query_only = ON");
  }
  return std::unique_ptr<RunStore>(new RunStore(std::move(impl)));
}

std::string RunStore::broken() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->broken;
}

void RunStore::flush() {
  if (!impl_->read_only) impl_->durable([](Impl&) {});
}

// ---- meta and stages --------------------------------------------------------------------------------------------------

StoredPlace RunStore::place(const std::string& table, const std::string& row) const {
  return {impl_->file.string(), table, row};
}

std::optional<std::string> RunStore::meta(const std::string& key) const {
  StoreReadLock lock(*impl_);
  Statement s = impl_->db.prepare("SELECT value FROM meta WHERE key = ?");
  if (!s.bind_text(key).step()) return std::nullopt;
  return s.text(0);
}

static constexpr const char* kSetMeta = "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)";

void RunStore::set_meta(const std::string& key, const std::string& value) {
  impl_->durable([&](Impl& impl) { impl.db.prepare(kSetMeta).bind_text(key).bind_text(value).run(); });
}

void RunStore::set_meta_later(const std::string& key, const std::string& value) {
  impl_->later([=](Impl& impl) { impl.db.prepare(kSetMeta).bind_text(key).bind_text(value).run(); });
}

int64_t RunStore::ensure_stage(const std::string& name) {
  const char* find = "SELECT id FROM stages WHERE name = ?";
  {
    StoreReadLock lock(*impl_);
    Statement s = impl_->db.prepare(find);
    if (s.bind_text(name).step()) return s.integer(0);
  }
  int64_t id = 0;
  impl_->durable([&](Impl& impl) {
    impl.db.prepare("INSERT OR IGNORE INTO stages (name, status) VALUES (?, 'waiting')").bind_text(name).run();
    Statement s = impl.db.prepare(find);
    s.bind_text(name).step();
    id = s.integer(0);
  });
  return id;
}

std::vector<StageRow> RunStore::stages() const {
  StoreReadLock lock(*impl_);
  Statement s = impl_->db.prepare("SELECT id, name, status, seconds, summary, times, verdict FROM stages ORDER BY id");
  std::vector<StageRow> rows;
  while (s.step())
    rows.push_back({s.integer(0), s.text(1), stage_status_of(s.text(2)), s.real(3), s.text(4), s.text(5), s.text(6)});
  return rows;
}

void RunStore::set_stage_status(int64_t stage, StageStatus status) {
  impl_->durable([&](Impl& impl) {
    impl.db.prepare("UPDATE stages SET status = ? WHERE id = ?").bind_text(word_of(status)).bind(stage).run();
  });
}

void RunStore::add_stage_seconds(int64_t stage, double seconds) {
  impl_->later([=](Impl& impl) {
    impl.db.prepare("UPDATE stages SET seconds = seconds + ? WHERE id = ?").bind(seconds).bind(stage).run();
  });
}

void RunStore::complete_stage(int64_t stage, const std::string& summary_json, const std::string& verdict, bool failed) {
  impl_->durable([&](Impl& impl) {
    impl.db
        .prepare(
            "INSERT INTO resolutions (stage, draw, reason) SELECT stage, draw, 'stage_ended' FROM draws d WHERE stage = ? AND "
            "NOT "
            "EXISTS (SELECT 1 FROM resolutions r WHERE r.stage = d.stage AND r.draw = d.draw)")
        .bind(stage)
        .run();
    impl.db.prepare("UPDATE stages SET status = ?, summary = ?, verdict = ? WHERE id = ?")
        .bind_text(word_of(failed ? StageStatus::failed : StageStatus::done))
        .bind_text(summary_json)
        .bind_text(verdict)
        .bind(stage)
        .run();
  });
}

void RunStore::set_stage_times(int64_t stage, const std::string& times_json) {
  impl_->later(
      [=](Impl& impl) { impl.db.prepare("UPDATE stages SET times = ? WHERE id = ?").bind_text(times_json).bind(stage).run(); });
}

}  // namespace r1
