// Links over sockets: who is let in, what arrives, what ends them.
#include "runtime/net/zmq_links.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "base/descriptor.h"
#include "base/error.h"
#include "base/line_process.h"
#include "tests/runtime/net/waiting_sink.h"
#include "tests/stopped_process.h"

namespace r1 {
namespace {

using test::Heard;
using test::Listening;
using test::packet;
using test::terms;
using test::WaitingSink;

TEST(ZmqLinks, packets_of_all_sizes_arrive_in_order_in_both_directions) {
  LinkConfig link;
  link.window_bytes = 4 << 20;
  link.lease_ns = int64_t{300} * 1'000'000'000;  // not what this is about
  Listening here(link);
  WaitingSink at_node;
  auto node = zmq_dial(here.node(here.let_in("node:a")), terms("there", "na"), at_node);
  const PeerId to_node = here.at_head.wait_lines(1).last, to_head = at_node.wait_lines(1).last;
  ASSERT_NE(to_node, 0u);
  EXPECT_EQ(here.at_head.wait_lines(1).hello.principal, "node:a");
  constexpr uint64_t kPackets = 300;
  for (uint64_t i = 1; i <= kPackets; ++i) {
    const size_t bytes = i % 50 == 0 ? 8'000'000 : i % 7 == 0 ? 100'000 : i % 100;
    here.head->send(to_node, packet(i, bytes));
    node->send(to_head, packet(i, bytes));
  }
  for (WaitingSink* sink : {&here.at_head, &at_node}) {
    const Heard heard = sink->wait_packets(kPackets);
    ASSERT_EQ(heard.packets.size(), kPackets) << heard.line();
    for (uint64_t i = 1; i <= kPackets; ++i) {
      const LinkPacket expected = packet(i, i % 50 == 0 ? 8'000'000 : i % 7 == 0 ? 100'000 : i % 100);
      ASSERT_EQ(heard.packets[i - 1].number, i);
      ASSERT_EQ(heard.packets[i - 1].frames.size(), expected.frames.size());
      for (size_t f = 0; f < expected.frames.size(); ++f)
        ASSERT_TRUE(heard.packets[i - 1].frames[f].bytes() == expected.frames[f].bytes());
    }
  }
  here.head->drop(to_node, "drained");
  EXPECT_EQ(at_node.wait([](const Heard& h) { return h.state.count(h.last) > 0 && h.state.at(h.last) == 2; }).line(),
            fmt::format("lost {} it left: drained", to_head));
}

TEST(ZmqLinks, both_clocks_are_known_after_a_few_beats) {
  LinkConfig link;
  link.beat_ns = 20'000'000;
  Listening here(link);
  WaitingSink at_node;
  auto node = zmq_dial(here.node(here.let_in("node:a")), terms("there", "na"), at_node);
  const PeerId id = here.at_head.wait_lines(1).last;
  std::optional<PeerTimes> times;
  for (int i = 0; i < 6000 && !times; ++i) {
    times = here.head->times(id);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ASSERT_TRUE(times);
  EXPECT_LE(std::abs(times->offset_ns), times->round_trip_ns);  // one clock
}

TEST(ZmqLinks, a_stranger_is_told_so_and_is_not_tried_again) {
  Listening here;
  WaitingSink at_node;
  auto node = zmq_dial(here.node(new_curve_keys()), terms("there", "na"), at_node);
  EXPECT_TRUE(at_node.wait_lines(1).line().starts_with("refused the head does not know this key"))
      << at_node.wait_lines(1).line();
  const CurveKeys taken_back = here.let_in("node:b");
  here.ring.shut_out(taken_back.public_key);
  WaitingSink at_b;
  auto b = zmq_dial(here.node(taken_back), terms("there", "nb"), at_b);
  EXPECT_TRUE(at_b.wait_lines(1).line().starts_with("refused "));
  EXPECT_TRUE(here.at_head.wait([](const Heard&) { return true; }).all.empty());
}

TEST(ZmqLinks, somebody_else_in_the_place_of_the_head_is_not_talked_to) {
  Listening here;
  WaitingSink at_node;
  ZmqNodeOptions options = here.node(here.let_in("node:a"));
  options.head_key = new_curve_keys().public_key;
  options.link.dial_ns = 1'000'000'000;
  auto node = zmq_dial(options, terms("there", "na"), at_node);
  EXPECT_EQ(at_node.wait_lines(1).line(), "not joined no answer within 1 s");
}

TEST(ZmqLinks, a_key_that_another_process_holds_and_another_build_are_refused) {
  Listening here;
  const CurveKeys keys = here.let_in("node:a");
  WaitingSink at_a, at_thief, at_older;
  auto a = zmq_dial(here.node(keys), terms("there", "na"), at_a);
  ASSERT_TRUE(at_a.wait_lines(1).line().starts_with("up "));
  auto thief = zmq_dial(here.node(keys), terms("elsewhere", "nx"), at_thief);
  EXPECT_TRUE(at_thief.wait_lines(1).line().starts_with("refused the key of node:a is in use by process 42 on there"));
  LinkTerms older = terms("there", "nb");
  older.self.build = "r1 older";
  auto b = zmq_dial(here.node(here.let_in("node:b")), older, at_older);
  EXPECT_TRUE(at_older.wait_lines(1).line().starts_with("refused it is build 'r1 older'"));
  a->send(at_a.wait_lines(1).last, packet(5));
  EXPECT_EQ(here.at_head.wait_packets(1).packets.at(0).number, 5u);
}

TEST(ZmqLinks, a_node_that_dials_before_its_head_listens_joins) {
  Listening first;
  const CurveKeys keys = first.let_in("node:a");
  ZmqNodeOptions options = first.node(keys);
  const LinkAddress address = first.head->address();
  first.head.reset();
  WaitingSink at_node;
  auto node = zmq_dial(options, terms("there", "na"), at_node);
  ZmqHeadOptions again;
  again.keys = first.keys;
  again.listen = address;
  const auto head = zmq_listen(again, first.ring, terms(), first.at_head);
  EXPECT_TRUE(at_node.wait_lines(1).line().starts_with("up "));
}

TEST(ZmqLinks, a_head_that_goes_says_so_and_a_taken_port_is_an_error) {
  Listening here;
  ZmqHeadOptions same;
  same.keys = here.keys;
  same.listen = here.head->address();
  WaitingSink nobody, at_node;
  try {
    zmq_listen(same, here.ring, terms(), nobody);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::bad_input) << "as a dashboard's port";
    EXPECT_NE(e.message().find("cannot listen on 127.0.0.1:"), std::string::npos) << e.what();
  }
  auto node = zmq_dial(here.node(here.let_in("node:a")), terms("there", "na"), at_node);
  at_node.wait_lines(1);
  here.head.reset();
  EXPECT_TRUE(at_node.wait_lines(2).line().ends_with("it left: the run ends"));
}

TEST(ZmqLinks, a_head_may_listen_on_an_ipv6_address) {
  const int probe = ::socket(AF_INET6, SOCK_STREAM, 0);
  sockaddr_in6 loopback{};
  loopback.sin6_family = AF_INET6;
  loopback.sin6_addr = in6addr_loopback;
  const bool has_it = probe >= 0 && ::bind(probe, reinterpret_cast<sockaddr*>(&loopback), sizeof loopback) == 0;
  if (probe >= 0) ::close(probe);
  if (!has_it) GTEST_SKIP() << "no IPv6 here";
  Listening here;
  ZmqHeadOptions options;
  options.keys = here.keys;
  options.listen.host = "::1";
  WaitingSink at_head, at_node;
  const auto head = zmq_listen(options, here.ring, terms(), at_head);
  ZmqNodeOptions dial = here.node(here.let_in("node:a"));
  dial.head = parse_link_address(head->address().text());
  const auto node = zmq_dial(dial, terms("there", "na"), at_node);
  EXPECT_TRUE(at_node.wait_lines(1).line().starts_with("up "));
}

// A node in a process of its own.
struct Peer {
  Peer(const Listening& here, const CurveKeys& keys, const std::string& nonce)
      : process({{LINK_PEER, here.head->address().text(), nonce}, "", {}}, {}) {
    const auto reply =
        process.exchange(fmt::format("{} {} {}", here.keys.public_key, keys.public_key, keys.secret_key), 60, nullptr);
    EXPECT_EQ(reply.line, "up") << reply.how;
  }
  LineProcess process;
};

TEST(ZmqLinks, a_process_that_is_killed_is_lost_by_its_connection_long_before_its_lease) {
  LinkConfig link;
  link.lease_ns = int64_t{3600} * 1'000'000'000;
  Listening here(link);
  Peer peer(here, here.let_in("node:a"), "na");
  const PeerId id = here.at_head.wait_lines(1).last;
  here.head->send(id, packet(1, 5'000'000));
  EXPECT_EQ(here.at_head.wait_packets(1).packets.size(), 1u);
  ::kill(peer.process.pid(), SIGKILL);
  EXPECT_EQ(here.at_head.wait([&](const Heard& h) { return h.state.at(id) == 2; }).line(),
            fmt::format("lost {} its connection closed", id));
}

TEST(ZmqLinks, a_process_that_stands_still_is_lost_by_its_lease_and_what_it_says_later_is_not_heard) {
  LinkConfig link;
  link.beat_ns = 100'000'000;
  link.lease_ns = 1'000'000'000;
  Listening here(link);
  const CurveKeys keys = here.let_in("node:a");
  Peer peer(here, keys, "na");
  const PeerId id = here.at_head.wait_lines(1).last;
  EXPECT_TRUE(here.head->silent_ns(id));
  for (int ms = 0; ms < 20'000 && !here.head->resident_bytes(id); ms += 10)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_GT(here.head->resident_bytes(id).value_or(0), 1'000'000) << "of its process, with its first beat";
  test::stop_process(peer.process.pid());
  here.head->send(id, packet(1));  // it will find it when it wakes up, and answer
  int64_t silent = 0;
  while (const auto now = here.head->silent_ns(id)) {
    silent = std::max(silent, *now);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_GT(silent, 2 * link.beat_ns) << "until it was lost";
  EXPECT_EQ(here.at_head.wait([&](const Heard& h) { return h.state.at(id) == 2; }).line(),
            fmt::format("lost {} nothing was heard of it for 1 s", id));
  // Its key is free again.
  Peer second(here, keys, "nb");
  ::kill(peer.process.pid(), SIGCONT);
  EXPECT_TRUE(peer.process.read_line(60, nullptr).line.starts_with("lost "));
  const Heard heard = here.at_head.wait([](const Heard&) { return true; });
  EXPECT_TRUE(heard.packets.empty());
}

// Of every second port that the system gives, the one after it is somebody's.
TEST(ZmqLinks, listen_on_another_port_where_the_one_after_it_is_taken) {
  rlimit before{}, more{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  more = before;
  more.rlim_cur = std::min<rlim_t>(before.rlim_max, 8000);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &more), 0);
  std::vector<Descriptor> taken;
  for (int port = 32'768; port < 60'998 && taken.size() + 1000 < more.rlim_cur; port += 4) {
    Descriptor fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) taken.push_back(std::move(fd));
  }
  for (int i = 0; i < 8; ++i) {
    const Listening here;
    EXPECT_GT(here.head->address().port, 0);
  }
  taken.clear();
  ::setrlimit(RLIMIT_NOFILE, &before);
}

TEST(LinkAddressText, a_process_listens_on_the_address_that_others_know_it_by_where_that_is_its_own) {
  const LinkAddress head{"127.0.0.1", 4000};
  EXPECT_EQ(host_to_listen_on("", head), "127.0.0.1");
  EXPECT_EQ(host_to_listen_on("127.0.0.9", head), "127.0.0.9");
  for (const char* elsewhere : {"198.51.100.7", "no-such-host.invalid"})  // of a router in front of it
    EXPECT_EQ(host_to_listen_on(elsewhere, head), "127.0.0.1") << elsewhere;
}

TEST(LinkAddressText, is_read_as_it_is_written_and_anything_else_is_bad_input) {
  for (const char* good : {"127.0.0.1:4000", "[::1]:65534", "gpu07.cluster:1", "[fe80::1%eth0]:99"})
    EXPECT_EQ(parse_link_address(good).text(), good);
  for (const char* bad : {"", "host", ":4000", "host:", "host:0", "host:65535", "host:99999", "host:4x", "::1:4000", "[::1]",
                          "a b:4000", "host:-1", "ho\nst:4000", "tcp://h:4000", "host:0x10", "host: 1"}) {
    try {
      parse_link_address(bad);
      ADD_FAILURE() << bad;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::bad_input) << bad;
      EXPECT_FALSE(e.hint().empty());
    }
  }
}

}  // namespace
}  // namespace r1
