// Rings of ranks over sockets: whose words are heard, who is let in, what ends a channel, and that the error names both ends.
#include "runtime/nodes/ring_links.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "kernels/ops.h"
#include "kernels/ring_ranks.h"
#include "tests/e2e/tcp_proxy.h"
#include "tests/free_port.h"

namespace r1 {
namespace {

constexpr uint64_t kAttempt = 77;

PeerHello self(int64_t rank) {
  PeerHello hello = hello_of_this_process("r1 test");
  hello.nonce = "of rank " + std::to_string(rank);
  return hello;
}

RingLinksOptions options(int64_t rank) {
  RingLinksOptions o;
  o.self = self(rank);
  o.link.dial_ns = 2'000'000'000;
  return o;
}

std::vector<RingInvitation> invitations(size_t ranks, uint64_t attempt = kAttempt) {
  std::vector<std::string> names;
  for (size_t r = 0; r < ranks; ++r) names.push_back("rank " + std::to_string(r) + " at node" + std::to_string(r));
  return new_ring(attempt, names);
}

// A whole ring, each rank as a process of its own would have it.
struct Ring {
  explicit Ring(std::vector<RingInvitation> told) {
    for (const RingInvitation& t : told) ends.push_back(ring_links(t, options(t.rank)));
    for (size_t r = 0; r < ends.size(); ++r) ends[r]->join(ends[(r + ends.size() - 1) % ends.size()]->address());
    for (const auto& end : ends) {
      previous.push_back(end->to_previous());
      next.push_back(end->to_next());
    }
  }
  std::vector<std::unique_ptr<RankRing>> ends;
  std::vector<std::unique_ptr<MessageChannel>> previous, next;
};

std::string heard(MessageChannel& channel, double patience_s = 20) {
  try {
    const ChannelMessage message = channel.receive(patience_s);
    return message.text + std::string(message.bytes.substr(0, 1)) + std::to_string(message.bytes.size());
  } catch (const Error& e) {
    return e.message();
  }
}
bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(RingLinks, words_go_both_ways_to_the_neighbours_and_to_nobody_else_in_rings_of_two_three_and_four) {
  for (const size_t ranks : {2, 3, 4}) {
    Ring ring(invitations(ranks));
    for (size_t r = 0; r < ranks; ++r) {
      const std::string own = std::to_string(r);
      ring.next[r]->send(channel_message("on from " + own + " "));
      ring.next[r]->send(channel_message("d", std::string(size_t{1} << 20, static_cast<char>('a' + r))));
      ring.previous[r]->send(channel_message("back from " + own + " "));
    }
    for (size_t r = 0; r < ranks; ++r) {
      const size_t before = (r + ranks - 1) % ranks, behind = (r + 1) % ranks;
      EXPECT_EQ(heard(*ring.previous[r]), "on from " + std::to_string(before) + " 0") << ranks;
      EXPECT_EQ(heard(*ring.previous[r]), std::string("d") + static_cast<char>('a' + before) + "1048576") << ranks;
      EXPECT_EQ(heard(*ring.next[r]), "back from " + std::to_string(behind) + " 0") << ranks;
      EXPECT_EQ(heard(*ring.previous[r], 0.01), "nothing was said for 0.01 s");
    }
  }
}

TEST(RingLinks, of_two_ranks_the_second_does_not_listen) {
  const Ring two(invitations(2)), three(invitations(3));
  EXPECT_TRUE(two.ends[0]->address().starts_with("127.0.0.1:"));
  EXPECT_EQ(two.ends[1]->address(), "");
  for (const auto& end : three.ends) EXPECT_TRUE(end->address().starts_with("127.0.0.1:")) << end->address();
}

// As behind address translation: it listens on an address that nobody else knows it by.
TEST(RingLinks, a_rank_is_dialled_where_it_says_that_others_reach_it_and_listens_on_the_ports_that_it_may) {
  const std::vector<RingInvitation> told = invitations(3);
  RingLinksOptions behind = options(1);
  const int port = test::free_port();
  behind.address = "localhost";
  behind.ports = {port, port + 1};
  const auto one = ring_links(told[1], behind);
  EXPECT_EQ(one->address(), fmt::format("localhost:{}", port));
  const auto two = ring_links(told[2], options(2));
  two->join(one->address());
  two->to_previous()->send(channel_message("back "));
  EXPECT_EQ(heard(*one->to_next()), "back 0");

  RingLinksOptions same = options(0);
  same.ports = {port, port + 3};
  EXPECT_EQ(ring_links(told[0], same)->address(), fmt::format("127.0.0.1:{}", port + 2)) << "the next two";
  same.ports = {port, port + 2};
  try {
    ring_links(told[0], same);
    ADD_FAILURE() << "listens on a port that is not its own";
  } catch (const Error& e) {
    EXPECT_TRUE(has(e.message(), fmt::format("no two ports of {}-{} are free on 127.0.0.1", port, port + 2))) << e.what();
  }
}

TEST(RingLinks, a_rank_with_a_key_of_another_attempt_is_not_let_in_and_the_one_with_this_ones_is) {
  const std::vector<RingInvitation> now = invitations(3), before = invitations(3, kAttempt - 1);
  const auto listens = ring_links(now[1], options(1));
  const auto hears = listens->to_next();
  RingInvitation old = before[2];
  old.previous_key = now[1].keys.public_key;  // it has heard of that, and has an old key
  {
    const auto stranger = ring_links(old, options(2));
    stranger->join(listens->address());
    const auto channel = stranger->to_previous();
    channel->send(channel_message("d", std::string(1000, 'x')));
    const std::string why = heard(*channel);
    EXPECT_TRUE(has(why, "rank 2 at node2 does not reach rank 1 at node1 at " + listens->address())) << why;
    EXPECT_TRUE(has(why, "does not know this key")) << why;
  }
  EXPECT_EQ(heard(*hears, 0.1), "nothing was said for 0.1 s");
  const auto other = ring_links(now[2], options(2));
  other->join(listens->address());
  other->to_previous()->send(channel_message("back "));
  EXPECT_EQ(heard(*hears), "back 0");
}

TEST(RingLinks, somebody_else_in_the_place_of_a_rank_is_not_talked_to) {
  const std::vector<RingInvitation> told = invitations(3), others = invitations(3);
  RingInvitation thief = others[1];
  thief.next_key = told[2].keys.public_key;
  const auto listens = ring_links(thief, options(1));
  const auto dials = ring_links(told[2], options(2));
  dials->join(listens->address());
  const auto channel = dials->to_previous();
  channel->send(channel_message("d", "secret"));
  const std::string why = heard(*channel);
  EXPECT_TRUE(has(why, "rank 2 at node2 does not reach rank 1 at node1")) << why;
  EXPECT_TRUE(has(why, "no answer within 2 s")) << why;
  EXPECT_EQ(heard(*listens->to_next(), 0.01), "nothing was said for 0.01 s");
}

TEST(RingLinks, a_word_of_another_attempt_is_not_heard_and_ends_the_link) {
  std::vector<RingInvitation> told = invitations(3);
  const auto one = ring_links(told[1], options(1));
  told[2].attempt = kAttempt - 1;  // with the keys of this one: so it is not the keys that keep it out
  const auto two = ring_links(told[2], options(2));
  two->join(one->address());
  const auto hears = one->to_next(), says = two->to_previous();
  says->send(channel_message("d", "of another sum"));
  const std::string why = heard(*hears);
  EXPECT_TRUE(has(why, "rank 1 at node1 was told by rank 2 at node2 what no rank says: a word of attempt 76, this is 77"))
      << why;
  EXPECT_EQ(heard(*hears), why) << "nothing comes behind it";
  const std::string other_end = heard(*says);
  EXPECT_TRUE(has(other_end, "the link between rank 2 at node2 and rank 1 at node1 is lost: it left: a word of attempt 76"))
      << other_end;
}

TEST(RingLinks, a_neighbour_that_goes_ends_the_channel_behind_what_it_said_and_both_ends_are_named) {
  Ring ring(invitations(3));
  for (size_t r = 0; r < 3; ++r) ring.next[r]->send(channel_message("here "));
  for (size_t r = 0; r < 3; ++r) ASSERT_EQ(heard(*ring.previous[r]), "here 0");
  ring.next[1]->send(channel_message("fno power "));
  ring.ends[1] = nullptr;
  ring.previous[1] = nullptr;
  ring.next[1] = nullptr;
  EXPECT_EQ(heard(*ring.previous[2]), "fno power 0");
  const std::string at2 = heard(*ring.previous[2]), at0 = heard(*ring.next[0]);
  EXPECT_TRUE(has(at2, "the link between rank 2 at node2 and rank 1 at node1 is lost: ")) << at2;
  EXPECT_TRUE(has(at0, "the link between rank 0 at node0 and rank 1 at node1 is lost: ")) << at0;
  ring.next[2]->send(channel_message("still here "));
  EXPECT_EQ(heard(*ring.previous[0]), "still here 0") << "the others' link goes on";
}

TEST(RingLinks, a_neighbour_that_sends_more_than_is_agreed_is_let_go_and_what_it_sent_with_it) {
  Ring ring(invitations(3));
  for (int i = 0; i < 40; ++i) ring.next[1]->send(channel_message("d", std::string(size_t{1} << 20, 'x')));
  const std::string at1 = heard(*ring.next[1]), at2 = heard(*ring.previous[2]);
  // Whether its last word comes before its connection is closed is TCP's.
  EXPECT_TRUE(has(at1, "the link between rank 1 at node1 and rank 2 at node2 is lost: ")) << at1;
  EXPECT_TRUE(has(at2, "rank 2 at node2 was told by rank 1 at node1 what no rank says: more than is agreed to be under way"))
      << at2;
}

TEST(RingLinks, sixteen_mebibytes_and_two_hundred_words_may_wait_time_and_again) {
  Ring ring(invitations(2));
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 16; ++i) ring.next[0]->send(channel_message("d", std::string(size_t{1} << 20, 'x')));
    for (int i = 0; i < 200; ++i) ring.next[0]->send(channel_message("t "));
    // Of two ranks one link carries both channels, in order: all of it is there, and was not received.
    ring.previous[0]->send(channel_message("behind it "));
    ASSERT_EQ(heard(*ring.next[1]), "behind it 0") << round;
    for (int i = 0; i < 16; ++i) ASSERT_EQ(heard(*ring.previous[1]), "dx1048576") << round;
    for (int i = 0; i < 200; ++i) ASSERT_EQ(heard(*ring.previous[1]), "t 0") << round;
  }
}

TEST(RingLinks, a_neighbour_that_sends_more_words_than_are_agreed_is_let_go) {
  Ring ring(invitations(3));
  for (int i = 0; i < 300; ++i) ring.next[1]->send(channel_message("t"));
  EXPECT_TRUE(has(heard(*ring.next[1]), "the link between rank 1 at node1 and rank 2 at node2 is lost: "));
  const std::string at2 = heard(*ring.previous[2]);
  EXPECT_TRUE(has(at2, "what no rank says: more than is agreed to be under way")) << at2;
}

TEST(RingLinks, a_rank_that_is_given_up_waits_no_longer_for_neighbours_that_never_come) {
  const auto alone = ring_links(invitations(3)[1], options(1));
  const auto previous = alone->to_previous(), next = alone->to_next();
  next->send(channel_message("to nobody"));
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    alone->give_up(std::make_exception_ptr(failure("rank 2 has failed")));
  });
  EXPECT_EQ(heard(*previous), "rank 2 has failed");
  EXPECT_EQ(heard(*next), "rank 2 has failed");
  later.join();
}

// ---- neighbours that stand still. Nobody here has a head: what ends the ring is its own.

constexpr int64_t kLease_ns = 2'000'000'000;

RingLinksOptions with_lease(int64_t rank) {
  RingLinksOptions o = options(rank);
  o.link.beat_ns = kLease_ns / 10;
  o.link.lease_ns = kLease_ns;
  o.link.dial_ns = 15'000'000'000;
  return o;
}

// Sums until something fails, for whom: why. `sums`: how many were there.
std::string end_of_sums(RankRing& ring, const RingInvitation& told, std::atomic<int>* sums = nullptr) {
  Device& device = open_device("cpu");
  Context ctx(device);
  const Tensor x(device, DType::f32, {96});
  const auto rank = ring_rank(ring.to_previous(), ring.to_next(), told.rank, told.ranks);
  try {
    for (;;) {
      run(ctx, Fill{x, 1});
      rank->all_reduce(ctx, x);
      if (sums != nullptr) ++*sums;
    }
  } catch (const Error& e) {
    return e.message();
  }
}

bool wait_for_sums(const std::atomic<int>& sums, int n) {
  for (int i = 0; i < 6000 && sums < n; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  return sums >= n;
}

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

TEST(RingLinks, a_link_between_two_ranks_that_is_cut_ends_the_ring_within_the_lease_and_both_ends_are_named_to_all) {
  for (const bool one_way : {false, true}) {
    const std::vector<RingInvitation> told = invitations(3);
    std::vector<std::unique_ptr<RankRing>> ends;
    for (const RingInvitation& t : told) ends.push_back(ring_links(t, with_lease(t.rank)));
    test::TcpProxy between(parse_link_address(ends[1]->address()).port);
    ASSERT_TRUE(between.ok());
    ends[0]->join(ends[2]->address());
    ends[1]->join(ends[0]->address());
    ends[2]->join("127.0.0.1:" + std::to_string(between.port));
    std::atomic<int> sums{0};
    std::vector<std::string> why(3);
    std::vector<std::thread> ranks;
    for (size_t r = 0; r < 3; ++r)
      ranks.emplace_back([&, r] { why[r] = end_of_sums(*ends[r], told[r], r == 0 ? &sums : nullptr); });
    EXPECT_TRUE(wait_for_sums(sums, 3));
    const auto begin = std::chrono::steady_clock::now();
    between.hold(true, !one_way);
    for (std::thread& t : ranks) t.join();
    EXPECT_GT(seconds_since(begin), 1e-9 * kLease_ns / 2) << "not by another reason";
    EXPECT_LT(seconds_since(begin), 30) << "the lease is 2 s";
    for (const std::string& w : why) {
      EXPECT_TRUE(has(w, "the link between rank 1 at node1 and rank 2 at node2 is lost: ") ||
                  has(w, "the link between rank 2 at node2 and rank 1 at node1 is lost: "))
          << w;
      EXPECT_TRUE(has(w, "nothing was heard of it for 2 s")) << w;
    }
  }
}

TEST(RingLinks, a_neighbour_that_is_stopped_ends_the_ring_within_the_lease_and_is_named) {
  const std::vector<RingInvitation> told = invitations(3);
  int out[2], in[2];
  ASSERT_EQ(::pipe(out) + ::pipe(in), 0);
  const auto line_of = [](int fd) {
    std::string line;
    for (char c = 0; ::read(fd, &c, 1) == 1 && c != '\n';) line += c;
    return line;
  };
  const auto say = [](int fd, const std::string& line) {
    ASSERT_EQ(::write(fd, (line + "\n").data(), line.size() + 1), static_cast<ssize_t>(line.size() + 1));
  };
  const pid_t process = ::fork();
  if (process == 0) {
    const auto ring = ring_links(told[2], with_lease(2));
    say(out[1], ring->address());
    ring->join(line_of(in[0]));
    end_of_sums(*ring, told[2]);
    ::_exit(0);
  }
  ASSERT_GT(process, 0);
  const std::string third = line_of(out[0]);
  std::vector<std::unique_ptr<RankRing>> ends;
  for (size_t r = 0; r < 2; ++r) ends.push_back(ring_links(told[r], with_lease(told[r].rank)));
  say(in[1], ends[1]->address());
  ends[0]->join(third);
  ends[1]->join(ends[0]->address());
  std::atomic<int> sums{0};
  std::vector<std::string> why(2);
  std::vector<std::thread> ranks;
  for (size_t r = 0; r < 2; ++r)
    ranks.emplace_back([&, r] { why[r] = end_of_sums(*ends[r], told[r], r == 0 ? &sums : nullptr); });
  EXPECT_TRUE(wait_for_sums(sums, 3));
  const auto begin = std::chrono::steady_clock::now();
  ::kill(process, SIGSTOP);
  for (std::thread& t : ranks) t.join();
  EXPECT_GT(seconds_since(begin), 1e-9 * kLease_ns / 2) << "not by another reason";
  EXPECT_LT(seconds_since(begin), 30);
  ::kill(process, SIGKILL);
  ::waitpid(process, nullptr, 0);
  for (const int fd : {out[0], out[1], in[0], in[1]}) ::close(fd);
  // Which of its two neighbours hears first that it says nothing is chance; both name it.
  for (const std::string& w : why)
    EXPECT_TRUE(has(w, "the link between rank 0 at node0 and rank 2 at node2 is lost: nothing was heard of it for 2 s") ||
                has(w, "the link between rank 1 at node1 and rank 2 at node2 is lost: nothing was heard of it for 2 s"))
        << w;
}

TEST(RingLinks, an_address_that_is_none_is_a_failure_that_names_whose_it_is_said_to_be) {
  const auto ring = ring_links(invitations(3)[2], options(2));
  for (const char* text : {"", "nowhere", "127.0.0.1:70000"}) try {
      ring->join(text);
      ADD_FAILURE() << text;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::failed);
      EXPECT_TRUE(has(e.message(), "where rank 1 at node1 listens: ")) << e.message();
    }
}

TEST(RingLinks, a_machine_has_an_address_towards_each_that_it_reaches) {
  EXPECT_EQ(host_towards({"127.0.0.1", 4000}), "127.0.0.1");
  EXPECT_EQ(host_towards({"localhost", 4000}).empty(), false);
  EXPECT_THROW(host_towards({"no.such.host.invalid", 4000}), Error);
}

}  // namespace
}  // namespace r1
