// What nodes fetch by content, between a head and nodes in one thread and virtual time: who gives how much, and what happens
// to a parent in the middle of it. Contents of several megabytes; the links' protocol and the head's and nodes' code are real.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/fingerprint.h"
#include "base/rng.h"
#include "runtime/flow/step_world.h"
#include "runtime/nodes/content_fetcher.h"
#include "runtime/nodes/content_server.h"
#include "runtime/nodes/memory_peers.h"
#include "runtime/nodes/step_node_world.h"
#include "tests/runtime/nodes/noise.h"
#include "tests/runtime/temporary_directory.h"

namespace r1 {
namespace {

using test::noise;

struct Exchange : ::testing::Test {
  static constexpr size_t kBytes = (size_t{24} << 20) + 12345;

  struct Process final : LinkSink {
    Process(Exchange& e, int n) : world(e.world), number(n), peers(e.peers.of(n)) {
      ContentFetcher::Options options;
      options.cache = e.directory.path() / fmt::format("cache-{}", n);
      options.send = [this](LinkPacket packet) { links->send(head, std::move(packet)); };
      options.peers = e.without_peers ? nullptr : peers.get();
      fetcher = std::make_unique<ContentFetcher>(world, options);
      wire = e.net.wires();
      links = e.net.dial(fmt::format("node:n{}", n), e.terms(fmt::format("host{}", n)), *this);
      tick();
    }
    void tick() {
      world.post_after(0.5, [this] {
        fetcher->tick();
        tick();
      });
    }
    void peer_up(PeerId peer, const PeerHello&) override { head = peer; }
    void received(PeerId, LinkPacket packet) override {
      auto shared = std::make_shared<const LinkPacket>(std::move(packet));
      if (shared->kind == PacketKind::forget) keys_taken_back += !decode_forget_order(shared->body).key.empty();
      world.post([this, shared] { fetcher->heard(*shared); });
    }
    void peer_lost(PeerId, const std::string& why) override { lost = why; }
    void not_joined(const std::string& why, bool) override { lost = why; }

    StepNodeWorld world;
    const int number;
    std::unique_ptr<PeerNet> peers;
    std::unique_ptr<ContentFetcher> fetcher;
    std::unique_ptr<Links> links;
    PeerId head = 0;
    int wire = -1;
    int keys_taken_back = 0;  // of nodes that it let in
    std::string lost;
    bool done = false;
    std::string error, got;
  };
  struct Head final : LinkSink {
    explicit Head(Exchange& e)
        : disk(e.world.executor({e.world.new_life(), 0, 0}, "files")),
          server({disk.get(), [this](PeerId peer, LinkPacket packet) { links->send(peer, std::move(packet)); },
                  [this](PeerId peer, const std::string& why) { links->drop(peer, why); }}),
          links(e.net.listen(e.terms("head"), *this)) {}
    void peer_up(PeerId peer, const PeerHello& hello) override {
      server.joined(peer, hello.principal.substr(5), hello.host);
      order.push_back(peer);
    }
    void received(PeerId peer, LinkPacket packet) override {
      if (mute == packet.kind) return;
      asked += packet.kind == PacketKind::get;
      EXPECT_TRUE(server.heard(peer, packet)) << packet_kind_name(packet.kind);
    }
    void peer_lost(PeerId peer, const std::string&) override { server.lost(peer); }
    void not_joined(const std::string&, bool) override {}

    PacketKind mute = PacketKind::hello;  // of this kind nothing is heard
    int asked = 0;                        // pieces
    std::vector<PeerId> order;
    std::unique_ptr<Executor> disk;
    ContentServer server;
    std::unique_ptr<Links> links;
  };

  void SetUp() override {
    std::ofstream(file, std::ios::binary) << content;
    const FileFingerprint print = fingerprint_file(file);
    named = {file.string(), print.bytes, print.hex()};
    head->server.add_file(named.hash, file);
    tick();
  }
  void TearDown() override {
    processes.clear();
    head.reset();
  }
  Process& add() {
    processes.push_back(std::make_unique<Process>(*this, static_cast<int>(processes.size())));
    Process& p = *processes.back();
    until([&] { return p.head != 0; });
    return p;
  }
  void kill(int n) {
    net.crash(*processes[static_cast<size_t>(n)]->links);
    processes[static_cast<size_t>(n)].reset();
  }
  void stop(int n, bool stopped) {
    processes[static_cast<size_t>(n)]->world.hold(stopped);
    net.stop(processes[static_cast<size_t>(n)]->wire, stopped);
    peers.stop(n, stopped);
  }
  void want_file(Process& p) {
    p.done = false;
    p.fetcher->want({named}, [this, &p](std::exception_ptr error) {
      p.done = true;
      p.error = what(error);
      if (!error) p.got = p.fetcher->cache().read(named, 0, kBytes + 1);
    });
  }
  void want_set(Process& p, const Content& set, const std::string& header = "the header") {
    p.done = false;
    ContentPayload payload{header, set.hash, {}, "a set of weights"};
    for (const std::string& frame : set.packet->frames) payload.frames.push_back(frame.size());
    p.fetcher->want(payload, [this, &p](std::exception_ptr error, std::shared_ptr<const Packet> packet) {
      p.done = true;
      p.error = what(error);
      if (!packet) return;
      p.got = packet->header + ":";
      for (const std::string& frame : packet->frames) p.got += frame;
    });
  }
  static std::string what(std::exception_ptr error) {
    try {
      if (error) std::rethrow_exception(error);
    } catch (const Error& e) {
      return e.message();
    }
    return "";
  }
  bool all_done() const {
    for (const auto& p : processes)
      if (p && !p->done) return false;
    return true;
  }
  // Whether it came to that within `seconds` of virtual time.
  bool until(const std::function<bool()>& there, double seconds = 60) {
    const int64_t end = world.clock().now_ns() + static_cast<int64_t>(seconds * 1e9);
    while (!there() && world.clock().now_ns() < end) world.step();
    return there();
  }
  void run(double seconds) {
    until([] { return false; }, seconds);
  }
  void expect_all_have(const std::string& bytes) {
    for (const auto& p : processes)
      if (p) {
        EXPECT_EQ(p->error, "") << p->number;
        EXPECT_TRUE(p->got == bytes) << p->number << " has " << p->got.size() << " bytes";
      }
  }
  int64_t sent() const { return head->server.bytes_sent(); }
  LinkTerms terms(const std::string& host) {
    LinkTerms t;
    t.self.build = "r1 test";
    t.self.host = host;
    t.self.nonce = std::to_string(++nonces);
    return t;
  }
  void tick() {
    net.tick();
    peers.tick();
    world.push({life, -1, 0}, world.clock().now_ns() + 100'000'000, [this] { tick(); });
  }
  MemoryNet::Options net_options() {
    MemoryNet::Options options;
    options.carry = [this](MemoryNet::Way way, std::function<void()> step) {
      world.push({life, way.wire, static_cast<int>(way.kind)}, 0, std::move(step));
    };
    return options;
  }
  MemoryPeers::Options peer_options() {
    MemoryPeers::Options options;
    options.carry = [this](int door, MemoryNet::Way way, std::function<void()> step) {
      world.push({peer_life, door * 1000 + way.wire, static_cast<int>(way.kind)}, 0, std::move(step));
    };
    options.tamper = [this](int door, MemoryNet::Way way, WireMessage& m) { return !tamper || tamper(door, way, m); };
    options.terms = [this](const std::string& host) { return terms(host); };
    options.link.dial_ns = 5'000'000'000;
    return options;
  }
  // What a door gives is another thing: as if whoever is there lied.
  void lies(int door, const std::function<void(Piece&)>& lie) {
    tamper = [this, door, lie](int at, MemoryNet::Way way, WireMessage& message) {
      if (at != door || (way.kind != MemoryNet::Way::Kind::to_node_control && way.kind != MemoryNet::Way::Kind::to_node_bulk))
        return true;
      Piece piece = decode_piece(message);
      if (piece.kind != PacketKind::blob && piece.kind != PacketKind::more) return true;
      ++lied;
      lie(piece);
      message = encode_piece(piece);
      return true;
    };
  }

  TemporaryDirectory directory;
  const std::filesystem::path file = directory.path() / "weights";
  const std::string content = noise(5, kBytes);
  NodeFile named;
  bool without_peers = false;
  int64_t nonces = 0;
  int lied = 0;
  std::function<bool(int door, MemoryNet::Way way, WireMessage& message)> tamper;
  int64_t disk_ns = 1'000'000;  // that a piece takes
  StepWorld world{{.seed = 11, .job_ns = [this](const std::string&) { return disk_ns; }}};
  const int64_t life = world.new_life(), peer_life = world.new_life();
  MemoryNet net{world.clock(), net_options()};
  MemoryPeers peers{world.clock(), peer_options()};
  std::unique_ptr<Head> head = std::make_unique<Head>(*this);
  std::vector<std::unique_ptr<Process>> processes;
};

TEST_F(Exchange, whoever_waits_for_what_is_fetched_is_told_whether_it_moves) {
  Process& p = add();
  EXPECT_FALSE(p.fetcher->moved()) << "nothing is fetched";
  disk_ns = 3'000'000'000;
  want_file(p);
  int moved = 0;
  for (int i = 0; i < 3 && !p.done; ++i) {
    run(6.5);
    moved += p.fetcher->moved();
  }
  EXPECT_FALSE(p.done);
  EXPECT_EQ(moved, 3);
  head->mute = PacketKind::get;
  run(20);
  (void)p.fetcher->moved();
  run(20);
  EXPECT_FALSE(p.fetcher->moved()) << "the head hears no question any more";
}

TEST_F(Exchange, of_seven_nodes_that_want_a_file_at_once_the_head_gives_it_to_one_and_they_have_it_from_each_other) {
  for (int n = 0; n < 7; ++n) add();
  for (const auto& p : processes) want_file(*p);
  ASSERT_TRUE(until([&] { return all_done(); }));
  expect_all_have(content);
  EXPECT_EQ(sent(), static_cast<int64_t>(kBytes)) << "of " << 7 * kBytes;
  EXPECT_EQ(peers.wires(), 6) << "a second parent is dialled when it is needed";
}

TEST_F(Exchange, who_comes_later_has_it_from_who_holds_it_also_from_an_earlier_run) {
  want_file(add());
  ASSERT_TRUE(until([&] { return all_done(); }));
  want_file(add());
  ASSERT_TRUE(until([&] { return all_done(); }));
  expect_all_have(content);
  EXPECT_EQ(sent(), static_cast<int64_t>(kBytes));
  // A new process that finds it in its cache says so.
  kill(1);
  kill(0);
  run(1);
  processes.push_back(std::make_unique<Process>(*this, 0));
  processes.push_back(std::make_unique<Process>(*this, 9));
  ASSERT_TRUE(until([&] { return processes[2]->head != 0 && processes[3]->head != 0; }));
  want_file(*processes[2]);
  ASSERT_TRUE(until([&] { return processes[2]->done; }));
  run(1);
  want_file(*processes[3]);
  ASSERT_TRUE(until([&] { return all_done(); }));
  expect_all_have(content);
  EXPECT_EQ(sent(), static_cast<int64_t>(kBytes));
}

TEST_F(Exchange, the_key_of_a_node_that_is_lost_is_taken_back_from_those_that_let_it_in_and_from_no_other) {
  for (int n = 0; n < 3; ++n) {
    want_file(add());
    ASSERT_TRUE(until([&] { return all_done(); }));
  }
  ASSERT_EQ(sent(), static_cast<int64_t>(kBytes)) << "the second and the third have it from the others";
  kill(2);
  run(1);
  EXPECT_EQ(processes[0]->keys_taken_back + processes[1]->keys_taken_back, 2) << "its two parents";
  kill(1);
  run(1);
  EXPECT_EQ(processes[0]->keys_taken_back, 2);
}

TEST_F(Exchange, a_set_goes_through_the_nodes_into_memory_and_is_forgotten_when_nobody_needs_it_any_more) {
  Packet packet{"another header", {}};
  for (const size_t bytes : {100, 4'000'000, 0, 5'000'000, 77, 3'000'000}) packet.frames.push_back(noise(bytes, bytes));
  std::string expected = "the header:";
  for (const std::string& frame : packet.frames) expected += frame;
  auto offer = head->server.offer(packet);
  EXPECT_EQ(&head->server.offer(packet)->content(), &offer->content()) << "the same is offered once";
  const Content set = offer->content();
  for (int n = 0; n < 5; ++n) want_set(add(), set);
  ASSERT_TRUE(until([&] { return all_done(); }));
  expect_all_have(expected);
  EXPECT_EQ(sent(), static_cast<int64_t>(set.bytes));
  // Another message with the same frames needs no fetching.
  want_set(*processes[3], set, "one more");
  EXPECT_TRUE(processes[3]->done);
  EXPECT_EQ(processes[3]->got.substr(0, 9), "one more:");
  offer.reset();
  run(1);
  want_set(*processes[3], set);
  ASSERT_TRUE(until([&] { return all_done(); }));
  EXPECT_EQ(processes[3]->error, "the head has no 'a set of weights' any more");
  EXPECT_EQ(sent(), static_cast<int64_t>(set.bytes));
}

TEST_F(Exchange, a_set_that_is_offered_again_while_the_head_says_that_it_has_it_no_more_is_fetched) {
  const Packet packet{"", {noise(7, 12'000'000)}};
  auto offer = head->server.offer(packet);
  const Content set = offer->content();
  Process& p = add();
  want_set(p, set);
  offer.reset();
  ASSERT_TRUE(until([&] { return head->asked == 3; }));
  p.world.hold(true);  // the answers are on their way
  run(1);
  offer = head->server.offer(packet);
  want_set(p, set);
  p.world.hold(false);
  ASSERT_TRUE(until([&] { return all_done(); }));
  expect_all_have("the header:" + packet.frames[0]);
}

TEST_F(Exchange, a_parent_that_is_killed_in_the_middle_is_replaced_by_the_other_one_or_the_head) {
  for (int n = 0; n < 3; ++n) {
    want_file(add());  // the first one is the parent of the others
    ASSERT_TRUE(until([&] { return sent() > 0; }));
  }
  ASSERT_TRUE(until([&] { return sent() > (12 << 20); }));
  EXPECT_FALSE(processes[1]->done || processes[2]->done);
  kill(0);
  ASSERT_TRUE(until([&] { return all_done(); }));
  expect_all_have(content);
  EXPECT_LT(sent(), static_cast<int64_t>(2 * kBytes)) << "one goes on from the head, the other one from that";
  EXPECT_GT(sent(), static_cast<int64_t>(kBytes));
}

TEST_F(Exchange, a_parent_that_is_stopped_or_says_nothing_is_not_waited_for_longer_than_the_lease_or_the_patience) {
  for (const bool dead : {true, false}) {
    SCOPED_TRACE(dead);
    const auto first = static_cast<int>(processes.size());
    const std::string was = named.hash;
    const std::string other = noise(100 + first, kBytes);
    std::ofstream(file, std::ios::binary) << other;
    const FileFingerprint print = fingerprint_file(file);
    named = {file.string(), print.bytes, print.hex()};
    head->server.add_file(named.hash, file);
    for (int n = 0; n < 3; ++n) add();
    const int64_t before = sent();
    want_file(*processes[static_cast<size_t>(first)]);
    ASSERT_TRUE(until([&] { return sent() > before; }));
    for (int n = first + 1; n < first + 3; ++n) want_file(*processes[static_cast<size_t>(n)]);
    ASSERT_TRUE(until([&] { return sent() > before + (16 << 20); }));
    if (dead)
      stop(first, true);
    else
      processes[static_cast<size_t>(first)]->world.hold(true);  // its links are alive
    Process& one = *processes[static_cast<size_t>(first) + 1];
    Process& two = *processes[static_cast<size_t>(first) + 2];
    ASSERT_TRUE(until([&] { return one.done && two.done; }, dead ? 5 : ContentFetcher::kPatience_s + 2));
    EXPECT_TRUE(one.got == other && two.got == other);
    if (dead)
      stop(first, false);
    else
      processes[static_cast<size_t>(first)]->world.hold(false);
    run(2);
    kill(first);
    kill(first + 1);
    kill(first + 2);
  }
}

TEST_F(Exchange, a_wrong_chunk_is_not_kept_and_is_had_elsewhere) {
  for (int n = 0; n < 3; ++n) add();
  lies(0, [this](Piece& piece) {
    if (lied < 5 || piece.parts.empty()) return;  // at first it is honest
    std::string bytes(piece.parts.back().bytes());
    if (bytes.empty()) return;
    bytes[bytes.size() / 2] ^= 1;
    piece.parts.back() = WireFrame(bytes);
  });
  for (const auto& p : processes) want_file(*p);
  ASSERT_TRUE(until([&] { return all_done(); }));
  EXPECT_GT(lied, 5);
  expect_all_have(content);
  EXPECT_LE(sent(), static_cast<int64_t>(2 * kBytes));
}

TEST_F(Exchange, a_piece_of_another_place_or_size_and_words_that_no_parent_says_are_not_taken) {
  const std::vector<std::function<void(Piece&)>> lies_of = {
      [](Piece& p) {
        p.body = encode(FilePiece{decode_file_piece(p.body).hash, uint64_t{1} << 22, kPieceBytesOfContent});
      },
      [](Piece& p) {
        p.body = encode(FilePiece{decode_file_piece(p.body).hash, 0, ~uint64_t{0}});
      },
      [](Piece& p) { p.body = "garbage"; },
      [](Piece& p) { p.kind = PacketKind::open; },
      [](Piece& p) { p.kind = PacketKind::stop; },
  };
  for (size_t i = 0; i < lies_of.size(); ++i) {
    SCOPED_TRACE(i);
    const size_t first = processes.size();
    for (int n = 0; n < 2; ++n) add();
    want_file(*processes[first]);
    want_file(*processes[first + 1]);
    lies(static_cast<int>(i), [&, i](Piece& piece) {
      if (piece.kind == PacketKind::blob) lies_of[i](piece);
    });
    ASSERT_TRUE(until([&] { return processes[first]->done && processes[first + 1]->done; }));
    expect_all_have(content);
    EXPECT_EQ(sent(), static_cast<int64_t>(2 * (i + 1) * kBytes)) << "all of it from the head";
    kill(static_cast<int>(first));
    kill(static_cast<int>(first) + 1);
  }
}

TEST_F(Exchange, a_parent_that_has_moved_on_says_so_and_the_head_is_asked) {
  Packet packet{"h", {noise(1, kBytes)}};
  const auto offer = head->server.offer(packet);
  const Content set = offer->content();
  want_set(add(), set);
  ASSERT_TRUE(until([&] { return all_done(); }));
  lies(0, [](Piece&) {});  // counts
  want_set(add(), set);
  ASSERT_TRUE(until([&] { return lied == 3; }));
  EXPECT_FALSE(all_done());
  processes[0]->fetcher->heard(link_word(PacketKind::forget, encode(ForgetOrder{set.hash, ""})));
  ASSERT_TRUE(until([&] { return all_done(); }));
  expect_all_have("the header:" + packet.frames[0]);
  EXPECT_GT(sent(), static_cast<int64_t>(kBytes));
}

TEST_F(Exchange, a_parent_that_is_not_reached_or_cannot_listen_is_done_without) {
  want_file(add());
  ASSERT_TRUE(until([&] { return all_done(); }));
  tamper = [](int, MemoryNet::Way way, WireMessage&) {
    return way.kind != MemoryNet::Way::Kind::to_head_control && way.kind != MemoryNet::Way::Kind::to_head_bulk;
  };
  want_file(add());
  ASSERT_TRUE(until([&] { return all_done(); }, 10));
  expect_all_have(content);
  EXPECT_EQ(sent(), static_cast<int64_t>(2 * kBytes));
  // What it needs next does not wait for that parent again.
  const auto offer = head->server.offer({"", {noise(3, 2'000'000)}});
  for (const auto& p : processes) {
    want_set(*p, offer->content());
    ASSERT_TRUE(until([&] { return all_done(); }, 1));
  }
  kill(0);
  kill(1);
  without_peers = true;
  want_file(add());
  ASSERT_TRUE(until([&] { return all_done(); }));
  without_peers = false;
  want_file(add());
  ASSERT_TRUE(until([&] { return all_done(); }));
  EXPECT_EQ(sent(), static_cast<int64_t>(4 * kBytes) + 4'000'000);
}

TEST_F(Exchange, a_head_that_does_not_say_whom_to_ask_is_asked_itself) {
  add();
  add();
  want_file(*processes[0]);
  ASSERT_TRUE(until([&] { return processes[0]->done; }));
  head->mute = PacketKind::listens;
  want_file(*processes[1]);
  ASSERT_TRUE(until([&] { return processes[1]->done; }, 15));
  expect_all_have(content);
  EXPECT_EQ(sent(), static_cast<int64_t>(2 * kBytes));
}

TEST_F(Exchange, who_asks_what_no_node_asks_is_let_go_and_others_are_served) {
  want_file(add());
  ASSERT_TRUE(until([&] { return all_done(); }));
  const CurveKeys door = new_curve_keys(), child = new_curve_keys();
  processes[0]->fetcher->heard(link_word(PacketKind::listen, encode(DoorOrder{77, "a node", child.public_key, door})));
  run(1);
  struct Child final : LinkSink {
    void peer_up(PeerId p, const PeerHello&) override { peer = p; }
    void received(PeerId, LinkPacket packet) override { answers.push_back(packet.kind); }
    void peer_lost(PeerId, const std::string&) override { lost = true; }
    void not_joined(const std::string&, bool) override { lost = true; }
    PeerId peer = 0;
    bool lost = false;
    std::vector<PacketKind> answers;
  };
  const auto as_stranger = peers.of(5);
  {
    Child stranger;
    const auto links = as_stranger->dial("127.0.0.1:1", door.public_key, new_curve_keys(), stranger);
    EXPECT_TRUE(until([&] { return stranger.lost; }, 10));
    EXPECT_EQ(stranger.peer, 0u) << "its key was not let in";
  }
  const auto get = [&](const std::string& hash, uint64_t offset, uint64_t bytes) {
    return link_word(PacketKind::get, encode(FilePiece{hash, offset, bytes}));
  };
  std::vector<std::vector<LinkPacket>> table = {
      {link_word(PacketKind::get, "garbage")},
      {link_word(PacketKind::want, encode_content_name(named.hash, 1))},
      {get(named.hash, 1, 100)},
      {get(named.hash, 0, kPieceBytesOfContent + 1)},
      {get(named.hash, ~uint64_t{0} - kLeafBytes + 1, kLeafBytes)},
      std::vector<LinkPacket>(10'000, get(named.hash, 0, kPieceBytesOfContent)),
  };
  for (size_t i = 0; i < table.size(); ++i) {
    Child bad;
    const auto links = as_stranger->dial("127.0.0.1:1", door.public_key, child, bad);
    ASSERT_TRUE(until([&] { return bad.peer != 0; })) << i;
    for (const LinkPacket& packet : table[i]) links->send(bad.peer, packet);
    EXPECT_TRUE(until([&] { return bad.lost; }, 10)) << i;
    EXPECT_LE(bad.answers.size(), ContentFetcher::kMostAsked) << i;
  }
  Child good;
  const auto links = as_stranger->dial("127.0.0.1:1", door.public_key, child, good);
  ASSERT_TRUE(until([&] { return good.peer != 0; }));
  links->send(good.peer, get(named.hash, 0, kLeafBytes));
  links->send(good.peer, get(std::string(32, 'a'), 0, kLeafBytes));
  links->send(good.peer, get(named.hash, kBytes / kLeafBytes * kLeafBytes, kLeafBytes));
  ASSERT_TRUE(until([&] { return good.answers.size() == 3; }));
  EXPECT_EQ(good.answers, (std::vector<PacketKind>{PacketKind::no_blob, PacketKind::blob, PacketKind::no_blob}));
  EXPECT_FALSE(good.lost);
  processes[0]->fetcher->heard(link_word(PacketKind::forget, encode(ForgetOrder{"", child.public_key})));
  Child late;
  const auto again = as_stranger->dial("127.0.0.1:1", door.public_key, child, late);
  EXPECT_TRUE(until([&] { return late.lost; }, 10)) << "its key is let in no longer";
}

TEST_F(Exchange, whoever_is_killed_and_whenever_the_others_have_it_in_bounded_time) {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    const std::string bytes = noise(1000 + seed, (size_t{6} << 20) + seed);
    const auto offer = head->server.offer({"", {bytes}});
    const size_t first = processes.size();
    for (int n = 0; n < 6; ++n) want_set(add(), offer->content());
    for (int kills = 0; kills < 4; ++kills) {
      run(0.002 * static_cast<double>(1 + rng.below(20)));
      const size_t victim = first + rng.below(6);
      if (processes[victim]) kill(static_cast<int>(victim));
    }
    ASSERT_TRUE(until([&] { return all_done(); }, 40));
    expect_all_have("the header:" + bytes);
    for (size_t n = first; n < processes.size(); ++n)
      if (processes[n]) kill(static_cast<int>(n));
  }
}

}  // namespace
}  // namespace r1
