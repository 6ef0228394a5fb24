// Between the shell of a run and its conductor: the conductor hangs out the state of roles and stages at every tick and takes
// orders down; the shell's thread looks and leaves orders here. Not the socket (runtime/shell/shell_server.h).
// Thread rule: thread-safe.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/flow/wait_registry.h"
#include "runtime/shell/shell_command.h"

namespace r1 {

class ShellBoard {
 public:
  // `wake`: called from the shell's thread when the conductor has something to look at. References outlive this.
  ShellBoard(RunStore& store, const WaitRegistry& waits, std::function<void()> wake)
      : store_(store), waits_(waits), wake_(std::move(wake)) {}

  void show(std::vector<ShellRole> roles, std::vector<ShellStage> stages);
  std::vector<ShellOrder> take_orders();

  // For the shell; `interrupted` becomes true by its `stop`. The result refers to this object.
  ShellSources sources(std::atomic<bool>& interrupted);

 private:
  RunStore& store_;
  const WaitRegistry& waits_;
  const std::function<void()> wake_;
  std::mutex mutex_;
  std::vector<ShellRole> roles_;
  std::vector<ShellStage> stages_;
  std::vector<ShellOrder> orders_;
};

}  // namespace r1
