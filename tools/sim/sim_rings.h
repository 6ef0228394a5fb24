// The rings of a simulated run's trainers: links in memory (runtime/net/memory_links.h) between ranks of the head and of nodes,
// under the real ring (runtime/nodes/link_ring.h), with what happens to the processes at their ends. Keys are compared as a
// socket's would be; nothing is encrypted. Thread rule: one thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "runtime/flow/step_world.h"
#include "runtime/net/memory_links.h"
#include "runtime/nodes/link_ring.h"

namespace r1 {

class SimRings {
 public:
  static constexpr int kHead = -1;

  struct Options {
    uint64_t seed = 0;
    int64_t message_ns = 0;  // upper bound of a message's delay
  };
  // The world outlives it, and it outlives what it makes.
  SimRings(StepWorld& world, Options options);
  ~SimRings();

  // How ranks of that process - a slot of a node, or kHead - come to their neighbours.
  MakeRankRing of(int process);

  // As kill -9: what its ranks say from now on is not heard.
  void crash(int process);
  void stop(int process, bool stopped);  // SIGSTOP
  void cut(int process, bool to_next);   // what its ranks say to the next ones, or to those before them
  void heal(int process);
  void reset(int process);
  void damage(int process, bool lose);  // the next message of a link of its ranks
  void tick();
  int64_t next_tick_ns() const;

 private:
  struct Door;
  class End;
  class Doors;
  void for_each(int process, const std::function<void(Door&, bool listens)>& call);
  std::shared_ptr<Door> new_door();

  StepWorld& world_;
  const Options options_;
  Rng rng_;
  const int64_t life_;
  std::vector<std::weak_ptr<Door>> doors_;
  int made_ = 0;
};

}  // namespace r1
