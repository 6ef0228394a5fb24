// Rewards that could not be computed: counted from the ledger, the first one shown, too many end the run. Not the scoring
// (actors/scorer.h), and not what becomes of the group (the filter drops it as reward_error).
//
// The decision is a function of committed rows: whoever commits a stage's groups (trainer, dataset filter, a judge that writes
// its scores) restores it from the ledger, adds what it commits, and asks. A continued run so comes to the same end at once.
// Thread rule: one thread at a time.
#pragma once

#include <string>
#include <vector>

#include "actors/messages.h"
#include "runtime/graph/graph.h"
#include "runtime/flow/stage_memory.h"

namespace r1 {

class RewardErrors {
 public:
  RewardErrors() = default;
  // Of the judge of `stage`: its `rewards` and max_reward_errors. Without a judge nothing is ever counted.
  RewardErrors(const GraphView& graph, int stage);

  // Counts what the ledger held. Throws as check() does, and failure for an event that is damaged.
  void restore(const Recovery& recovered);
  // A group that is about to be committed as reward_error: the stage's first is shown on the terminal and in r1.log, and kept
  // as the event `reward_error`, with prompt, completion and expression. `sample`, `why`: the completion that failed.
  void show_first(StageRecords& records, const ScoredMessage& group, int sample, const std::string& why);
  // The same of the group's first sample without a reward; nothing where every sample has one.
  void show_first(StageRecords& records, const ScoredMessage& group);
  // Counts groups that were committed.
  void add(const std::vector<Resolution>& committed);
  // Throws final_failure when more groups have failed than the judge's max_reward_errors bears: that share of the groups so far
  // and at least one, and none before the first group was kept.
  void check() const;

 private:
  void count(const std::string& reason, int64_t groups);

  const NodePlan* judge_ = nullptr;
  std::string stage_;
  std::string first_;  // what was shown, as a sentence; "": nothing yet
  double share_ = 0;
  int64_t errors_ = 0, groups_ = 0, kept_ = 0;
};

}  // namespace r1
