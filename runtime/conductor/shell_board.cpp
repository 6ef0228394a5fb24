#include "runtime/conductor/shell_board.h"

#include <fmt/format.h>

#include <chrono>

#include "base/error.h"

namespace r1 {

static constexpr std::chrono::seconds kInspectLimit{2};

void ShellBoard::show(std::vector<ShellRole> roles, std::vector<ShellStage> stages) {
  const std::lock_guard lock(mutex_);
  roles_ = std::move(roles);
  stages_ = std::move(stages);
}

std::vector<ShellBoard::Question> ShellBoard::take_questions() {
  const std::lock_guard lock(mutex_);
  return std::exchange(questions_, {});
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
  sources.inspect = [this](const std::string& node) {
    auto answer = std::make_shared<std::promise<std::string>>();
    std::future<std::string> coming = answer->get_future();
    {
      const std::lock_guard lock(mutex_);
      questions_.emplace_back(node, std::move(answer));
    }
    wake_();
    if (coming.wait_for(kInspectLimit) != std::future_status::ready)
      throw failure(fmt::format("{} does not answer", node), {}, "'waits' shows what it is doing");
    try {
      return coming.get();
    } catch (const std::future_error&) {
      throw failure(fmt::format("{} ended before it answered", node));
    }
  };
  sources.stop = [this, &interrupted] {
    interrupted = true;
    wake_();
  };
  return sources;
}

}  // namespace r1
