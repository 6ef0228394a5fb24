#include "base/thread_count.h"

#include <fmt/format.h>

#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "base/error.h"

namespace r1 {

void require_threads(int count) {
  std::mutex mutex;
  std::condition_variable changed;
  bool over = false;
  std::vector<std::thread> threads;
  threads.reserve(static_cast<size_t>(count));
  std::string refused;
  try {
    while (static_cast<int>(threads.size()) < count)
      threads.emplace_back([&] {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return over; });
      });
  } catch (const std::system_error& e) {
    refused = e.code().message();
  }
  {
    std::lock_guard lock(mutex);
    over = true;
  }
  changed.notify_all();
  for (std::thread& t : threads) t.join();
  if (!refused.empty())
    throw failure(
        fmt::format("the system gives this process {} threads of the {} that it needs: {}", threads.size(), count, refused), {},
        "raise the limit on processes (ulimit -u, or pids.max of the container)");
}

}  // namespace r1
