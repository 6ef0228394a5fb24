// Links in memory: what the interface promises, under cuts, resets, crashes and losses.
#include "runtime/net/memory_links.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "runtime/flow/step_world.h"
#include "tests/runtime/net/link_fixture.h"

namespace r1 {
namespace {

using test::Heard;
using test::packet;
using test::terms;

using Lines = std::vector<std::string>;

struct MemoryLinksTest : testing::Test {
  void pass(int64_t ms) {
    for (int64_t t = 0; t < ms; t += 100) {
      clock.advance_ns(100'000'000);
      net.tick();
      net.settle();
    }
  }
  VirtualClock clock;
  MemoryNet net{clock, {}};
  Heard at_head, at_a, at_b;
};

TEST_F(MemoryLinksTest, a_star_of_two_nodes_talks_in_both_directions) {
  auto head = net.listen(terms(), at_head);
  auto a = net.dial("node:a", terms("host a", "na"), at_a);
  auto b = net.dial("node:b", terms("host b", "nb"), at_b);
  EXPECT_TRUE(at_head.all.empty());
  net.settle();
  ASSERT_EQ(at_head.all.size(), 2u);
  const PeerId id_a = at_a.last, id_b = at_b.last;
  EXPECT_EQ(at_head.hello.principal, "node:b");
  EXPECT_EQ(at_b.hello.host, "here");
  a->send(id_a, packet(1));
  b->send(id_b, packet(2, 2'000'000));
  a->send(id_a, packet(3));
  head->send(at_head.last, packet(4));
  net.settle();
  EXPECT_EQ(at_head.all.size(), 5u);
  EXPECT_EQ(at_b.line(), fmt::format("{} payload 4", id_b));
  head->drop(at_head.last, "drained");
  net.settle();
  EXPECT_EQ(at_b.line(), fmt::format("lost {} it left: drained", id_b));
  EXPECT_TRUE(at_head.line().ends_with(" drained"));
  head.reset();
  net.settle();
  EXPECT_EQ(at_a.line(), fmt::format("lost {} it left: the run ends", id_a));
}

TEST_F(MemoryLinksTest, a_node_that_is_killed_is_lost_after_what_it_had_said) {
  auto head = net.listen(terms(), at_head);
  auto a = net.dial("node:a", terms("host a", "na"), at_a);
  net.settle();
  a->send(at_a.last, packet(1));
  net.crash(*a);
  a->send(at_a.last, packet(2));
  net.settle();
  EXPECT_EQ(at_head.all, (Lines{"up 2 node:a", "2 payload 1", "lost 2 its connection closed"}));
  EXPECT_EQ(at_a.all.size(), 1u);
}

TEST_F(MemoryLinksTest, a_head_that_is_killed_is_lost_and_another_takes_its_place) {
  auto head = net.listen(terms(), at_head);
  auto a = net.dial("node:a", terms("host a", "na"), at_a);
  net.settle();
  net.crash(*head);
  head.reset();
  net.settle();
  EXPECT_EQ(at_a.line(), fmt::format("lost {} its connection closed", at_a.last));
  Heard second;
  head = net.listen(terms(), second);
  a = net.dial("node:a", terms("host a", "na"), at_a);
  net.settle();
  EXPECT_EQ(second.all.size(), 1u);
  EXPECT_TRUE(at_a.line().starts_with("up "));
}

TEST_F(MemoryLinksTest, a_cut_that_heals_in_time_loses_nothing_and_a_longer_one_the_link) {
  auto head = net.listen(terms(), at_head);
  auto a = net.dial("node:a", terms("host a", "na"), at_a);
  net.settle();
  net.cut(0, true);
  for (uint64_t i = 1; i <= 5; ++i) a->send(at_a.last, packet(i, i % 2 == 0 ? 100'000 : 0));
  pass(2'000);
  EXPECT_EQ(at_head.all.size(), 1u);
  net.heal(0);
  net.settle();
  EXPECT_EQ(at_head.all, (Lines{"up 2 node:a", "2 payload 1", "2 payload 2", "2 payload 3", "2 payload 4", "2 payload 5"}));
  net.cut(0, true);
  a->send(at_a.last, packet(6));
  pass(4'000);
  EXPECT_EQ(at_head.line(), "lost 2 nothing was heard of it for 3 s");
  // The other direction was whole, so the node hears of it at once.
  EXPECT_NE(at_a.line().find("it left: nothing was heard"), std::string::npos) << at_a.line();
  net.heal(0);
  net.settle();
  EXPECT_EQ(at_head.line(), "lost 2 nothing was heard of it for 3 s");
}

TEST_F(MemoryLinksTest, a_head_knows_how_much_memory_a_node_takes_by_its_last_beat) {
  auto head = net.listen(terms(), at_head);
  LinkTerms says = terms("host a", "na");
  std::optional<int64_t> bytes;
  says.resident_bytes = [&] { return bytes; };
  auto a = net.dial("node:a", says, at_a);
  net.settle();
  const PeerId id = at_head.last;
  pass(1'000);
  EXPECT_EQ(head->resident_bytes(id), std::nullopt) << "it does not know itself";
  bytes = 81'000'000;
  pass(1'000);
  EXPECT_EQ(head->resident_bytes(id), 81'000'000);
  a.reset();
  pass(1'000);
  EXPECT_EQ(head->resident_bytes(id), std::nullopt) << "it is not there any more";
}

TEST_F(MemoryLinksTest, a_head_knows_for_how_long_it_has_heard_nothing_of_a_node) {
  auto head = net.listen(terms(), at_head);
  auto a = net.dial("node:a", terms("host a", "na"), at_a);
  net.settle();
  const PeerId id = at_head.last;
  const int64_t beat = LinkConfig{}.beat_ns, second = 1'000'000'000;
  pass(10'000);
  EXPECT_LE(head->silent_ns(id).value_or(INT64_MAX), beat) << "one that is well, and has nothing to say";
  const int64_t before = *head->silent_ns(id);
  net.stop(0, true);
  pass(2'000);
  EXPECT_EQ(head->silent_ns(id), before + 2 * second);
  net.stop(0, false);
  pass(100);
  EXPECT_LE(head->silent_ns(id).value_or(INT64_MAX), beat);
  net.cut(0, true);
  pass(2'000);
  EXPECT_GT(head->silent_ns(id).value_or(0), second) << "its cable is out";
  pass(2'000);
  EXPECT_EQ(at_head.state.at(id), 2);
  EXPECT_EQ(head->silent_ns(id), std::nullopt) << "it is not there any more";
  EXPECT_EQ(head->silent_ns(99), std::nullopt) << "nobody";
}

TEST_F(MemoryLinksTest, a_head_that_is_stopped_hears_and_says_nothing_until_it_goes_on) {
  auto head = net.listen(terms(), at_head);
  auto a = net.dial("node:a", terms("host a", "na"), at_a);
  net.settle();
  net.stop_head(true);
  a->send(at_a.last, packet(1));
  pass(2'000);
  EXPECT_EQ(at_head.all.size(), 1u);
  net.stop_head(false);
  net.settle();
  EXPECT_EQ(at_head.all, (Lines{"up 2 node:a", "2 payload 1"}));
  net.stop_head(true);
  pass(4'000);
  EXPECT_EQ(at_a.line(), fmt::format("lost {} nothing was heard of it for 3 s", at_a.last));
  EXPECT_EQ(at_head.all.size(), 2u) << "its own time stands still";
}

TEST_F(MemoryLinksTest, a_key_is_in_use_once_but_a_process_may_dial_again) {
  auto head = net.listen(terms(), at_head);
  auto a = net.dial("node:a", terms("host a", "na"), at_a);
  net.settle();
  auto thief = net.dial("node:a", terms("elsewhere", "nx"), at_b);
  net.settle();
  EXPECT_TRUE(at_b.line().starts_with("refused the key of node:a is in use by process 42 on host a")) << at_b.line();
  EXPECT_EQ(at_head.all, (Lines{"up 2 node:a"}));
  Heard again;
  auto second = net.dial("node:a", terms("host a", "na"), again);
  net.settle();
  EXPECT_TRUE(again.line().starts_with("up "));
  ASSERT_EQ(at_head.all.size(), 3u);
  EXPECT_EQ(at_head.all[1], "lost 2 its process dialled again");
  EXPECT_TRUE(at_head.all[2].ends_with(" node:a"));
  // Shells share keys.
  Heard s1, s2;
  auto shell1 = net.dial("shell:read", terms("x", "1"), s1), shell2 = net.dial("shell:read", terms("x", "2"), s2);
  net.settle();
  EXPECT_TRUE(s1.line().starts_with("up ") && s2.line().starts_with("up "));
}

TEST_F(MemoryLinksTest, nobody_listening_is_said_after_the_time_to_dial) {
  auto a = net.dial("node:a", terms("host a", "na"), at_a);
  pass(31'000);
  EXPECT_EQ(at_a.all, (Lines{"not joined no answer within 30 s"}));
}

TEST_F(MemoryLinksTest, a_damaged_message_ends_the_link) {
  MemoryNet::Options options;
  int seen = 0;
  options.tamper = [&](MemoryNet::Way, WireMessage& message) {
    if (!message.parts.empty() && ++seen == 3) {
      std::string bytes(message.parts[0].bytes());
      bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
      message.parts[0] = WireFrame(bytes);
    }
    return true;
  };
  MemoryNet noisy(clock, options);
  auto head = noisy.listen(terms(), at_head);
  auto a = noisy.dial("node:a", terms("host a", "na"), at_a);
  noisy.settle();
  a->send(at_a.last, packet(1, 10'000'000));
  noisy.settle();
  ASSERT_EQ(at_head.all.size(), 2u);
  EXPECT_NE(at_head.line().find("another checksum"), std::string::npos) << at_head.line();
}

// Random traffic over lanes that move in any order, with losses of every kind: whatever happens, each end gets a gapless
// beginning of what was sent, and both ends agree in the end that the link is over or everything has come.
TEST(MemoryLinks, under_random_order_and_faults_each_end_gets_a_beginning_of_what_was_sent) {
  int whole = 0, lost = 0;
  for (uint64_t seed = 1; seed <= 120; ++seed) {
    WorldOptions world_options;
    world_options.seed = seed;
    StepWorld world(world_options);
    Rng rng(seed, "links");
    const int fault = static_cast<int>(rng.below(4));  // 0: none, 1: a loss, 2: a reset, 3: a cut
    const uint64_t unlucky = rng.below(40);
    uint64_t arrived = 0;
    bool up = false;
    MemoryNet::Options options;
    options.link.window_bytes = 1 << 20;
    options.carry = [&](MemoryNet::Way way, std::function<void()> step) {
      world.push({0, way.wire * 8 + static_cast<int>(way.kind), 0}, world.clock().now_ns(), std::move(step));
    };
    options.tamper = [&](MemoryNet::Way, WireMessage&) { return !(up && fault == 1 && arrived++ == unlucky); };
    MemoryNet net(world.clock(), options);
    Heard at_head, at_a;
    auto head = net.listen(terms(), at_head);
    auto a = net.dial("node:a", terms("a", "na"), at_a);
    while (world.step()) {
    }
    up = true;
    uint64_t sent[2] = {0, 0};
    const uint64_t fault_at = rng.below(200);
    for (uint64_t t = 0; t < 200; ++t) {
      if (rng.below(3) == 0) head->send(at_head.last, packet(++sent[0], rng.below(5) == 0 ? 300'000 : rng.below(100)));
      if (rng.below(3) == 0) a->send(at_a.last, packet(++sent[1], rng.below(5) == 0 ? 300'000 : rng.below(100)));
      if (t == fault_at && fault == 2) net.reset(0);
      if (t == fault_at && fault == 3) net.cut(0, rng.below(2) == 0);
      for (uint64_t n = rng.below(10); n > 0; --n) world.step(world.clock().now_ns() + 1'000'000);
      net.tick();
    }
    for (int i = 0; i < 300; ++i) {
      while (world.step(world.clock().now_ns())) {
      }
      world.clock().advance_ns(100'000'000);
      net.tick();
    }
    for (const auto* end : {&at_head, &at_a}) {
      for (size_t i = 0; i < end->packets.size(); ++i) ASSERT_EQ(end->packets[i].number, i + 1) << "seed " << seed;
    }
    const bool over = at_head.state[at_head.last] == 2;
    EXPECT_EQ(at_a.state[at_a.last] == 2, over) << "seed " << seed;
    if (over) {
      ++lost;
    } else {
      ++whole;
      EXPECT_EQ(at_head.packets.size(), sent[1]) << "seed " << seed;
      EXPECT_EQ(at_a.packets.size(), sent[0]) << "seed " << seed;
    }
    EXPECT_TRUE(fault == 1 || over == (fault > 1)) << "seed " << seed << ": " << at_head.line() << " / " << at_a.line();
  }
  EXPECT_GT(whole, 20);
  EXPECT_GT(lost, 60);
}

}  // namespace
}  // namespace r1
