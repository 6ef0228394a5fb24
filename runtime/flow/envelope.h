// What hosts of roles say to each other: data, so that it can leave the process. Not work that stays in it (completions, calls
// of a role on itself): those go by HostTransport::run. Thread rule: values.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace r1 {

// What a message carries. Immutable once sent; shared inside a process, serialised only at its edge (runtime/flow/wire.h).
class Payload {
 public:
  virtual ~Payload() = default;
  virtual const char* kind() const = 0;      // payload kind, for logs, the stall report and the wire
  virtual std::string describe() const = 0;  // "draw 57", "version 12"
  // Of its draw, batch or version: what an answer has in common with its question. -1: it is neither.
  virtual int64_t number() const { return -1; }
  // Equal text, equal payload, whoever made it; "": it is not known by its content.
  virtual std::string content() const { return ""; }
};
using PayloadPtr = std::shared_ptr<const Payload>;

struct Envelope {
  enum class Kind : uint8_t { payload, credit, stage_end };
  Kind kind = Kind::stage_end;
  int edge = -1;       // index into the graph's edges; -1 for stage_end
  int64_t number = 0;  // payload: its sequence number on the edge, from 1; credit: how many messages of it were released so far
  PayloadPtr payload;  // of Kind::payload
  bool stage_ends = false;  // the sender knows that the stage ends: who missed the message that said so learns it here
};

}  // namespace r1
