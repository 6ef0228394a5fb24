#include "base/thread_count.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "base/error.h"

namespace r1 {

// What is taken beside the stacks of the threads before the first tensor: oneDNN ends a process by a signal where it gets none.
static constexpr size_t kRoom = size_t{112} << 20;

// Whether so many bytes of addresses may be taken; all of them are given back.
static bool may_take(size_t bytes) {
  void* const at = ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) return false;
  ::munmap(at, bytes);
  return true;
}

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
  const bool room = !refused.empty() || may_take(kRoom);
  rlimit addresses{};
  const bool limited = ::getrlimit(RLIMIT_AS, &addresses) == 0 && addresses.rlim_cur != RLIM_INFINITY;
  {
    std::lock_guard lock(mutex);
    over = true;
  }
  changed.notify_all();
  for (std::thread& t : threads) t.join();
  if (!refused.empty())
    throw failure(
        fmt::format("the system gives this process {} threads of the {} that it needs: {}", threads.size(), count, refused), {},
        limited
            ? "raise the limit on addresses (ulimit -v): each thread takes its stack of them; or that on processes (ulimit -u)"
            : "raise the limit on processes (ulimit -u, or pids.max of the container)");
  if (!room)
    throw failure(
        fmt::format("the system gives this process {} threads, and no {} MiB of addresses beside them", count, kRoom >> 20), {},
        "raise the limit on addresses (ulimit -v), or remove it: memory is limited by a container or cgroup");
}

}  // namespace r1
