// What head and nodes tell each other about opened roles, as the bodies of LinkPackets (runtime/net/link.h): msgpack arrays;
// and the payloads of edges, which runtime/flow/wire.h codes.
//
//   head -> node   open, payload, content, credit, stage_end, close; blob, no_blob, parents, listen, forget; stop
//   node -> head   ready, payload, credit, records, finished, failed, closed; get, want, have, listens
//   node -> node   get; blob, no_blob
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
#include "runtime/net/keys.h"
#include "runtime/net/link.h"

namespace r1 {

// Of an edge whose newest message counts, whatever was missed before it: weights, metrics, credits.
bool is_state(const EdgePlan& edge);

// `payload`: a message of an edge, for or of graph node `node`. `before` as in encode_envelope.
LinkPacket payload_packet(const Envelope& payload, const PayloadCodec& codec, const Payload* before, int node,
                          uint64_t incarnation);
LinkPacket payload_packet(const Envelope& payload, Packet coded, int node, uint64_t incarnation);
Envelope packet_payload(const LinkPacket& packet, const PayloadCodec& codec, const Asked& asked = {});

// A word that is about no role.
LinkPacket link_word(PacketKind kind, std::string body);

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
  bool moved = false;                      // a message came, a job or a unit of one ended, or what is fetched came on
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

// The bodies of `want` and `have`: a content that a node needs and does not hold; one that it holds.
std::string encode_content_name(const std::string& hash, uint64_t bytes);
std::pair<std::string, uint64_t> decode_content_name(const std::string& body);

// The body of `parents`: from which nodes a content that was wanted may be fetched, and how its leaves are known.
struct ContentParents {
  struct Parent {
    std::string name, address, public_key;  // "node2/4711", as LinkAddress::text(), of its door
  };
  static constexpr size_t kMost = 2;
  std::string hash;
  std::string leaves;           // kLeafHashBytes each; none where there are no parents
  std::vector<Parent> parents;  // none: from the head
  CurveKeys keys;               // with which it dials them
};
std::string encode(const ContentParents& parents);
ContentParents decode_content_parents(const std::string& body);

// The bodies of `listen` and `listens`: a node is to let another one in, and says where it listens; "" if it cannot.
struct DoorOrder {
  uint64_t child = 0;           // the head's number of it
  std::string name, child_key;  // of who is let in; its public one
  CurveKeys keys;               // of the door
};
std::string encode(const DoorOrder& order);
DoorOrder decode_door_order(const std::string& body);
struct DoorAnswer {
  uint64_t child = 0;
  std::string address;
};
std::string encode(const DoorAnswer& answer);
DoorAnswer decode_door_answer(const std::string& body);

// The body of `forget`: a content in memory that nobody needs any more, or a key that is let in no longer; one of both.
struct ForgetOrder {
  std::string hash, key;
};
std::string encode(const ForgetOrder& order);
ForgetOrder decode_forget_order(const std::string& body);

constexpr uint64_t kMostContentBytes = uint64_t{1} << 48;

// The body of `content`: a payload whose frames are to be fetched. `header`: Packet::header of runtime/flow/wire.h.
struct ContentPayload {
  std::string header, hash;
  std::vector<uint64_t> frames;  // their sizes
  std::string name;              // for logs: "version 3, whole"; "": nothing that is worth a line
};
std::string encode(const ContentPayload& payload);
ContentPayload decode_content_payload(const std::string& body);

// `rank`: a word of the channel between a trainer and its rank. The text is the body, the bytes are the one frame.
LinkPacket rank_packet(uint64_t incarnation, int node, ChannelMessage word);
ChannelMessage rank_word(LinkPacket packet);

}  // namespace r1
