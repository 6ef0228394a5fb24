#include "kernels/fake/fake_device.h"

#include <fmt/format.h>

#include <atomic>
#include <cstring>
#include <string_view>

#include "base/error.h"
#include "kernels/op_views.h"

namespace r1 {

namespace {

// Bit 55: on x86-64 with 47-bit user addresses such an address is not canonical, with 56-bit ones it is far above what is
// mapped; on AArch64 it selects the kernel's half, while the bits above may be ignored tags. Below bit 55 arithmetic works as
// usual.
constexpr uintptr_t kTag = uintptr_t{1} << 55;
constexpr int kPoison = 0xFF;
// A real queue is finite too. Beyond this a thread runs what it has issued.
constexpr size_t kMaxItems = 4096, kMaxStagedBytes = size_t{64} << 20;

std::byte* tagged(std::byte* p) { return reinterpret_cast<std::byte*>(reinterpret_cast<uintptr_t>(p) | kTag); }

uintptr_t true_address(const std::byte* p) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(p);
  R1_CHECK((address & kTag) != 0, "a host address was given to the fake device");
  return address & ~kTag;
}
std::byte* untagged(const std::byte* p) { return reinterpret_cast<std::byte*>(true_address(p)); }

// Of the calling thread. Never given to another one, as addresses and ids of threads are.
uint64_t thread_number() {
  static std::atomic<uint64_t> next{1};
  thread_local const uint64_t number = next++;
  return number;
}

// From the view's first byte to behind its last.
size_t extent_bytes(const View& v) {
  int64_t last = 0;
  for (int d = 0; d < v.rank; ++d) last += (v.shape[static_cast<size_t>(d)] - 1) * v.stride[static_cast<size_t>(d)];
  return static_cast<size_t>(last + 1) * dtype_size(v.dtype);
}

}  // namespace

// Copies of the items; run() issues them anew.
class FakeRecording final : public Recording {
 public:
  FakeRecording(FakeDevice& device, std::vector<FakeDevice::Item> items) : device_(device), items_(std::move(items)) {}
  void run() override {
    for (const FakeDevice::Item& i : items_) device_.issue(i);
  }

 private:
  FakeDevice& device_;
  std::vector<FakeDevice::Item> items_;
};

template <class Op>
std::vector<FakeDevice::Range> FakeDevice::ranges_of(const Op& op) {
  std::vector<Range> ranges;
  for_each_view(op, [&](const View& v, ViewInfo info) {
    if (!v || v.size() == 0) return;
    const uintptr_t begin = true_address(v.data);
    const bool pages = std::string_view(info.name) == "k_pages" || std::string_view(info.name) == "v_pages";
    ranges.push_back({begin, begin + extent_bytes(v), info.use != Use::in, pages});
  });
  return ranges;
}

template <class Op, void (*OpTable::*kEntry)(Context&, const Op&)>
void FakeDevice::queue_op(Context& ctx, const Op& op) {
  FakeDevice& fake = static_cast<FakeDevice&>(*ctx.device);
  Op inner_op = op;
  for_each_view(inner_op, [&](View& v, ViewInfo) {
    if (!v) return;
    v.data = untagged(v.data);
    v.device = &fake.inner_;
  });
  fake.issue({kOpName<Op>, ranges_of(op), [&fake, inner_op, parallel = ctx.parallel] {
                std::unique_ptr<Context> inner = fake.borrow_context();
                inner->parallel = parallel;
                (fake.inner_.ops().*kEntry)(*inner, inner_op);
                fake.return_context(std::move(inner));
              }});
}

FakeDevice::FakeDevice(Device& inner) : inner_(inner) {
#define R1_SET_ENTRY(Struct, field) \
  if (inner.ops().field != nullptr) ops_.field = queue_op<Struct, &OpTable::field>;
  R1_OPS(R1_SET_ENTRY)
#undef R1_SET_ENTRY
}

std::byte* FakeDevice::allocate(size_t bytes) {
  std::byte* const p = inner_.allocate(bytes);
  std::memset(p, kPoison, bytes);
  const auto begin = reinterpret_cast<uintptr_t>(p);
  const std::lock_guard lock(mutex_);
  allocations_[begin] = {p, bytes, begin + std::max<size_t>(bytes, 1), false, {}};
  return tagged(p);
}

void FakeDevice::free(std::byte* p, size_t) {
  Allocation gone;
  {
    const std::lock_guard lock(mutex_);
    const auto it = allocations_.find(true_address(p));
    R1_CHECK(it != allocations_.end() && !it->second.freed, "memory of the fake device was freed twice, or is not its own");
    it->second.freed = true;
    if (!it->second.users.empty()) return;
    gone = std::move(it->second);
    allocations_.erase(it);
  }
  give_back(std::move(gone));
}

void FakeDevice::give_back(Allocation a) {
  std::memset(a.data, kPoison, a.bytes);
  inner_.free(a.data, a.bytes);
}

FakeDevice::Allocation& FakeDevice::allocation_of(const Range& r, const char* name) {
  auto it = allocations_.upper_bound(r.begin);
  const bool known = it != allocations_.begin() && r.end <= (--it)->second.end;
  R1_CHECK(known && !it->second.freed, fmt::format("{} touches memory of the fake device that is not allocated", name));
  return it->second;
}

void FakeDevice::check_order(uint64_t stream, const char* name, const std::vector<Range>& ranges) {
  for (const Range& r : ranges) {
    for (const auto& [other, count] : allocation_of(r, name).users) {
      if (other == stream) continue;
      for (const Item& item : streams_[other].items)
        for (const Range& o : item.ranges)
          R1_CHECK(o.end <= r.begin || r.end <= o.begin || (!o.write && !r.write) || (o.pages && r.pages),
                   fmt::format("{} {} what {} of another thread {} and has not finished (Device::finish)", name,
                               r.write ? "writes" : "reads", item.name, o.write ? "writes" : "reads"));
    }
  }
}

void FakeDevice::issue(Item item) {
  bool full = false;
  {
    const std::lock_guard lock(mutex_);
    const uint64_t number = thread_number();
    Stream& stream = streams_[number];
    check_order(number, item.name, item.ranges);
    if (stream.recording != nullptr) stream.recording->push_back(item);
    for (const Range& r : item.ranges) ++allocation_of(r, item.name).users[number];
    stream.staged_bytes += item.staged_bytes;
    stream.items.push_back(std::move(item));
    full = stream.items.size() > kMaxItems || stream.staged_bytes > kMaxStagedBytes;
  }
  if (full) run_queue();
}

void FakeDevice::run_queue() {
  const uint64_t number = thread_number();
  for (;;) {
    Item* item = nullptr;
    {
      const std::lock_guard lock(mutex_);
      Stream& stream = streams_[number];
      if (stream.items.empty()) return;
      item = &stream.items.front();  // only this thread adds and removes
    }
    std::exception_ptr error;
    try {
      item->run();
    } catch (...) {
      error = std::current_exception();
    }
    std::vector<Allocation> gone;
    {
      const std::lock_guard lock(mutex_);
      Stream& stream = streams_[number];
      for (const Range& r : item->ranges) {
        const auto it = --allocations_.upper_bound(r.begin);
        Allocation& a = it->second;
        if (--a.users[number] == 0) a.users.erase(number);
        if (!a.freed || !a.users.empty()) continue;
        gone.push_back(std::move(a));
        allocations_.erase(it);
      }
      stream.staged_bytes -= item->staged_bytes;
      stream.items.pop_front();
    }
    for (Allocation& a : gone) give_back(std::move(a));
    if (error) std::rethrow_exception(error);
  }
}

void FakeDevice::finish() { run_queue(); }

void FakeDevice::copy_from_host(std::byte* dst, const void* src, size_t bytes) {
  std::byte* const target = untagged(dst);
  const auto begin = reinterpret_cast<uintptr_t>(target);
  const auto* data = static_cast<const std::byte*>(src);
  auto staged = std::make_shared<std::vector<std::byte>>(data, data + bytes);
  {
    const std::lock_guard lock(mutex_);
    R1_CHECK(streams_[thread_number()].recording == nullptr, "an upload inside a recording");
  }
  issue({"an upload",
         {{begin, begin + bytes, true, false}},
         [this, target, staged] { inner_.copy_from_host(target, staged->data(), staged->size()); },
         bytes});
}

void FakeDevice::copy_to_host(void* dst, const std::byte* src, size_t bytes) {
  const std::byte* const source = untagged(src);
  const auto begin = reinterpret_cast<uintptr_t>(source);
  {
    const std::lock_guard lock(mutex_);
    const uint64_t number = thread_number();
    R1_CHECK(streams_[number].recording == nullptr, "a download inside a recording");
    check_order(number, "a download", {{begin, begin + bytes, false, false}});
  }
  run_queue();
  inner_.copy_to_host(dst, source, bytes);
}

std::unique_ptr<Recording> FakeDevice::record(Context&, const std::function<void()>& issue) {
  std::vector<Item> items;
  const auto set = [&](std::vector<Item>* to) {
    const std::lock_guard lock(mutex_);
    streams_[thread_number()].recording = to;
  };
  set(&items);
  try {
    issue();
  } catch (...) {
    set(nullptr);
    throw;
  }
  set(nullptr);
  return std::make_unique<FakeRecording>(*this, std::move(items));
}

int64_t FakeDevice::queued() {
  const std::lock_guard lock(mutex_);
  return static_cast<int64_t>(streams_[thread_number()].items.size());
}

std::unique_ptr<Context> FakeDevice::borrow_context() {
  const std::lock_guard lock(mutex_);
  if (idle_contexts_.empty()) return std::make_unique<Context>(inner_);
  std::unique_ptr<Context> ctx = std::move(idle_contexts_.back());
  idle_contexts_.pop_back();
  return ctx;
}

void FakeDevice::return_context(std::unique_ptr<Context> ctx) {
  const std::lock_guard lock(mutex_);
  idle_contexts_.push_back(std::move(ctx));
}

}  // namespace r1
