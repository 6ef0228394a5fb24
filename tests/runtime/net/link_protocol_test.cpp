// One link, message by message: greeting, refusals, numbers, window, beats, lease. Two state machines and no socket.
#include "runtime/net/link_protocol.h"

#include <gtest/gtest.h>

#include <deque>
#include <memory>

#include "tests/runtime/net/link_fixture.h"

namespace r1 {
namespace {

using test::packet;
using test::terms;

constexpr int64_t kMs = 1'000'000;

// Two ends and what is under way between them: [0] to the node, [1] to the head, each by lane.
struct Pair {
  explicit Pair(LinkConfig config = {}, LinkTerms head_terms = terms(), LinkTerms node_terms = terms("there"),
                const std::string& principal = "node:a")
      : head(LinkEnd::head, config, std::move(head_terms), principal, 0),
        node(LinkEnd::node, config, std::move(node_terms), "head", 0) {
    LinkOutput out;
    node.start(out);
    keep(out, true);
  }
  void keep(LinkOutput& out, bool to_head) {
    for (auto& [lane, message] : out.transmit) ways[to_head][static_cast<int>(lane)].push_back(std::move(message));
    out.transmit.clear();
    std::vector<std::string>& log = to_head ? at_node : at_head;
    for (auto& event : out.events) {
      if (auto* up = std::get_if<LinkOutput::Up>(&event)) log.push_back("up " + up->hello.host);
      if (auto* p = std::get_if<LinkPacket>(&event)) log.push_back(std::to_string(p->number));
      if (auto* lost = std::get_if<LinkOutput::Lost>(&event)) log.push_back("lost " + lost->why);
      if (auto* no = std::get_if<LinkOutput::NotJoined>(&event))
        log.push_back((no->refused ? "refused " : "not joined ") + no->why);
      if (auto* no = std::get_if<LinkOutput::Refused>(&event)) log.push_back("said no " + no->why);
    }
    out.events.clear();
  }
  bool move(bool to_head, LinkLane lane) {
    auto& way = ways[to_head][static_cast<int>(lane)];
    if (way.empty()) return false;
    WireMessage message = std::move(way.front());
    way.pop_front();
    LinkOutput out;
    (to_head ? head : node).received(now, lane, std::move(message), out);
    keep(out, !to_head);
    return true;
  }
  void settle() {
    while (move(true, LinkLane::bulk) || move(true, LinkLane::control) || move(false, LinkLane::control) ||
           move(false, LinkLane::bulk)) {
    }
  }
  void send(bool from_head, LinkPacket p) {
    LinkOutput out;
    (from_head ? head : node).send(now, std::move(p), out);
    keep(out, !from_head);
  }
  void tick(bool at_the_head) {
    LinkOutput out;
    (at_the_head ? head : node).tick(now, out);
    keep(out, !at_the_head);
  }
  // Time passes in steps of 100 ms; each end ticks, unless it is `dead`.
  void pass(int64_t ms, bool head_lives = true, bool node_lives = true) {
    for (int64_t t = 0; t < ms; t += 100) {
      now += 100 * kMs;
      if (head_lives) tick(true);
      if (node_lives) tick(false);
      if (head_lives && node_lives) settle();
    }
  }

  int64_t now = 0;
  std::deque<WireMessage> ways[2][2];
  std::vector<std::string> at_head, at_node;
  LinkProtocol head, node;
};

TEST(LinkProtocol, two_ends_greet_and_know_each_other) {
  Pair pair;
  pair.settle();
  EXPECT_EQ(pair.at_head, (std::vector<std::string>{"up there"}));
  EXPECT_EQ(pair.at_node, (std::vector<std::string>{"up here"}));
  EXPECT_EQ(pair.head.peer().principal, "node:a");
  EXPECT_EQ(pair.node.peer().principal, "head");
  EXPECT_EQ(pair.head.peer().extra, std::string("\x00\x01", 2));
  EXPECT_EQ(pair.head.peer().devices, std::vector<std::string>{"cpu"});
}

TEST(LinkProtocol, another_build_another_arithmetic_and_an_objection_are_refused_with_a_reason) {
  const auto refused = [](LinkTerms head_terms, LinkTerms node_terms, const std::string& principal = "node:a") {
    Pair pair({}, std::move(head_terms), std::move(node_terms), principal);
    pair.settle();
    if (pair.head.up()) return std::string("up");
    EXPECT_TRUE(pair.head.over());
    EXPECT_TRUE(pair.node.over());
    EXPECT_TRUE(pair.at_head.at(0).starts_with("said no "));
    EXPECT_TRUE(pair.at_node.at(0).starts_with("refused ")) << pair.at_node.at(0);
    return pair.at_node.at(0);
  };
  LinkTerms other = terms();
  other.self.build = "r1 older";
  EXPECT_NE(refused(terms(), other).find("it is build 'r1 older', the head is build 'r1 test'"), std::string::npos);
  other = terms();
  other.self.fingerprint = "avx2";
  EXPECT_NE(refused(terms(), other).find("its arithmetic is 'avx2'"), std::string::npos);
  EXPECT_EQ(refused(terms(), other, "shell:read"), "up");
  LinkTerms lenient = terms();
  lenient.any_fingerprint = true;
  EXPECT_EQ(refused(lenient, other), "up");
  LinkTerms strict = terms();
  strict.objection = [](const PeerHello& hello) { return hello.host == "there" ? "not there; go elsewhere" : ""; };
  EXPECT_EQ(refused(strict, terms("there")), "refused not there; go elsewhere");
}

TEST(LinkProtocol, who_does_not_greet_in_time_or_speaks_before_is_not_let_in) {
  Pair late;
  late.ways[1][0].clear();  // the bulk lane's half of the greeting alone
  late.settle();
  late.pass(9'900, true, false);
  EXPECT_TRUE(late.at_head.empty());
  late.pass(100, true, false);
  EXPECT_EQ(late.at_head, (std::vector<std::string>{"said no no whole greeting within 10 s"}));
  late.pass(30'000, false, true);
  EXPECT_EQ(late.at_node, (std::vector<std::string>{"not joined no answer within 30 s"}));

  Pair early;
  early.ways[1][0].clear();
  Piece piece;
  piece.kind = PacketKind::payload;
  piece.seq = 1;
  early.ways[1][0].push_back(encode_piece(piece));
  early.settle();
  ASSERT_EQ(early.at_head.size(), 1u);
  EXPECT_NE(early.at_head[0].find("before the greeting"), std::string::npos);
}

TEST(LinkProtocol, packets_come_in_the_order_of_send_whichever_lane_is_faster) {
  for (const LinkLane first : {LinkLane::control, LinkLane::bulk}) {
    Pair pair;
    pair.settle();
    std::vector<std::string> expected = {"up there"};
    for (uint64_t i = 1; i <= 20; ++i) {
      pair.send(false, packet(i, i % 3 == 0 ? 3'000'000 : 100));
      expected.push_back(std::to_string(i));
    }
    while (pair.move(true, first)) {
    }
    EXPECT_LT(pair.at_head.size(), expected.size());
    pair.settle();
    EXPECT_EQ(pair.at_head, expected);
  }
}

TEST(LinkProtocol, a_large_packet_may_overtake_the_welcome) {
  Pair pair;
  while (pair.move(true, LinkLane::bulk) || pair.move(true, LinkLane::control)) {
  }
  pair.send(true, packet(1, 100'000));
  ASSERT_TRUE(pair.move(false, LinkLane::bulk));
  EXPECT_TRUE(pair.at_node.empty());
  pair.settle();
  EXPECT_EQ(pair.at_node, (std::vector<std::string>{"up here", "1"}));
}

TEST(LinkProtocol, a_beat_does_not_wait_behind_bulk) {
  Pair pair;
  pair.settle();
  pair.send(true, packet(1, 40'000'000));
  pair.now += 600 * kMs;
  pair.tick(true);
  EXPECT_GT(pair.ways[0][1].size(), 30u);
  EXPECT_EQ(pair.ways[0][0].size(), 1u);
}

TEST(LinkProtocol, no_more_than_the_window_is_under_way_and_the_rest_follows) {
  LinkConfig config;
  config.window_bytes = 4 << 20;
  Pair pair(config);
  pair.settle();
  for (uint64_t i = 1; i <= 30; ++i) pair.send(true, packet(i, 1'000'000));
  EXPECT_LE(pair.head.under_way_bytes(), config.window_bytes);
  EXPECT_GT(pair.head.backlog_bytes(), 20'000'000u);
  EXPECT_LE(pair.ways[0][1].size(), 8u);
  pair.settle();
  EXPECT_EQ(pair.at_node.size(), 31u);
  EXPECT_EQ(pair.head.backlog_bytes(), 0u);
  pair.pass(1'000);
  EXPECT_EQ(pair.head.under_way_bytes(), 0u);
}

TEST(LinkProtocol, a_peer_that_takes_in_less_than_it_is_sent_is_lost_when_too_much_waits) {
  LinkConfig config;
  config.window_bytes = 1 << 20;
  config.backlog_bytes = 8 << 20;
  Pair pair(config);
  pair.settle();
  for (uint64_t i = 1; i <= 8; ++i) pair.send(true, packet(i, 1'000'000));
  EXPECT_TRUE(pair.head.up());
  for (uint64_t i = 9; i <= 11; ++i) pair.send(true, packet(i, 1'000'000));
  ASSERT_TRUE(pair.head.over());
  EXPECT_NE(pair.at_head.back().find("it takes in less than it is sent"), std::string::npos);
}

TEST(LinkProtocol, one_packet_may_be_more_than_may_wait_and_what_follows_it_waits_beside_it) {
  LinkConfig config;
  config.window_bytes = 1 << 20;
  config.backlog_bytes = 8 << 20;
  Pair pair(config);
  pair.settle();
  pair.send(true, packet(1, 20'000'000));
  for (uint64_t i = 2; i <= 9; ++i) pair.send(true, packet(i, 1'000'000));
  ASSERT_TRUE(pair.head.up());
  pair.settle();
  pair.pass(5'000);
  ASSERT_EQ(pair.at_node.size(), 10u);
  EXPECT_EQ(pair.at_node.back(), "9");
  pair.send(true, packet(10, 20'000'000));
  for (uint64_t i = 11; i <= 21; ++i) pair.send(true, packet(i, 1'000'000));
  EXPECT_TRUE(pair.head.over()) << "it is no licence for all that comes later";
}

TEST(LinkProtocol, any_piece_that_is_missing_ends_the_link) {
  // Twelve packets on both lanes; the k-th message of one lane never comes, or comes twice.
  for (const LinkLane lane : {LinkLane::control, LinkLane::bulk})
    for (size_t k = 0; k < 6; ++k)
      for (const bool twice : {false, true}) {
        Pair pair;
        pair.settle();
        for (uint64_t i = 1; i <= 12; ++i) pair.send(false, packet(i, i % 2 == 0 ? 100'000 : 10));
        auto& way = pair.ways[1][static_cast<int>(lane)];
        ASSERT_EQ(way.size(), 6u);
        if (twice)
          way.insert(way.begin() + static_cast<std::ptrdiff_t>(k), way[k]);
        else
          way.erase(way.begin() + static_cast<std::ptrdiff_t>(k));
        pair.settle();
        pair.pass(13'000);
        ASSERT_TRUE(pair.head.over()) << "lane " << static_cast<int>(lane) << " message " << k << " twice " << twice;
        EXPECT_TRUE(pair.node.over());
        // What came before it came in order.
        for (size_t i = 1; i + 1 < pair.at_head.size(); ++i) EXPECT_EQ(pair.at_head[i], std::to_string(i));
      }
}

TEST(LinkProtocol, a_loss_is_seen_at_once_when_something_follows_on_its_lane) {
  Pair pair;
  pair.settle();
  pair.send(false, packet(1));
  pair.send(false, packet(2));
  pair.ways[1][0].pop_front();
  pair.settle();
  ASSERT_EQ(pair.at_head.size(), 2u);
  EXPECT_NE(pair.at_head[1].find("are missing"), std::string::npos) << pair.at_head[1];
  EXPECT_TRUE(pair.at_node.back().starts_with("lost it left: ")) << pair.at_node.back();
}

TEST(LinkProtocol, the_last_piece_that_is_lost_is_seen_with_the_next_beat) {
  Pair pair;
  pair.settle();
  pair.send(false, packet(1));
  pair.ways[1][0].clear();
  pair.pass(600);
  ASSERT_TRUE(pair.head.over());
  EXPECT_NE(pair.at_head.back().find("are missing"), std::string::npos) << pair.at_head.back();
}

TEST(LinkProtocol, nothing_heard_for_a_lease_ends_it_on_both_sides_and_what_comes_later_is_refused) {
  Pair pair;
  pair.settle();
  pair.pass(10'000);
  EXPECT_TRUE(pair.head.up() && pair.node.up());
  pair.send(false, packet(7));
  pair.pass(2'900, true, false);  // the node stands still, and its packet is on its way
  EXPECT_TRUE(pair.head.up());
  pair.pass(200, true, false);
  ASSERT_EQ(pair.at_head.back(), "lost nothing was heard of it for 3 s");
  while (pair.move(true, LinkLane::control)) {
  }
  EXPECT_EQ(pair.at_head.back(), "lost nothing was heard of it for 3 s");
  // It wakes up: its own clock tells it before it looks at what came.
  pair.tick(false);
  EXPECT_EQ(pair.at_node.back(), "lost nothing was heard of it for 3 s");
}

TEST(LinkProtocol, a_lane_that_stands_still_while_beats_go_on_ends_the_link) {
  Pair pair;
  pair.settle();
  pair.send(true, packet(1, 200'000));
  auto stuck = std::move(pair.ways[0][1]);
  pair.ways[0][1].clear();
  pair.pass(11'000);
  EXPECT_TRUE(pair.head.up());
  pair.pass(2'000);
  EXPECT_TRUE(pair.head.over() && pair.node.over());
}

TEST(LinkProtocol, one_that_leaves_says_why) {
  Pair pair;
  pair.settle();
  pair.send(true, packet(1));
  LinkOutput out;
  pair.head.end("the run is over", out);
  pair.keep(out, false);
  pair.settle();
  EXPECT_EQ(pair.at_head, (std::vector<std::string>{"up there", "lost the run is over"}));
  EXPECT_EQ(pair.at_node, (std::vector<std::string>{"up here", "1", "lost it left: the run is over"}));
  pair.head.end("again", out);
  pair.head.closed("again", out);
  EXPECT_TRUE(out.events.empty());
}

TEST(LinkProtocol, knows_how_the_other_clock_lies) {
  Pair pair;
  pair.settle();
  pair.pass(3'000);
  ASSERT_TRUE(pair.head.times());
  EXPECT_EQ(pair.head.times()->offset_ns, 0);
  EXPECT_EQ(pair.head.times()->round_trip_ns, 0);
}

TEST(LinkProtocol, no_message_that_a_peer_makes_up_does_more_than_end_its_link) {
  // Each kind at each moment, with numbers that do not fit.
  for (int kind = 0; kind < 256; ++kind)
    for (const uint64_t seq : {uint64_t{0}, uint64_t{1}, uint64_t{2}, UINT64_MAX})
      for (const uint64_t ack : {uint64_t{0}, uint64_t{1}, UINT64_MAX})
        for (const bool greeted : {false, true}) {
          if (packet_kind_name(static_cast<PacketKind>(kind)).empty()) continue;
          Pair pair;
          if (greeted) pair.settle();
          Piece piece;
          piece.kind = static_cast<PacketKind>(kind);
          piece.seq = seq;
          piece.ack = ack;
          if (piece.kind != PacketKind::more) piece.body = "?";
          LinkOutput out;
          pair.head.received(0, LinkLane::control, encode_piece(piece), out);
          pair.node.received(0, LinkLane::control, encode_piece(piece), out);
          EXPECT_LE(out.events.size(), 4u);
        }
}

}  // namespace
}  // namespace r1
