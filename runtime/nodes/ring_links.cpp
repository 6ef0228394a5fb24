#include "runtime/nodes/ring_links.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace r1 {
namespace {

constexpr size_t kPacketBytes = size_t{2} << 20;
constexpr int64_t kDialNs = 15'000'000'000;  // the other one listens already

class Sockets final : public RingDoors {
 public:
  explicit Sockets(RingLinksOptions options) : options_(std::move(options)) {
    options_.link.packet_bytes = kPacketBytes;
    options_.link.dial_ns = std::min(options_.link.dial_ns, kDialNs);
  }
  std::unique_ptr<Links> listen(const RingInvitation& told, LinkSink& sink, std::string& address) const override {
    struct Listened final : Links {
      KeyRing ring;
      std::unique_ptr<ZmqHead> links;
      void send(PeerId peer, LinkPacket packet) override { links->send(peer, std::move(packet)); }
      void drop(PeerId peer, const std::string& why) override { links->drop(peer, why); }
    };
    auto listened = std::make_unique<Listened>();
    listened->ring.let_in(fmt::format("node:rank{}", (told.rank + 1) % told.ranks), told.next_key);
    ZmqHeadOptions head;
    head.listen.host = options_.listen;
    head.ports = options_.ports;
    head.keys = told.keys;
    head.link = options_.link;
    listened->links = zmq_listen(std::move(head), listened->ring, terms(), sink);
    LinkAddress own = listened->links->address();
    if (!options_.address.empty()) {
      log_info(fmt::format("{} listens on {}", told.name, own.text()));
      own.host = options_.address;
    }
    address = own.text();
    return listened;
  }
  std::string dialled(const RingInvitation& told, const std::string& previous) const override {
    LinkAddress address = parse_link_address(previous);
    if (told.rank == 1 && options_.head) address.host = options_.head->host;
    return address.text();
  }
  std::unique_ptr<Links> dial(const RingInvitation& told, const std::string& address, LinkSink& sink) const override {
    ZmqNodeOptions dial;
    dial.head = parse_link_address(address);
    dial.head_key = told.previous_key;
    dial.keys = told.keys;
    dial.link = options_.link;
    return zmq_dial(std::move(dial), terms(), sink);
  }

 private:
  // The head has compared what its nodes compute with.
  LinkTerms terms() const {
    LinkTerms terms;
    terms.self = options_.self;
    terms.any_fingerprint = true;
    return terms;
  }

  RingLinksOptions options_;
};

}  // namespace

std::unique_ptr<RankRing> ring_links(const RingInvitation& told, RingLinksOptions options) {
  return link_ring(told, std::make_shared<Sockets>(std::move(options)));
}

}  // namespace r1
