#include <cerrno>
#include <charconv>
#include <chrono>
#include <map>
#include <set>
#include <thread>

#include "base/log.h"
#include "runtime/net/link_roster.h"
#include "runtime/net/zmq_end.h"

namespace r1 {
namespace {

constexpr const char* kZapDomain = "r1";
constexpr size_t kMaxConnections = 4096;  // with a known key
constexpr size_t kMaxPerPrincipal = 256;
constexpr int kListenBacklog = 1024;
constexpr std::chrono::seconds kPortsAreFree{2};  // of those that another has just left

class Head final : public ZmqHead {
 public:
  Head(ZmqHeadOptions options, const KeyRing& ring, LinkTerms terms, LinkSink& sink)
      : options_(std::move(options)),
        ring_(ring),
        sink_(sink),
        zap_(context_, zmq::socket_type::rep),
        sockets_{listener(), listener()},
        roster_(options_.link, std::move(terms), new_peer_id, [this](PeerId id, LinkOutput out) { act(id, std::move(out)); }) {
    zap_.set(zmq::sockopt::linger, 0);
    zap_.bind("inproc://zeromq.zap.01");
    for (const LinkLane lane : kLanes)
      watches_.push_back(
          std::make_unique<Watch>(context_, socket(lane), fmt::format("head-{}", lane_letter(lane)), ZMQ_EVENT_DISCONNECTED));
    bind();
    thread_ = std::thread([this] { run(); });
  }
  ~Head() override {
    end_.close();
    thread_.join();
  }

  void send(PeerId peer, LinkPacket packet) override { end_.order({peer, std::move(packet), {}}); }
  void drop(PeerId peer, const std::string& why) override { end_.order({peer, std::nullopt, why}); }
  const LinkAddress& address() const override { return options_.listen; }
  std::optional<PeerTimes> times(PeerId peer) const override {
    std::lock_guard lock(known_mutex_);
    const auto found = known_.find(peer);
    return found == known_.end() ? std::nullopt : found->second.times;
  }
  std::optional<int64_t> silent_ns(PeerId peer) const override {
    std::lock_guard lock(known_mutex_);
    const auto found = known_.find(peer);
    if (found == known_.end()) return std::nullopt;
    return end_.now_ns() - found->second.heard_ns;
  }
  std::optional<int64_t> resident_bytes(PeerId peer) const override {
    std::lock_guard lock(known_mutex_);
    const auto found = known_.find(peer);
    return found == known_.end() ? std::nullopt : found->second.resident_bytes;
  }

 private:
  // A link's two connections.
  struct Connection {
    PeerId id = 0;
    std::string principal;
    std::array<int, 2> fds = {-1, -1};
    bool gone = false;
  };

  struct Known {  // of a peer that is up, for other threads
    std::optional<PeerTimes> times;
    int64_t heard_ns = 0;
    std::optional<int64_t> resident_bytes;
  };

  // Tags of links that are over, so that what their nodes still say is not taken for a greeting: as many as may be late.
  class Over {
   public:
    bool contains(const std::string& tag) const { return tags_.count(tag) > 0; }
    void add(const std::string& tag) {
      if (!tags_.insert(tag).second) return;
      order_.push_back(tag);
      if (order_.size() <= kMaxConnections) return;
      tags_.erase(order_.front());
      order_.pop_front();
    }

   private:
    std::set<std::string> tags_;
    std::deque<std::string> order_;
  };

  zmq::socket_t& socket(LinkLane lane) { return sockets_[static_cast<size_t>(lane)]; }

  zmq::socket_t listener() {
    zmq::socket_t s = new_socket(context_, zmq::socket_type::router, options_.keys, options_.listen.host);
    s.set(zmq::sockopt::curve_server, true);
    s.set(zmq::sockopt::zap_domain, kZapDomain);
    s.set(zmq::sockopt::handshake_ivl, static_cast<int>(options_.greeting_ns / 1'000'000));
    s.set(zmq::sockopt::router_mandatory, true);
    s.set(zmq::sockopt::backlog, kListenBacklog);
    return s;
  }

  // Port 0: any that is free, and the one after it.
  void bind_both() {
    const bool any = options_.listen.port == 0;
    socket(LinkLane::control).bind(endpoint(options_.listen, LinkLane::control));
    if (any) {
      const std::string bound = socket(LinkLane::control).get(zmq::sockopt::last_endpoint);
      std::from_chars(bound.data() + bound.rfind(':') + 1, bound.data() + bound.size(), options_.listen.port);
    }
    try {
      socket(LinkLane::bulk).bind(endpoint(options_.listen, LinkLane::bulk));
    } catch (const zmq::error_t&) {
      socket(LinkLane::control).unbind(endpoint(options_.listen, LinkLane::control));
      throw;
    }
  }

  void bind() {
    const PortRange ports = options_.listen.port == 0 ? options_.ports : PortRange{};
    const bool any = options_.listen.port == 0 && ports.any();
    const auto until = std::chrono::steady_clock::now() + kPortsAreFree;
    if (!ports.any()) options_.listen.port = ports.first;
    for (int tries = 0;; ++tries) {
      try {
        if (any) options_.listen.port = 0;
        return bind_both();
      } catch (const zmq::error_t& e) {
        if (any && tries < 50) continue;
        if (ports.any() || e.num() != EADDRINUSE)
          throw bad_input(fmt::format("cannot listen on {} and the port after it: {}", options_.listen.text(), e.what()), {},
                          "another port, or an address of this machine");
        options_.listen.port += 2;
        if (options_.listen.port < ports.last) continue;
        if (std::chrono::steady_clock::now() > until)
          throw failure(fmt::format("no two ports of {} are free on {}", ports.text(), options_.listen.host), {},
                        "more ports: two for each rank that listens there, and two for nodes that fetch from it");
        options_.listen.port = ports.first;
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
      }
    }
  }

  void run() {
    block_signals();
    std::deque<End::Order> orders;
    for (bool going = true; going;) {
      std::array<zmq_pollitem_t, 6> items = {end_.wake_item(),
                                             watched(zap_),
                                             watched(socket(LinkLane::control)),
                                             watched(socket(LinkLane::bulk)),
                                             watched(watches_[0]->events_),
                                             watched(watches_[1]->events_)};
      const long wait = more_ ? 0 : End::wait_ms(end_.now_ns(), roster_.next_tick_ns());
      (void)zmq_poll(items.data(), static_cast<int>(items.size()), wait);
      going = end_.take(orders);
      const int64_t now = end_.now_ns();
      for (End::Order& o : orders) {
        if (o.packet)
          roster_.send(now, o.peer, std::move(*o.packet));
        else
          roster_.drop(o.peer, o.why);
      }
      orders.clear();
      answer_zap();
      look_at_watches();
      const bool more_control = take_in(LinkLane::control), more_bulk = take_in(LinkLane::bulk);
      more_ = more_control || more_bulk;
      if (!more_) close_gone();
      roster_.tick(end_.now_ns());
      tell_sink();
    }
    roster_.drop_all("the run ends");
  }

  // RFC 27: [version, request, domain, address, identity, mechanism, key].
  void answer_zap() {
    for (;;) {
      std::vector<zmq::message_t> request;
      do {
        request.emplace_back();
        if (!zap_.recv(request.back(), request.size() == 1 ? zmq::recv_flags::dontwait : zmq::recv_flags::none)) return;
      } while (request.back().more());
      if (request.size() < 6) return;
      std::string principal;
      if (request.size() == 7 && request[2].to_string_view() == kZapDomain && request[5].to_string_view() == "CURVE" &&
          request[6].size() == 32) {
        std::array<char, 41> key{};
        zmq_z85_encode(key.data(), request[6].data<uint8_t>(), 32);
        principal = ring_.principal_of(key.data());
      }
      const std::string_view known = principal.empty() ? "400" : "200";
      const std::string_view parts[] = {
          "1.0", request[1].to_string_view(), known, principal.empty() ? "a stranger" : "OK", principal, ""};
      for (size_t i = 0; i < std::size(parts); ++i)
        (void)zap_.send(zmq::message_t(parts[i].data(), parts[i].size()),
                        i + 1 < std::size(parts) ? zmq::send_flags::sndmore : zmq::send_flags::none);
    }
  }

  // A descriptor is used again by the next connection: so this is looked at before a new one is taken in under it.
  void look_at_watches() {
    for (size_t lane = 0; lane < watches_.size(); ++lane)
      while (const auto event = watches_[lane]->next())
        for (auto& [tag, connection] : connections_)
          if (connection.fds[lane] == event->value) {
            connection.fds[lane] = -1;
            connection.gone = true;
          }
  }

  // What was said before the connection closed was taken in before.
  void close_gone() {
    std::vector<PeerId> gone;
    for (const auto& [tag, connection] : connections_)
      if (connection.gone) gone.push_back(connection.id);
    for (const PeerId id : gone) roster_.closed(id, kClosed);
  }

  // True: there is more.
  bool take_in(LinkLane lane) {
    for (int i = 0; i < kRounds; ++i) {
      auto got = receive_from(socket(lane), true);
      if (!got) return false;
      if (got->principal.empty() || got->identity.size() != kTagBytes + 1 || got->identity[0] != lane_letter(lane)) continue;
      const std::string tag = got->identity.substr(1);
      auto found = connections_.find(tag);
      if (found == connections_.end()) {
        if (over_.contains(tag)) continue;
        look_at_watches();
        if (!room_for(got->principal)) continue;
        found = connections_.emplace(tag, Connection{roster_.connected(end_.now_ns(), got->principal), got->principal}).first;
        tags_[found->second.id] = tag;
      }
      Connection& connection = found->second;
      if (connection.principal != got->principal) continue;  // a tag that is somebody else's
      connection.fds[static_cast<size_t>(lane)] = got->fd;
      roster_.received(end_.now_ns(), connection.id, lane, std::move(got->message));
    }
    return true;
  }

  bool room_for(const std::string& principal) const {
    if (connections_.size() >= kMaxConnections) return false;
    const auto of_it =
        std::count_if(connections_.begin(), connections_.end(), [&](const auto& c) { return c.second.principal == principal; });
    return static_cast<size_t>(of_it) < kMaxPerPrincipal;
  }

  void act(PeerId id, LinkOutput out) {
    const std::string tag = tags_.at(id);
    Connection& connection = connections_.at(tag);
    for (const auto& [lane, message] : out.transmit)
      if (!connection.gone && !send_to(socket(lane), lane_letter(lane) + tag, message)) connection.gone = true;
    for (auto& event : out.events) {
      if (const auto* refused = std::get_if<LinkOutput::Refused>(&event))
        log_warn(fmt::format("{} was not let in: {}", connection.principal, refused->why));
      else
        to_tell_.emplace_back(id, std::move(event));
    }
    {
      std::lock_guard lock(known_mutex_);
      if (const auto heard = roster_.heard_ns(id))
        known_[id] = {roster_.times(id), *heard, roster_.resident_bytes(id)};
      else
        known_.erase(id);
    }
    if (roster_.has(id)) return;
    connections_.erase(tag);
    tags_.erase(id);
    over_.add(tag);
  }

  void tell_sink() {
    for (auto& [id, event] : to_tell_) tell(sink_, id, std::move(event));
    to_tell_.clear();
  }

  ZmqHeadOptions options_;
  const KeyRing& ring_;
  LinkSink& sink_;
  End end_;
  zmq::context_t context_{1};
  zmq::socket_t zap_;
  std::array<zmq::socket_t, 2> sockets_;
  std::vector<std::unique_ptr<Watch>> watches_;
  std::map<std::string, Connection> connections_;  // by tag
  std::map<PeerId, std::string> tags_;
  Over over_;
  std::vector<std::pair<PeerId, LinkOutput::Event>> to_tell_;
  LinkRoster roster_;
  bool more_ = false;
  mutable std::mutex known_mutex_;
  std::map<PeerId, Known> known_;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<ZmqHead> zmq_listen(ZmqHeadOptions options, const KeyRing& ring, LinkTerms terms, LinkSink& sink) {
  return reported("links cannot be opened",
                  [&] { return std::make_unique<Head>(std::move(options), ring, std::move(terms), sink); });
}

}  // namespace r1
