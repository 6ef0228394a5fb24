// What the shell of a run reads and asks: the conductor hangs out the state of roles and stages at every tick and takes the
// questions down; the shell's thread looks and waits here. Not the socket (runtime/shell/shell_server.h).
// Thread rule: thread-safe.
#pragma once

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "runtime/flow/wait_registry.h"
#include "runtime/shell/shell_command.h"

namespace r1 {

class ShellBoard {
 public:
  // `wake`: called from the shell's thread when the conductor has something to look at. References outlive this.
  ShellBoard(const RunStore& store, const WaitRegistry& waits, std::function<void()> wake)
      : store_(store), waits_(waits), wake_(std::move(wake)) {}

  void show(std::vector<ShellRole> roles, std::vector<ShellStage> stages);
  // The node that is asked, and where its answer goes.
  using Question = std::pair<std::string, std::shared_ptr<std::promise<std::string>>>;
  std::vector<Question> take_questions();

  // For the shell; `interrupted` becomes true by its `stop`. The result refers to this object.
  ShellSources sources(std::atomic<bool>& interrupted);

 private:
  const RunStore& store_;
  const WaitRegistry& waits_;
  const std::function<void()> wake_;
  std::mutex mutex_;
  std::vector<ShellRole> roles_;
  std::vector<ShellStage> stages_;
  std::vector<Question> questions_;
};

}  // namespace r1
