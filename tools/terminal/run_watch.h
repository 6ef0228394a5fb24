// The state of a run as the live view shows it, read from the graph and from what has been committed to the run store.
// Thread rule: one thread.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "runtime/conductor/stage_verdict.h"
#include "runtime/graph/graph.h"
#include "runtime/store/run_store.h"
#include "tools/terminal/screen.h"

namespace r1::terminal {

class RunWatch {
 public:
  // Both references outlive the watch.
  RunWatch(const GraphView& graph, const RunStore& store);

  void started(const std::string& stage);
  // Returns what the stage shows: pieces like "accuracy .381 > .875", the most telling first.
  std::vector<std::string> done(const std::string& stage, const std::string& summary_json, const StageVerdict& verdict);
  void note(const std::string& stage, const std::string& line) { watched_[stage].note = line; }
  // Reads what is new. `title` stands in the head line.
  ScreenState state(const std::string& title);
  // The same of one stage.
  StageState stage_state(const std::string& stage);

 private:
  // What is known of a stage beside its row in the store.
  struct Watched {
    bool running = false;
    double begin_s = 0;
    int64_t first_step = 0, next = 0;  // batches when it (re)started; the first one not read yet
    double paced_s = -1;               // when a batch of this process was first seen, and
    int64_t paced_step = 0;            // how many there were then: what came before them says nothing about the pace
    std::vector<double> curve;
    std::map<std::string, double> latest;
    struct Mark {
      double at_s, trained, generated;
    };
    std::deque<Mark> marks;  // cumulative tokens over the last seconds
    double trained = 0, generated = 0, kept = 0, dropped = 0;
    std::string note, result;
    bool failed = false;
    double seconds = 0;  // of a finished stage
  };
  void read_batches(const StagePlan& plan, Watched& w);
  int64_t limit(const StagePlan& plan) const;
  StageState make(const StagePlan& plan);
  void estimate(ScreenState& state) const;

  const GraphView& graph_;
  const RunStore& store_;
  SystemClock clock_;
  double begin_s_;
  std::map<std::string, int64_t> ids_;  // of stages in the store
  std::map<std::string, Watched> watched_;
};

}  // namespace r1::terminal
