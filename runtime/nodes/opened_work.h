// What a head may open at a node: a role (opened_role.h), or one rank of a trainer (opened_rank.h). Thread rule: all from the
// node's thread.
#pragma once

#include <exception>
#include <functional>
#include <memory>

#include "base/message_channel.h"
#include "runtime/flow/role.h"
#include "runtime/net/link.h"
#include "runtime/nodes/node_words.h"

namespace r1 {

// A graph and what does its work, for one `open`; kept as long as that is open.
struct NodeGraph {
  GraphView graph;
  RoleFactory factory;
  // Is a rank of the trainer `node`, and what the head says of it comes over the channel; by throwing it ends.
  std::function<void(const NodePlan& node, MessageChannel& head)> rank;
};

class OpenedWork {
 public:
  virtual ~OpenedWork() = default;
  virtual const OpenRole& open() const = 0;
  // What `open` asked for is there: it begins. A failure goes to the head.
  virtual void begin(std::shared_ptr<const NodeGraph> graph) = 0;
  virtual void failed(std::exception_ptr error) = 0;
  virtual void received(const LinkPacket& packet) = 0;
  virtual void whole(const Packet&) {}  // a message whose frames were fetched by content
  // Ends it: jobs at hand stop at their next unit. `then`: when nothing of it runs any more.
  virtual void close(std::function<void()> then) = 0;
  virtual void tick(bool /*fetched*/) {}  // now and then; `fetched`: ContentFetcher::moved()
  // Once it is closed: Role::state(); null for what is no role.
  virtual PayloadPtr state() { return nullptr; }
};

// The node of the graph that an `open` names, of its stage. Throws failure where there is none.
const NodePlan& opened_node(const GraphView& graph, const OpenRole& open, int node);

}  // namespace r1
