#include "runtime/nodes/link_ring.h"

#include <fmt/format.h>

#include <mutex>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/log.h"

namespace r1 {

std::vector<RingInvitation> new_ring(uint64_t attempt, const std::vector<std::string>& names) {
  const size_t ranks = names.size();
  R1_CHECK(ranks >= 2, std::to_string(ranks));
  std::vector<RingInvitation> ring(ranks);
  for (RingInvitation& told : ring) told.keys = new_curve_keys();
  for (size_t r = 0; r < ranks; ++r) {
    const size_t previous = (r + ranks - 1) % ranks, next = (r + 1) % ranks;
    RingInvitation& told = ring[r];
    told.attempt = attempt;
    told.rank = static_cast<int64_t>(r);
    told.ranks = static_cast<int64_t>(ranks);
    told.previous_key = ring[previous].keys.public_key;
    told.next_key = ring[next].keys.public_key;
    told.name = names[r];
    told.previous = names[previous];
    told.next = names[next];
  }
  return ring;
}

namespace {

constexpr size_t kMostBytes = size_t{24} << 20;
constexpr size_t kMostMessages = 256;

// One channel of the ring: from a rank (`edge`) to the next one, and what that says back.
struct Way {
  int32_t edge = 0;
  std::string who;  // is at its other end
  MessageQueue came;
  size_t messages = 0, bytes = 0;  // that came and were not received
  std::vector<LinkPacket> early;   // to be sent when the neighbour is there
};

size_t size_of(const LinkPacket& packet) {
  size_t bytes = packet.body.size();
  for (const WireFrame& frame : packet.frames) bytes += frame.size();
  return bytes;
}

// One link of a rank, and the channels that it carries: one, or with two ranks both.
class RingLink final : public LinkSink {
 public:
  explicit RingLink(const RingInvitation& told) : told_(told) {}
  void carry(std::shared_ptr<Way> way) { ways_.push_back(std::move(way)); }

  // What makes the links may call this sink before it returns.
  template <class Make>
  void open(Make make) {
    std::unique_ptr<Links> made = make();
    const std::lock_guard lock(mutex_);
    links_ = std::move(made);
    flush();
  }
  void send(Way& way, ChannelMessage message) {
    LinkPacket packet;
    packet.kind = PacketKind::rank;
    packet.incarnation = told_.attempt;
    packet.edge = way.edge;
    packet.body = std::move(message.text);
    if (!message.bytes.empty()) packet.frames.emplace_back(std::move(message.owner), message.bytes);
    const std::lock_guard lock(mutex_);
    way.early.push_back(std::move(packet));
    flush();
  }
  ChannelMessage receive(Way& way, double patience_s) {
    ChannelMessage message = way.came.take(patience_s);
    const std::lock_guard lock(mutex_);
    --way.messages;
    way.bytes -= message.text.size() + message.bytes.size();
    return message;
  }

  void peer_up(PeerId peer, const PeerHello&) override {
    const std::lock_guard lock(mutex_);
    if (over_) return;  // whoever dials again: what was said between is lost
    peer_ = peer;
    flush();
  }
  void received(PeerId peer, LinkPacket packet) override {
    const std::lock_guard lock(mutex_);
    if (const std::string wrong = take(packet); !wrong.empty()) {
      end_all(fmt::format("{} was told by {} what no rank says: {}", told_.name, ways_[0]->who, wrong), true);
      if (links_) links_->drop(peer, wrong);
    }
  }
  void peer_lost(PeerId, const std::string& why) override {
    const std::lock_guard lock(mutex_);
    peer_ = 0;
    over_ = true;
    end_all(fmt::format("the link between {} and {} is lost: {}", told_.name, ways_[0]->who, why), false);
  }
  void not_joined(const std::string& why, bool) override {
    const std::lock_guard lock(mutex_);
    over_ = true;
    end_all(fmt::format("{} does not reach {}{}: {}", told_.name, ways_[0]->who, at_.empty() ? "" : " at " + at_, why), false);
  }
  void dialled(const std::string& address) { at_ = address; }  // before open()

 private:
  void flush() {
    if (!links_ || (peer_ == 0 && !over_)) return;
    for (const auto& way : ways_)
      for (LinkPacket& packet : std::exchange(way->early, {}))
        if (!over_) links_->send(peer_, std::move(packet));
  }
  // Why not; "": it was put where it belongs.
  std::string take(LinkPacket& packet) {
    if (packet.kind != PacketKind::rank) return fmt::format("'{}'", packet_kind_name(packet.kind));
    if (packet.incarnation != told_.attempt)
      return fmt::format("a word of attempt {}, this is {}", packet.incarnation, told_.attempt);
    if (packet.frames.size() > 1) return "more than one frame";
    for (const auto& way : ways_) {
      if (way->edge != packet.edge) continue;
      way->bytes += size_of(packet);
      if (++way->messages > kMostMessages || way->bytes > kMostBytes) return "more than is agreed to be under way";
      ChannelMessage word = channel_message(std::move(packet.body));
      if (!packet.frames.empty()) {
        auto frame = std::make_shared<const WireFrame>(std::move(packet.frames[0]));
        word.bytes = frame->bytes();
        word.owner = std::move(frame);
      }
      way->came.put(std::move(word));
      return {};
    }
    return fmt::format("a word from rank {} to the next", packet.edge);
  }
  void end_all(const std::string& why, bool at_once) {
    const auto error = std::make_exception_ptr(failure(why, {}, "the stage begins again from its last snapshot"));
    for (const auto& way : ways_) at_once ? way->came.end_at_once(error) : way->came.end(error);
  }

  const RingInvitation& told_;
  std::string at_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<Way>> ways_;
  PeerId peer_ = 0;
  bool over_ = false;
  std::unique_ptr<Links> links_;  // goes first: its thread calls this
};

struct RingState {
  RingState(RingInvitation invitation, std::shared_ptr<const RingDoors> through)
      : told(std::move(invitation)), doors(std::move(through)), listened(told), dialled(told) {}
  const RingInvitation told;
  const std::shared_ptr<const RingDoors> doors;
  const std::shared_ptr<Way> previous = std::make_shared<Way>(), next = std::make_shared<Way>();
  std::string address;
  RingLink listened, dialled;
};

class RingChannel final : public MessageChannel {
 public:
  RingChannel(std::shared_ptr<RingState> state, RingLink& link, Way& way) : state_(std::move(state)), link_(link), way_(way) {}
  void send(ChannelMessage message) override { link_.send(way_, std::move(message)); }
  ChannelMessage receive(double patience_s) override { return link_.receive(way_, patience_s); }

 private:
  const std::shared_ptr<RingState> state_;
  RingLink& link_;
  Way& way_;
};

class LinkRing final : public RankRing {
 public:
  LinkRing(const RingInvitation& told, std::shared_ptr<const RingDoors> doors)
      : state_(std::make_shared<RingState>(told, std::move(doors))) {
    RingState& s = *state_;
    s.next->edge = static_cast<int32_t>(told.rank);
    s.next->who = told.next;
    s.previous->edge = static_cast<int32_t>((told.rank + told.ranks - 1) % told.ranks);
    s.previous->who = told.previous;
    by_next().carry(s.next);
    by_previous().carry(s.previous);
    if (!told.listens()) return;
    s.listened.open([&s] { return s.doors->listen(s.told, s.listened, s.address); });
    log_info(fmt::format("{} listens on {} for {}", told.name, s.address, told.next));
  }
  std::string address() const override { return state_->address; }
  void join(const std::string& previous) override {
    RingState& s = *state_;
    if (!s.told.dials()) return;
    std::string address;
    try {
      address = s.doors->dialled(s.told, previous);
    } catch (const Error& e) {
      throw failure(fmt::format("where {} listens: {}", s.told.previous, e.message()));
    }
    s.dialled.dialled(address);
    s.dialled.open([&] { return s.doors->dial(s.told, address, s.dialled); });
  }
  std::unique_ptr<MessageChannel> to_previous() override {
    return std::make_unique<RingChannel>(state_, by_previous(), *state_->previous);
  }
  std::unique_ptr<MessageChannel> to_next() override { return std::make_unique<RingChannel>(state_, by_next(), *state_->next); }
  void give_up(std::exception_ptr why) override {
    state_->previous->came.end_at_once(why);
    state_->next->came.end_at_once(why);
  }

 private:
  RingLink& by_next() { return state_->told.listens() ? state_->listened : state_->dialled; }
  RingLink& by_previous() { return state_->told.dials() ? state_->dialled : state_->listened; }

  const std::shared_ptr<RingState> state_;
};

}  // namespace

std::unique_ptr<RankRing> link_ring(const RingInvitation& told, std::shared_ptr<const RingDoors> doors) {
  return std::make_unique<LinkRing>(told, std::move(doors));
}

}  // namespace r1
