#include "runtime/nodes/node.h"

#include <fmt/format.h>

#include <utility>

#include "base/log.h"
#include "runtime/nodes/opened_rank.h"
#include "runtime/nodes/opened_role.h"

namespace r1 {
namespace {

constexpr double kTick_s = 0.5;

}  // namespace

Node::Node(NodeWorld& world, const PayloadCodec& codec, Options options)
    : world_(world),
      codec_(codec),
      options_(std::move(options)),
      self_(std::make_shared<Node*>(this)),
      contents_(world_,
                {options_.cache, [this](LinkPacket packet) { send(std::move(packet)); }, options_.peers, options_.small}) {
  world_.post_after(kTick_s, [self = self_] {
    if (*self != nullptr) (*self)->tick();
  });
}

Node::~Node() { *self_ = nullptr; }

// ---- the link ---------------------------------------------------------------------------------------------------------

void Node::peer_up(PeerId peer, const PeerHello&) {
  world_.post([self = self_, peer] {
    if (*self != nullptr) (*self)->head_ = peer;
  });
}

void Node::received(PeerId, LinkPacket packet) {
  auto shared = std::make_shared<const LinkPacket>(std::move(packet));
  world_.post([self = self_, shared] {
    if (*self != nullptr) (*self)->heard(*shared);
  });
}

void Node::peer_lost(PeerId, const std::string& why) {
  world_.post([self = self_, why] {
    if (*self != nullptr) (*self)->end(why.empty() ? "the link to the head is lost" : why);
  });
}

void Node::not_joined(const std::string& why, bool refused) {
  world_.post([self = self_, why, refused] {
    if (*self == nullptr) return;
    (*self)->refused_ = refused;
    (*self)->end(why);
  });
}

bool Node::ask_to_leave() {
  if (head_ == 0 || ending_) return false;
  LinkPacket packet;
  packet.kind = PacketKind::leave;
  send(std::move(packet));
  return true;
}

void Node::send(LinkPacket packet) {
  if (links_ != nullptr && !ending_) links_->send(head_, std::move(packet));
}

void Node::heard(const LinkPacket& packet) {
  if (ending_) return;
  try {
    obey(packet);
  } catch (const Error& e) {  // a head of another kind
    links_->drop(head_, e.what());
    end(e.what());
  }
}

void Node::obey(const LinkPacket& packet) {
  switch (packet.kind) {
    case PacketKind::stop:
      return end("");
    case PacketKind::open:
      return open(packet);
    case PacketKind::close:
      return close(packet.incarnation);
    case PacketKind::content:
      return whole(packet);
    case PacketKind::blob:
    case PacketKind::no_blob:
    case PacketKind::parents:
    case PacketKind::listen:
    case PacketKind::forget:
      return contents_.heard(packet);
    default:
      if (const auto at = roles_.find(packet.incarnation); at != roles_.end()) at->second->received(packet);
  }
}

void Node::tick() {
  contents_.tick();
  const bool fetched = contents_.moved();
  for (const auto& [incarnation, role] : roles_) role->tick(fetched);
  if (!ending_)
    world_.post_after(kTick_s, [self = self_] {
      if (*self != nullptr) (*self)->tick();
    });
}

// ---- roles ------------------------------------------------------------------------------------------------------------

void Node::open(const LinkPacket& packet) {
  const Incarnation incarnation = packet.incarnation;
  roles_[incarnation] = opened(packet);
  node_of_[incarnation] = packet.node;
  contents_.want(roles_[incarnation]->open().files, [this, incarnation](std::exception_ptr error) {
    const auto at = roles_.find(incarnation);
    if (at == roles_.end()) return;
    error ? at->second->failed(error) : prepare(incarnation);
  });
}

std::unique_ptr<OpenedWork> Node::opened(const LinkPacket& packet) {
  OpenRole open = decode_open_role(packet.body);
  const auto say = [this](LinkPacket p) { send(std::move(p)); };
  const auto say_from_any_thread = [this](LinkPacket p) {
    world_.post([self = self_, shared = std::make_shared<LinkPacket>(std::move(p))] {
      if (*self != nullptr) (*self)->send(std::move(*shared));
    });
  };
  if (packet.number > 0)
    return std::make_unique<OpenedRank>(OpenedRank::Services{&world_, say_from_any_thread, options_.cpu_ns}, packet.incarnation,
                                        packet.node, std::move(open));
  return std::make_unique<OpenedRole>(OpenedRole::Services{&world_, &codec_, say, options_.cpu_ns, options_.kept},
                                      packet.incarnation, packet.node, std::move(open));
}

void Node::prepare(Incarnation incarnation) {
  auto graph = std::make_shared<std::shared_ptr<const NodeGraph>>();
  contents_.disk(
      [this, graph, open = roles_.at(incarnation)->open()] {
        for (const NodeFile& file : open.files) contents_.cache().place(file, options_.tree);
        *graph = options_.prepare(open, options_.tree);
      },
      [this, graph, incarnation](std::exception_ptr error) {
        const auto at = roles_.find(incarnation);
        if (at == roles_.end()) return;
        error ? at->second->failed(error) : at->second->begin(*graph);
      });
}

// A message whose frames are fetched: for the role that it is about, if that is there then.
void Node::whole(const LinkPacket& packet) {
  contents_.want(decode_content_payload(packet.body),
                 [this, incarnation = packet.incarnation](std::exception_ptr error, std::shared_ptr<const Packet> message) {
                   const auto at = roles_.find(incarnation);
                   if (at == roles_.end()) return;
                   error ? at->second->failed(error) : at->second->whole(*message);
                 });
}

void Node::close(Incarnation incarnation) {
  const auto at = roles_.find(incarnation);
  if (at == roles_.end()) return;
  OpenedWork& role = *at->second;
  closing_[incarnation] = std::move(at->second);
  roles_.erase(at);
  role.close([self = self_, incarnation] {
    if (*self == nullptr) return;
    Node& node = **self;
    const auto closed = node.closing_.extract(incarnation);
    const auto of = node.node_of_.extract(incarnation);
    // The link was lost, and not the role given up.
    if (node.ending_ && !node.why_.empty() && node.options_.kept != nullptr)
      node.options_.kept->put(closed.mapped()->open(), of.mapped(), closed.mapped()->state());
    LinkPacket packet;
    packet.kind = PacketKind::closed;
    packet.incarnation = incarnation;
    node.send(std::move(packet));
    node.end_if_closed();
  });
}

void Node::end(const std::string& why) {
  if (std::exchange(ending_, true)) return;
  why_ = why;
  std::vector<Incarnation> open;
  for (const auto& [incarnation, role] : roles_) open.push_back(incarnation);
  for (const Incarnation incarnation : open) close(incarnation);
  end_if_closed();
}

void Node::end_if_closed() {
  if (!ending_ || !roles_.empty() || !closing_.empty() || ended_) return;
  ended_ = true;
  if (options_.ended) options_.ended(why_);
}

}  // namespace r1
