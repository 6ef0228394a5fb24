#include "runtime/nodes/node.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "runtime/nodes/opened_rank.h"
#include "runtime/nodes/opened_role.h"

namespace r1 {
namespace {

constexpr uint64_t kPiece = uint64_t{8} << 20;
constexpr double kTick_s = 0.5;

}  // namespace

Node::Node(NodeWorld& world, const PayloadCodec& codec, Options options)
    : world_(world),
      codec_(codec),
      options_(std::move(options)),
      cache_(options_.cache),
      disk_(world.executor("files")),
      self_(std::make_shared<Node*>(this)) {
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
  switch (packet.kind) {
    case PacketKind::stop:
      return end("");
    case PacketKind::open:
      return open(packet);
    case PacketKind::close:
      return close(packet.incarnation);
    case PacketKind::blob:
    case PacketKind::no_blob:
      return got(packet);
    default:
      if (const auto at = roles_.find(packet.incarnation); at != roles_.end()) at->second->received(packet);
  }
}

void Node::tick() {
  for (const auto& [incarnation, role] : roles_) role->tick();
  if (!ending_)
    world_.post_after(kTick_s, [self = self_] {
      if (*self != nullptr) (*self)->tick();
    });
}

// ---- roles ------------------------------------------------------------------------------------------------------------

void Node::open(const LinkPacket& packet) {
  const Incarnation incarnation = packet.incarnation;
  try {
    roles_[incarnation] = opened(packet);
    node_of_[incarnation] = packet.node;
  } catch (const Error& e) {
    links_->drop(head_, e.what());
    return end(e.what());
  }
  want(roles_[incarnation]->open().files, [this, incarnation](std::exception_ptr error) {
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
  on_disk(
      [this, graph, open = roles_.at(incarnation)->open()] {
        for (const NodeFile& file : open.files) cache_.place(file, options_.tree);
        *graph = options_.prepare(open, options_.tree);
      },
      [this, graph, incarnation](std::exception_ptr error) {
        const auto at = roles_.find(incarnation);
        if (at == roles_.end()) return;
        error ? at->second->failed(error) : at->second->begin(*graph);
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

// ---- files ------------------------------------------------------------------------------------------------------------

void Node::on_disk(std::function<void()> work, std::function<void(std::exception_ptr)> then) {
  disk_->submit({std::move(work), [this, self = self_, then = std::move(then)](std::exception_ptr error) {
                   world_.post([self, then, error] {
                     if (*self != nullptr && !(*self)->ending_) then(error);
                   });
                 }});
}

void Node::want(const std::vector<NodeFile>& files, std::function<void(std::exception_ptr)> then) {
  auto left = std::make_shared<size_t>(files.size());
  auto first = std::make_shared<std::exception_ptr>();
  const auto one = [left, first, then](std::exception_ptr error) {
    if (error && !*first) *first = error;
    if (--*left == 0) then(*first);
  };
  if (files.empty()) return then(nullptr);
  for (const NodeFile& file : files) {
    const auto [at, fresh] = fetches_.try_emplace(file.hash, Fetch{file, 0, {}});
    at->second.then.push_back(one);
    if (fresh) look_for(file);
  }
}

void Node::look_for(const NodeFile& file) {
  auto here = std::make_shared<bool>(false);
  on_disk([this, file, here] { *here = cache_.holds(file); },
          [this, file, here](std::exception_ptr error) {
            if (error || *here) return fetched(file.hash, error);
            ask(fetches_.at(file.hash));
          });
}

void Node::ask(const Fetch& fetch) {
  LinkPacket packet;
  packet.kind = PacketKind::get;
  packet.body = encode(FilePiece{fetch.file.hash, fetch.done, std::min(kPiece, fetch.file.bytes - fetch.done)});
  send(std::move(packet));
}

void Node::got(const LinkPacket& packet) {
  std::string hash;
  try {
    const FilePiece piece = decode_file_piece(packet.body);
    hash = piece.hash;
    const auto at = fetches_.find(hash);
    if (at == fetches_.end()) return;
    Fetch& fetch = at->second;
    if (packet.kind == PacketKind::no_blob)
      throw failure(fmt::format("the head has no '{}' any more", fetch.file.path), {}, "it was changed while the run reads it");
    if (packet.frames.size() != 1 || piece.offset != fetch.done || packet.frames[0].size() != piece.bytes)
      throw failure(fmt::format("a piece of '{}' is not the one that was asked for", fetch.file.path));
    const bool last = fetch.done + piece.bytes == fetch.file.bytes;
    on_disk(
        [this, file = fetch.file, offset = piece.offset, frame = packet.frames[0], last] {
          cache_.add(file, offset, frame.bytes());
          if (last) cache_.complete(file);
        },
        [this, hash, last, bytes = piece.bytes](std::exception_ptr error) {
          if (error || last) return fetched(hash, error);
          Fetch& f = fetches_.at(hash);
          f.done += bytes;
          ask(f);
        });
  } catch (const Error&) {
    if (!hash.empty()) fetched(hash, std::current_exception());
  }
}

void Node::fetched(const std::string& hash, std::exception_ptr error) {
  auto fetch = fetches_.extract(hash);
  if (fetch.empty()) return;
  for (const auto& then : fetch.mapped().then) then(error);
}

}  // namespace r1
