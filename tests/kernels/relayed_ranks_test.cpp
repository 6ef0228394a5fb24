// Ranks behind relays, as far as the table of collectives does not look: arrays beyond the messages that are under way at once,
// and words that no rank says.
#include "kernels/relayed_ranks.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/error.h"
#include "kernels/ops.h"

namespace r1::test {
namespace {

std::string words(char kind, const std::vector<int64_t>& numbers) {
  std::string text(1, kind);
  for (const int64_t n : numbers) text.append(reinterpret_cast<const char*>(&n), sizeof n);
  return text;
}

TEST(RelayedRanks, an_array_of_more_messages_than_are_under_way_at_once_is_summed_whole) {
  Device& device = open_device("cpu");
  constexpr int64_t kElements = (int64_t{70} << 18) + 13;  // 70 MiB, and a piece
  std::vector<std::unique_ptr<Collective>> places = thread_ranks(2);
  ChannelEnds ends = channel_in_memory();
  std::thread relay([&] {
    RankRelay here(device, std::move(places[1]), kElements);
    try {
      while (here.relay(ends.other->receive(), *ends.other)) {
      }
    } catch (const Error&) {
    }
  });
  std::thread far([&] {
    const auto rank = relayed_rank(*ends.one, 1, 2);
    Context ctx(device);
    const Tensor x(device, DType::f32, {kElements});
    run(ctx, Fill{x, 2});
    rank->all_reduce(ctx, x);
    const std::vector<float> got = download_as<float>(x);
    EXPECT_EQ(std::count(got.begin(), got.end(), 3.f), kElements);
  });
  Context ctx(device);
  const Tensor x(device, DType::f32, {kElements});
  run(ctx, Fill{x, 1});
  places[0]->all_reduce(ctx, x);
  const std::vector<float> got = download_as<float>(x);
  EXPECT_EQ(std::count(got.begin(), got.end(), 3.f), kElements);
  far.join();
  ends.one = nullptr;
  relay.join();
}

TEST(RelayedRanks, words_that_no_rank_says_are_an_error_and_take_no_memory) {
  Device& device = open_device("cpu");
  constexpr int64_t kMost = 100;
  for (const std::string& text :
       {words('c', {}), words('c', {0, 0, 4}), std::string("c123"), words('c', {4, 0, 4, 0}), words('c', {-1, 0, 4, 0}),
        words('c', {0, 9, 4, 0}), words('c', {0, 0, -4, 0}), words('c', {0, 0, kMost + 1, 0}), words('c', {0, 1, 4, 0}),
        words('c', {3, 0, 4, 2}), words('c', {1, 0, 4, 0}), words('c', {1, 0, 4, 0, 0, 2, 1, 4}),
        words('c', {2, 0, 4, 0, 0, 2, 2, 5}), words('c', {2, 0, 4, 0, 3, 2, 2, 4}), words('c', {0, 0, 4, 0, 0, 2, 2, 4})}) {
    std::vector<std::unique_ptr<Collective>> places = thread_ranks(2);
    RankRelay relay(device, std::move(places[1]), kMost);
    const ChannelEnds ends = channel_in_memory();
    EXPECT_THROW(relay.relay(channel_message(text), *ends.other), Error) << text.size() << " bytes";
  }
  std::vector<std::unique_ptr<Collective>> places = thread_ranks(2);
  RankRelay relay(device, std::move(places[1]), kMost);
  ChannelEnds ends = channel_in_memory();
  EXPECT_FALSE(relay.relay(channel_message("Done"), *ends.other)) << "of somebody else";
  ends.one->send(channel_message("d", std::string(15, 'x')));
  EXPECT_THROW(relay.relay(channel_message(words('c', {0, 0, 4, 0})), *ends.other), Error) << "15 bytes of 16";
  relay.leave();
  EXPECT_THROW(relay.relay(channel_message(words('c', {0, 0, 4, 0})), *ends.other), Error) << "it has left";
}

// Found by fuzz_rank_words: it was an error that said nothing.
TEST(RelayedRanks, a_refusal_without_a_reason_is_an_error_that_says_so) {
  Device& device = open_device("cpu");
  ChannelEnds ends = channel_in_memory();
  const auto rank = relayed_rank(*ends.one, 1, 2);
  ends.other->send(channel_message("r"));
  Context ctx(device);
  const Tensor x(device, DType::f32, {0});
  try {
    rank->all_reduce(ctx, x);
    FAIL() << "it was refused";
  } catch (const Error& e) {
    EXPECT_NE(e.message().find("a refusal without a reason"), std::string::npos) << e.message();
  }
}

}  // namespace
}  // namespace r1::test
