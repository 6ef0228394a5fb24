// What the conductor does when r1-shell orders something: it finds the role, hands the order over or sees to it itself, writes
// down what was done, and only then answers. What an order changes of the training is the trainer's to say (from which batch
// on) and is durable before it is answered.
// Thread rule: the conductor's thread; answers of roles come from theirs.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "runtime/flow/stage_host.h"
#include "runtime/graph/graph.h"
#include "runtime/shell/shell_command.h"

namespace r1 {

class RunStore;

// A stage as orders see it.
struct OrderedStage {
  const StagePlan* plan = nullptr;
  int64_t id = 0;
  StageHost* host = nullptr;      // null: it is not running
  bool ended = false;             // done, or failed for good
  std::string* killed = nullptr;  // becomes the role that the shell has killed
};

class ShellOrders {
 public:
  // To a stage's policy, asked `prompt`; `weights`: of its trainer, null where it has none.
  using Ask = std::function<void(int stage, const std::string& prompt, PayloadPtr weights, ShellReplyPtr reply)>;

  // References outlive it. `paused` becomes true and false; `ask` and what is in `nodes` may be null. `tell`: a line for who
  // watches the run.
  ShellOrders(const GraphView& graph, RunStore& store, std::atomic<bool>& paused, Ask ask, ShellNodeOrders nodes,
              std::function<void(const std::string&)> tell);

  void see_to(ShellOrder order, const std::vector<OrderedStage>& stages);

 private:
  void inspect(const ShellOrder& order, const std::vector<OrderedStage>& stages) const;
  void set(const ShellOrder& order, const std::vector<OrderedStage>& stages) const;
  void pause(const ShellOrder& order);
  void resume(const ShellOrder& order, const std::vector<OrderedStage>& stages);
  void checkpoint(const ShellOrder& order, const std::vector<OrderedStage>& stages) const;
  void kill(const ShellOrder& order, const std::vector<OrderedStage>& stages) const;
  void ask(const ShellOrder& order, const std::vector<OrderedStage>& stages) const;
  void drain(const ShellOrder& order) const;
  void undrain(const ShellOrder& order) const;
  void scale(const ShellOrder& order) const;

  const OrderedStage& stage_of(const std::string& node, const std::vector<OrderedStage>& stages) const;
  std::string trainer_of(const StagePlan& stage) const;  // "": it trains nothing
  void note(int64_t stage, const ShellOrder& order, const std::string& kind, const std::string& what) const;  // durable

  const GraphView& graph_;
  RunStore& store_;
  std::atomic<bool>& paused_;
  Ask ask_;
  ShellNodeOrders nodes_;
  std::function<void(const std::string&)> tell_;
};

}  // namespace r1
