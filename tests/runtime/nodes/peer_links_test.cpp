// Nodes that dial each other over sockets: who is let in, who is talked to, and a content that goes through three processes'
// worth of nodes.
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "runtime/nodes/content_fetcher.h"
#include "runtime/nodes/content_server.h"
#include "runtime/nodes/zmq_peers.h"
#include "tests/runtime/temporary_directory.h"

namespace r1 {
namespace {

bool until(const std::function<bool()>& there, double seconds = 20) {
  for (int i = 0; i < seconds * 200 && !there(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  return there();
}

ZmqPeersOptions options(const std::string& nonce) {
  ZmqPeersOptions o;
  o.self = hello_of_this_process("r1 test");
  o.self.nonce = nonce;
  o.link.dial_ns = 2'000'000'000;
  return o;
}

struct Heard final : LinkSink {
  void peer_up(PeerId p, const PeerHello& hello) override {
    const std::lock_guard lock(mutex);
    peer = p;
    principal = hello.principal;
  }
  void received(PeerId, LinkPacket packet) override {
    const std::lock_guard lock(mutex);
    bodies.push_back(packet.body);
  }
  void peer_lost(PeerId, const std::string& w) override { end(w); }
  void not_joined(const std::string& w, bool) override { end(w); }
  void end(const std::string& w) {
    const std::lock_guard lock(mutex);
    why = w;
  }
  template <class T>
  T read(T Heard::*member) {
    const std::lock_guard lock(mutex);
    return this->*member;
  }
  std::mutex mutex;
  PeerId peer = 0;
  std::string principal, why;
  std::vector<std::string> bodies;
};

TEST(PeerLinks, strangers_are_not_let_in_and_who_was_named_is_until_the_key_is_taken_back) {
  const auto listens = zmq_peers(options("door")), dials = zmq_peers(options("child"));
  const CurveKeys door = new_curve_keys(), child = new_curve_keys();
  KeyRing ring;
  Heard at_door, stranger, known, late;
  const PeerNet::Door opened = listens->listen(door, ring, at_door);
  EXPECT_TRUE(opened.address.starts_with("127.0.0.1:")) << opened.address;
  {
    const auto links = dials->dial(opened.address, door.public_key, child, stranger);
    ASSERT_TRUE(until([&] { return !stranger.read(&Heard::why).empty(); }));
    EXPECT_NE(stranger.why.find("does not know this key"), std::string::npos) << stranger.why;
  }
  ring.let_in("node:7", child.public_key);
  {
    const auto links = dials->dial(opened.address, door.public_key, child, known);
    ASSERT_TRUE(until([&] { return known.read(&Heard::peer) != 0; }));
    links->send(known.peer, link_word(PacketKind::get, "a question"));
    ASSERT_TRUE(until([&] { return at_door.read(&Heard::bodies).size() == 1; }));
    EXPECT_EQ(at_door.read(&Heard::principal), "node:7");
  }
  ring.shut_out(child.public_key);
  const auto links = dials->dial(opened.address, door.public_key, child, late);
  ASSERT_TRUE(until([&] { return !late.read(&Heard::why).empty(); }));
  EXPECT_EQ(late.read(&Heard::peer), 0u);
}

TEST(PeerLinks, somebody_else_in_the_place_of_a_node_is_not_talked_to) {
  const auto listens = zmq_peers(options("door")), dials = zmq_peers(options("child"));
  const CurveKeys thief = new_curve_keys(), child = new_curve_keys();
  KeyRing ring;
  ring.let_in("node:7", child.public_key);
  Heard at_door, at_child;
  const PeerNet::Door opened = listens->listen(thief, ring, at_door);
  const auto links = dials->dial(opened.address, new_curve_keys().public_key, child, at_child);
  ASSERT_TRUE(until([&] { return !at_child.read(&Heard::why).empty(); }));
  EXPECT_NE(at_child.why.find("no answer within 2 s"), std::string::npos) << at_child.why;
  EXPECT_EQ(at_door.read(&Heard::peer), 0u);
}

// A node: its thread, its doors and dials over sockets. Its link to the head is a call.
struct SocketNode {
  SocketNode(PeerId id, ContentServer& server, const std::filesystem::path& cache)
      : peers(zmq_peers(options("node " + std::to_string(id)))) {
    ContentFetcher::Options o;
    o.cache = cache;
    o.peers = peers.get();
    o.send = [&server, id](LinkPacket packet) { server.heard(id, packet); };
    fetcher = std::make_unique<ContentFetcher>(loop, o);
    tick();
    thread = std::thread([this] { loop.run(); });
  }
  ~SocketNode() {
    loop.post([this] {
      fetcher.reset();
      loop.stop();
    });
    thread.join();
  }
  void tick() {
    loop.post_after(0.5, [this] {
      if (!fetcher) return;
      fetcher->tick();
      tick();
    });
  }
  void want(const Content& content) {
    ContentPayload payload{"header", content.hash, {}, ""};
    for (const std::string& frame : content.packet->frames) payload.frames.push_back(frame.size());
    loop.post([this, payload] {
      fetcher->want(payload, [this](std::exception_ptr error, std::shared_ptr<const Packet> packet) {
        if (!error) got = packet->frames;
        done = true;
      });
    });
  }
  NodeLoop loop;
  std::unique_ptr<PeerNet> peers;
  std::unique_ptr<ContentFetcher> fetcher;
  std::vector<std::string> got;
  std::atomic<bool> done{false};
  std::thread thread;
};

TEST(PeerLinks, five_nodes_have_a_set_over_sockets_and_the_head_gives_it_once) {
  const TemporaryDirectory directory;
  const auto files = make_thread_executor("files");
  std::map<PeerId, std::unique_ptr<SocketNode>> nodes;
  std::mutex mutex;
  ContentServer server({files.get(),
                        [&](PeerId peer, LinkPacket packet) {
                          const std::lock_guard lock(mutex);
                          const auto at = nodes.find(peer);
                          if (at == nodes.end()) return;
                          at->second->loop.post(
                              [node = at->second.get(), shared = std::make_shared<LinkPacket>(std::move(packet))] {
                                if (node->fetcher) node->fetcher->heard(*shared);
                              });
                        },
                        [](PeerId, const std::string& why) { ADD_FAILURE() << why; }});
  Packet packet;
  for (int frame = 0; frame < 7; ++frame) {
    packet.frames.emplace_back(static_cast<size_t>(5'000'000 + frame), '\0');
    for (size_t i = 0; i < packet.frames.back().size(); i += 97) packet.frames.back()[i] = static_cast<char>(i * 31 + frame);
  }
  const std::vector<std::string> frames = packet.frames;
  auto offer = server.offer(std::move(packet));
  for (PeerId id = 1; id <= 5; ++id) {
    server.joined(id, "node" + std::to_string(id), "host");
    auto node = std::make_unique<SocketNode>(id, server, directory.path() / std::to_string(id));
    const std::lock_guard lock(mutex);
    nodes[id] = std::move(node);
  }
  for (const auto& [id, node] : nodes) node->want(offer->content());
  for (const auto& [id, node] : nodes) {
    ASSERT_TRUE(until([&] { return node->done.load(); }, 60)) << id;
    EXPECT_TRUE(node->got == frames) << id;
  }
  EXPECT_EQ(server.bytes_sent(), static_cast<int64_t>(offer->content().bytes)) << "of " << 5 * offer->content().bytes;
  std::map<PeerId, std::unique_ptr<SocketNode>> gone;
  {
    const std::lock_guard lock(mutex);
    gone.swap(nodes);
  }
  gone.clear();
}

}  // namespace
}  // namespace r1
