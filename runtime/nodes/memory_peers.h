// Nodes that dial each other in one process, in memory (runtime/net/memory_links.h): each door is a net of its own. Who is let
// in is decided by keys, as over sockets. For simulations and tests; not used in runs. Thread rule: one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/net/memory_links.h"
#include "runtime/nodes/peer_net.h"

namespace r1 {

class MemoryPeers {
 public:
  struct Options {
    LinkConfig link;
    // As MemoryNet::Options, of door `door`.
    std::function<void(int door, MemoryNet::Way way, std::function<void()> step)> carry;
    std::function<bool(int door, MemoryNet::Way way, WireMessage& message)> tamper;
    std::function<LinkTerms(const std::string& host)> terms;
  };
  MemoryPeers(const Clock& clock, Options options);

  // How process `process` comes to others. This outlives it.
  std::unique_ptr<PeerNet> of(int process);
  void tick();
  int64_t next_tick_ns() const;  // INT64_MAX: none
  // As SIGSTOP: nothing of what it listens for or dialled moves, until `stopped` is false.
  void stop(int process, bool stopped);
  int doors() const { return static_cast<int>(doors_.size()); }
  int owner(int door) const { return doors_.at(static_cast<size_t>(door)).process; }
  int wires() const;  // dialled so far, at all doors

 private:
  class Net;
  struct Door {
    int process = 0;
    std::string key;
    const KeyRing* let_in = nullptr;
    std::unique_ptr<MemoryNet> net;
    std::map<int, int> dialled;  // by wire: who did
  };
  const Clock& clock_;
  const Options options_;
  std::vector<Door> doors_;
  MemoryNet nowhere_;  // nobody listens there
};

}  // namespace r1
