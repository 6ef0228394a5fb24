// The inside of RunStore, shared by its source files; nobody else includes it.
//
// All writes go through one transaction that is always open: buffered calls queue a closure, every other call first runs what
// is queued, and a durable call ends with COMMIT. So the file always holds a prefix of the calls made, and reads see all of
// them. Thread rule: `queue` under queue_mutex, everything else under mutex (taken first).
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "base/clock.h"
#include "runtime/store/run_store.h"
#include "runtime/store/sqlite.h"

namespace r1 {

constexpr int64_t kRunStoreSchema = 6;
constexpr int64_t kOldestRunStoreSchema = 3;          // what can be made the present one
constexpr int64_t kRunStoreApplication = 0x72317231;  // "r1r1", in SQLite's application_id

struct RunStore::Impl {
  Impl(const std::filesystem::path& store_file, Database::Mode mode)
      : file(store_file), db(store_file, mode), read_only(mode == Database::Mode::read_only) {}
  ~Impl();

  using Write = std::function<void(Impl&)>;

  // Queues a write; never blocks on the disk.
  void later(Write write);
  // Runs what is queued inside the open transaction. Caller holds mutex.
  void drain();
  // drain, `write`, COMMIT. Durable on return. A failure rolls back to the last commit and breaks the store for good: the run
  // stays resumable from there.
  void durable(const Write& write);
  void commit();  // caller holds mutex
  void begin();   // caller holds mutex
  // Throws failure when the file is not where it was opened any more: what is committed then goes nowhere.
  void check_in_place() const;
  void open_mark();
  void write_mark() const;
  void start_flusher();

  // Caller holds mutex.
  void insert_resolution(int64_t stage, const Resolution& resolution);
  void write_batch_stats(int64_t stage, int64_t version, const std::string& stats_json);
  void write_batch(int64_t stage, const BatchRow& batch);
  void check_stats(int64_t stage);  // throws failure: the statistics of a batch are no JSON

  class LedgerPages;  // of check_ledger

  const std::filesystem::path file;
  Database db;
  const bool read_only;
  uint64_t device = 0, inode = 0;  // of the file when it was opened for writing
  // Commits since the run began; beside the store run.mark says how many there were, so that a store which lost some is
  // noticed.
  int64_t commits = 0;
  int mark = -1;
  SystemClock system_clock;
  const Clock* clock = &system_clock;
  size_t row_bytes = 0;  // StoreOptions'
  std::mutex mutex;
  std::string broken;  // why no write is possible any more; "" while all is well

  std::mutex queue_mutex;
  std::deque<Write> queue;

  std::thread flusher;
  std::mutex flusher_mutex;
  std::condition_variable flusher_wake;
  bool closing = false;
};

// A lock with everything queued already visible: what every reader holds.
class StoreReadLock {
 public:
  explicit StoreReadLock(RunStore::Impl& impl);

 private:
  std::unique_lock<std::mutex> lock_;
};

}  // namespace r1
