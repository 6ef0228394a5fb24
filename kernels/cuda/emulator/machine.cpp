#include "kernels/cuda/emulator/machine.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string_view>
#include <vector>

// A switch of fibers: fifteen instructions where we know the machine, two system calls elsewhere. AddressSanitizer is told of
// both; it clears the shadow of a whole stack at each swapcontext, which is a hundred times slower.
#ifndef R1_EMULATOR_UCONTEXT
#if defined(__x86_64__)
#define R1_EMULATOR_UCONTEXT 0
#else
#define R1_EMULATOR_UCONTEXT 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#if R1_EMULATOR_UCONTEXT
#include <ucontext.h>
#else
// void r1_emulator_switch(void** save, void* load)
asm(R"(
.text
.globl r1_emulator_switch
.hidden r1_emulator_switch
.type r1_emulator_switch,@function
r1_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");
extern "C" void r1_emulator_switch(void** save, void* load);
#endif

namespace r1::cuda::emulator {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kStackBytes = 256 * 1024;
#else
constexpr size_t kStackBytes = 64 * 1024;
#endif
constexpr size_t kMaxThreads = 1024, kMaxShared = 227 * 1024, kMaxStaticShared = 48 * 1024, kMaxGridYZ = 65535;

struct Fiber {
#if R1_EMULATOR_UCONTEXT
  ucontext_t context{};
#else
  void* stack_pointer = nullptr;
#endif
  std::unique_ptr<char[]> stack{new char[kStackBytes]};
  void* fake_stack = nullptr;  // AddressSanitizer's
  dim3 thread;
  unsigned index = 0;
  bool prepared = false, done = false;
  // Runs again when *watched is another generation than `seen`.
  const unsigned* watched = nullptr;
  unsigned seen = 0;
  std::vector<std::vector<AsyncCopy>> groups;  // of copies that are on their way; the last is not committed yet
};

struct Warp {
  alignas(16) std::byte slots[32][kSlotBytes];
  unsigned lanes = 0, arrived = 0, generation = 0;
};

struct Free {
  void operator()(void* p) const { std::free(p); }
};
using Piece = std::unique_ptr<void, Free>;

// The one card. It has state between launches only to keep its stacks.
struct Machine {
  const char* kernel = "";
  const std::function<void()>* body = nullptr;
  Place place;
  Schedule schedule;
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<Warp> warps;
  Fiber* self = nullptr;
  unsigned alive = 0, arrived = 0, generation = 0;
  Piece dynamic;
  std::map<const void*, Piece> pieces;
  size_t static_bytes = 0;
  uint64_t seed = 1;
#if R1_EMULATOR_UCONTEXT
  ucontext_t main{};
#else
  void* main_stack_pointer = nullptr;
#endif
  void* main_fake_stack = nullptr;
  const void* main_bottom = nullptr;
  size_t main_bytes = 0;

  size_t random(size_t below) {
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return static_cast<size_t>(seed >> 33) % below;
  }
};
Machine g_machine;  // threadIdx has no argument that could carry it

void leave(Fiber& f) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&f.fake_stack, g_machine.main_bottom, g_machine.main_bytes);
#endif
#if R1_EMULATOR_UCONTEXT
  swapcontext(&f.context, &g_machine.main);
#else
  r1_emulator_switch(&f.stack_pointer, g_machine.main_stack_pointer);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(f.fake_stack, &g_machine.main_bottom, &g_machine.main_bytes);
#endif
}

void enter(Fiber& f) {
  g_machine.self = &f;
  g_machine.place.thread = f.thread;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&g_machine.main_fake_stack, f.stack.get(), kStackBytes);
#endif
#if R1_EMULATOR_UCONTEXT
  swapcontext(&g_machine.main, &f.context);
#else
  r1_emulator_switch(&g_machine.main_stack_pointer, f.stack_pointer);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(g_machine.main_fake_stack, nullptr, nullptr);
#endif
}

// Threads that are gone count as arrived.
void release_block() {
  if (g_machine.arrived == 0 || g_machine.arrived < g_machine.alive) return;
  g_machine.arrived = 0;
  ++g_machine.generation;
}

void fiber_main() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &g_machine.main_bottom, &g_machine.main_bytes);
#endif
  Fiber& f = *g_machine.self;
  for (;;) {
    (*g_machine.body)();
    f.done = true;
    --g_machine.alive;
    release_block();
    leave(f);  // until the next block
  }
}

// A fiber that starts at fiber_main, once: it lives as long as the process.
void prepare(Fiber& f) {
#if R1_EMULATOR_UCONTEXT
  getcontext(&f.context);
  f.context.uc_stack.ss_sp = f.stack.get();
  f.context.uc_stack.ss_size = kStackBytes;
  f.context.uc_link = &g_machine.main;
  makecontext(&f.context, fiber_main, 0);
#else
  const auto top = reinterpret_cast<uintptr_t>(f.stack.get() + kStackBytes) & ~uintptr_t{15};
  void** const sp = reinterpret_cast<void**>(top) - 2;
  sp[0] = reinterpret_cast<void*>(fiber_main);  // returned into: the stack is then as after a call
  for (int r = 1; r <= 6; ++r) sp[-r] = nullptr;
  f.stack_pointer = sp - 6;
#endif
}

void wait(const unsigned& generation) {
  Fiber& f = *g_machine.self;
  f.watched = &generation;
  f.seen = generation;
  leave(f);
  f.watched = nullptr;
}

bool ready(const Fiber& f) { return !f.done && (f.watched == nullptr || *f.watched != f.seen); }

Piece make_piece(size_t bytes, size_t alignment) {
  void* p = nullptr;
  if (posix_memalign(&p, std::max(alignment, sizeof(void*)), bytes) != 0) stop("no memory");
  std::memset(p, 0xFF, bytes);
  return Piece(p);
}

void refuse_bad_launch(const dim3& grid, const dim3& block, size_t shared) {
  const size_t threads = size_t{block.x} * block.y * block.z;
  if (threads > 0 && threads <= kMaxThreads && grid.x > 0 && grid.y > 0 && grid.z > 0 && grid.x <= 0x7fffffffu &&
      grid.y <= kMaxGridYZ && grid.z <= kMaxGridYZ && block.z <= 64 && shared <= kMaxShared)
    return;
  std::fprintf(stderr, "grid %u %u %u, %zu threads, %zu bytes of shared memory\n", grid.x, grid.y, grid.z, threads, shared);
  stop("no card takes this launch");
}

void start_block(size_t threads, size_t shared) {
  Machine& m = g_machine;
  m.pieces.clear();
  m.static_bytes = 0;
  m.dynamic = shared > 0 ? make_piece(shared, 128) : Piece{};
  while (m.fibers.size() < threads) m.fibers.push_back(std::make_unique<Fiber>());
  m.warps.assign((threads + 31) / 32, Warp{});
  m.arrived = 0;
  m.alive = static_cast<unsigned>(threads);
  for (size_t i = 0; i < threads; ++i) {
    Fiber& f = *m.fibers[i];
    const dim3& d = m.place.block_dim;
    const auto n = static_cast<unsigned>(i);
    f.index = n;
    f.thread = dim3(n % d.x, n / d.x % d.y, n / (d.x * d.y));
    f.done = false;
    f.watched = nullptr;
    f.groups.assign(1, {});
    ++m.warps[i / 32].lanes;
    if (!f.prepared) prepare(f);
    f.prepared = true;
  }
}

void run_block(std::vector<unsigned>& order) {
  Machine& m = g_machine;
  const size_t threads = order.size();
  for (size_t i = threads; i > 1; --i) std::swap(order[i - 1], order[m.random(i)]);
  while (m.alive > 0) {
    bool any = false;
    const auto turn = [&](unsigned i) {
      if (!ready(*m.fibers[i])) return false;
      enter(*m.fibers[i]);
      return any = true;
    };
    if (m.schedule.unfair && threads > 32) {
      const size_t first = m.random((threads + 31) / 32) * 32, end = std::min(threads, first + 32);
      for (size_t n = m.random(400); n > 0; --n) {
        bool moved = false;
        for (size_t i = first; i < end; ++i) moved = turn(static_cast<unsigned>(i)) || moved;
        if (!moved) break;
      }
    }
    for (unsigned i : order) turn(i);
    if (!any) stop("threads wait for each other: a barrier or warp operation is not reached by all of them");
  }
}

}  // namespace

Schedule schedule_from_environment() {
  const char* const text = std::getenv("R1_CUDA_SCHEDULE");
  const std::string_view s = text ? text : "fair";
  if (s != "fair" && s != "eager" && s != "unfair" && s != "both") stop("R1_CUDA_SCHEDULE: fair, eager, unfair or both");
  return {s == "unfair" || s == "both", s == "eager" || s == "both"};
}

void launch(const char* name, dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& body) {
  Machine& m = g_machine;
  m.kernel = name;
  refuse_bad_launch(grid, block, shared_bytes);
  m.body = &body;
  m.schedule = schedule_from_environment();
  m.place.grid_dim = grid;
  m.place.block_dim = block;
  const size_t threads = size_t{block.x} * block.y * block.z;
  std::vector<unsigned> order(threads);
  for (size_t i = 0; i < threads; ++i) order[i] = static_cast<unsigned>(i);
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) {
        m.place.block = dim3(x, y, z);
        start_block(threads, shared_bytes);
        run_block(order);
      }
  m.kernel = "";
}

const Place& place() { return g_machine.place; }
int lane() { return static_cast<int>(g_machine.self->index & 31); }

void block_barrier() {
  const unsigned before = g_machine.generation;
  ++g_machine.arrived;
  release_block();
  if (g_machine.generation == before) wait(g_machine.generation);
}

void warp_barrier() {
  Warp& w = g_machine.warps[g_machine.self->index / 32];
  if (++w.arrived < w.lanes) return wait(w.generation);
  w.arrived = 0;
  ++w.generation;
}

std::byte* warp_slot(int lane) { return g_machine.warps[g_machine.self->index / 32].slots[lane]; }

void* dynamic_shared() { return g_machine.dynamic.get(); }

void* static_shared(const void* declaration, size_t bytes, size_t alignment) {
  Piece& p = g_machine.pieces[declaration];
  if (p == nullptr) {
    p = make_piece(bytes, alignment);
    if ((g_machine.static_bytes += bytes) > kMaxStaticShared) stop("more than 48 KiB of shared memory in declarations");
  }
  return p.get();
}

namespace {
void land(const AsyncCopy& c) {
  if (c.from == nullptr)
    std::memset(c.to, 0, c.bytes);
  else
    std::memcpy(c.to, c.from, c.bytes);
}
}  // namespace

void async_copy(const AsyncCopy& copy) {
  if (g_machine.schedule.eager)
    land(copy);
  else
    g_machine.self->groups.back().push_back(copy);
}

void async_commit() { g_machine.self->groups.emplace_back(); }

void async_wait(int left) {
  auto& groups = g_machine.self->groups;
  while (static_cast<int>(groups.size()) - 1 > left) {
    for (const AsyncCopy& c : groups.front()) land(c);
    groups.erase(groups.begin());
  }
}

void stop(const char* what) {
  std::fprintf(stderr, "emulated kernel %s: %s\n", g_machine.kernel, what);
  std::abort();
}

}  // namespace r1::cuda::emulator

unsigned __ballot_sync(unsigned, bool p) {
  using namespace r1::cuda::emulator;
  *warp_slot(lane()) = std::byte{p};
  warp_barrier();
  unsigned set = 0;
  for (int i = 0; i < 32; ++i) set |= static_cast<unsigned>(*warp_slot(i)) << i;
  warp_barrier();
  return set;
}
