// What a tracker is told about a run, read from its store as it goes on (docs/formats.md, "What a tracker is told"): batches
// and held-out metrics, each once - after a kill perhaps twice, under the same step. Thread rule: one thread at a time.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "runtime/graph/graph.h"
#include "runtime/metrics/tracker.h"
#include "runtime/store/run_store.h"

namespace r1::report {

class TrackerFeed {
 public:
  // References outlive the feed. `command`: of tracker_command(); it runs in `graph_dir`.
  TrackerFeed(const GraphView& graph, const RunStore& store, const std::filesystem::path& run_dir,
              const std::filesystem::path& graph_dir, const std::vector<std::string>& command, TrackerOptions options);
  // Tells what is new. The newest batch of a running stage waits until the next one is there.
  void update();
  // The last update; `status`: "done", "failed" or "interrupted". Gives the program `seconds` to end.
  Tracker::Counts finish(const std::string& status, double seconds);

 private:
  void tell_batches(const StageRow& stage);
  void tell_held_out(const StageRow& stage);
  void remember();

  const GraphView& graph_;
  const RunStore& store_;
  const std::filesystem::path memory_;   // tracker.json of the run directory: what was told
  std::map<std::string, int64_t> next_;  // by stage: the first version not told
  std::set<std::string> held_out_;       // "STAGE/MOMENT/STEP" of what was told
  bool news_ = false;
  std::unique_ptr<Tracker> tracker_;
};

}  // namespace r1::report
