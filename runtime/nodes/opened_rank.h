// One rank of a trainer that a head opened at this node: a thread that does what NodeGraph::rank says, with a channel to the
// head, in packets of kind `rank`. Knows nothing of what is said. Thread rule: as OpenedWork.
#pragma once

#include <atomic>
#include <memory>

#include "runtime/nodes/node_world.h"
#include "runtime/nodes/opened_work.h"
#include "runtime/nodes/pool_core.h"

namespace r1 {

class OpenedRank final : public OpenedWork {
 public:
  struct Services {
    NodeWorld* world = nullptr;
    std::function<void(LinkPacket)> send;  // to the head; any thread
    std::function<int64_t()> cpu_ns;       // inside ops, of the process; any thread
  };
  OpenedRank(Services services, Incarnation incarnation, int node, OpenRole open);
  ~OpenedRank() override;

  const OpenRole& open() const override { return open_; }
  void begin(std::shared_ptr<const NodeGraph> graph) override;
  void failed(std::exception_ptr error) override;
  void received(const LinkPacket& packet) override;
  void close(std::function<void()> then) override;
  void tick(bool fetched) override;  // that the rank, or what it waits for, moves goes to the head

 private:
  class Channel;
  void say(PacketKind kind, std::string body);  // to the head
  void end_channel();

  const Services services_;
  const Incarnation incarnation_;
  const int node_;
  const OpenRole open_;
  std::shared_ptr<const NodeGraph> graph_;
  std::unique_ptr<Channel> channel_;
  std::atomic<bool> stop_{false}, moved_{false};
  const std::function<void()> unit_ = [this] { moved_ = true; };
  bool closed_ = false;
  std::unique_ptr<Executor> executor_;
};

}  // namespace r1
