#include "kernels/cpu/threads.h"

#include <tbb/global_control.h>
#include <tbb/info.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <exception>
#include <mutex>
#include <new>
#include <optional>
#include <thread>
#include <vector>

#include "base/clock.h"

namespace r1 {
namespace cpu {
namespace {

// Process-wide by nature: cores and workers belong to the process, not to an object (kernels/device.h makes them free
// functions).
struct Limit {
  std::atomic<int> threads{tbb::info::default_concurrency()};
  std::mutex mutex;
  std::optional<tbb::global_control> control;
};
Limit& limit() {
  static Limit instance;
  return instance;
}

std::atomic<int64_t>& compute_ns() {
  static std::atomic<int64_t> ns{0};
  return ns;
}

int64_t monotonic_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Reading a thread's CPU clock is a system call (0.3 to 1 us), the monotonic clock costs 20 ns. A scope shorter than kShortNs
// was almost surely not preempted and counts by the monotonic clock; a longer one counts the smaller of its monotonic time and
// the CPU time that the thread used since the last look at its CPU clock, less what was counted since.
struct Meter {
  static constexpr int64_t kShortNs = 200'000;
  int depth = 0;
  int64_t start_ns = 0;
  int64_t last_cpu_ns = thread_cpu_ns();
  int64_t counted_ns = 0;  // since last_cpu_ns

  void start() { start_ns = monotonic_ns(); }
  void stop() {
    int64_t ns = monotonic_ns() - start_ns;
    if (ns >= kShortNs) {
      const int64_t cpu_ns = thread_cpu_ns();
      ns = std::clamp<int64_t>(cpu_ns - last_cpu_ns - counted_ns, 0, ns);
      last_cpu_ns = cpu_ns;
      counted_ns = 0;
    } else {
      counted_ns += ns;
    }
    compute_ns().fetch_add(ns, std::memory_order_relaxed);
  }
};
thread_local Meter t_meter;

// While a thread waits for others it may spin: not compute. Tiles that it runs meanwhile count themselves.
class MeterPause {
 public:
  MeterPause() : depth_(t_meter.depth) {
    if (depth_ > 0) t_meter.stop();
    t_meter.depth = 0;
  }
  ~MeterPause() {
    t_meter.depth = depth_;
    if (depth_ > 0) t_meter.start();
  }

 private:
  int depth_;
};

class Scratch {
 public:
  ~Scratch() { release(); }
  std::byte* get(size_t bytes) {
    if (bytes > bytes_) {
      release();
      bytes_ = std::max<size_t>(bytes + bytes / 2, 4096);
      data_ = static_cast<std::byte*>(::operator new (bytes_, std::align_val_t{64}));
    }
    return data_;
  }

 private:
  void release() {
    if (data_) ::operator delete (data_, std::align_val_t{64});
    data_ = nullptr;
    bytes_ = 0;
  }
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};
thread_local std::array<Scratch, static_cast<size_t>(ScratchSlot::count)> t_scratch;

#if defined(__SANITIZE_THREAD__)
// Debian's oneTBB is not instrumented: the sanitizer does not see what orders its tasks, and every tile would look like a race.
// Plain threads it does see.
template <class Tile>
void for_each_tile(int64_t n, const Tile& tile) {
  std::atomic<int64_t> next{0};
  std::mutex mutex;
  std::exception_ptr error;
  const auto work = [&] {
    for (int64_t i; (i = next.fetch_add(1)) < n;) try {
        tile(i);
      } catch (...) {
        std::lock_guard lock(mutex);
        if (!error) error = std::current_exception();
        next = n;
      }
  };
  std::vector<std::thread> threads;
  for (int64_t i = 1; i < std::min<int64_t>(thread_limit(), n); ++i) threads.emplace_back(work);
  work();
  for (std::thread& t : threads) t.join();
  if (error) std::rethrow_exception(error);
}
#else
template <class Tile>
void for_each_tile(int64_t n, const Tile& tile) {
  // Isolated: while this thread waits it must not pick up somebody else's long task (nor one that uses this thread's scratch).
  tbb::this_task_arena::isolate([&] {
    tbb::parallel_for(
        tbb::blocked_range<int64_t>(0, n, 1),
        [&](const tbb::blocked_range<int64_t>& r) {
          for (int64_t i = r.begin(); i < r.end(); ++i) tile(i);
        },
        tbb::simple_partitioner());
  });
}
#endif

}  // namespace

int thread_limit() { return limit().threads.load(std::memory_order_relaxed); }

MeterScope::MeterScope() {
  if (t_meter.depth++ == 0) t_meter.start();
}
MeterScope::~MeterScope() {
  if (--t_meter.depth == 0) t_meter.stop();
}

std::byte* scratch_bytes(ScratchSlot slot, size_t bytes) { return t_scratch[static_cast<size_t>(slot)].get(bytes); }

void run_tiles(int64_t n, TileFunction call, void* body) {
  MeterPause pause;
  for_each_tile(n, [&](int64_t i) {
    MeterScope meter;
    call(body, i);
  });
}

}  // namespace cpu

void set_cpu_threads(int threads) {
  auto& l = cpu::limit();
  std::lock_guard lock(l.mutex);
  const int all = tbb::info::default_concurrency();
  const int n = threads <= 0 ? all : std::min(threads, all);
  l.control.reset();
  if (n < all) l.control.emplace(tbb::global_control::max_allowed_parallelism, static_cast<size_t>(n));
  l.threads.store(n);
}

int cpu_threads() { return cpu::thread_limit(); }

void parallel_tasks(int64_t n, const std::function<void(int64_t)>& f) {
  if (n < 2 || cpu::thread_limit() < 2) {
    for (int64_t i = 0; i < n; ++i) {
      cpu::MeterScope meter;
      f(i);
    }
    return;
  }
  cpu::run_tiles(
      n, [](void* body, int64_t i) { (*static_cast<const std::function<void(int64_t)>*>(body))(i); },
      const_cast<void*>(static_cast<const void*>(&f)));
}

void device_tasks(Device& device, int64_t n, const std::function<void(int64_t)>& f) {
  device.finish();
  parallel_tasks(n, [&](int64_t i) {
    try {
      f(i);
    } catch (...) {
      device.finish();
      throw;
    }
    device.finish();
  });
}

int64_t compute_cpu_ns() { return cpu::compute_ns().load(std::memory_order_relaxed); }

}  // namespace r1
