// What a run looks like at one moment, as plain numbers: what its dashboard shows and what Prometheus is told. Taken from what
// the shell of a run sees and from a read-only connection of its own to the run store, so that no look takes a lock that the
// run's own writes wait for. What was not measured is absent. Thread rule: a PictureTaker belongs to one thread at a time;
// pictures are values.
#pragma once

#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/flow/wait_registry.h"
#include "runtime/graph/graph.h"
#include "runtime/shell/shell_command.h"
#include "runtime/store/run_store.h"
#include "tools/terminal/run_watch.h"

namespace r1::dashboard {

// What a run says of itself at its beginning.
struct RunLabels {
  std::string graph, precision, machine, device, fingerprint;
  uint64_t seed = 0;
  int cores = 1;
};

struct StagePicture {
  std::string name, label;
  StageStatus status = StageStatus::waiting;
  std::string phase;  // "preparing", "running", "summing up", ...; the status in a word where it has no phase
  std::string verdict;
  StageTimes times;
  int restarts = 0;
  int64_t batches = 0;
  int64_t limit = 0;   // batches it may take; 0: unknown
  double left_s = -1;  // estimate; negative: unknown
  double tokens_trained = 0, tokens_generated = 0;
  std::optional<double> trained_per_s, generated_per_s;  // tokens, of a running stage, over the last seconds
  LedgerCounts ledger;
  std::map<std::string, double> statistics;                       // of the newest batch that has them
  std::map<std::string, std::map<std::string, double>> held_out;  // "before", "after": by metric
};

struct ChannelPicture {
  ChannelRow row;
  std::optional<double> per_s;  // messages sent, over the last seconds
};

struct ProcessPicture {
  double cpu_s = 0, started_wall_s = 0;
  int64_t resident_bytes = 0, virtual_bytes = 0;
  int threads = 0, open_files = 0;
  std::optional<double> cores_used;  // over the last seconds
};

struct RunPicture {
  double wall_s = 0;  // seconds since 1970
  RunLabels labels;
  double seconds = 0;  // of this process
  double left_s = -1;  // of the whole run; negative: unknown
  bool left_is_minimum = false;
  std::vector<StagePicture> stages;
  std::vector<ShellRole> roles;
  std::vector<ChannelPicture> channels;
  std::vector<WaitRow> waits;
  std::vector<ShellNode> nodes;
  bool several_processes = false;
  ProcessPicture process;
};

class PictureTaker {
 public:
  // `sources` and the graph outlive it. The store of `run_dir` is opened here: throws as RunStore::open_read_only.
  PictureTaker(const GraphView& graph, std::filesystem::path run_dir, RunLabels labels, const ShellSources& sources);
  RunPicture take();
  const RunStore& store() const { return *store_; }

 private:
  struct Known {       // of a stage, so far
    int64_t next = 0;  // the first batch not read yet
    double tokens_trained = 0;
    std::map<std::string, double> statistics;
    bool ended = false, started = false;
    double tokens_generated = 0;
    LedgerCounts ledger;
    std::map<std::string, std::map<std::string, double>> held_out;
  };
  void read(const StageRow& row, Known& known) const;
  ProcessPicture process();

  const GraphView& graph_;
  const RunLabels labels_;
  const ShellSources& sources_;
  const std::unique_ptr<RunStore> store_;
  SystemClock clock_;
  terminal::RunWatch watch_;
  std::map<std::string, Known> known_;
  struct Mark {
    double at_s = 0, cpu_s = 0;
    std::map<std::string, int64_t> sent;
  };
  std::deque<Mark> marks_;  // over the last seconds
};

}  // namespace r1::dashboard
