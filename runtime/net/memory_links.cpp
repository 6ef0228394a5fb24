#include "runtime/net/memory_links.h"

#include <deque>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"
#include "runtime/net/link_roster.h"

namespace r1 {
namespace {

using Way = MemoryNet::Way;
using WayKind = MemoryNet::Way::Kind;

constexpr const char* kClosed = "its connection closed";

LinkLane lane_of(WayKind kind) {
  return kind == WayKind::to_head_control || kind == WayKind::to_node_control ? LinkLane::control : LinkLane::bulk;
}
bool is_to_head(WayKind kind) { return kind == WayKind::to_head_control || kind == WayKind::to_head_bulk; }
WayKind kind_of(bool to_head, LinkLane lane) {
  if (to_head) return lane == LinkLane::control ? WayKind::to_head_control : WayKind::to_head_bulk;
  return lane == LinkLane::control ? WayKind::to_node_control : WayKind::to_node_bulk;
}

}  // namespace

struct MemoryNet::State : std::enable_shared_from_this<State> {
  // What is on a way; absent: the connection's end.
  using Item = std::optional<WireMessage>;
  struct Wire {
    Node* node = nullptr;  // null: gone
    PeerId at_head = 0;    // of the connection there; 0: none
    std::map<WayKind, std::deque<Item>> queues;
    std::map<WayKind, int> stuck;  // steps that found their way cut
    bool cut[2] = {false, false};
    bool broken = false, stopped = false;
  };

  State(const Clock& c, Options o) : clock(c), options(std::move(o)) {}

  void carry(Way way, std::function<void()> step) {
    if (options.carry)
      options.carry(way, std::move(step));
    else
      steps.push_back(std::move(step));
  }
  void put(int wire, WayKind kind, Item item) {
    if (wires[wire].broken) return;
    wires[wire].queues[kind].push_back(std::move(item));
    carry({wire, kind}, [self = shared_from_this(), wire, kind] { self->move(wire, kind); });
  }
  void move(int wire, WayKind kind);
  void go_on(int wire);
  void deliver(int wire, WayKind kind, Item item);
  void events_at(int wire, WayKind kind, std::function<LinkSink*()> sink, PeerId id, LinkOutput& out) {
    for (auto& event : out.events)
      carry({wire, kind}, [sink, id, event = std::make_shared<LinkOutput::Event>(std::move(event))] {
        if (LinkSink* to = sink()) tell(*to, id, std::move(*event));
      });
  }

  const Clock& clock;
  Options options;
  std::deque<std::function<void()>> steps;
  bool stands(const Wire& wire, WayKind kind) const {
    return wire.cut[is_to_head(kind)] || (is_to_head(kind) ? head_stopped : wire.stopped);
  }
  std::vector<Wire> wires;
  Head* head = nullptr;
  bool head_stopped = false;
  PeerId ids = 0;
};

class MemoryNet::Head final : public Links {
 public:
  Head(std::shared_ptr<State> state, LinkTerms terms, LinkSink& sink)
      : alive_(std::make_shared<LinkSink*>(&sink)),
        state_(std::move(state)),
        roster_(
            state_->options.link, std::move(terms), [s = state_.get()] { return ++s->ids; },
            [this](PeerId id, LinkOutput out) { act(id, std::move(out)); }) {
    R1_CHECK(state_->head == nullptr);
    state_->head = this;
  }
  ~Head() override {
    *alive_ = nullptr;
    if (state_->head != this) return;
    roster_.drop_all("the run ends");
    state_->head = nullptr;
  }
  void send(PeerId peer, LinkPacket packet) override {
    if (!crashed_) roster_.send(state_->clock.now_ns(), peer, std::move(packet));
  }
  void drop(PeerId peer, const std::string& why) override {
    if (!crashed_) roster_.drop(peer, why);
  }
  std::optional<int64_t> silent_ns(PeerId peer) const override {
    const auto heard = roster_.heard_ns(peer);
    if (!heard) return std::nullopt;
    return state_->clock.now_ns() - *heard;
  }
  std::optional<int64_t> resident_bytes(PeerId peer) const override { return roster_.resident_bytes(peer); }
  PeerId connected(int wire, const std::string& principal) {
    const PeerId id = roster_.connected(state_->clock.now_ns(), principal);
    wires_[id] = wire;
    return id;
  }
  void arrived(PeerId id, LinkLane lane, State::Item item) {
    if (item)
      roster_.received(state_->clock.now_ns(), id, lane, std::move(*item));
    else
      roster_.closed(id, kClosed);
  }
  void crash() {
    *alive_ = nullptr;
    crashed_ = true;
    state_->head = nullptr;
    for (const auto& [id, wire] : wires_) {
      state_->wires[wire].at_head = 0;
      state_->put(wire, WayKind::to_node_control, std::nullopt);
    }
  }
  LinkRoster& roster() { return roster_; }

 private:
  void act(PeerId id, LinkOutput out) {
    const int wire = wires_.at(id);
    for (auto& [lane, message] : out.transmit) state_->put(wire, kind_of(false, lane), std::move(message));
    state_->events_at(
        wire, WayKind::at_head, [alive = alive_] { return *alive; }, id, out);
    // What is over here is closed, after what was said last.
    if (!roster_.has(id) && state_->wires[wire].at_head == id) {
      state_->wires[wire].at_head = 0;
      state_->put(wire, WayKind::to_node_control, std::nullopt);
    }
  }

  std::shared_ptr<LinkSink*> alive_;
  std::shared_ptr<State> state_;
  bool crashed_ = false;
  std::map<PeerId, int> wires_;
  LinkRoster roster_;
};

class MemoryNet::Node final : public Links {
 public:
  Node(std::shared_ptr<State> state, int wire, LinkTerms terms, LinkSink& sink)
      : alive_(std::make_shared<LinkSink*>(&sink)),
        state_(std::move(state)),
        wire_(wire),
        id_(++state_->ids),
        protocol_(LinkEnd::node, state_->options.link, std::move(terms), "head", state_->clock.now_ns()) {}
  ~Node() override {
    *alive_ = nullptr;
    if (!present()) return;
    LinkOutput out;
    protocol_.end("its process ends", out);
    act(std::move(out));
  }
  void start() {
    LinkOutput out;
    protocol_.start(out);
    act(std::move(out));
  }
  void send(PeerId peer, LinkPacket packet) override {
    if (!present() || peer != id_) return;
    LinkOutput out;
    protocol_.send(state_->clock.now_ns(), std::move(packet), out);
    act(std::move(out));
  }
  void drop(PeerId peer, const std::string& why) override {
    if (!present() || peer != id_) return;
    LinkOutput out;
    protocol_.end(why, out);
    act(std::move(out));
  }
  void arrived(LinkLane lane, State::Item item) {
    LinkOutput out;
    if (item)
      protocol_.received(state_->clock.now_ns(), lane, std::move(*item), out);
    else
      protocol_.closed(kClosed, out);
    act(std::move(out));
  }
  void tick() {
    LinkOutput out;
    protocol_.tick(state_->clock.now_ns(), out);
    act(std::move(out));
  }
  int64_t next_tick_ns() const { return protocol_.next_tick_ns(); }
  void crash() {
    *alive_ = nullptr;
    leave();
  }

 private:
  bool present() const { return state_->wires[wire_].node == this; }
  void leave() {
    if (!present()) return;
    state_->put(wire_, WayKind::to_head_control, std::nullopt);
    state_->wires[wire_].node = nullptr;
  }
  void act(LinkOutput out) {
    for (auto& [lane, message] : out.transmit) state_->put(wire_, kind_of(true, lane), std::move(message));
    state_->events_at(
        wire_, WayKind::at_node, [alive = alive_] { return *alive; }, id_, out);
    if (protocol_.over()) leave();
  }

  std::shared_ptr<LinkSink*> alive_;
  std::shared_ptr<State> state_;
  int wire_;
  PeerId id_;
  LinkProtocol protocol_;
};

void MemoryNet::State::move(int wire, WayKind kind) {
  Wire& w = wires[wire];
  auto& queue = w.queues[kind];
  if (queue.empty()) return;  // a reset emptied it
  if (stands(w, kind)) {
    ++w.stuck[kind];
    return;
  }
  Item item = std::move(queue.front());
  queue.pop_front();
  if (item && options.tamper && !options.tamper({wire, kind}, *item)) return;
  deliver(wire, kind, std::move(item));
}

void MemoryNet::State::deliver(int wire, WayKind kind, Item item) {
  const Wire& w = wires[wire];
  if (!is_to_head(kind)) {
    if (w.node) w.node->arrived(lane_of(kind), std::move(item));
  } else if (head && w.at_head != 0) {
    head->arrived(w.at_head, lane_of(kind), std::move(item));
  }
}

MemoryNet::MemoryNet(const Clock& clock, Options options) : state_(std::make_shared<State>(clock, std::move(options))) {}

MemoryNet::~MemoryNet() { state_->steps.clear(); }

std::unique_ptr<Links> MemoryNet::listen(LinkTerms terms, LinkSink& sink) {
  return std::make_unique<Head>(state_, std::move(terms), sink);
}

std::unique_ptr<Links> MemoryNet::dial(const std::string& principal, LinkTerms terms, LinkSink& sink) {
  const int wire = wires();
  state_->wires.emplace_back();
  auto node = std::make_unique<Node>(state_, wire, std::move(terms), sink);
  state_->wires[wire].node = node.get();
  if (state_->head) state_->wires[wire].at_head = state_->head->connected(wire, principal);
  node->start();
  return node;
}

int MemoryNet::wires() const { return static_cast<int>(state_->wires.size()); }

bool MemoryNet::step() {
  if (state_->steps.empty()) return false;
  const auto step = std::move(state_->steps.front());
  state_->steps.pop_front();
  step();
  return true;
}

void MemoryNet::settle() {
  while (step()) {
  }
}

void MemoryNet::tick() {
  if (state_->head && !state_->head_stopped) state_->head->roster().tick(state_->clock.now_ns());
  for (size_t i = 0; i < state_->wires.size(); ++i)
    if (Node* node = state_->wires[i].node; node && !state_->wires[i].stopped) node->tick();
}

int64_t MemoryNet::next_tick_ns() const {
  int64_t next = state_->head && !state_->head_stopped ? state_->head->roster().next_tick_ns() : INT64_MAX;
  for (const State::Wire& wire : state_->wires)
    if (wire.node && !wire.stopped) next = std::min(next, wire.node->next_tick_ns());
  return next;
}

void MemoryNet::cut(int wire, bool to_head) { state_->wires.at(wire).cut[to_head] = true; }

void MemoryNet::heal(int wire) {
  State::Wire& w = state_->wires.at(wire);
  w.cut[0] = w.cut[1] = false;
  state_->go_on(wire);
}

void MemoryNet::stop(int wire, bool stopped) {
  state_->wires.at(wire).stopped = stopped;
  if (!stopped) state_->go_on(wire);
}

void MemoryNet::stop_head(bool stopped) {
  state_->head_stopped = stopped;
  for (int wire = 0; !stopped && wire < wires(); ++wire) state_->go_on(wire);
}

// What found its way cut tries again.
void MemoryNet::State::go_on(int wire) {
  for (auto& [kind, steps_there] : wires[wire].stuck)
    for (int n = std::exchange(steps_there, 0); n > 0; --n)
      carry({wire, kind}, [self = shared_from_this(), wire, kind = kind] { self->move(wire, kind); });
}

void MemoryNet::reset(int wire) {
  State::Wire& w = state_->wires.at(wire);
  if (w.broken) return;
  for (auto& [kind, queue] : w.queues) queue.clear();
  for (auto& [kind, stuck] : w.stuck) stuck = 0;
  state_->put(wire, WayKind::to_head_control, std::nullopt);
  state_->put(wire, WayKind::to_node_control, std::nullopt);
  w.broken = true;
}

void MemoryNet::crash(Links& end) {
  if (auto* head = dynamic_cast<Head*>(&end)) head->crash();
  if (auto* node = dynamic_cast<Node*>(&end)) node->crash();
}

}  // namespace r1
