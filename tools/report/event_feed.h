// Keeps the TensorBoard event files of a run: scalars by stage, read from the run store as batches are learnt from.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "runtime/graph/graph.h"
#include "runtime/metrics/event_file.h"
#include "runtime/store/run_store.h"

namespace r1::report {

// Tags: STAGE/NAME for every number of a batch's statistics (step = version), STAGE/held_out/NAME for the held-out metrics
// before (step 0), at a version on the way, and after (step = batches) a stage. What older event files of the directory hold is
// not written again. Thread rule: one thread at a time.
class EventFeed {
 public:
  // Both references outlive the feed.
  EventFeed(const GraphView& graph, const RunStore& store, std::filesystem::path run_dir);
  // Writes what is new. The newest batch of a running stage waits until the next one is there: its statistics are still to be
  // completed. Throws failure when a file cannot be written.
  void update();

 private:
  void write_batches(const StageRow& stage);
  void write_held_out(const StageRow& stage);
  void write(const ScalarEvent& event);

  const GraphView& graph_;
  const RunStore& store_;
  const std::filesystem::path run_dir_;
  std::optional<EventFile> file_;        // made with the first event
  std::map<std::string, int64_t> next_;  // by stage: the first version not written
  std::set<std::string> held_out_;       // "STAGE/STEP" of what was written
};

}  // namespace r1::report
