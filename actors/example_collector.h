// Fills a stage's finite set of examples before anything is trained: data sets in one job, then message after message to disk;
// who sent one gets room when it is there. And how long an example may be, of a set or not.
// Thread rule: the role's own calls; its jobs run one at a time.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "actors/example_set.h"
#include "actors/messages.h"
#include "actors/run_env.h"
#include "runtime/flow/role.h"

namespace r1 {

// Examples come from users: one that the model has no positions for is an error of theirs.
class ExampleLengths {
 public:
  explicit ExampleLengths(const RunEnv& env) : env_(env) {}
  // Throws bad_input that names the node.
  void check(const RoleContext& context, const Sequence& sequence);

 private:
  const RunEnv& env_;
  int64_t longest_ = 0;  // tokens; 0: not looked up yet
};

class ExampleCollector {
 public:
  // `stride`: as ExampleSet's. `collected` is called once, when all is on disk. References outlive it.
  ExampleCollector(const RunEnv& env, ExampleLengths& lengths, const RoleContext& context, int64_t stride,
                   std::function<void()> collected);

  void start(RoleContext& context);
  void receive(RoleContext& context, int edge, std::shared_ptr<const ExamplesMessage> examples);

  ExampleSet& set() { return set_; }

 private:
  void read_datasets(RoleContext& context);
  void keep_next(RoleContext& context);
  void keep(const RoleContext& context, int edge, const Sequence& sequence);
  void maybe_collected();

  const RunEnv& env_;
  ExampleLengths& lengths_;
  ExampleSet set_;
  std::function<void()> collected_;
  std::set<int> open_inputs_;                                                   // edges that have not said `last`
  std::deque<std::pair<int, std::shared_ptr<const ExamplesMessage>>> arrived_;  // (edge, examples) on their way to the spool
  bool datasets_read_ = false, keeping_ = false;
};

}  // namespace r1
