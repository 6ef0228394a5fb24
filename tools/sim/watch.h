// What has to hold in a simulated run after every event: the promises P3, P6, P7, P8 and P9 (docs/architecture.md section 1),
// looked at from outside - at the run store, at what is on the links and at what engines hold - and not by the counters of
// those who keep them. Thread rule: one thread.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "runtime/flow/envelope.h"
#include "runtime/graph/graph.h"
#include "runtime/store/run_store.h"

namespace r1 {

// A promise that was broken. Not an Error: nothing that handles failures takes it for one.
struct Violation {
  std::string what;
};

class Watch {
 public:
  explicit Watch(const GraphView& graph) : graph_(graph) {}

  // ---- what happens
  void process_begins();                        // nothing is on any link
  void stage_begins(const std::string& stage);  // neither is it on the stage's
  void sent(const StagePlan& stage, int from, int to, const Envelope& envelope);
  void arrived(const StagePlan& stage, int from, int to, const Envelope& envelope);
  void holds(const std::string& node, int64_t version, const Hash128& hash);  // a sampler's weights
  // A fault was injected into a stage; a failure of it has to name one of `names`.
  void injected(const std::string& stage, std::vector<std::string> names);
  void failed(const std::string& stage, const std::string& why);

  // ---- looks. The first violation is kept; what() says it, "" while there is none.
  void look(const RunStore& store);  // after an event that may have changed the store
  void look_at_end(const RunStore& store);
  const std::string& what() const { return what_; }
  int64_t batches_seen() const { return batches_seen_; }

 private:
  void violated(const std::string& what);
  void look_at_batch(const RunStore& store, int64_t stage, int stage_index, int64_t version);

  struct Link {
    int64_t sent = 0, released = 0;
  };
  const GraphView& graph_;
  std::map<int, Link> links_;                                         // by edge
  std::map<std::pair<std::string, int64_t>, std::string> published_;  // (stage, version) -> hash, over the whole run
  std::map<std::string, std::vector<std::string>> causes_;            // by stage, since it began
  std::map<std::string, int64_t> batches_;                            // looked at, by stage
  std::map<std::pair<std::string, int64_t>, std::string> committed_;  // (stage, version) -> payload hash
  int64_t batches_seen_ = 0;
  std::string what_;
};

}  // namespace r1
