#include <sys/random.h>

#include <atomic>
#include <thread>
#include <vector>

#include "runtime/net/zmq_end.h"

namespace r1 {
namespace {

constexpr int64_t kRedialNs = 200'000'000;

std::string tag_of_a_link() {
  std::string tag(kTagBytes, '\0');
  R1_CHECK(::getrandom(tag.data(), tag.size(), 0) == static_cast<ssize_t>(tag.size()));
  return tag;
}

class Node final : public Links {
 public:
  Node(ZmqNodeOptions options, LinkTerms terms, LinkSink& sink)
      : options_(std::move(options)), terms_(std::move(terms)), sink_(sink), id_(new_peer_id()), began_ns_(end_.now_ns()) {
    dial();
    thread_ = std::thread([this] { run(); });
  }
  ~Node() override {
    end_.close();
    thread_.join();
  }
  void send(PeerId peer, LinkPacket packet) override {
    if (peer == id_) end_.order({peer, std::move(packet), {}});
  }
  void drop(PeerId peer, const std::string& why) override {
    if (peer == id_) end_.order({peer, std::nullopt, why});
  }

 private:
  // One try: two connections and a greeting.
  struct Try {
    explicit Try(Node& node)
        : tag(tag_of_a_link()),
          sockets{dialler(node, LinkLane::control), dialler(node, LinkLane::bulk)},
          protocol(LinkEnd::node, node.options_.link, node.terms_, "head", node.began_ns_) {
      for (const LinkLane lane : kLanes) {
        zmq::socket_t& socket = sockets[static_cast<size_t>(lane)];
        watches.push_back(std::make_unique<Watch>(node.context_, socket,
                                                  fmt::format("node-{}-{}", node.tries_, lane_letter(lane)),
                                                  ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH));
        socket.connect(endpoint(node.options_.head, lane));
      }
    }
    zmq::socket_t dialler(Node& node, LinkLane lane) const {
      zmq::socket_t s = new_socket(node.context_, zmq::socket_type::dealer, node.options_.keys, node.options_.head.host);
      s.set(zmq::sockopt::curve_serverkey, node.options_.head_key);
      s.set(zmq::sockopt::routing_id, lane_letter(lane) + tag);
      s.set(zmq::sockopt::reconnect_ivl, static_cast<int>(kRedialNs / 1'000'000));
      return s;
    }
    std::string tag;
    std::array<zmq::socket_t, 2> sockets;
    std::vector<std::unique_ptr<Watch>> watches;
    LinkProtocol protocol;
  };

  void dial() {
    ++tries_;
    try_ = std::make_unique<Try>(*this);
    LinkOutput out;
    try_->protocol.start(out);
    act(std::move(out));
  }

  void run() {
    block_signals();
    std::deque<End::Order> orders;
    while (end_.take(orders)) {
      if (!try_ && end_.now_ns() >= redial_ns_) dial();
      const int64_t now = end_.now_ns();
      LinkOutput out;
      for (End::Order& o : orders) {
        if (!try_) break;
        if (o.packet)
          try_->protocol.send(now, std::move(*o.packet), out);
        else
          try_->protocol.end(o.why, out);
      }
      orders.clear();
      act(std::move(out));
      bool more = false;
      if (try_) more = look();
      if (over_) return wait_for_the_end();
      wait(more);
    }
    if (!try_) return;
    LinkOutput out;
    for (End::Order& o : orders)
      if (o.packet) try_->protocol.send(end_.now_ns(), std::move(*o.packet), out);
    try_->protocol.end("its process ends", out);
    quiet_ = true;
    act(std::move(out));
  }

  void wait(bool more) {
    std::vector<zmq_pollitem_t> items = {end_.wake_item()};
    int64_t until = redial_ns_;
    if (try_) {
      for (const LinkLane lane : kLanes) {
        items.push_back(watched(try_->sockets[static_cast<size_t>(lane)]));
        items.push_back(watched(try_->watches[static_cast<size_t>(lane)]->events_));
      }
      until = try_->protocol.next_tick_ns();
    }
    (void)zmq_poll(items.data(), static_cast<int>(items.size()), more ? 0 : End::wait_ms(end_.now_ns(), until));
  }

  // A link that is over does nothing but wait for its owner; its sockets have said their last word.
  void wait_for_the_end() {
    try_.reset();
    std::deque<End::Order> orders;
    while (end_.take(orders)) {
      orders.clear();
      zmq_pollitem_t item = end_.wake_item();
      (void)zmq_poll(&item, 1, -1);
    }
  }

  // What has come, what has closed, what is due. True: there is more.
  bool look() {
    bool closed = false, stranger = false, more = false;
    for (auto& watch : try_->watches)
      while (const auto event = watch->next()) {
        closed = true;
        stranger = stranger || event->kind == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
      }
    LinkOutput out;
    for (const LinkLane lane : kLanes) {
      int round = 0;
      for (; round < kRounds; ++round) {
        auto got = receive_from(try_->sockets[static_cast<size_t>(lane)], false);
        if (!got) break;
        try_->protocol.received(end_.now_ns(), lane, std::move(got->message), out);
      }
      more = more || round == kRounds;
    }
    try_->protocol.tick(end_.now_ns(), out);
    closed_ = closed_ || closed;
    if (stranger && !try_->protocol.up()) {
      tell(sink_, id_,
           LinkOutput::NotJoined{"the head does not know this key; it was made for another run, or taken back", true});
      over_ = true;
      return false;
    }
    if (closed_ && !more && try_->protocol.up()) try_->protocol.closed(kClosed, out);
    act(std::move(out));
    if (closed_ && !more && !over_) {
      // It was there and is gone, and had not let this node in: perhaps it is being started.
      closed_ = false;
      try_.reset();
      redial_ns_ = end_.now_ns() + kRedialNs;
      if (end_.now_ns() - began_ns_ < options_.link.dial_ns) return false;
      tell(sink_, id_, LinkOutput::NotJoined{fmt::format("no answer within {:g} s", options_.link.dial_ns * 1e-9), false});
      over_ = true;
    }
    return more;
  }

  void act(LinkOutput out) {
    if (!try_) return;
    for (const auto& [lane, message] : out.transmit) (void)send_to(try_->sockets[static_cast<size_t>(lane)], {}, message);
    over_ = over_ || try_->protocol.over();
    if (quiet_) return;
    for (auto& event : out.events) tell(sink_, id_, std::move(event));
  }

  ZmqNodeOptions options_;
  LinkTerms terms_;
  LinkSink& sink_;
  const PeerId id_;
  End end_;
  const int64_t began_ns_;
  zmq::context_t context_{1};
  int tries_ = 0;
  int64_t redial_ns_ = 0;
  bool over_ = false, quiet_ = false, closed_ = false;
  std::unique_ptr<Try> try_;
  std::thread thread_;
};

}  // namespace

PeerId new_peer_id() {
  static std::atomic<PeerId> ids{0};
  return ++ids;
}

CurveKeys new_curve_keys() {
  std::array<char, 41> open{}, secret{};
  R1_CHECK(zmq_curve_keypair(open.data(), secret.data()) == 0, "libzmq without CURVE");
  return {open.data(), secret.data()};
}

std::unique_ptr<Links> zmq_dial(ZmqNodeOptions options, LinkTerms terms, LinkSink& sink) {
  return reported("the head cannot be dialled",
                  [&] { return std::make_unique<Node>(std::move(options), std::move(terms), sink); });
}

}  // namespace r1
