// What nodes say to each other, and to their head, about contents (runtime/nodes/content_fetcher.h). The first byte says who
// hears the rest: a parser of one of the words; a node with a content that is to come, which hears a script of packets of two
// parents and a child; the head, which hears a node. It is refused, or done: what a node takes for the content is the content,
// whoever lied, a child gets no byte that is not of it, and nobody is made to hold more than is agreed.
#include <algorithm>
#include <deque>
#include <memory>

#include "base/clock.h"
#include "runtime/nodes/content_fetcher.h"
#include "runtime/nodes/content_server.h"
#include "tests/fuzz/fuzz.h"

namespace {

using namespace r1;
using fuzz::Script;

class World final : public NodeWorld {
 public:
  void post(std::function<void()> call) override { calls_.push_back(std::move(call)); }
  void post_after(double, std::function<void()>) override {}
  std::unique_ptr<Executor> executor(const std::string&) override { return make_inline_executor(); }
  void end(std::vector<std::unique_ptr<Executor>>, std::function<void()> then) override { post(std::move(then)); }
  const Clock& clock() const override { return clock_; }
  void settle() {
    for (; !calls_.empty(); calls_.pop_front()) std::function<void()>(calls_.front())();
  }
  VirtualClock clock_;

 private:
  std::deque<std::function<void()>> calls_;
};

const std::string& content() {
  static const std::string bytes = [] {
    std::string b(kLeafBytes + 1000, '\0');
    for (size_t i = 0; i < b.size(); ++i) b[i] = static_cast<char>(i * i >> 7);
    return b;
  }();
  return bytes;
}

// The content, another one, or what the script says.
std::vector<WireFrame> frames(Script& script) {
  const uint8_t how = script.byte();
  if (how % 4 == 0) return in_leaves(content());
  if (how % 4 == 1) {
    std::string wrong = content();
    wrong[how * 4321u % wrong.size()] ^= 1;
    return in_leaves(wrong);
  }
  if (how % 4 == 2) return {WireFrame(std::string(script.text(script.byte())))};
  std::vector<WireFrame> many;
  for (int n = script.byte() % 8; n > 0; --n) many.emplace_back(std::string(script.text(script.byte() % 8)));
  return many;
}

LinkPacket packet(Script& script) {
  LinkPacket p;
  const uint8_t kind = script.byte();
  p.kind = kind % 8 == 7 ? static_cast<PacketKind>(script.byte())
                         : static_cast<PacketKind>(static_cast<int>(PacketKind::get) + kind % 8);
  switch (script.byte() % 4) {
    case 0:
      p.body = encode(FilePiece{"the content", 0, content().size()});
      break;
    case 1:
      p.body = encode(FilePiece{"the content", uint64_t{script.byte()} << 18, uint64_t{script.byte()} << 18});
      break;
    default:
      p.body = std::string(script.text(script.byte()));
  }
  if (p.kind == PacketKind::blob) p.frames = frames(script);
  return p;
}

class Net final : public PeerNet {
 public:
  class Ends final : public Links {
   public:
    Ends(Net& net, int who) : net_(net), who_(who) {}
    ~Ends() override { net_.sinks_[who_] = nullptr; }
    void send(PeerId, LinkPacket packet) override { net_.sent(who_, packet); }
    void drop(PeerId, const std::string&) override { net_.sinks_[who_] = nullptr; }

   private:
    Net& net_;
    int who_;
  };
  Door listen(const CurveKeys&, const KeyRing&, LinkSink& sink) override {
    sinks_[2] = &sink;
    return {std::make_unique<Ends>(*this, 2), "127.0.0.1:1"};
  }
  std::unique_ptr<Links> dial(const std::string& address, const std::string&, const CurveKeys&, LinkSink& sink) override {
    const int who = address == "a" ? 0 : 1;
    sinks_[who] = &sink;
    return std::make_unique<Ends>(*this, who);
  }
  // What a child is given is the content.
  void sent(int who, const LinkPacket& packet) {
    if (who != 2 || packet.kind != PacketKind::blob) return;
    const FilePiece piece = decode_file_piece(packet.body);
    std::string bytes;
    for (const WireFrame& frame : packet.frames) bytes += frame.bytes();
    if (bytes != content().substr(piece.offset, piece.bytes)) fuzz::finding("a child was given other bytes");
  }
  LinkSink* sinks_[3] = {nullptr, nullptr, nullptr};
};

void hear_as_node(Script script) {
  static const std::string key_a = new_curve_keys().public_key, key_b = new_curve_keys().public_key;
  static const CurveKeys own = new_curve_keys();
  static const std::string leaves = [] {
    std::string hashes;
    for (const WireFrame& leaf : in_leaves(content())) hashes += leaf_hash(leaf.bytes());
    return hashes;
  }();
  World world;
  Net net;
  uint64_t asked_of_head = 0;
  ContentFetcher node(world, {"/nowhere", [&](LinkPacket p) { asked_of_head += p.kind == PacketKind::get; }, &net, 0});
  bool done = false;
  node.want({"header", "the content", {100, 0, content().size() - 100}, ""},
            [&](std::exception_ptr error, std::shared_ptr<const Packet> got) {
              if (error || done) fuzz::finding("it fails, or comes twice");
              done = true;
              if (got->frames[0] + got->frames[2] != content() || got->header != "header")
                fuzz::finding("other bytes were kept");
            });
  node.heard(link_word(PacketKind::parents,
                       encode(ContentParents{"the content", leaves, {{"A", "a", key_a}, {"B", "b", key_b}}, own})));
  node.heard(link_word(PacketKind::listen, encode(DoorOrder{7, "C", key_a, own})));
  for (int who = 0; who < 3; ++who)
    if (net.sinks_[who] != nullptr) net.sinks_[who]->peer_up(static_cast<PeerId>(who) + 1, {});
  world.settle();
  while (!script.empty()) {
    const uint8_t what = script.byte();
    const int who = what % 3;
    if (LinkSink* const sink = net.sinks_[who]) {
      if (what / 3 % 16 == 15)
        sink->peer_lost(static_cast<PeerId>(who) + 1, "");
      else if (what / 3 % 16 == 14)
        sink->peer_up(static_cast<PeerId>(who) + 1, {});
      else
        sink->received(static_cast<PeerId>(who) + 1, packet(script));
    }
    world.settle();
    if (what / 3 % 16 == 13) world.clock_.advance_ns(int64_t{11} * 1'000'000'000), node.tick();
  }
  if (!done && asked_of_head > 4) fuzz::finding("more is asked of the head than there is");
}

void hear_as_head(Script script) {
  const auto disk = make_inline_executor();
  ContentServer server({disk.get(), [](PeerId, LinkPacket) {},
                        [](PeerId, const std::string& why) {
                          if (why.empty()) fuzz::finding("no reason");
                        }});
  const auto offer = server.offer({"", {content()}});
  for (PeerId peer = 1; peer < 4; ++peer) server.joined(peer, "a node", "a host");
  while (!script.empty()) {
    const PeerId peer = script.byte() % 5;
    LinkPacket p = packet(script);
    const uint8_t kind = script.byte();
    if (kind % 2 == 0) p.kind = PacketKind::want, p.body = encode_content_name(offer->content().hash, kind);
    if (kind % 8 == 1) p.kind = PacketKind::listens, p.body = encode(DoorAnswer{uint64_t{kind} / 8 % 5, "x"});
    if (kind % 8 == 3) server.lost(peer);
    server.heard(peer, p);
  }
}

template <class T>
void again(const T& read, T (*decode)(const std::string&)) {
  const std::string written = encode(read);
  if (encode(decode(written)) != written) fuzz::finding("what was read is written as something else");
}

void read(uint8_t way, const std::string& body) {
  switch (way % 6) {
    case 0: {
      const ContentParents p = decode_content_parents(body);
      if (p.parents.size() > ContentParents::kMost) fuzz::finding("more parents than a node is given");
      return again(p, decode_content_parents);
    }
    case 1:
      return again(decode_door_order(body), decode_door_order);
    case 2:
      return again(decode_door_answer(body), decode_door_answer);
    case 3:
      return again(decode_forget_order(body), decode_forget_order);
    case 4:
      return again(decode_content_payload(body), decode_content_payload);
    case 5: {
      const auto [hash, bytes] = decode_content_name(body);
      if (hash.size() > 32) fuzz::finding("a name that is none");
      return;
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text = fuzz::text_of(data, size);
  if (text.empty()) return 0;
  const auto way = static_cast<uint8_t>(text[0]);
  text.remove_prefix(1);
  try {
    switch (way % 3) {
      case 0:
        read(way / 3, std::string(text));
        break;
      case 1:
        hear_as_node(Script(text));
        break;
      case 2:
        hear_as_head(Script(text));
        break;
    }
  } catch (const Error& e) {
    if (e.message().empty()) fuzz::finding("no reason");
  }
  return 0;
}
