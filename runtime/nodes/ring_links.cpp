#include "runtime/nodes/ring_links.h"

#include <fmt/format.h>

#include <utility>

#include "base/log.h"

namespace r1 {
namespace {

constexpr size_t kPacketBytes = size_t{2} << 20;
constexpr int64_t kDialNs = 15'000'000'000;

class Sockets final : public RingDoors {
 public:
  explicit Sockets(const RingLinksOptions& options)
      : head_(options.head), peers_(zmq_peers(options, {kDialNs, options.link.backlog_bytes, kPacketBytes})) {}
  std::unique_ptr<Links> listen(const RingInvitation& told, LinkSink& sink, std::string& address) const override {
    struct Listened final : Links {
      KeyRing ring;
      std::unique_ptr<Links> links;
      void send(PeerId peer, LinkPacket packet) override { links->send(peer, std::move(packet)); }
      void drop(PeerId peer, const std::string& why) override { links->drop(peer, why); }
    };
    auto listened = std::make_unique<Listened>();
    listened->ring.let_in(fmt::format("node:rank{}", (told.rank + 1) % told.ranks), told.next_key);
    PeerNet::Door door = peers_->listen(told.keys, listened->ring, sink);
    if (door.here != door.address) log_info(fmt::format("{} listens on {}", told.name, door.here));
    listened->links = std::move(door.links);
    address = door.address;
    return listened;
  }
  std::string dialled(const RingInvitation& told, const std::string& previous) const override {
    LinkAddress address = parse_link_address(previous);
    if (told.rank == 1 && head_) address.host = head_->host;
    return address.text();
  }
  std::unique_ptr<Links> dial(const RingInvitation& told, const std::string& address, LinkSink& sink) const override {
    return peers_->dial(address, told.previous_key, told.keys, sink);
  }

 private:
  const std::optional<LinkAddress> head_;
  const std::unique_ptr<PeerNet> peers_;
};

}  // namespace

std::unique_ptr<RankRing> ring_links(const RingInvitation& told, const RingLinksOptions& options) {
  return link_ring(told, std::make_shared<Sockets>(options));
}

}  // namespace r1
