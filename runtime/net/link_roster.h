// The head's links, whatever carries them: one LinkProtocol a connection, and the rule that a key is in use once. What comes of
// a call is handed to `act`, connection by connection. Thread rule: one thread at a time; `act` calls nothing of it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "runtime/net/link_protocol.h"

namespace r1 {

class LinkRoster {
 public:
  using Act = std::function<void(PeerId, LinkOutput)>;
  // `new_id`: never the same twice.
  LinkRoster(LinkConfig config, LinkTerms terms, std::function<PeerId()> new_id, Act act);

  // A connection whose key says `principal`. Its id is that of the peer it becomes.
  PeerId connected(int64_t now_ns, const std::string& principal);
  void received(int64_t now_ns, PeerId id, LinkLane lane, WireMessage message);
  void closed(PeerId id, const std::string& why);
  void send(int64_t now_ns, PeerId id, LinkPacket packet);
  void drop(PeerId id, const std::string& why);
  void drop_all(const std::string& why);
  void tick(int64_t now_ns);
  int64_t next_tick_ns() const;

  bool has(PeerId id) const { return links_.count(id) > 0; }
  size_t size() const { return links_.size(); }
  std::optional<PeerTimes> times(PeerId id) const;
  std::optional<int64_t> heard_ns(PeerId id) const;  // of a peer that is up
  std::optional<int64_t> resident_bytes(PeerId id) const;

 private:
  LinkTerms terms_for(PeerId id);
  std::string key_in_use(PeerId id, const PeerHello& hello);
  // What `call` on the link gives is acted on; a link that is over is forgotten.
  void with(PeerId id, const std::function<void(LinkProtocol&, LinkOutput&)>& call);

  LinkConfig config_;
  LinkTerms terms_;
  std::function<PeerId()> new_id_;
  Act act_;
  std::map<PeerId, std::unique_ptr<LinkProtocol>> links_;
  std::vector<PeerId> replaced_;  // by the greeting that is being looked at
};

}  // namespace r1
