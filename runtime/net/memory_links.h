// Links in one process, in memory: for tests and simulations. The protocol is the one that sockets use, with its bytes; what a
// network does is done by whoever holds the net: the order in which lanes move, cuts, resets, losses. Real in everything but
// time and sockets.
//
// Nothing happens inside a call: a message, and each call of a sink, is a step of its own. Steps of one lane keep their order.
// Thread rule: one thread.
#pragma once

#include <compare>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "runtime/net/link_protocol.h"

namespace r1 {

class MemoryNet {
 public:
  // What keeps its order: the messages of one wire in one direction on one lane, or what one end's sink is told.
  struct Way {
    enum class Kind : uint8_t { to_head_control, to_head_bulk, to_node_control, to_node_bulk, at_head, at_node };
    int wire = 0;  // counts dials, from 0
    Kind kind = Kind::at_head;
    auto operator<=>(const Way&) const = default;
  };
  struct Options {
    LinkConfig link;
    // Does `step` once and later, after what it was given before on the same way (StepWorld::push). Absent: step() does it, the
    // oldest first.
    std::function<void(Way way, std::function<void()> step)> carry;
    // Looks at a message that arrives, and may change it; false: it is lost. Absent: nothing happens to it.
    std::function<bool(Way way, WireMessage& message)> tamper;
  };
  // The clock outlives it and what it gave.
  MemoryNet(const Clock& clock, Options options);
  ~MemoryNet();

  // The head's end; one at a time (a new one after crash() or the end of the one before). The sink outlives it.
  std::unique_ptr<Links> listen(LinkTerms terms, LinkSink& sink);
  // A node's end, which dials now. `principal`: what its key says.
  std::unique_ptr<Links> dial(const std::string& principal, LinkTerms terms, LinkSink& sink);
  int wires() const;  // dialled so far

  // Without Options::carry: does the oldest step; false when there is none.
  bool step();
  void settle();  // all of them, and what they bring
  // Beats, leases and deadlines that are due by the clock.
  void tick();
  int64_t next_tick_ns() const;  // INT64_MAX: none

  // Messages that way stand still until healed; none is lost (TCP sends again).
  void cut(int wire, bool to_head);
  void heal(int wire);  // both ways
  // Both ends find the connection closed; what was under way is lost.
  void reset(int wire);
  // As SIGSTOP: a node's end takes nothing in and its time stands still, until `stopped` is false.
  void stop(int wire, bool stopped);
  void stop_head(bool stopped);  // the same of the head's end
  // As kill -9: this end does nothing any more, its sink is not called; the others find their connections closed after what was
  // sent.
  void crash(Links& end);

 private:
  class Head;
  class Node;
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace r1
