#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>

#include "base/error.h"
#include "base/stop.h"
#include "base/wait_note.h"
#include "kernels/collective_call.h"
#include "kernels/ops.h"

namespace r1 {
namespace {

constexpr int64_t kPiece = int64_t{1} << 20;  // elements that are summed at once: bounds the scratch memory

// Where the ranks meet.
class Group {
 public:
  explicit Group(int64_t ranks) : calls_(static_cast<size_t>(ranks)) {}

  int64_t ranks() const { return static_cast<int64_t>(calls_.size()); }
  // Of rank r in the operation that all are in.
  const View& x_of(int64_t r) const { return calls_[static_cast<size_t>(r)].x; }

  // Returns when all ranks are in the operation; from then on the caller works: it may read the others' arrays.
  void begin(int64_t rank, CollectiveCall call) {
    std::unique_lock lock(mutex_);
    refuse_if_broken();
    calls_[static_cast<size_t>(rank)] = std::move(call);
    if (arrived_.size() + 1 == calls_.size())
      for (size_t r = 1; r < calls_.size(); ++r)
        if (calls_[r].str() != calls_[0].str() || calls_[r].x.device != calls_[0].x.device)
          break_up(fmt::format("rank 0 called {}, rank {} called {}", calls_[0].str(), r, calls_[r].str()));
    refuse_if_broken();
    wait_for_all(lock, rank, true);
  }
  // The caller's work is done. Returns when that of all is; with `more` they then work again.
  void meet(int64_t rank, bool more) {
    std::unique_lock lock(mutex_);
    end_work();
    refuse_if_broken();
    wait_for_all(lock, rank, more);
  }
  // Returns when nobody works: the caller's array may go. `working`: the caller itself was.
  void leave(int64_t rank, bool working) {
    std::unique_lock lock(mutex_);
    break_up(fmt::format("rank {} has left", rank));
    if (working) end_work();
    changed_.wait(lock, [&] { return at_work_ == 0; });
  }

 private:
  void refuse_if_broken() const {
    if (!broken_.empty()) throw failure("a collective operation failed: " + broken_);
  }
  void break_up(const std::string& why) {
    if (broken_.empty()) broken_ = why;
    changed_.notify_all();
  }
  void end_work() {
    --at_work_;
    changed_.notify_all();
  }
  void wait_for_all(std::unique_lock<std::mutex>& lock, int64_t rank, bool then_work) {
    using Seconds = std::chrono::duration<double>;
    arrived_.push_back(rank);
    if (arrived_.size() == calls_.size()) {
      arrived_.clear();
      if (then_work) at_work_ = ranks();
      ++meetings_;
      changed_.notify_all();
      return;
    }
    const int64_t meeting = meetings_;
    const auto start = std::chrono::steady_clock::now();
    WaitNote note(fmt::format("rank {}", rank));
    while (meetings_ == meeting && broken_.empty()) {
      changed_.wait_for(lock, std::chrono::milliseconds(50));
      if (meetings_ != meeting) return;
      if (Seconds(std::chrono::steady_clock::now() - start).count() > kSaysNothing_s) note.say(missing());
      check_stop();
    }
    if (meetings_ == meeting) refuse_if_broken();
  }
  std::string missing() const {
    std::string who;
    for (int64_t r = 0; r < ranks(); ++r)
      if (std::find(arrived_.begin(), arrived_.end(), r) == arrived_.end())
        who += fmt::format("{}{}", who.empty() ? "" : ", ", r);
    return fmt::format("in {} for rank {}", calls_[static_cast<size_t>(arrived_[0])].name, who);
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<CollectiveCall> calls_;  // by rank
  std::vector<int64_t> arrived_;       // ranks that wait
  int64_t meetings_ = 0;
  int64_t at_work_ = 0;  // ranks that may be reading the others' arrays
  std::string broken_;   // why
};

class ThreadRank final : public Collective {
 public:
  ThreadRank(std::shared_ptr<Group> group, int64_t rank) : group_(std::move(group)), rank_(rank) {}
  ~ThreadRank() override { group_->leave(rank_, false); }
  int64_t rank() const override { return rank_; }
  int64_t ranks() const override { return group_->ranks(); }

  void all_reduce(Context& ctx, const View& x) override {
    const std::vector<ElementRange> ranges = all_reduce_ranges(x.size(), ranks());
    together(ctx, {"all_reduce", x, {}, 0}, [&] {
      reduce(ctx, x, ranges);
      meet(ctx, true);
      gather(ctx, x, ranges);
    });
  }
  void reduce_scatter(Context& ctx, const View& x, std::span<const ElementRange> ranges) override {
    together(ctx, {"reduce_scatter", x, {ranges.begin(), ranges.end()}, 0}, [&] { reduce(ctx, x, ranges); });
  }
  void all_gather(Context& ctx, const View& x, std::span<const ElementRange> ranges) override {
    together(ctx, {"all_gather", x, {ranges.begin(), ranges.end()}, 0}, [&] { gather(ctx, x, ranges); });
  }
  void broadcast(Context& ctx, const View& x, int64_t root) override {
    together(ctx, {"broadcast", x, {}, root}, [&] {
      if (rank_ != root) run(ctx, Copy{group_->x_of(root), x});
    });
  }

 private:
  // Runs `work` between two meetings: before it all ranks have finished what they wrote, behind it what they read.
  template <class F>
  void together(Context& ctx, const CollectiveCall& call, F&& work) {
    call.check(ranks());
    try {
      ctx.device->finish();
      group_->begin(rank_, call);
      working_ = true;
      work();
      meet(ctx, false);
    } catch (...) {
      group_->leave(rank_, working_);
      throw;
    }
  }
  void meet(Context& ctx, bool more) {
    ctx.device->finish();
    working_ = false;
    group_->meet(rank_, more);
    working_ = more;
  }
  // Only this rank touches its range of its own x; the others read theirs. In the order of a ring that ends here.
  void reduce(Context& ctx, const View& x, std::span<const ElementRange> ranges) {
    const ElementRange mine = ranges[static_cast<size_t>(rank_)];
    const Arena::Mark mark = ctx.arena.mark();
    const View scratch = ctx.arena.alloc(DType::f32, {std::min(kPiece, mine.end - mine.begin)});
    for (int64_t begin = mine.begin; begin < mine.end; begin += kPiece) {
      const int64_t end = std::min(mine.end, begin + kPiece);
      const View sum = scratch.slice(0, end - begin);
      const auto term = [&](int64_t i) { return group_->x_of((rank_ + 1 + i) % ranks()).slice(begin, end); };
      run(ctx, Copy{term(0), sum});
      for (int64_t i = 1; i < ranks(); ++i) run(ctx, Axpby{term(i), sum, 1, 1});
      run(ctx, Copy{sum, x.slice(begin, end)});
    }
    ctx.arena.release(mark);
  }
  void gather(Context& ctx, const View& x, std::span<const ElementRange> ranges) {
    for (int64_t r = 0; r < ranks(); ++r) {
      const ElementRange theirs = ranges[static_cast<size_t>(r)];
      if (r == rank_ || theirs.begin == theirs.end) continue;
      run(ctx, Copy{group_->x_of(r).slice(theirs.begin, theirs.end), x.slice(theirs.begin, theirs.end)});
    }
  }

  std::shared_ptr<Group> group_;
  int64_t rank_;
  bool working_ = false;  // between two meetings of an operation
};

}  // namespace

std::vector<std::unique_ptr<Collective>> thread_ranks(int64_t ranks) {
  R1_CHECK(ranks >= 1, fmt::format("{} ranks", ranks));
  const auto group = std::make_shared<Group>(ranks);
  std::vector<std::unique_ptr<Collective>> out;
  for (int64_t r = 0; r < ranks; ++r) out.push_back(std::make_unique<ThreadRank>(group, r));
  return out;
}

}  // namespace r1
