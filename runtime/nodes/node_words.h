// What head and nodes tell each other about opened roles, as the bodies of LinkPackets (runtime/net/link.h): msgpack arrays;
// and the payloads of edges, which runtime/flow/wire.h codes.
//
//   head -> node   open, payload, credit, stage_end, close; blob, no_blob; stop
//   node -> head   ready, payload, credit, records, finished, failed, closed; get
//
// Decoding throws failure for bytes that are none. Thread rule: values and pure functions.
#pragma once

#include <cstdint>
#include <exception>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/message_channel.h"
#include "runtime/flow/stage_memory.h"
#include "runtime/flow/wait_registry.h"
#include "runtime/flow/wire.h"
#include "runtime/graph/graph.h"
#include "runtime/net/link.h"

namespace r1 {

// Of an edge whose newest message counts, whatever was missed before it: weights, metrics, credits.
bool is_state(const EdgePlan& edge);

// `payload`: a message of an edge, for or of graph node `node`. `before` as in encode_envelope.
LinkPacket payload_packet(const Envelope& payload, const PayloadCodec& codec, const Payload* before, int node,
                          uint64_t incarnation);
Envelope packet_payload(const LinkPacket& packet, const PayloadCodec& codec, const Asked& asked = {});

// A file that a role reads, by content. The node puts what hashes so under that path, in a tree of its own.
struct NodeFile {
  std::string path;  // absolute, at the head
  uint64_t bytes = 0;
  std::string hash;  // XXH3-128, hex
  bool operator==(const NodeFile&) const = default;
};

// The body of `open`; LinkPacket::node says which role of the graph.
struct OpenRole {
  std::string stage;
  std::string settings;  // JSON, what whoever makes the roles needs to know (actors/node_roles.h)
  std::vector<NodeFile> files;
  Recovery recovery;
  // What the role's journal may be asked there: evaluations that are known (their text, the metrics as JSON) and artifacts of
  // ended stages, by (stage, name).
  std::map<std::string, std::string> evaluations;
  std::map<std::pair<std::string, std::string>, Artifact> artifacts;
};
std::string encode(const OpenRole& open);
OpenRole decode_open_role(const std::string& body);

// The body of `records`: what happened at an opened role since the last one.
struct RoleRecords {
  struct Metric {
    std::optional<int64_t> step;  // absent: a tally
    std::string name;
    double value = 0;
  };
  struct Event {
    std::string actor, kind, json;
  };
  struct Wait {
    std::string key, reason, on;
  };
  struct Measured {
    EvaluationRow row;
    std::vector<ResponseRow> kept;
  };
  std::vector<Metric> metrics;
  std::vector<Event> events;
  std::vector<std::pair<std::string, bool>> engines;  // in order; true: a job of it begins
  std::optional<std::string> progress;
  std::optional<std::vector<Wait>> waits;  // all there are
  std::optional<std::string> inspect;      // JSON of Role::inspect()
  bool moved = false;                      // a message came or a job ended
  int64_t cpu_ns = 0;                      // of the process, inside ops, since its start
  std::vector<Measured> evaluations;       // for the journal: durable before what the role says next is heard
};
std::string encode(const RoleRecords& records);
RoleRecords decode_role_records(const std::string& body);

// The body of `failed`.
std::string encode_error(const std::exception_ptr& error);
std::exception_ptr decode_error(const std::string& body, const std::string& from);

// The bodies of `get` and `blob`: a piece of a file. `blob` has the piece as its one frame.
struct FilePiece {
  std::string hash;
  uint64_t offset = 0, bytes = 0;
};
std::string encode(const FilePiece& piece);
FilePiece decode_file_piece(const std::string& body);

// `rank`: a word of the channel between a trainer and its rank. The text is the body, the bytes are the one frame.
LinkPacket rank_packet(uint64_t incarnation, int node, ChannelMessage word);
ChannelMessage rank_word(LinkPacket packet);

}  // namespace r1
