// A LaunchSink that writes down what it is told, and a wait for it with a limit that no passing test comes near.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/nodes/launcher.h"

namespace r1::test {

class LaunchLog final : public LaunchSink {
 public:
  struct Entry {
    std::string greeting;
    bool started = false;
    std::vector<std::string> lines;
    std::string end;  // "": not yet
    int ends = 0;
  };

  void started(LaunchId launch, const std::string& greeting) override {
    change(launch, [&](Entry& e) {
      e.started = true;
      e.greeting = greeting;
    });
  }
  void said(LaunchId launch, const std::string& line) override {
    change(launch, [&](Entry& e) { e.lines.push_back(line); });
  }
  void ended(LaunchId launch, const std::string& how) override {
    change(launch, [&](Entry& e) {
      e.end = how;
      ++e.ends;
    });
  }

  // When `is_so` holds, or after a minute.
  Entry wait(LaunchId launch, const std::function<bool(const Entry&)>& is_so) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(60), [&] { return is_so(entries_[launch]); });
    return entries_[launch];
  }
  Entry wait_started(LaunchId launch) {
    return wait(launch, [](const Entry& e) { return e.started || e.ends > 0; });
  }
  Entry wait_ended(LaunchId launch) {
    return wait(launch, [](const Entry& e) { return e.ends > 0; });
  }

 private:
  void change(LaunchId launch, const std::function<void(Entry&)>& how) {
    std::lock_guard lock(mutex_);
    how(entries_[launch]);
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<LaunchId, Entry> entries_;
};

}  // namespace r1::test
