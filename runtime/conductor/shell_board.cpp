#include "runtime/conductor/shell_board.h"

#include <utility>

#include "runtime/store/run_store.h"

namespace r1 {

// A conductor that is slow is not buried under what it has not seen to.
static constexpr size_t kMostOrders = 128;

void ShellBoard::show(std::vector<ShellRole> roles, std::vector<ShellStage> stages) {
  const std::lock_guard lock(mutex_);
  roles_ = std::move(roles);
  stages_ = std::move(stages);
}

std::vector<ShellOrder> ShellBoard::take_orders() {
  const std::lock_guard lock(mutex_);
  return std::exchange(orders_, {});
}

ShellSources ShellBoard::sources(std::atomic<bool>& interrupted) {
  ShellSources sources;
  sources.store = &store_;
  sources.waits = &waits_;
  sources.roles = [this] {
    const std::lock_guard lock(mutex_);
    return roles_;
  };
  sources.stages = [this] {
    const std::lock_guard lock(mutex_);
    return stages_;
  };
  sources.order = [this](ShellOrder order) {
    {
      const std::lock_guard lock(mutex_);
      if (orders_.size() >= kMostOrders) return false;
      orders_.push_back(std::move(order));
    }
    wake_();
    return true;
  };
  sources.stop = [this, &interrupted] {
    store_.add_event(0, "r1-shell", "stop", "{}");
    interrupted = true;
    wake_();
  };
  return sources;
}

}  // namespace r1
