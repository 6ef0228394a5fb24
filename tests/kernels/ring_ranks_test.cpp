// Ranks in a ring, as far as the table of collectives does not look: arrays of many pieces and unequal ranges, what is sent,
// how much of it may wait, and words that no rank says.
#include "kernels/ring_ranks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

#include "base/error.h"
#include "base/rng.h"
#include "base/stop.h"
#include "base/wait_note.h"
#include "kernels/ops.h"
#include "tests/kernels/collective_implementations.h"

namespace r1::test {
namespace {

// Bytes that were sent, and pieces that nobody has taken in.
struct Traffic {
  std::atomic<int64_t> bytes{0}, waiting{0}, most{0}, longest{0};
};

class Counted final : public MessageChannel {
 public:
  Counted(std::unique_ptr<MessageChannel> end, std::shared_ptr<Traffic> sent) : end_(std::move(end)), sent_(std::move(sent)) {}
  void send(ChannelMessage message) override {
    const auto size = static_cast<int64_t>(message.bytes.size());
    sent_->bytes += size;
    sent_->longest = std::max<int64_t>(sent_->longest, size);
    if (message.text == "d") sent_->most = std::max<int64_t>(sent_->most, ++sent_->waiting);
    end_->send(std::move(message));
  }
  ChannelMessage receive(double patience_s) override {
    ChannelMessage message = end_->receive(patience_s);
    if (message.text == "t") --sent_->waiting;
    return message;
  }

 private:
  std::unique_ptr<MessageChannel> end_;
  std::shared_ptr<Traffic> sent_;
};

// A ring in memory; `sent`: by rank, to the next one.
std::vector<std::string> run_ring(Device& device, int64_t ranks, const RankBody& body,
                                  std::vector<std::shared_ptr<Traffic>>* sent) {
  std::vector<ChannelEnds> from(static_cast<size_t>(ranks));
  for (ChannelEnds& ends : from) {
    ends = channel_in_memory();
    sent->push_back(std::make_shared<Traffic>());
  }
  return run_rank_threads(
      device, ranks,
      [&](int64_t r) {
        const auto at = static_cast<size_t>(r);
        return ring_rank(std::move(from[static_cast<size_t>((r + ranks - 1) % ranks)].other),
                         std::make_unique<Counted>(std::move(from[at].one), (*sent)[at]), r, ranks);
      },
      body);
}

std::vector<float> values(int64_t rank, int64_t n) {
  Rng rng(static_cast<uint64_t>(rank), "ring");
  std::vector<float> x(static_cast<size_t>(n));
  for (float& e : x) e = static_cast<float>(rng.normal());
  return x;
}

TEST(RingRanks, arrays_of_many_pieces_in_unequal_ranges_have_the_bits_of_threads) {
  Device& device = open_device("cpu");
  for (const int64_t ranks : {2, 3, 4}) {
    // Of more than a block of pieces, of nothing, of a part of a piece, of two pieces; and a gap.
    std::vector<ElementRange> ranges = {{7, (int64_t{19} << 18) + 100}, {int64_t{20} << 18, int64_t{20} << 18}};
    ranges.push_back({int64_t{20} << 18, (int64_t{20} << 18) + 33});
    ranges.push_back({int64_t{21} << 18, int64_t{23} << 18});
    ranges.resize(static_cast<size_t>(ranks));
    const int64_t n = int64_t{23} << 18;
    std::vector<std::vector<float>> got[2];
    for (auto& g : got) g.resize(static_cast<size_t>(ranks));
    const auto body = [&](size_t which) {
      return [&, which](Collective& c, Context& ctx) {
        const Tensor x = tensor_from(device, DType::f32, {n}, values(c.rank(), n).data());
        c.reduce_scatter(ctx, x, ranges);
        c.all_gather(ctx, x, ranges);
        got[which][static_cast<size_t>(c.rank())] = download_as<float>(x);
      };
    };
    std::vector<std::unique_ptr<Collective>> threads = thread_ranks(ranks);
    const auto one = run_rank_threads(
        device, ranks, [&](int64_t r) { return std::move(threads[static_cast<size_t>(r)]); }, body(0));
    std::vector<std::shared_ptr<Traffic>> sent;
    const auto other = run_ring(device, ranks, body(1), &sent);
    for (size_t r = 0; r < one.size(); ++r) {
      EXPECT_EQ(one[r] + other[r], "");
      EXPECT_TRUE(got[0][r] == got[1][r]) << ranks << " ranks, rank " << r;
      EXPECT_LE(sent[r]->most, 16) << "pieces under way";
      EXPECT_EQ(sent[r]->longest, int64_t{1} << 20) << "of a piece: what lies there is bounded by both";
    }
  }
}

TEST(RingRanks, every_rank_sends_of_a_step_what_a_ring_needs_and_no_byte_more) {
  Device& device = open_device("cpu");
  constexpr int64_t kElements = int64_t{12} << 18;
  for (const int64_t ranks : {2, 3, 4}) {
    std::vector<std::shared_ptr<Traffic>> sent;
    const auto errors = run_ring(
        device, ranks,
        [&](Collective& c, Context& ctx) {
          const Tensor gradients(device, DType::f32, {kElements}), weights(device, DType::bf16, {kElements});
          run(ctx, Fill{gradients, 1});
          run(ctx, Fill{weights, 1});
          const std::vector<ElementRange> shards = equal_ranges(kElements, ranks, 32);
          c.reduce_scatter(ctx, gradients, shards);
          c.all_gather(ctx, weights, shards);
        },
        &sent);
    for (size_t r = 0; r < errors.size(); ++r) {
      EXPECT_EQ(errors[r], "");
      EXPECT_EQ(sent[r]->bytes, (4 + 2) * kElements * (ranks - 1) / ranks) << ranks << " ranks, rank " << r;
    }
  }
}

// What rank 1 of three throws, to whom this is said by the rank before it.
std::string end_of(const std::vector<ChannelMessage>& words) {
  Device& device = open_device("cpu");
  ChannelEnds before = channel_in_memory(), behind = channel_in_memory();
  for (const ChannelMessage& word : words) before.one->send(word);
  const auto rank = ring_rank(std::move(before.other), std::move(behind.one), 1, 3);
  Context ctx(device);
  const Tensor x(device, DType::f32, {96});
  std::string why;
  try {
    rank->all_reduce(ctx, x);
  } catch (const Error& e) {
    why = e.message();
  }
  // Both neighbours are told.
  for (MessageChannel* channel : {before.one.get(), behind.other.get()})
    for (;;) {
      const ChannelMessage said = channel->receive(5);
      if (said.text[0] != 'f') continue;
      EXPECT_EQ("a collective operation failed: " + said.text.substr(1), why);
      break;
    }
  EXPECT_THROW(rank->all_reduce(ctx, x), Error) << "it goes on";
  return why;
}

TEST(RingRanks, words_that_no_rank_says_end_the_operation_and_both_neighbours_are_told) {
  const auto has = [](const std::string& text, const char* part) { return text.find(part) != std::string::npos; };
  const ChannelMessage same = channel_message("call_reduce of f32[96]");  // c, and what it calls
  EXPECT_TRUE(has(end_of({channel_message("")}), "says what no rank says: nothing"));
  EXPECT_TRUE(has(end_of({channel_message("f")}), "a failure without a reason"));
  EXPECT_TRUE(has(end_of({channel_message("q")}), "'q' in the place of 'c'"));
  EXPECT_TRUE(has(end_of({channel_message("d", std::string(128, 'x'))}), "'d' in the place of 'c'")) << "data before the call";
  EXPECT_TRUE(has(end_of({same, channel_message("d", std::string(127, 'x'))}), "127 bytes in the place of 128"));
  EXPECT_TRUE(
      has(end_of({same, channel_message("d", std::string(size_t{1} << 21, 'x'))}), "2097152 bytes in the place of 128"));
  EXPECT_TRUE(has(end_of({same, same}), "'c' in the place of 'd'"));
  EXPECT_TRUE(has(end_of({channel_message("call_reduce of f32[95]")}), "rank 0 called all_reduce of f32[95], rank 1 called"));
  EXPECT_TRUE(has(end_of({channel_message("fno power")}), "a collective operation failed: no power"));
  EXPECT_LE(end_of({channel_message("f" + std::string(100'000, 'x'))}).size(), 2100u);
}

TEST(RingRanks, sixteen_pieces_go_to_one_that_takes_none_in_and_no_more) {
  Device& device = open_device("cpu");
  for (const int64_t pieces : {3, 16, 40}) {
    ChannelEnds before = channel_in_memory(), behind = channel_in_memory();
    const int64_t n = pieces << 18;
    before.one->send(channel_message("cbroadcast of f32[" + std::to_string(n) + "] from rank 0"));
    const auto rank = ring_rank(std::move(before.other), std::move(behind.one), 0, 3);
    Context ctx(device);
    const Tensor x(device, DType::f32, {n});
    run(ctx, Fill{x, 1});
    std::atomic<bool> stop{false};
    std::string said;
    const WaitSink sink = [&](const std::string&, const std::string& reason) { stop = true, said += reason; };
    const WaitScope looked_at(&sink);
    const StopScope scope(&stop);
    EXPECT_THROW(rank->broadcast(ctx, x, 0), Stopped);
    EXPECT_EQ(said, pieces > 16 ? "in broadcast for rank 1" : "in broadcast for rank 2");
    int64_t sent = 0;
    for (std::string text; (text = behind.other->receive(5).text)[0] != 'f';) sent += text == "d";
    EXPECT_EQ(sent, std::min<int64_t>(pieces, 16));
  }
}

TEST(RingRanks, every_piece_that_is_taken_in_is_a_unit_of_work_and_a_wait_is_none) {
  std::vector<std::shared_ptr<Traffic>> sent;
  Device& device = open_device("cpu");
  const auto errors = run_ring(
      device, 3,
      [&](Collective& c, Context& ctx) {
        const Tensor x(device, DType::f32, {int64_t{12} << 18});
        run(ctx, Fill{x, 1});
        std::atomic<int> units{0};
        const std::function<void()> unit = [&] { ++units; };
        const StopScope scope({nullptr, &unit});
        if (c.rank() == 1) std::this_thread::sleep_for(std::chrono::milliseconds(200));
        c.all_reduce(ctx, x);
        if (units != 2 * 2 * 4) throw failure(std::to_string(units) + " units");
      },
      &sent);
  EXPECT_EQ(errors, std::vector<std::string>(3));
}

TEST(RingRanks, sums_of_any_size_need_sixteen_pieces_of_scratch_memory) {
  std::vector<std::shared_ptr<Traffic>> sent;
  Device& device = open_device("cpu");
  const auto errors = run_ring(
      device, 2,
      [&](Collective& c, Context& ctx) {
        const Tensor x(device, DType::f32, {int64_t{70} << 18});
        run(ctx, Fill{x, 1});
        c.all_reduce(ctx, x);
        if (ctx.arena.high_water_bytes() != size_t{16} << 20) throw failure(std::to_string(ctx.arena.high_water_bytes()));
      },
      &sent);
  EXPECT_EQ(errors, std::vector<std::string>(2));
}

TEST(RingRanks, why_one_of_them_leaves_is_what_all_are_told_however_far_they_are) {
  std::vector<std::shared_ptr<Traffic>> sent;
  Device& device = open_device("cpu");
  const auto errors = run_ring(
      device, 4,
      [&](Collective& c, Context& ctx) {
        const Tensor x(device, DType::f32, {5});
        run(ctx, Fill{x, 1});
        c.all_reduce(ctx, x);
        if (c.rank() == 1) return c.say_why("the loss is no number");
        c.all_reduce(ctx, x);
      },
      &sent);
  for (const size_t r : {0, 2, 3})
    EXPECT_EQ(errors[r], "a collective operation failed: rank 1 has left: the loss is no number") << r;
}

TEST(RingRanks, one_that_waits_for_long_says_for_whom_and_that_it_is_over) {
  std::vector<std::shared_ptr<Traffic>> sent;
  Device& device = open_device("cpu");
  std::vector<std::string> said(3);
  const auto errors = run_ring(
      device, 3,
      [&](Collective& c, Context& ctx) {
        const WaitSink sink = [&](const std::string& who, const std::string& reason) {
          said[static_cast<size_t>(c.rank())] += who + " " + reason + "|";
        };
        const WaitScope scope(&sink);
        const Tensor x(device, DType::f32, {96});
        run(ctx, Fill{x, 1});
        if (c.rank() == 1) std::this_thread::sleep_for(std::chrono::milliseconds(1500));
        c.all_reduce(ctx, x);
      },
      &sent);
  EXPECT_EQ(errors, std::vector<std::string>(3));
  EXPECT_EQ(said, (std::vector<std::string>{"rank 0 in all_reduce for rank 2|rank 0 |", "",
                                            "rank 2 in all_reduce for rank 1|rank 2 |"}));
}

}  // namespace
}  // namespace r1::test
