#include "runtime/nodes/pool_role.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "base/log.h"
#include "runtime/flow/role_host.h"

namespace r1 {

using Kind = PoolCommand::Kind;

namespace {

// Of which the newest counts, whatever was missed before it.
bool is_state(const EdgePlan& edge) { return conflates(edge) || edge.carries == "credits"; }

}  // namespace

PoolRole::PoolRole(PoolWorld world) : world_(std::move(world)) {}

PoolRole::~PoolRole() {
  if (listening_) world_.members->remove(node_, *this);
  for (const auto& [peer, worker] : workers_) say(peer, worker.incarnation, PacketKind::close);
}

void PoolRole::start(RoleContext& context) {
  context_ = &context;
  const GraphView& graph = context.graph();
  const NodePlan& plan = context.node();
  node_ = static_cast<int>(&plan - graph.nodes.data());
  PoolOptions options;
  for (const int e : context.inputs("")) {
    const EdgePlan& edge = graph.edges[static_cast<size_t>(e)];
    if (is_state(edge)) {
      state_edges_.push_back(e);
      options.needed.push_back(edge.carries == "weights");
    } else {
      R1_CHECK(in_ < 0, plan.id + " has questions of two kinds");
      in_ = e;
      options.window = edge.attrs.has("capacity") ? edge.attrs.integer("capacity") : kDefaultCapacity;
    }
  }
  const std::vector<int> outputs = context.outputs("");
  R1_CHECK(in_ >= 0 && outputs.size() == 1, plan.id + " does not answer questions");
  out_ = outputs[0];
  newest_.resize(state_edges_.size());
  core_ = std::make_unique<PoolCore>(options);
  context.submit(
      "look at what workers need", "",
      [this, &context] {
        opens_ = world_.opens(context.graph(), context.node());
        opens_.stage = context.graph().stages[static_cast<size_t>(context.node().stage)].name;
        opens_.recovery = context.recovered();
      },
      [this, &context] {
        if (ended_) return finish_if_ended(context);
        listening_ = true;
        world_.members->add(node_, *this);
        say_waits(context);
      });
}

// ---- the two neighbours -----------------------------------------------------------------------------------------------

void PoolRole::receive(RoleContext& context, int edge, PayloadPtr payload) {
  if (edge == in_) {
    const int64_t key = payload->number();
    R1_CHECK(key >= 0 && questions_.emplace(key, std::move(payload)).second,
             fmt::format("question {} came twice to {}", key, context.node().id));
    core_->asked(key);
  } else {
    const auto state = static_cast<size_t>(std::find(state_edges_.begin(), state_edges_.end(), edge) - state_edges_.begin());
    context.release(edge);
    newest_[state] = std::move(payload);
    core_->set_state(static_cast<int>(state), newest_[state]->number());
  }
  obey(context);
}

void PoolRole::on_room(RoleContext& context, int) { obey(context); }

// The workers' roles end as they would have here: they report what they have not, and finish.
void PoolRole::on_stage_end(RoleContext& context) {
  ended_ = true;
  for (auto at = workers_.begin(); at != workers_.end();) {
    const auto known = core_->workers().find(at->first);
    const bool started = known != core_->workers().end() && known->second.started;
    say(at->first, at->second.incarnation, started ? PacketKind::stage_end : PacketKind::close);
    const auto next = std::next(at);
    if (!started) forget(context, at);
    at = next;
  }
  core_->end();
  core_->take();
  finish_if_ended(context);
}

void PoolRole::finish_if_ended(RoleContext& context) {
  if (!ended_) return;
  if (!workers_.empty()) return say_waits(context);
  context.finish();
}

std::string PoolRole::inspect() const {
  nlohmann::json json = {{"waiting", core_ ? core_->waiting().size() : 0}, {"workers", nlohmann::json::array()}};
  if (core_) {
    const PoolCounts& counts = core_->counts();
    json["lost"] = counts.lost;
    json["reissued"] = counts.reissued;
    json["refused"] = counts.refused;
  }
  for (const auto& [peer, worker] : workers_) {
    nlohmann::json row = {{"worker", worker.member.name()}, {"role", try_parse_json(worker.inspected).value_or(nullptr)}};
    if (const auto at = core_->workers().find(peer); at != core_->workers().end()) {
      row["ready"] = core_->ready(at->second);
      row["questions"] = at->second.questions.size();
      row["answers"] = at->second.answers;
    }
    json["workers"].push_back(std::move(row));
  }
  return json.dump();
}

// ---- workers ----------------------------------------------------------------------------------------------------------

void PoolRole::joined(const Member& member) {
  context_->post_from_outside([this, member] { open(*context_, member); });
}
void PoolRole::left(const Member& member, const std::string& why) {
  context_->post_from_outside([this, member, why] { lose(*context_, member, why); });
}
void PoolRole::received(const Member& member, LinkPacket packet) {
  auto shared = std::make_shared<const LinkPacket>(std::move(packet));
  context_->post_from_outside([this, member, shared] { heard(*context_, member, *shared); });
}

void PoolRole::open(RoleContext& context, const Member& member) {
  if (ended_) return;
  Worker& worker = workers_[member.peer];
  worker.member = member;
  worker.held.resize(state_edges_.size());
  worker.incarnation = world_.members->open(member.peer, node_, opens_);
  core_->joined(member.peer, worker.incarnation);
  context.event("worker_joined", nlohmann::json{{"worker", member.name()}, {"incarnation", worker.incarnation}}.dump());
  obey(context);
}

void PoolRole::forget(RoleContext& context, std::map<PeerId, Worker>::iterator at) {
  for (const auto& [engine, jobs] : at->second.engines)
    for (int i = 0; i < jobs; ++i) context.engine_at_work(engine, false);
  for (const std::string& key : at->second.waits) context.wait_over(key);
  workers_.erase(at);
}

void PoolRole::lose(RoleContext& context, const Member& member, const std::string& why) {
  const auto at = workers_.find(member.peer);
  if (at == workers_.end()) return;
  const int64_t before = core_->counts().reissued;
  const Incarnation incarnation = at->second.incarnation;
  forget(context, at);
  core_->lost(member.peer);
  const int64_t again = core_->counts().reissued - before;
  log_warn(fmt::format("{}: {} is lost ({}){}", context.node().id, member.name(), why,
                       again > 0 ? fmt::format("; {} of its draws go to others", again) : ""));
  context.event(
      "worker_lost",
      nlohmann::json{{"worker", member.name()}, {"incarnation", incarnation}, {"why", why}, {"reissued", again}}.dump());
  obey(context);
  finish_if_ended(context);
}

void PoolRole::heard(RoleContext& context, const Member& member, const LinkPacket& packet) {
  const auto at = workers_.find(member.peer);
  const bool current = at != workers_.end() && at->second.incarnation == packet.incarnation;
  const auto number = static_cast<int64_t>(packet.number);
  try {
    switch (packet.kind) {
      case PacketKind::payload:
        answer(context, member, packet);
        break;
      case PacketKind::ready:
        core_->started(member.peer, packet.incarnation);
        break;
      case PacketKind::credit: {
        if (packet.edge == in_) {
          core_->begun(member.peer, packet.incarnation, number);
          break;
        }
        const auto state = std::find(state_edges_.begin(), state_edges_.end(), packet.edge);
        if (state == state_edges_.end())
          throw failure(fmt::format("a credit of edge {}, which is not the role's", packet.edge));
        core_->has_state(member.peer, packet.incarnation, static_cast<int>(state - state_edges_.begin()), number);
        break;
      }
      case PacketKind::records:
        if (current) record(context, at->second, decode_role_records(packet.body));
        break;
      case PacketKind::finished:
        if (!current) break;
        say(member.peer, packet.incarnation, PacketKind::close);
        forget(context, at);
        core_->lost(member.peer);
        return finish_if_ended(context);
      case PacketKind::failed:
        if (!current) break;
        std::rethrow_exception(decode_error(packet.body, member.name()));
      default:
        break;
    }
  } catch (const Error& e) {
    if (packet.kind == PacketKind::failed) throw;
    world_.members->drop(member.peer, e.what());  // it says what no node says
  }
  obey(context);
}

void PoolRole::answer(RoleContext& context, const Member& member, const LinkPacket& packet) {
  if (!core_->current(member.peer, packet.incarnation)) {
    core_->answered(member.peer, packet.incarnation, -1, 0);
    log_info(fmt::format("{}: a late answer of {} is refused", context.node().id, member.name()));
    return;
  }
  const Envelope envelope = decode_envelope({packet.body, frame_strings(packet.frames)}, *world_.codec);
  if (!envelope.payload || envelope.edge != out_) throw failure("an answer that goes nowhere");
  const int64_t key = envelope.payload->number();
  if (!core_->answered(member.peer, packet.incarnation, key, envelope.number)) return;
  answers_[key] = envelope.payload;
  context.progressed();
}

void PoolRole::record(RoleContext& context, Worker& worker, const RoleRecords& records) {
  for (const RoleRecords::Metric& m : records.metrics)
    m.step ? context.metric(*m.step, m.name, m.value) : context.records().tally(m.name, m.value);
  for (const RoleRecords::Event& e : records.events) context.records().event(e.actor, e.kind, e.json);
  for (const auto& [engine, begins] : records.engines) {
    int& jobs = worker.engines[engine];
    if (!begins && jobs == 0) continue;
    jobs += begins ? 1 : -1;
    context.engine_at_work(engine, begins);
  }
  if (records.progress) context.progress(*records.progress);
  if (records.inspect) worker.inspected = *records.inspect;
  if (records.waits) {
    std::set<std::string> before = std::exchange(worker.waits, {});
    for (const RoleRecords::Wait& wait : *records.waits) {
      const std::string key = fmt::format("{} at {}", wait.key, worker.member.name());
      context.wait_for(key, wait.reason, wait.on);
      worker.waits.insert(key);
      before.erase(key);
    }
    for (const std::string& key : before) context.wait_over(key);
  }
  if (records.moved) context.progressed();
  world_.members->note_cpu(worker.member.peer, records.cpu_ns);
}

// ---- what follows -----------------------------------------------------------------------------------------------------

void PoolRole::say(PeerId peer, Incarnation incarnation, PacketKind kind, int edge, int64_t number) {
  LinkPacket packet;
  packet.kind = kind;
  packet.incarnation = incarnation;
  packet.node = node_;
  packet.edge = edge;
  packet.number = static_cast<uint64_t>(number);
  world_.members->send(peer, std::move(packet));
}

void PoolRole::obey(RoleContext& context) {
  if (ended_) return;
  std::vector<Coding> codings;
  for (;;) {
    if (!core_->unread().empty()) core_->room(context.room(out_));
    const std::vector<PoolCommand> commands = core_->take();
    if (commands.empty()) break;
    for (const PoolCommand& command : commands) obey(context, command, codings);
  }
  for (Coding& coding : codings) code(context, std::move(coding));
  say_waits(context);
}

void PoolRole::obey(RoleContext& context, const PoolCommand& c, std::vector<Coding>& codings) {
  switch (c.kind) {
    case Kind::give: {
      const Envelope envelope{Envelope::Kind::payload, in_, c.number, questions_.at(c.key)};
      world_.members->send(c.worker, payload_packet(envelope, *world_.codec, nullptr, node_, c.incarnation));
      break;
    }
    case Kind::state: {
      PayloadPtr& held = workers_.at(c.worker).held[static_cast<size_t>(c.state)];
      const PayloadPtr& newest = newest_[static_cast<size_t>(c.state)];
      auto same = std::find_if(codings.begin(), codings.end(), [&](const Coding& coding) {
        return coding.newest == newest && coding.before == held && coding.to.front().number == c.number;
      });
      if (same == codings.end()) same = codings.insert(codings.end(), Coding{c.state, newest, held, {}});
      same->to.push_back(c);
      held = newest;
      break;
    }
    case Kind::credit:
      say(c.worker, c.incarnation, PacketKind::credit, out_, c.number);
      break;
    case Kind::close:
      say(c.worker, c.incarnation, PacketKind::close);
      if (const auto at = workers_.find(c.worker); at != workers_.end()) forget(context, at);
      break;
    case Kind::pass_on: {
      const auto answer = answers_.extract(c.key);
      questions_.erase(c.key);
      context.send(out_, answer.mapped());
      break;
    }
    case Kind::release:
      context.release(in_, c.number);
      break;
    case Kind::accuse:
      world_.members->drop(c.worker, c.why);
      break;
  }
}

void PoolRole::code(RoleContext& context, Coding coding) {
  auto packet = std::make_shared<LinkPacket>();
  auto shared = std::make_shared<const Coding>(std::move(coding));
  context.submit(
      fmt::format("send {} to {} workers", shared->newest->describe(), shared->to.size()), "",
      [this, shared, packet] {
        const int edge = state_edges_[static_cast<size_t>(shared->state)];
        const Envelope envelope{Envelope::Kind::payload, edge, shared->to.front().number, shared->newest};
        *packet = payload_packet(envelope, *world_.codec, shared->before.get(), node_, 0);
      },
      [this, shared, packet] {
        if (ended_) return;
        for (const PoolCommand& c : shared->to) {
          if (!core_->current(c.worker, c.incarnation)) continue;
          LinkPacket out = *packet;
          out.incarnation = c.incarnation;
          world_.members->send(c.worker, std::move(out));
        }
      });
}

void PoolRole::say_waits(RoleContext& context) {
  if (ended_)
    return context.wait_for("workers", fmt::format("for {} workers to end their part of the stage", workers_.size()), "");
  const bool some = std::any_of(core_->workers().begin(), core_->workers().end(),
                                [&](const auto& worker) { return core_->ready(worker.second); });
  if (workers_.empty())
    context.wait_for("workers", "for a worker to join", "");
  else if (!some)
    context.wait_for("workers", fmt::format("for one of {} workers to be ready", workers_.size()), "");
  else
    context.wait_over("workers");
  std::string asked;
  for (const auto& [peer, worker] : core_->workers())
    if (!worker.questions.empty())
      asked += fmt::format("{}{} of {} from {}", asked.empty() ? "" : ", ", worker.questions.size(),
                           questions_.at(*worker.questions.begin())->describe(), workers_.at(peer).member.name());
  if (asked.empty())
    context.wait_over("answers");
  else
    context.wait_for("answers", "for answers: " + asked, "");
}

}  // namespace r1
