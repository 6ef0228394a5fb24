#include "runtime/nodes/opened_role.h"

#include <fmt/format.h>

#include <utility>

#include "base/log.h"

namespace r1 {

const NodePlan& opened_node(const GraphView& graph, const OpenRole& open, int node) {
  const StagePlan* const stage = graph.stage(open.stage);
  if (stage == nullptr || node < 0 || static_cast<size_t>(node) >= graph.nodes.size() ||
      graph.nodes[static_cast<size_t>(node)].artifact ||
      &graph.stages[static_cast<size_t>(graph.nodes[static_cast<size_t>(node)].stage)] != stage)
    throw failure(fmt::format("node {} of stage {} is not in the graph that was sent", node, open.stage));
  return graph.nodes[static_cast<size_t>(node)];
}

class OpenedRole::Times final : public EngineTimes {
 public:
  Times(const Clock& clock, OpenedRole& role) : EngineTimes(clock), role_(role) {}
  void begin(const std::string& engine) override {
    role_.note([&](RoleRecords& r) { r.engines.emplace_back(engine, true); });
  }
  void end(const std::string& engine) override {
    role_.note([&](RoleRecords& r) { r.engines.emplace_back(engine, false); });
  }

 private:
  OpenedRole& role_;
};

OpenedRole::OpenedRole(Services services, Incarnation incarnation, int node, OpenRole open)
    : services_(std::move(services)),
      incarnation_(incarnation),
      node_(node),
      open_(std::move(open)),
      waits_(services_.world->clock()),
      times_(std::make_unique<Times>(services_.world->clock(), *this)),
      self_(std::make_shared<OpenedRole*>(this)) {}

OpenedRole::~OpenedRole() {
  *self_ = nullptr;
  stop_ = true;
  executor_.reset();
  io_.reset();
  host_.reset();
}

void OpenedRole::begin(std::shared_ptr<const NodeGraph> graph) {
  if (closed_) return;
  graph_ = std::move(graph);
  const GraphView& g = graph_->graph;
  try {
    const NodePlan& plan = opened_node(g, open_, node_);
    HostServices services;
    services.graph = &g;
    services.stage = g.stage(open_.stage);
    services.memory = this;
    services.waits = &waits_;
    services.times = times_.get();
    services.clock = &services_.world->clock();
    services.faults = &process_faults();
    services.transport = this;
    services.stop = &stop_;
    executor_ = services_.world->executor(plan.id);
    io_ = services_.world->executor(plan.id + " io");
    host_ = std::make_unique<RoleHost>(services, node_, graph_->factory(g, plan), *executor_, *io_);
  } catch (...) {
    return failed(std::current_exception());
  }
  say(PacketKind::ready);
  host_->start();
}

void OpenedRole::received(const LinkPacket& packet) {
  if (closed_ || !host_) return;
  Envelope envelope;
  try {
    switch (packet.kind) {
      case PacketKind::payload:
        envelope = message({packet.body, frame_strings(packet.frames)});
        break;
      case PacketKind::held:
        envelope = {Envelope::Kind::payload, packet.edge, static_cast<int64_t>(packet.number),
                    services_.kept != nullptr ? services_.kept->take(packet.body) : nullptr};
        if (!envelope.payload) throw failure("the head speaks of weights that are not held here: " + packet.body);
        break;
      case PacketKind::credit:
        envelope.kind = Envelope::Kind::credit;
        envelope.edge = packet.edge;
        envelope.number = static_cast<int64_t>(packet.number);
        break;
      case PacketKind::stage_end:
        break;
      default:
        return;
    }
  } catch (...) {
    return failed(std::current_exception());
  }
  host_->handle(std::move(envelope));
}

void OpenedRole::whole(const Packet& packet) {
  if (closed_ || !host_) return;
  try {
    host_->handle(message(packet));
  } catch (...) {
    failed(std::current_exception());
  }
}

Envelope OpenedRole::message(Packet packet) {
  Envelope envelope = decode_envelope(std::move(packet), *services_.codec);
  if (envelope.payload && envelope.payload->number() >= 0 && is_question(envelope.edge))
    asked_[envelope.payload->number()] = envelope.payload;
  else if (services_.kept != nullptr)
    services_.kept->forget(open_, node_);
  return envelope;
}

void OpenedRole::close(std::function<void()> then) {
  closed_ = true;
  stop_ = true;
  if (!executor_) return services_.world->post(std::move(then));
  std::vector<std::unique_ptr<Executor>> executors;
  executors.push_back(std::move(executor_));
  executors.push_back(std::move(io_));
  services_.world->end(std::move(executors), std::move(then));
}

// ---- what the role says -----------------------------------------------------------------------------------------------

void OpenedRole::say(PacketKind kind, std::string body, int edge, int64_t number) {
  LinkPacket packet;
  packet.kind = kind;
  packet.incarnation = incarnation_;
  packet.node = node_;
  packet.edge = edge;
  packet.number = static_cast<uint64_t>(number);
  packet.body = std::move(body);
  services_.send(std::move(packet));
}

void OpenedRole::post(int, int, Envelope envelope) {
  if (closed_) return;
  flush();
  if (envelope.kind == Envelope::Kind::credit) return say(PacketKind::credit, {}, envelope.edge, envelope.number);
  if (envelope.kind != Envelope::Kind::payload) return;
  const auto question = asked_.extract(envelope.payload->number());
  const Payload* const asked = question.empty() ? nullptr : question.mapped().get();
  services_.send(payload_packet(envelope, *services_.codec, asked, node_, incarnation_));
}

bool OpenedRole::is_question(int edge) const {
  const GraphView& graph = graph_->graph;
  return edge >= 0 && static_cast<size_t>(edge) < graph.edges.size() && !is_state(graph.edges[static_cast<size_t>(edge)]);
}

void OpenedRole::run(int, int, std::function<void()> call) {
  services_.world->post([self = self_, call = std::move(call)] {
    if (*self != nullptr && !(*self)->closed_) (*self)->host_->run(call);
  });
}

void OpenedRole::finished(int) {
  flush();
  say(PacketKind::finished);
}

void OpenedRole::failed(int, std::exception_ptr error) {
  if (closed_) return;
  flush();
  say(PacketKind::failed, encode_error(error));
}

void OpenedRole::end_stage(int) { failed(std::make_exception_ptr(failure("a role that ends its stage cannot run at a node"))); }

bool OpenedRole::ask_whole(int, int edge) {
  say(PacketKind::whole, {}, edge);
  return true;
}

void OpenedRole::progress(int, const std::string& text) {
  note([&](RoleRecords& r) { r.progress = text; });
}

// ---- records ----------------------------------------------------------------------------------------------------------

void OpenedRole::note(const std::function<void(RoleRecords&)>& what) {
  {
    const std::lock_guard lock(mutex_);
    what(records_);
    if (std::exchange(flush_posted_, true)) return;
  }
  services_.world->post([self = self_] {
    if (*self != nullptr) (*self)->flush();
  });
}

void OpenedRole::flush() {
  RoleRecords records;
  {
    const std::lock_guard lock(mutex_);
    if (!std::exchange(flush_posted_, false)) return;
    records = std::exchange(records_, {});
  }
  records.moved = true;
  if (services_.cpu_ns) records.cpu_ns = services_.cpu_ns();
  say(PacketKind::records, encode(records));
}

void OpenedRole::tick(bool fetched) {
  if (closed_) return;
  constexpr double kMoved_s = 1;
  RoleRecords records;
  if (!host_) {
    records.moved = fetched;
    if (fetched) say(PacketKind::records, encode(records));
    return;
  }
  std::string said;
  records.waits.emplace();
  for (const WaitRow& wait : waits_.waits(open_.stage)) {
    records.waits->push_back({wait.key, wait.reason, wait.on});
    said += wait.key + "\n" + wait.reason + "\n" + wait.on + "\n";
  }
  if (said == waits_said_) records.waits.reset();
  waits_said_ = std::move(said);
  if (std::string now = host_->role().inspect(); now != inspect_said_) records.inspect = inspect_said_ = std::move(now);
  records.moved = fetched || waits_.idle_s(open_.stage) < kMoved_s;
  if (services_.cpu_ns) records.cpu_ns = services_.cpu_ns();
  if (records.waits || records.inspect || records.moved) say(PacketKind::records, encode(records));
}

void OpenedRole::metric(int64_t step, const std::string& name, double value) {
  note([&](RoleRecords& r) { r.metrics.push_back({step, name, value}); });
}
void OpenedRole::tally(const std::string& name, double value) {
  note([&](RoleRecords& r) { r.metrics.push_back({std::nullopt, name, value}); });
}
void OpenedRole::event(const std::string& actor, const std::string& kind, const std::string& json) {
  note([&](RoleRecords& r) { r.events.push_back({actor, kind, json}); });
}

void OpenedRole::evaluation(const EvaluationRow& row, const std::vector<ResponseRow>& kept) {
  note([&](RoleRecords& r) { r.evaluations.push_back({row, kept}); });
}
std::optional<std::string> OpenedRole::known_evaluation(const std::string& evaluation) const {
  const auto at = open_.evaluations.find(evaluation);
  return at == open_.evaluations.end() ? std::nullopt : std::optional(at->second);
}
std::optional<Artifact> OpenedRole::artifact_of(const std::string& stage, const std::string& name) const {
  const auto at = open_.artifacts.find({stage, name});
  return at == open_.artifacts.end() ? std::nullopt : std::optional(at->second);
}

// ---- what a role here does not do -------------------------------------------------------------------------------------

void OpenedRole::no_journal() const {
  throw failure("a role that waits for the run's disk was opened at a node", {}, "it has to stay with the head");
}
void OpenedRole::draw(int64_t, int64_t) { no_journal(); }
void OpenedRole::stats(int64_t, const std::string&) { no_journal(); }
void OpenedRole::version(const VersionRow&) { no_journal(); }
void OpenedRole::commit(const BatchRow&, const std::vector<Resolution>&, const std::vector<TrajectoryRow>&) { no_journal(); }
void OpenedRole::snapshot(const SnapshotRow&) { no_journal(); }
void OpenedRole::forget_snapshot(int64_t) { no_journal(); }
void OpenedRole::artifact(const std::string&, const Artifact&, const std::vector<ArtifactFile>&) { no_journal(); }
void OpenedRole::remember(const std::string&, const std::string&) { no_journal(); }
int64_t OpenedRole::batches() const { no_journal(); }
BatchRow OpenedRole::batch(int64_t) const { no_journal(); }
std::vector<TrajectoryRow> OpenedRole::trajectories(int64_t) const { no_journal(); }
std::vector<std::pair<int64_t, std::string>> OpenedRole::batch_stats() const { no_journal(); }
std::vector<ChangeRow> OpenedRole::changes() const { no_journal(); }
std::vector<EvaluationRow> OpenedRole::evaluations() const { no_journal(); }
StoredPlace OpenedRole::place(const std::string& table, const std::string& row) const { return {"run.db", table, row}; }

}  // namespace r1
