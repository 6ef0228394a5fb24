// The place of a rank at a node, as the head has it: whose words it hears, and what ends it.
#include "runtime/nodes/rank_seat.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "base/stop.h"
#include "runtime/nodes/opened_rank.h"
#include "runtime/nodes/step_node_world.h"

namespace r1 {
namespace {

constexpr int kTrainer = 4;  // in the graph

struct SentPackets final : Links {
  std::vector<LinkPacket> sent;
  void send(PeerId, LinkPacket packet) override { sent.push_back(std::move(packet)); }
  void drop(PeerId, const std::string&) override {}
  const LinkPacket& last(PacketKind kind) const {
    for (auto packet = sent.rbegin(); packet != sent.rend(); ++packet)
      if (packet->kind == kind) return *packet;
    throw failure("no such packet was sent");
  }
};

struct RankSeats : ::testing::Test {
  SentPackets links;
  std::mutex mutex;
  std::string deserted;  // why nobody will come
  Members members{[this] {
    Members::Options options;
    options.nobody_comes = [this](int) {
      const std::lock_guard lock(mutex);
      return deserted;
    };
    return options;
  }()};
  void SetUp() override {
    members.use(&links);
    join(1, "node1");
  }
  void TearDown() override { members.use(nullptr); }
  void join(PeerId peer, const std::string& node) {
    PeerHello hello;
    hello.principal = "node:" + node;
    hello.pid = 7;
    members.peer_up(peer, hello);
  }
  std::unique_ptr<RankSeat> seat(int64_t rank, const std::string& preferred = "node1") {
    RankSeat::Options options;
    options.members = &members;
    options.node = kTrainer;
    options.rank = rank;
    options.name = "rank " + std::to_string(rank);
    options.preferred = preferred;
    return std::make_unique<RankSeat>(std::move(options));
  }
  void says(PeerId peer, Incarnation incarnation, const std::string& text, PacketKind kind = PacketKind::rank) {
    LinkPacket packet = rank_packet(incarnation, kTrainer, channel_message(text, "b"));
    packet.kind = kind;
    members.received(peer, std::move(packet));
  }
  static std::string heard(RankSeat& seat) {
    try {
      const ChannelMessage word = seat.receive(5);
      return word.text + std::string(word.bytes);
    } catch (const Error& e) {
      return e.what();
    }
  }
};

TEST_F(RankSeats, two_ranks_at_one_node_hear_each_its_own_words_and_nothing_of_an_earlier_one) {
  auto before = seat(1);
  const Incarnation earlier = links.last(PacketKind::open).incarnation;
  EXPECT_EQ(links.last(PacketKind::open).number, 1u);
  before = nullptr;
  EXPECT_EQ(links.last(PacketKind::close).incarnation, earlier);
  const auto one = seat(1);
  const Incarnation first = links.last(PacketKind::open).incarnation;
  const auto two = seat(2);
  const Incarnation second = links.last(PacketKind::open).incarnation;
  EXPECT_EQ(links.last(PacketKind::open).number, 2u);
  says(1, earlier, "of a rank that is gone ");
  says(1, second, "two ");
  says(1, first, "one ");
  EXPECT_EQ(heard(*one), "one b");
  EXPECT_EQ(heard(*two), "two b");
  one->send(channel_message("to one", "c"));
  EXPECT_EQ(links.last(PacketKind::rank).incarnation, first);
  EXPECT_EQ(links.last(PacketKind::rank).frames.at(0).bytes(), "c");
}

TEST_F(RankSeats, a_node_says_what_is_open_there_role_by_role_and_rank_by_rank) {
  using Part = Members::Part;
  constexpr int kJudge = 2;
  join(2, "node2");
  members.open(1, kJudge, {});
  auto one = seat(1);
  const auto two = seat(2, "node2"), three = seat(3);
  EXPECT_EQ(members.parts_at(1), (std::vector<Part>{{kJudge, 0}, {kTrainer, 1}, {kTrainer, 3}}));
  EXPECT_EQ(members.parts_at(2), (std::vector<Part>{{kTrainer, 2}}));
  one = nullptr;
  LinkPacket closed = link_word(PacketKind::closed, {});
  closed.incarnation = links.last(PacketKind::close).incarnation;
  members.received(1, closed);
  EXPECT_EQ(members.parts_at(1), (std::vector<Part>{{kJudge, 0}, {kTrainer, 3}}));
  members.peer_lost(2, "its connection closed");
  EXPECT_TRUE(members.parts_at(2).empty());
}

TEST_F(RankSeats, a_node_that_is_lost_ends_the_channel_at_once_and_names_rank_and_node) {
  const auto one = seat(1);
  says(1, links.last(PacketKind::open).incarnation, "what nobody waits for any more ");
  members.peer_lost(1, "its lease ran out");
  EXPECT_EQ(heard(*one), "rank 1 at node1/7 is lost: its lease ran out (it begins again, at this or another node)");
}

TEST_F(RankSeats, a_node_that_is_drained_ends_the_channel_and_another_ones_end_does_not) {
  join(2, "node2");
  const auto one = seat(1), two = seat(2, "node2");
  const Incarnation second = links.last(PacketKind::open).incarnation;
  EXPECT_EQ(one->at() + " " + two->at(), "node1/7 node2/7");
  members.drain(1);
  EXPECT_NE(heard(*one).find("it is to leave"), std::string::npos);
  says(2, second, "still here ");
  EXPECT_EQ(heard(*two), "still here b");
}

// r1-sim, seed 907: the trainer waited for a batch, the batch for a node, and the only node for the trainer.
TEST_F(RankSeats, a_node_that_is_drained_goes_whatever_the_trainer_of_its_rank_waits_for) {
  const auto one = seat(1);
  const Incarnation rank = links.last(PacketKind::open).incarnation;
  members.drain(1);
  EXPECT_EQ(links.last(PacketKind::close).incarnation, rank);
  LinkPacket closed;
  closed.kind = PacketKind::closed;
  closed.incarnation = rank;
  members.received(1, std::move(closed));
  EXPECT_EQ(links.sent.back().kind, PacketKind::stop);
}

TEST_F(RankSeats, what_failed_there_is_thrown_here_behind_what_it_said_before) {
  const auto one = seat(1);
  const Incarnation incarnation = links.last(PacketKind::open).incarnation;
  says(1, incarnation, "a word ");
  says(1, incarnation, encode_error(std::make_exception_ptr(failure("no memory"))), PacketKind::failed);
  EXPECT_EQ(heard(*one), "a word b");
  EXPECT_NE(heard(*one).find("no memory"), std::string::npos);
}

TEST_F(RankSeats, what_moves_at_its_node_is_a_unit_of_who_waits_for_a_rank) {
  const auto one = seat(1);
  const Incarnation incarnation = links.last(PacketKind::open).incarnation;
  const auto records = [&](Incarnation of, std::string body) {
    LinkPacket packet = link_word(PacketKind::records, std::move(body));
    packet.incarnation = of;
    packet.node = kTrainer;
    members.received(1, std::move(packet));
  };
  const auto moves = [&](bool moved, Incarnation of) {
    RoleRecords r;
    r.moved = moved;
    records(of, encode(r));
  };
  int units = 0;
  const std::function<void()> unit = [&] { ++units; };
  const StopScope scope({nullptr, &unit});
  moves(false, incarnation);
  moves(true, incarnation + 1);
  says(1, incarnation, "a word ");
  EXPECT_EQ(heard(*one), "a word b");
  EXPECT_EQ(units, 0) << "nothing moved, or not here";
  for (int i = 0; i < 1000; ++i) moves(true, incarnation);
  says(1, incarnation, "another ");
  EXPECT_EQ(heard(*one), "another b");
  EXPECT_EQ(units, 1) << "what nobody waited for meanwhile is kept once";
  moves(true, incarnation);
  EXPECT_THROW(one->receive(0.05), NothingSaid);
  EXPECT_EQ(units, 2);
  std::atomic<bool> stop{true};
  {
    const StopScope stopped(&stop);
    moves(true, incarnation);
    EXPECT_THROW(one->receive(5), Stopped);
  }
  records(incarnation, "x");
  EXPECT_THROW(one->receive(5), Error) << "what nothing means";
}

// Units of a rank at its node, and what is fetched there.
TEST(OpenedRanks, say_that_they_move_by_their_units_and_by_what_their_node_fetches) {
  StepWorld world({.seed = 3, .job_ns = [](const std::string&) { return int64_t{0}; }});
  StepNodeWorld node(world);
  std::vector<LinkPacket> sent;
  auto graph = std::make_shared<NodeGraph>();
  graph->graph.stages.push_back({.name = "rl"});
  graph->graph.nodes.push_back({.id = "rl_trainer", .role = "trainer", .stage = 0});
  graph->rank = [](const NodePlan&, MessageChannel&) {
    for (int i = 0; i < 3; ++i) next_unit();
  };
  OpenRole open;
  open.stage = "rl";
  OpenedRank rank({&node, [&](LinkPacket p) { sent.push_back(std::move(p)); }, [] { return int64_t{17}; }}, 8, 0, open);
  rank.tick(false);
  EXPECT_TRUE(sent.empty()) << "it waits for files, and none come";
  rank.tick(true);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].kind, PacketKind::records);
  EXPECT_EQ(sent[0].incarnation, 8u);
  EXPECT_TRUE(decode_role_records(sent[0].body).moved);
  EXPECT_EQ(decode_role_records(sent[0].body).cpu_ns, 17);
  rank.begin(graph);
  while (world.step()) {
  }
  rank.tick(false);
  EXPECT_EQ(sent.size(), 2u) << "three units";
  rank.tick(false);
  EXPECT_EQ(sent.size(), 2u) << "none since";
  rank.close([] {});
  rank.tick(true);
  EXPECT_EQ(sent.size(), 2u) << "it is closed";
}

TEST_F(RankSeats, one_that_no_node_will_come_for_is_not_waited_for) {
  const auto why = [&] {
    try {
      seat(1);
    } catch (const Error& e) {
      return fmt::format("{}{}", e.message(), e.final() ? "" : ", and is tried again");
    }
    return std::string("it lives");
  };
  deserted = "node1 on gpu07: ssh: exit code 255";
  EXPECT_EQ(why(), "it lives") << "one is there";
  members.peer_lost(1, "its connection closed");
  EXPECT_EQ(why(), "no node is left that may do the work of rank 1, and none will come: node1 on gpu07: ssh: exit code 255");
  deserted = "";
  std::thread fewer([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    {
      const std::lock_guard lock(mutex);
      deserted = "it was given up";
    }
    members.fewer_may_come();
  });
  EXPECT_EQ(why(), "no node is left that may do the work of rank 1, and none will come: it was given up");
  fewer.join();
}

TEST_F(RankSeats, one_that_is_given_up_is_waited_for_no_longer) {
  const auto one = seat(1);
  one->give_up();
  EXPECT_EQ(heard(*one), "rank 1 was waited for when another rank failed");
}

}  // namespace
}  // namespace r1
