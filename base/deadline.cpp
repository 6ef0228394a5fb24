#include "base/deadline.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>

#include "base/log.h"

namespace r1 {

Deadline::~Deadline() {
  {
    std::lock_guard lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Deadline::step(const std::string& what, double limit_s, ExitCode code) {
  {
    std::lock_guard lock(mutex_);
    what_ = what;
    limit_s_ = limit_s;
    code_ = code;
    running_ = true;
    ++number_;
  }
  changed_.notify_all();
  if (!thread_.joinable()) thread_ = std::thread([this] { watch(); });
}

void Deadline::done() {
  {
    std::lock_guard lock(mutex_);
    running_ = false;
    ++number_;
  }
  changed_.notify_all();
}

void Deadline::watch() {
  std::unique_lock lock(mutex_);
  while (!closing_) {
    if (!running_) {
      changed_.wait(lock, [this] { return closing_ || running_; });
      continue;
    }
    const uint64_t number = number_;
    const bool next = changed_.wait_for(lock, std::chrono::duration<double>(limit_s_),
                                        [this, number] { return closing_ || number_ != number; });
    if (next) continue;
    const std::string line =
        fmt::format("{} did not end within {:.0f} s; the process ends without it, the run can be continued", what_, limit_s_);
    // Whatever hangs may hold the log's lock, and who reads the terminal may be what hangs: each of them gets a moment.
    std::thread([shown = "error: " + line + "\n"] {
      [[maybe_unused]] const auto written = ::write(STDERR_FILENO, shown.data(), shown.size());
    }).detach();
    std::thread([line] {
      log_line(LogLevel::info, line);  // r1.log; the terminal has it
      log_flush();
    }).detach();
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    std::_Exit(static_cast<int>(code_));
  }
}

}  // namespace r1
