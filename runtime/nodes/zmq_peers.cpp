#include "runtime/nodes/zmq_peers.h"

#include <algorithm>
#include <utility>

#include "runtime/nodes/content.h"

namespace r1 {
namespace {

constexpr int64_t kContentDialNs = 5'000'000'000;
constexpr size_t kContentBacklogBytes = size_t{64} << 20;  // what is asked at once and not taken: then the peer is let go

class ZmqPeers final : public PeerNet {
 public:
  ZmqPeers(ZmqPeersOptions options, const PeerBounds& bounds) : options_(std::move(options)) {
    LinkConfig& link = options_.link;
    link.dial_ns = std::min(link.dial_ns, bounds.dial_ns);
    link.backlog_bytes = bounds.backlog_bytes;
    link.packet_bytes = bounds.packet_bytes;
  }
  Door listen(const CurveKeys& keys, const KeyRing& let_in, LinkSink& sink) override {
    ZmqHeadOptions head;
    head.listen.host = options_.listen();
    head.ports = options_.ports;
    head.keys = keys;
    head.link = options_.link;
    auto links = zmq_listen(std::move(head), let_in, terms(), sink);
    const LinkAddress here = links->address();
    LinkAddress told = here;
    if (!options_.address.empty()) told.host = options_.address;
    return {std::move(links), told.text(), here.text()};
  }
  std::unique_ptr<Links> dial(const std::string& address, const std::string& door_key, const CurveKeys& keys,
                              LinkSink& sink) override {
    ZmqNodeOptions node;
    node.head = parse_link_address(address);
    node.head_key = door_key;
    node.keys = keys;
    node.link = options_.link;
    return zmq_dial(std::move(node), terms(), sink);
  }

 private:
  // The head has compared what its nodes compute with.
  LinkTerms terms() const {
    LinkTerms terms;
    terms.self = options_.self;
    terms.any_fingerprint = true;
    return terms;
  }
  ZmqPeersOptions options_;
};

}  // namespace

std::unique_ptr<PeerNet> zmq_peers(ZmqPeersOptions options, const PeerBounds& bounds) {
  return std::make_unique<ZmqPeers>(std::move(options), bounds);
}

std::unique_ptr<PeerNet> zmq_peers(ZmqPeersOptions options) {
  return zmq_peers(std::move(options), {kContentDialNs, kContentBacklogBytes, kPieceBytesOfContent + kLeafBytes});
}

}  // namespace r1
