// Where scored groups go that no role takes: into the run store, window by window in draw order, and at the end into the
// stage's data set, one line a completion, as r1-score reads and writes them (docs/formats.md). An engine of the judge; not a
// filter: everything is kept, and what could not be scored says why. Thread rule: add() and the questions on the role; commit()
// and write() on the I/O thread, one at a time.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "actors/messages.h"
#include "actors/reward_errors.h"
#include "actors/run_env.h"
#include "runtime/flow/stage_memory.h"

namespace r1 {

class ScoredWriter {
 public:
  using Scored = std::shared_ptr<const ScoredMessage>;
  // Goes on behind the last window that was committed. Throws as RewardErrors::restore does.
  ScoredWriter(const RunEnv& env, const GraphView& graph, const NodePlan& judge, const Recovery& recovered);

  void add(Scored scored);
  // The next window's groups; empty while some are still on their way.
  std::vector<Scored> next_window();
  bool complete() const { return next_ * window_ >= total_; }  // every window was taken
  int64_t drawn() const { return std::min(next_ * window_, total_); }
  int64_t total() const { return total_; }
  size_t held() const { return held_.size(); }

  // A window of next_window(), in their order. Throws final_failure when more groups failed than the judge bears.
  void commit(const std::vector<Scored>& window, StageRecords& records, StageJournal& journal);
  // The data set, when all windows are committed.
  void write(StageJournal& journal) const;

 private:
  std::string lines_of(const ScoredMessage& scored) const;

  RunEnv env_;
  std::string stage_;
  int64_t window_, total_, next_ = 0, committed_ = 0;
  RewardErrors errors_;
  std::map<int64_t, Scored> held_;  // by draw
};

// Whether the judge's groups go nowhere but into a data set.
bool writes_scores(const GraphView& graph, const NodePlan& judge);

}  // namespace r1
