#include "runtime/nodes/pool_role.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/json.h"
#include "base/log.h"
#include "runtime/flow/role_host.h"

namespace r1 {

using Kind = PoolCommand::Kind;

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
      // Who is fed with each version begins with the first; others begin with weights of their own.
      options.needed.push_back(edge.carries == "weights" && edge.versions == Versions::each);
    } else {
      R1_CHECK(in_ < 0, plan.id + " has questions of two kinds");
      in_ = e;
      options.window = edge.attrs.has("capacity") ? edge.attrs.integer("capacity") : kDefaultCapacity;
    }
  }
  const std::vector<int> outputs = context.outputs("");
  R1_CHECK(in_ >= 0 && outputs.size() == 1, plan.id + " does not answer questions");
  out_ = outputs[0];
  options.ordered = graph.edges[static_cast<size_t>(out_)].carries == "groups";  // batches, whose order is that of versions
  newest_.resize(state_edges_.size());
  whole_.resize(state_edges_.size());
  options.broken = world_.broken;
  core_ = std::make_unique<PoolCore>(options);
  most_ = world_.replicas ? world_.replicas(graph, plan) : 0;
  // Nothing is to be kept of who is never sent a state: a reference that is not refreshed.
  keeper_ = world_.keeper && !state_edges_.empty() ? world_.keeper(graph, plan) : nullptr;
  R1_CHECK(!keeper_ || state_edges_.size() == 1, plan.id);
  auto first = std::make_shared<PayloadPtr>();
  context.submit(
      "look at what workers need", "",
      [this, &context, first] {
        if (keeper_) *first = keeper_->first(context);
        opens_ = world_.opens(context.graph(), context.node());
        opens_.stage = context.graph().stages[static_cast<size_t>(context.node().stage)].name;
        opens_.recovery = context.recovered();
      },
      [this, &context, first] {
        if (ended_) return finish_if_ended(context);
        if (*first) set_state(context, 0, *first);
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
    if (!keeper_) return set_state(context, state, std::move(payload));
    auto shared = std::make_shared<const PayloadPtr>(std::move(payload));
    return context.submit(
        "keep " + (*shared)->describe(), "", [this, &context, shared] { keeper_->keep(context, *shared); },
        [this, &context, state, shared] {
          if (!ended_) set_state(context, state, *shared);
        });
  }
  obey(context);
}

void PoolRole::set_state(RoleContext& context, size_t state, PayloadPtr payload) {
  newest_[state] = std::move(payload);
  core_->set_state(static_cast<int>(state), newest_[state]->number());
  obey(context);
}

void PoolRole::on_room(RoleContext& context, int) { obey(context); }

// The workers' roles end as they would have here: they report what they have not, and finish.
void PoolRole::on_stage_end(RoleContext& context) {
  ended_ = true;
  whole_.clear();
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
  using Json = nlohmann::ordered_json;
  Json json = {{"questions_waiting", core_ ? core_->waiting().size() : 0}};
  if (core_) {
    const PoolCounts& counts = core_->counts();
    json["workers_lost"] = counts.lost;
    json["questions_reissued"] = counts.reissued;
    json["answers_refused"] = counts.refused;
  }
  Json& workers = json["workers"] = Json::array();
  for (const auto& [peer, worker] : workers_) {
    Json row = {{"worker", worker.member.name()}};
    if (const auto at = core_->workers().find(peer); at != core_->workers().end()) {
      row["ready"] = core_->ready(at->second);
      row["questions"] = at->second.questions.size();
      row["answers"] = at->second.answers;
    }
    row["role"] = ordered_json_or_null(worker.report.inspected());
    workers.push_back(std::move(row));
  }
  return json.dump();
}

// ---- workers ----------------------------------------------------------------------------------------------------------

void PoolRole::joined(const Member& member) {
  context_->post_from_outside([this, member] {
    members_[member.peer] = member;
    fill(*context_);
  });
}
void PoolRole::leaves(const Member& member) {
  context_->post_from_outside([this, member] {
    members_.erase(member.peer);
    if (ended_) return;
    core_->drain(member.peer);
    fill(*context_);
    obey(*context_);
  });
}
void PoolRole::scaled(int64_t workers) {
  context_->post_from_outside([this, workers] {
    most_ = workers;
    if (ended_) return;
    shrink();
    fill(*context_);
    obey(*context_);
  });
}
void PoolRole::deserted(const std::string& why) {
  context_->post_from_outside([this, why] {
    if (!ended_) throw deserted_error("its work", why);
  });
}
void PoolRole::left(const Member& member, const std::string& why) {
  context_->post_from_outside([this, member, why] { lose(*context_, member, why); });
}
void PoolRole::received(const Member& member, LinkPacket packet) {
  auto shared = std::make_shared<const LinkPacket>(std::move(packet));
  context_->post_from_outside([this, member, shared] { heard(*context_, member, *shared); });
}

bool PoolRole::draining(PeerId peer) const {
  const auto at = core_->workers().find(peer);
  return at != core_->workers().end() && at->second.draining;
}

// As many work as should, the members with the fewest roles first.
void PoolRole::fill(RoleContext& context) {
  if (ended_) return;
  auto working = std::count_if(workers_.begin(), workers_.end(), [&](const auto& w) { return !draining(w.first); });
  for (; most_ == 0 || working < most_; ++working) {
    const Member* best = nullptr;
    for (const auto& [peer, member] : members_)
      if (workers_.count(peer) == 0 &&
          (best == nullptr || world_.members->roles_at(peer) < world_.members->roles_at(best->peer)))
        best = &member;
    if (best == nullptr) break;
    open(context, *best);
  }
  if (!workers_.empty())
    had_workers_ = true;
  else if (std::exchange(had_workers_, false))
    log_warn(fmt::format("{}: no node is left that may do its work; it waits for one to join", context.node().id));
  say_waits(context);
}

// Those that have least to do are drained.
void PoolRole::shrink() {
  std::vector<std::pair<size_t, PeerId>> working;
  for (const auto& [peer, worker] : core_->workers())
    if (!worker.draining) working.emplace_back(worker.questions.size(), peer);
  std::sort(working.begin(), working.end());
  for (size_t i = 0; most_ > 0 && i + static_cast<size_t>(most_) < working.size(); ++i) core_->drain(working[i].second);
}

void PoolRole::open(RoleContext& context, const Member& member) {
  Worker& worker = workers_[member.peer];
  worker.member = member;
  worker.held.resize(state_edges_.size());
  worker.incarnation = world_.members->open(member.peer, node_, opens_);
  core_->joined(member.peer, worker.incarnation);
  context.event("worker_joined", nlohmann::json{{"worker", member.name()}, {"incarnation", worker.incarnation}}.dump());
  obey(context);
}

void PoolRole::forget(RoleContext& context, std::map<PeerId, Worker>::iterator at) {
  at->second.report.forget(context);
  workers_.erase(at);
}

void PoolRole::lose(RoleContext& context, const Member& member, const std::string& why) {
  members_.erase(member.peer);
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
  fill(context);
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
        core_->has_state(member.peer, packet.incarnation, state_of(packet.edge), number);
        if (current) at->second.fetches.erase(packet.edge);
        break;
      }
      case PacketKind::whole:
        if (current) resend(context, at->second, packet.edge);
        break;
      case PacketKind::records:
        if (current) at->second.report.take(context, *world_.members, member, decode_role_records(packet.body));
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

int PoolRole::state_of(int edge) const {
  const auto state = std::find(state_edges_.begin(), state_edges_.end(), edge);
  if (state == state_edges_.end()) throw failure(fmt::format("it speaks of edge {}, which is no state of the role", edge));
  return static_cast<int>(state - state_edges_.begin());
}

// It cannot use what it was sent.
void PoolRole::resend(RoleContext& context, Worker& worker, int edge) {
  const int state = state_of(edge);
  const PayloadPtr held = std::exchange(worker.held[static_cast<size_t>(state)], nullptr);
  note_sent_whole(context, worker.member, edge, held ? held->describe() : "what it was sent");
  core_->again(worker.member.peer, worker.incarnation, state);
}

void PoolRole::answer(RoleContext& context, const Member& member, const LinkPacket& packet) {
  if (!core_->current(member.peer, packet.incarnation)) {
    core_->answered(member.peer, packet.incarnation, -1, 0);
    log_info(fmt::format("{}: a late answer of {} is refused", context.node().id, member.name()));
    return;
  }
  const Envelope envelope = packet_payload(packet, *world_.codec, [this](int64_t key) {
    const auto question = questions_.find(key);
    return question == questions_.end() ? nullptr : question->second;
  });
  if (!envelope.payload || envelope.edge != out_) throw failure("an answer that goes nowhere");
  const int64_t key = envelope.payload->number();
  if (!core_->answered(member.peer, packet.incarnation, key, envelope.number)) return;
  answers_[key] = envelope.payload;
  context.progressed();
}

// ---- what follows -----------------------------------------------------------------------------------------------------

void PoolRole::say(PeerId peer, Incarnation incarnation, PacketKind kind, int edge, int64_t number, std::string body) {
  LinkPacket packet;
  packet.kind = kind;
  packet.incarnation = incarnation;
  packet.node = node_;
  packet.edge = edge;
  packet.number = static_cast<uint64_t>(number);
  packet.body = std::move(body);
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
  forget_wholes();
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
      if (!held && world_.members->take_kept(c.worker, newest->content())) {
        held = newest;
        say(c.worker, c.incarnation, PacketKind::held, state_edges_[static_cast<size_t>(c.state)], c.number, newest->content());
        context.event("worker_holds",
                      nlohmann::json{{"worker", workers_.at(c.worker).member.name()}, {"what", newest->describe()}}.dump());
        break;
      }
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
      context.later([this, &context] { fill(context); });  // not before what follows in this list was said
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
  const Whole& whole = whole_[static_cast<size_t>(coding.state)];
  if (whole.sent.offer && !coding.before && whole.state == coding.newest && whole.number == coding.to.front().number)
    return send(coding, whole.sent);
  auto sent = std::make_shared<StatePacket>();
  auto shared = std::make_shared<const Coding>(std::move(coding));
  context.submit(
      fmt::format("send {} to {} worker{}", shared->newest->describe(), shared->to.size(), shared->to.size() == 1 ? "" : "s"),
      "",
      [this, shared, sent] {
        const int edge = state_edges_[static_cast<size_t>(shared->state)];
        const Envelope envelope{Envelope::Kind::payload, edge, shared->to.front().number, shared->newest};
        *sent =
            code_state(envelope, *world_.codec, shared->before.get(), node_, world_.members->contents(), world_.fetched_bytes);
      },
      [this, shared, sent] {
        if (!ended_) {
          send(*shared, *sent);
          if (!shared->before) whole_[static_cast<size_t>(shared->state)] = {shared->newest, shared->to.front().number, *sent};
          forget_wholes();
        }
        sent->offer.reset();
      });
}

void PoolRole::forget_wholes() {
  const bool all_ready = std::all_of(core_->workers().begin(), core_->workers().end(),
                                     [&](const auto& worker) { return core_->ready(worker.second); });
  for (size_t s = 0; s < whole_.size(); ++s)
    if (all_ready || whole_[s].state != newest_[s]) whole_[s] = {};
}

void PoolRole::send(const Coding& coding, const StatePacket& sent) {
  for (const PoolCommand& c : coding.to) {
    if (!core_->current(c.worker, c.incarnation)) continue;
    if (sent.offer) workers_.at(c.worker).fetches[state_edges_[static_cast<size_t>(coding.state)]] = sent.offer;
    world_.members->send(c.worker, sent.to(c.incarnation));
  }
}

void PoolRole::say_waits(RoleContext& context) {
  say_who_is_asked(context);
  if (ended_) return context.wait_for("workers", fmt::format("for {} to end their part of the stage", names()), names());
  const bool some = std::any_of(core_->workers().begin(), core_->workers().end(),
                                [&](const auto& worker) { return core_->ready(worker.second); });
  if (workers_.empty())
    context.wait_for("workers", "for a worker to join", "");
  else if (!some)
    context.wait_for("workers", fmt::format("for {}{} to be ready", workers_.size() == 1 ? "" : "one of ", names()), names());
  else
    context.wait_over("workers");
}

void PoolRole::say_who_is_asked(RoleContext& context) {
  std::set<std::string> before = std::exchange(asked_, {});
  for (const auto& [peer, worker] : core_->workers()) {
    if (ended_ || worker.questions.empty()) continue;
    const std::string name = workers_.at(peer).member.name(), key = "answers of " + name;
    const size_t more = worker.questions.size() - 1;
    context.wait_for(key,
                     fmt::format("for the answer to {}{}", questions_.at(*worker.questions.begin())->describe(),
                                 more > 0 ? fmt::format(" and {} more", more) : ""),
                     name);
    asked_.insert(key);
    before.erase(key);
  }
  for (const std::string& key : before) context.wait_over(key);
}

std::string PoolRole::names() const {
  constexpr size_t kMost = 3;
  std::vector<std::string> names;
  for (const auto& [peer, worker] : workers_)
    if (names.size() < kMost) names.push_back(worker.member.name());
  const size_t more = workers_.size() - names.size();
  return fmt::format("{}{}", fmt::join(names, ", "), more > 0 ? fmt::format(" and {} more", more) : "");
}

}  // namespace r1
