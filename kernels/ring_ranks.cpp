#include "kernels/ring_ranks.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/stop.h"
#include "base/wait_note.h"
#include "kernels/collective_call.h"
#include "kernels/ops.h"

namespace r1 {
namespace {

constexpr int64_t kPieceBytes = int64_t{1} << 20;
constexpr int64_t kUnderWay = 16;  // pieces that the next rank has not taken in
constexpr int64_t kBlock = 16;     // pieces of each range that are summed in one round: bounds the scratch memory
constexpr size_t kMostReason = 2000;
constexpr char kCall = 'c', kData = 'd', kEnd = 'e', kTaken = 't', kFailed = 'f';

Error no_rank_says(const std::string& what) {
  return failure("a rank of the trainer says what no rank says: " + what, {}, "the two ends are of different builds");
}

// A range of an array, in pieces.
class Pieces {
 public:
  Pieces(const View& x, ElementRange range)
      : x_(x), range_(range), each_(kPieceBytes / static_cast<int64_t>(dtype_size(x.dtype))) {}
  int64_t count() const { return (range_.end - range_.begin + each_ - 1) / each_; }
  View operator[](int64_t i) const {
    const int64_t begin = range_.begin + i * each_;
    return x_.slice(begin, std::min(begin + each_, range_.end));
  }

 private:
  View x_;
  ElementRange range_;
  int64_t each_;  // elements
};

class RingRank final : public Collective {
 public:
  RingRank(std::unique_ptr<MessageChannel> previous, std::unique_ptr<MessageChannel> next, int64_t rank, int64_t ranks,
           RingNames names)
      : previous_(std::move(previous)), next_(std::move(next)), rank_(rank), ranks_(ranks), names_(std::move(names)) {}
  ~RingRank() override { break_up(fmt::format("rank {} has left{}", rank_, why_)); }
  int64_t rank() const override { return rank_; }
  int64_t ranks() const override { return ranks_; }

  void all_reduce(Context& ctx, const View& x) override {
    const std::vector<ElementRange> ranges = all_reduce_ranges(x.size(), ranks_);
    together({"all_reduce", x, {}, 0}, [&] {
      reduce(ctx, x, ranges);
      gather(x, ranges);
    });
  }
  void reduce_scatter(Context& ctx, const View& x, std::span<const ElementRange> ranges) override {
    together({"reduce_scatter", x, {ranges.begin(), ranges.end()}, 0}, [&] { reduce(ctx, x, ranges); });
  }
  void all_gather(Context&, const View& x, std::span<const ElementRange> ranges) override {
    together({"all_gather", x, {ranges.begin(), ranges.end()}, 0}, [&] { gather(x, ranges); });
  }
  void broadcast(Context&, const View& x, int64_t root) override {
    together({"broadcast", x, {}, root}, [&] { pass_on(x, root); });
  }
  void say_why(const std::string& why) override { why_ = ": " + why; }

 private:
  // Of a neighbour, or its own.
  std::string name_of(int64_t rank) const {
    const std::string& name = rank == rank_ ? names_.own : rank == around(rank_ - 1) ? names_.previous : names_.next;
    return name.empty() ? fmt::format("rank {}", rank) : name;
  }
  int64_t around(int64_t rank) const { return ((rank % ranks_) + ranks_) % ranks_; }

  template <class F>
  void together(const CollectiveCall& call, F&& work) {
    call.check(ranks_);
    if (!broken_.empty()) throw failure("a collective operation failed: " + broken_);
    name_ = call.name;
    try {
      agree(call);
      work();
    } catch (const Error& e) {
      break_up(e.message());
      throw failure("a collective operation failed: " + broken_);
    } catch (...) {
      break_up(fmt::format("rank {} has left{}", rank_, why_));
      throw;
    }
  }
  // The first reason counts, and both neighbours are told it.
  void break_up(const std::string& why) {
    if (!broken_.empty()) return;
    broken_ = why.substr(0, kMostReason);
    for (MessageChannel* channel : {previous_.get(), next_.get()}) channel->send(channel_message(kFailed + broken_));
  }
  void agree(const CollectiveCall& call) {
    const std::string own = call.str();
    next_->send(channel_message(kCall + own));
    const std::string theirs = word(*previous_, around(rank_ - 1), kCall).text.substr(1);
    if (theirs != own)
      throw failure(fmt::format("rank {} called {}, rank {} called {}", around(rank_ - 1), theirs.substr(0, kMostReason / 2),
                                rank_, own));
  }

  // Who waits for long says for whom.
  ChannelMessage patiently(MessageChannel& channel, int64_t who) const {
    try {
      return channel.receive(kSaysNothing_s);
    } catch (const NothingSaid&) {
    }
    WaitNote note(name_of(rank_));
    note.say(fmt::format("in {} for {}", name_, name_of(who)));
    return channel.receive();
  }
  // The next word of `who`, which is of that kind.
  ChannelMessage word(MessageChannel& channel, int64_t who, char kind) const {
    const ChannelMessage message = patiently(channel, who);
    if (message.text.empty()) throw no_rank_says("nothing");
    const char said = message.text[0];
    if (said == kFailed && message.text.size() > 1) throw failure(message.text.substr(1, kMostReason));
    if (said == kFailed) throw no_rank_says("a failure without a reason");
    if (said != kind) throw no_rank_says(fmt::format("'{}' in the place of '{}'", said, kind));
    return message;
  }
  void send(const View& piece) {
    for (; under_way_ >= kUnderWay; --under_way_) word(*next_, around(rank_ + 1), kTaken);
    std::string bytes(static_cast<size_t>(piece.size()) * dtype_size(piece.dtype), '\0');
    download(piece, bytes.data(), bytes.size());
    next_->send(channel_message(std::string(1, kData), std::move(bytes)));
    ++under_way_;
  }
  void receive(const View& piece) {
    const ChannelMessage data = word(*previous_, around(rank_ - 1), kData);
    const size_t bytes = static_cast<size_t>(piece.size()) * dtype_size(piece.dtype);
    if (data.bytes.size() != bytes) throw no_rank_says(fmt::format("{} bytes in the place of {}", data.bytes.size(), bytes));
    upload(piece, data.bytes.data(), bytes);
    previous_->send(channel_message(std::string(1, kTaken)));
    next_unit();
  }

  // In step k this rank sends on its sum of the range of rank - 1 - k, and takes in one of the range of the rank before that.
  void reduce(Context& ctx, const View& x, std::span<const ElementRange> ranges) {
    int64_t longest = 0, blocks = 0;
    for (const ElementRange& r : ranges) {
      longest = std::max(longest, r.end - r.begin);
      blocks = std::max(blocks, (Pieces(x, r).count() + kBlock - 1) / kBlock);
    }
    const Arena::Mark mark = ctx.arena.mark();
    const int64_t most = std::min(longest, kBlock * kPieceBytes / static_cast<int64_t>(sizeof(float)));
    const View scratch = ctx.arena.alloc(DType::f32, {most});
    for (int64_t block = 0; block < blocks; ++block)
      for (int64_t k = 0; k + 1 < ranks_; ++k) {
        const Pieces out(x, ranges[static_cast<size_t>(around(rank_ - 1 - k))]);
        const Pieces in(x, ranges[static_cast<size_t>(around(rank_ - 2 - k))]);
        const Pieces sums(scratch, {0, most});
        for (int64_t i = 0; i < kBlock; ++i) {
          const int64_t at = block * kBlock + i;
          if (at < out.count()) send(k == 0 ? out[at] : sums[i].slice(0, out[at].size()));
          if (at >= in.count()) continue;
          const View own = in[at], theirs = sums[i].slice(0, own.size());
          receive(theirs);
          if (k + 2 < ranks_)
            run(ctx, Axpby{own, theirs, 1, 1});
          else
            run(ctx, Axpby{theirs, own, 1, 1});
        }
      }
    ctx.arena.release(mark);
  }
  void gather(const View& x, std::span<const ElementRange> ranges) {
    for (int64_t k = 0; k + 1 < ranks_; ++k) {
      const Pieces out(x, ranges[static_cast<size_t>(around(rank_ - k))]);
      const Pieces in(x, ranges[static_cast<size_t>(around(rank_ - k - 1))]);
      for (int64_t i = 0; i < std::max(out.count(), in.count()); ++i) {
        if (i < out.count()) send(out[i]);
        if (i < in.count()) receive(in[i]);
      }
    }
  }
  void pass_on(const View& x, int64_t root) {
    const Pieces pieces(x, {0, x.size()});
    const bool last = around(rank_ + 1) == root;
    for (int64_t i = 0; i < pieces.count(); ++i) {
      if (rank_ != root) receive(pieces[i]);
      if (!last) send(pieces[i]);
    }
    if (last) next_->send(channel_message(std::string(1, kEnd)));
    if (rank_ == root) word(*previous_, around(rank_ - 1), kEnd);
  }

  const std::unique_ptr<MessageChannel> previous_, next_;
  const int64_t rank_, ranks_;
  const RingNames names_;
  const char* name_ = "";  // of the operation that it is in
  int64_t under_way_ = 0;  // pieces that the next rank has not said it took
  std::string broken_;     // why
  std::string why_;
};

}  // namespace

std::unique_ptr<Collective> ring_rank(std::unique_ptr<MessageChannel> previous, std::unique_ptr<MessageChannel> next,
                                      int64_t rank, int64_t ranks, RingNames names) {
  R1_CHECK(ranks >= 2 && 0 <= rank && rank < ranks, fmt::format("rank {} of {}", rank, ranks));
  return std::make_unique<RingRank>(std::move(previous), std::move(next), rank, ranks, std::move(names));
}

}  // namespace r1
