#include "runtime/nodes/node_words.h"

#include <fmt/format.h>

#include <bit>

#include "runtime/flow/msgpack.h"
#include "runtime/flow/role_host.h"

namespace r1 {
namespace {

using Pack = msgpack::packer<msgpack::sbuffer>;

constexpr uint8_t kFormat = 2;

struct Writer {
  msgpack::sbuffer out;
  Pack pack{out};
  std::string take() { return {out.data(), out.size()}; }
  // As its bits: msgpack writes whole numbers as integers, and -0 would come back as 0.
  void real(double value) { pack.pack(std::bit_cast<uint64_t>(value)); }
  void nothing() { pack.pack_nil(); }
  void count(size_t n) { pack.pack_array(static_cast<uint32_t>(n)); }
};

double real(Items& items) { return std::bit_cast<double>(items.next_as<uint64_t>()); }

void write(Writer& w, const Recovery& r) {
  const auto& [batches, next_draw, open_draws, ledger, metrics, artifacts, snapshots, error, place, other] = r;
  w.count(10);
  w.pack.pack(batches);
  w.pack.pack(next_draw);
  w.pack.pack(open_draws);
  w.count(4);
  w.pack.pack(ledger.draws);
  w.pack.pack(ledger.trained);
  w.pack.pack(ledger.open);
  w.pack.pack(ledger.dropped);
  w.count(metrics.size());
  for (const auto& [name, total] : metrics) {
    w.count(3);
    w.pack.pack(name);
    w.pack.pack(total.values);
    w.real(total.sum);
  }
  w.count(artifacts.size());
  for (const auto& [name, artifact] : artifacts) {
    w.count(3);
    w.pack.pack(name);
    w.pack.pack(artifact.path);
    w.pack.pack(artifact.hash);
  }
  w.count(snapshots.size());
  for (const SnapshotRow& row : snapshots) {
    w.count(2);
    w.pack.pack(row.version);
    w.pack.pack(row.file);
  }
  w.pack.pack(error);
  w.count(3);
  w.pack.pack(place.file);
  w.pack.pack(place.table);
  w.pack.pack(place.row);
  w.pack.pack(other);
}

Recovery read_recovery(const msgpack::object& o) {
  Items items(o, 10);
  Recovery r;
  r.batches = items.next_as<int64_t>();
  r.next_draw = items.next_as<int64_t>();
  r.open_draws = items.next_as<std::set<int64_t>>();
  Items ledger(items.next(), 4);
  r.ledger.draws = ledger.next_as<int64_t>();
  r.ledger.trained = ledger.next_as<int64_t>();
  r.ledger.open = ledger.next_as<int64_t>();
  r.ledger.dropped = ledger.next_as<std::map<std::string, int64_t>>();
  for (Items metrics(items.next()); metrics.size() > 0;) {
    Items metric(metrics.next(), 3);
    const auto name = metric.next_as<std::string>();
    r.metrics[name].values = metric.next_as<int64_t>();
    r.metrics[name].sum = real(metric);
  }
  for (Items artifacts(items.next()); artifacts.size() > 0;) {
    Items artifact(artifacts.next(), 3);
    const auto name = artifact.next_as<std::string>();
    r.artifacts[name].path = artifact.next_as<std::string>();
    r.artifacts[name].hash = artifact.next_as<std::string>();
  }
  for (Items snapshots(items.next()); snapshots.size() > 0;) {
    Items snapshot(snapshots.next(), 2);
    SnapshotRow& row = r.snapshots.emplace_back();
    row.version = snapshot.next_as<int64_t>();
    row.file = snapshot.next_as<std::string>();
  }
  r.first_reward_error = items.next_as<std::string>();
  Items place(items.next(), 3);
  r.first_reward_error_place.file = place.next_as<std::string>();
  r.first_reward_error_place.table = place.next_as<std::string>();
  r.first_reward_error_place.row = place.next_as<std::string>();
  r.other_arithmetic = items.next_as<bool>();
  return r;
}

void write(Writer& w, const RoleRecords::Measured& m) {
  const auto& [node, moment, version, evaluation, metrics_json] = m.row;
  w.count(6);
  w.pack.pack(node);
  w.pack.pack(moment);
  w.pack.pack(version);
  w.pack.pack(evaluation);
  w.pack.pack(metrics_json);
  w.count(m.kept.size());
  for (const ResponseRow& response : m.kept) {
    const auto& [source, prompt, sample, text, answer, tokens, finished, correct, reward, scores_json, error] = response;
    w.count(11);
    w.pack.pack(source);
    w.pack.pack(prompt);
    w.pack.pack(sample);
    w.pack.pack(text);
    w.pack.pack(answer);
    w.pack.pack(tokens);
    w.pack.pack(finished);
    w.pack.pack(correct);
    reward ? w.real(*reward) : w.nothing();
    w.pack.pack(scores_json);
    w.pack.pack(error);
  }
}

RoleRecords::Measured read_measured(const msgpack::object& o) {
  Items items(o, 6);
  RoleRecords::Measured m;
  m.row.node = items.next_as<std::string>();
  m.row.moment = items.next_as<std::string>();
  m.row.version = items.next_as<int64_t>();
  m.row.evaluation = items.next_as<std::string>();
  m.row.metrics_json = items.next_as<std::string>();
  for (Items kept(items.next()); kept.size() > 0;) {
    Items response(kept.next(), 11);
    ResponseRow& r = m.kept.emplace_back();
    r.source = response.next_as<std::string>();
    r.prompt = response.next_as<int64_t>();
    r.sample = response.next_as<int>();
    r.text = response.next_as<std::string>();
    r.response = response.next_as<std::string>();
    r.tokens = response.next_as<int64_t>();
    r.finished = response.next_as<bool>();
    r.correct = response.next_as<std::optional<bool>>();
    if (const auto bits = response.next_as<std::optional<uint64_t>>()) r.reward = std::bit_cast<double>(*bits);
    r.scores_json = response.next_as<std::string>();
    r.error = response.next_as<std::string>();
  }
  return m;
}

void known_format(Items& items) {
  if (items.next_as<uint8_t>() != kFormat) throw malformed_message("another version of the format");
}

}  // namespace

bool is_state(const EdgePlan& edge) { return conflates(edge) || edge.carries == "credits"; }

LinkPacket payload_packet(const Envelope& payload, const PayloadCodec& codec, const Payload* before, int node,
                          uint64_t incarnation) {
  return payload_packet(payload, encode_envelope(payload, codec, before), node, incarnation);
}

LinkPacket payload_packet(const Envelope& payload, Packet coded, int node, uint64_t incarnation) {
  LinkPacket packet;
  packet.kind = PacketKind::payload;
  packet.incarnation = incarnation;
  packet.node = node;
  packet.edge = payload.edge;
  packet.number = static_cast<uint64_t>(payload.number);
  packet.body = std::move(coded.header);
  packet.frames = wire_frames(std::move(coded.frames));
  return packet;
}

Envelope packet_payload(const LinkPacket& packet, const PayloadCodec& codec, const Asked& asked) {
  return decode_envelope({packet.body, frame_strings(packet.frames)}, codec, asked);
}

LinkPacket link_word(PacketKind kind, std::string body) {
  LinkPacket packet;
  packet.kind = kind;
  packet.body = std::move(body);
  return packet;
}

std::string encode(const OpenRole& open) {
  Writer w;
  w.count(7);
  w.pack.pack(kFormat);
  w.pack.pack(open.stage);
  w.pack.pack(open.settings);
  w.count(open.files.size());
  for (const NodeFile& file : open.files) {
    w.count(3);
    w.pack.pack(file.path);
    w.pack.pack(file.bytes);
    w.pack.pack(file.hash);
  }
  write(w, open.recovery);
  w.pack.pack(open.evaluations);
  w.count(open.artifacts.size());
  for (const auto& [name, artifact] : open.artifacts) {
    w.count(4);
    w.pack.pack(name.first);
    w.pack.pack(name.second);
    w.pack.pack(artifact.path);
    w.pack.pack(artifact.hash);
  }
  return w.take();
}

OpenRole decode_open_role(const std::string& body) {
  const Unpacked unpacked(body);
  Items items(unpacked.root(), 7);
  known_format(items);
  OpenRole open;
  open.stage = items.next_as<std::string>();
  open.settings = items.next_as<std::string>();
  for (Items files(items.next()); files.size() > 0;) {
    Items file(files.next(), 3);
    NodeFile& f = open.files.emplace_back();
    f.path = file.next_as<std::string>();
    f.bytes = file.next_as<uint64_t>();
    f.hash = file.next_as<std::string>();
  }
  open.recovery = read_recovery(items.next());
  open.evaluations = items.next_as<std::map<std::string, std::string>>();
  for (Items artifacts(items.next()); artifacts.size() > 0;) {
    Items artifact(artifacts.next(), 4);
    const auto stage = artifact.next_as<std::string>();
    Artifact& a = open.artifacts[{stage, artifact.next_as<std::string>()}];
    a.path = artifact.next_as<std::string>();
    a.hash = artifact.next_as<std::string>();
  }
  return open;
}

std::string encode(const RoleRecords& records) {
  const auto& [metrics, events, engines, progress, waits, inspect, moved, cpu_ns, evaluations] = records;
  Writer w;
  w.count(10);
  w.pack.pack(kFormat);
  w.count(metrics.size());
  for (const RoleRecords::Metric& m : metrics) {
    w.count(3);
    m.step ? w.pack.pack(*m.step) : w.pack.pack_nil();
    w.pack.pack(m.name);
    w.real(m.value);
  }
  w.count(events.size());
  for (const RoleRecords::Event& e : events) {
    w.count(3);
    w.pack.pack(e.actor);
    w.pack.pack(e.kind);
    w.pack.pack(e.json);
  }
  w.count(engines.size());
  for (const auto& [engine, begins] : engines) {
    w.count(2);
    w.pack.pack(engine);
    w.pack.pack(begins);
  }
  progress ? w.pack.pack(*progress) : w.pack.pack_nil();
  if (waits) {
    w.count(waits->size());
    for (const RoleRecords::Wait& wait : *waits) {
      w.count(3);
      w.pack.pack(wait.key);
      w.pack.pack(wait.reason);
      w.pack.pack(wait.on);
    }
  } else {
    w.pack.pack_nil();
  }
  inspect ? w.pack.pack(*inspect) : w.pack.pack_nil();
  w.pack.pack(moved);
  w.pack.pack(cpu_ns);
  w.count(evaluations.size());
  for (const RoleRecords::Measured& m : evaluations) write(w, m);
  return w.take();
}

RoleRecords decode_role_records(const std::string& body) {
  const Unpacked unpacked(body);
  Items items(unpacked.root(), 10);
  known_format(items);
  RoleRecords r;
  for (Items metrics(items.next()); metrics.size() > 0;) {
    Items metric(metrics.next(), 3);
    RoleRecords::Metric& m = r.metrics.emplace_back();
    m.step = metric.next_as<std::optional<int64_t>>();
    m.name = metric.next_as<std::string>();
    m.value = real(metric);
  }
  for (Items events(items.next()); events.size() > 0;) {
    Items event(events.next(), 3);
    RoleRecords::Event& e = r.events.emplace_back();
    e.actor = event.next_as<std::string>();
    e.kind = event.next_as<std::string>();
    e.json = event.next_as<std::string>();
  }
  for (Items engines(items.next()); engines.size() > 0;) {
    Items engine(engines.next(), 2);
    const auto name = engine.next_as<std::string>();
    r.engines.emplace_back(name, engine.next_as<bool>());
  }
  r.progress = items.next_as<std::optional<std::string>>();
  if (const msgpack::object& waits = items.next(); !waits.is_nil()) {
    r.waits.emplace();
    for (Items all(waits); all.size() > 0;) {
      Items wait(all.next(), 3);
      RoleRecords::Wait& x = r.waits->emplace_back();
      x.key = wait.next_as<std::string>();
      x.reason = wait.next_as<std::string>();
      x.on = wait.next_as<std::string>();
    }
  }
  r.inspect = items.next_as<std::optional<std::string>>();
  r.moved = items.next_as<bool>();
  r.cpu_ns = items.next_as<int64_t>();
  for (Items evaluations(items.next()); evaluations.size() > 0;) r.evaluations.push_back(read_measured(evaluations.next()));
  return r;
}

std::string encode_error(const std::exception_ptr& error) {
  ExitCode code = ExitCode::failed;
  bool final = false;
  std::string message, hint;
  Where where;
  try {
    std::rethrow_exception(error);
  } catch (const Error& e) {
    code = e.code();
    final = e.final();
    message = e.message();
    where = e.where();
    hint = e.hint();
  } catch (const std::exception& e) {
    message = e.what();
  } catch (...) {
    message = "unknown exception";
  }
  Writer w;
  w.count(8);
  w.pack.pack(kFormat);
  w.pack.pack(static_cast<int>(code));
  w.pack.pack(final);
  w.pack.pack(message);
  w.pack.pack(where.file);
  w.pack.pack(where.line);
  w.pack.pack(where.column);
  w.pack.pack(hint);
  return w.take();
}

std::exception_ptr decode_error(const std::string& body, const std::string& from) {
  const Unpacked unpacked(body);
  Items items(unpacked.root(), 8);
  known_format(items);
  const int code = items.next_as<int>();
  const bool final = items.next_as<bool>();
  const std::string message = fmt::format("{} (at {})", items.next_as<std::string>(), from);
  Where where;
  where.file = items.next_as<std::string>();
  where.line = items.next_as<int>();
  where.column = items.next_as<int>();
  const auto hint = items.next_as<std::string>();
  if (final) return std::make_exception_ptr(final_failure(message, where, hint));
  if (code == static_cast<int>(ExitCode::bad_input)) return std::make_exception_ptr(bad_input(message, where, hint));
  return std::make_exception_ptr(failure(message, where, hint));
}

std::string encode(const FilePiece& piece) {
  Writer w;
  w.count(4);
  w.pack.pack(kFormat);
  w.pack.pack(piece.hash);
  w.pack.pack(piece.offset);
  w.pack.pack(piece.bytes);
  return w.take();
}

FilePiece decode_file_piece(const std::string& body) {
  const Unpacked unpacked(body);
  Items items(unpacked.root(), 4);
  known_format(items);
  FilePiece piece;
  piece.hash = items.next_as<std::string>();
  piece.offset = items.next_as<uint64_t>();
  piece.bytes = items.next_as<uint64_t>();
  return piece;
}

namespace {

// What a peer or a head names: no longer than what is one, so that nothing else is kept or logged.
std::string text(Items& items, size_t most) {
  auto value = items.next_as<std::string>();
  if (value.size() > most) throw malformed_message("a name in it is too long");
  return value;
}
std::string content_hash(Items& items) { return text(items, 32); }
std::string curve_key(Items& items) {
  auto key = text(items, 40);
  if (!is_curve_key(key)) throw malformed_message("a key in it is none");
  return key;
}
CurveKeys curve_keys(Items& items) {
  CurveKeys keys;
  keys.public_key = curve_key(items);
  keys.secret_key = curve_key(items);
  return keys;
}
constexpr size_t kMostName = 1024;

}  // namespace

std::string encode_content_name(const std::string& hash, uint64_t bytes) {
  Writer w;
  w.count(3);
  w.pack.pack(kFormat);
  w.pack.pack(hash);
  w.pack.pack(bytes);
  return w.take();
}

std::pair<std::string, uint64_t> decode_content_name(const std::string& body) {
  const Unpacked unpacked(body);
  Items items(unpacked.root(), 3);
  known_format(items);
  std::pair<std::string, uint64_t> name;
  name.first = content_hash(items);
  name.second = items.next_as<uint64_t>();
  return name;
}

std::string encode(const ContentParents& parents) {
  Writer w;
  w.count(6);
  w.pack.pack(kFormat);
  w.pack.pack(parents.hash);
  w.pack.pack_bin(static_cast<uint32_t>(parents.leaves.size()));
  w.pack.pack_bin_body(parents.leaves.data(), static_cast<uint32_t>(parents.leaves.size()));
  w.pack.pack(parents.keys.public_key);
  w.pack.pack(parents.keys.secret_key);
  w.count(parents.parents.size());
  for (const ContentParents::Parent& parent : parents.parents) {
    w.count(3);
    w.pack.pack(parent.name);
    w.pack.pack(parent.address);
    w.pack.pack(parent.public_key);
  }
  return w.take();
}

ContentParents decode_content_parents(const std::string& body) {
  const Unpacked unpacked(body);
  Items items(unpacked.root(), 6);
  known_format(items);
  ContentParents p;
  p.hash = content_hash(items);
  p.leaves = items.next_as<std::string>();
  p.keys.public_key = text(items, 40);
  p.keys.secret_key = text(items, 40);
  Items parents(items.next());
  if (parents.size() > ContentParents::kMost) throw malformed_message("it has more parents than a node is given");
  while (parents.size() > 0) {
    Items parent(parents.next(), 3);
    ContentParents::Parent& one = p.parents.emplace_back();
    one.name = text(parent, kMostName);
    one.address = text(parent, kMostName);
    one.public_key = curve_key(parent);
  }
  if (!p.parents.empty() && (!is_curve_key(p.keys.public_key) || !is_curve_key(p.keys.secret_key)))
    throw malformed_message("a key in it is none");
  return p;
}

std::string encode(const DoorOrder& order) {
  Writer w;
  w.count(6);
  w.pack.pack(kFormat);
  w.pack.pack(order.child);
  w.pack.pack(order.name);
  w.pack.pack(order.child_key);
  w.pack.pack(order.keys.public_key);
  w.pack.pack(order.keys.secret_key);
  return w.take();
}

DoorOrder decode_door_order(const std::string& body) {
  const Unpacked unpacked(body);
  Items items(unpacked.root(), 6);
  known_format(items);
  DoorOrder order;
  order.child = items.next_as<uint64_t>();
  order.name = text(items, kMostName);
  order.child_key = curve_key(items);
  order.keys = curve_keys(items);
  return order;
}

std::string encode(const DoorAnswer& answer) {
  Writer w;
  w.count(3);
  w.pack.pack(kFormat);
  w.pack.pack(answer.child);
  w.pack.pack(answer.address);
  return w.take();
}

DoorAnswer decode_door_answer(const std::string& body) {
  const Unpacked unpacked(body);
  Items items(unpacked.root(), 3);
  known_format(items);
  DoorAnswer answer;
  answer.child = items.next_as<uint64_t>();
  answer.address = text(items, kMostName);
  return answer;
}

std::string encode(const ForgetOrder& order) {
  Writer w;
  w.count(3);
  w.pack.pack(kFormat);
  w.pack.pack(order.hash);
  w.pack.pack(order.key);
  return w.take();
}

ForgetOrder decode_forget_order(const std::string& body) {
  const Unpacked unpacked(body);
  Items items(unpacked.root(), 3);
  known_format(items);
  ForgetOrder order;
  order.hash = content_hash(items);
  order.key = text(items, 40);
  return order;
}

std::string encode(const ContentPayload& payload) {
  Writer w;
  w.count(5);
  w.pack.pack(kFormat);
  w.pack.pack_bin(static_cast<uint32_t>(payload.header.size()));
  w.pack.pack_bin_body(payload.header.data(), static_cast<uint32_t>(payload.header.size()));
  w.pack.pack(payload.hash);
  w.pack.pack(payload.frames);
  w.pack.pack(payload.name);
  return w.take();
}

ContentPayload decode_content_payload(const std::string& body) {
  const Unpacked unpacked(body);
  Items items(unpacked.root(), 5);
  known_format(items);
  ContentPayload payload;
  payload.header = items.next_as<std::string>();
  payload.hash = content_hash(items);
  payload.frames = items.next_as<std::vector<uint64_t>>();
  payload.name = text(items, kMostName);
  uint64_t sum = 0;
  constexpr uint64_t kMostFrameBytes = uint64_t{1} << 32;
  for (const uint64_t bytes : payload.frames)
    if (bytes > kMostFrameBytes || (sum += bytes) > kMostContentBytes) throw malformed_message("its frames are too large");
  return payload;
}

LinkPacket rank_packet(uint64_t incarnation, int node, ChannelMessage word) {
  LinkPacket packet;
  packet.kind = PacketKind::rank;
  packet.incarnation = incarnation;
  packet.node = node;
  packet.body = std::move(word.text);
  if (!word.bytes.empty()) packet.frames.emplace_back(std::move(word.owner), word.bytes);
  return packet;
}

ChannelMessage rank_word(LinkPacket packet) {
  ChannelMessage word = channel_message(std::move(packet.body));
  if (!packet.frames.empty()) {
    auto frame = std::make_shared<const WireFrame>(std::move(packet.frames[0]));
    word.bytes = frame->bytes();
    word.owner = std::move(frame);
  }
  return word;
}

}  // namespace r1
