// The run's side of r1-shell over the network: a head of links (runtime/net/link.h) of its own, which knows the run's two keys
// for shells and no other. What comes in goes to the ShellServer, as what its socket hears does; a key that may look can not
// steer. Every shell has one question at a time; how many there are, what a question and an answer may have, and what waits for
// a shell that does not read are bounded; beyond, a shell is refused or let go, and the run never waits for one.
// Thread rule: construct, open, close and destroy in one thread.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "runtime/net/keys.h"
#include "runtime/net/link.h"
#include "runtime/net/link_address.h"

namespace r1 {

class ShellServer;

struct ShellDoorLimits {
  size_t shells = 64;
  size_t question_bytes = 4096;
  size_t answer_bytes = size_t{4} << 20;
  int64_t lease_ns = 10'000'000'000;  // nothing heard of a shell, or nothing of what it was sent taken in, for so long
};

class ShellDoor {
 public:
  // Listens at once. `keys`: of the run. `self`: build, host and pid of this process. Throws failure when it cannot.
  ShellDoor(const LinkAddress& listen, const RunKeys& keys, PeerHello self, ShellDoorLimits limits = {});
  ~ShellDoor();
  ShellDoor(const ShellDoor&) = delete;
  ShellDoor& operator=(const ShellDoor&) = delete;

  const LinkAddress& address() const;
  // Questions are answered from now on, and no more. The server outlives what is between.
  void open(ShellServer& server);
  void close();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace r1
