#include "runtime/nodes/sole_role.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/json.h"
#include "base/log.h"

namespace r1 {

SoleRole::SoleRole(PoolWorld world) : world_(std::move(world)) {}

SoleRole::~SoleRole() {
  if (listening_) world_.members->remove(node_, *this);
  if (worker_) say(PacketKind::close);
}

void SoleRole::start(RoleContext& context) {
  context_ = &context;
  node_ = static_cast<int>(&context.node() - context.graph().nodes.data());
  for (const int e : context.inputs("")) {
    R1_CHECK(is_state(context.graph().edges[static_cast<size_t>(e)]), context.node().id + " is asked questions");
    states_[e];
  }
  listening_ = true;
  world_.members->add(node_, *this);
  say_waits(context);
}

void SoleRole::receive(RoleContext& context, int edge, PayloadPtr payload) {
  context.release(edge);
  State& state = states_.at(edge);
  state.newest = std::move(payload);
  ++state.serial;
  send_states(context);
}

void SoleRole::on_stage_end(RoleContext&) {
  stage_ended_ = true;
  if (worker_ && worker_->started) say(PacketKind::stage_end);
}

std::string SoleRole::inspect() const {
  nlohmann::ordered_json json = {{"worker", nullptr}, {"workers_lost", lost_}};
  if (!worker_) return json.dump();
  json["worker"] = worker_->member.name();
  if (auto role = ordered_json_or_null(worker_->report.inspected()); !role.is_null()) json["role"] = std::move(role);
  return json.dump();
}

// ---- the worker -------------------------------------------------------------------------------------------------------

void SoleRole::joined(const Member& member) {
  context_->post_from_outside([this, member] {
    members_[member.peer] = member;
    find_worker(*context_);
  });
}
void SoleRole::left(const Member& member, const std::string& why) {
  context_->post_from_outside([this, member, why] {
    members_.erase(member.peer);
    if (worker_ && worker_->member.peer == member.peer) lose(*context_, why);
  });
}
void SoleRole::leaves(const Member& member) {
  context_->post_from_outside([this, member] {
    members_.erase(member.peer);
    if (!worker_ || worker_->member.peer != member.peer) return;
    say(PacketKind::close);
    lose(*context_, "it is to leave");
  });
}
void SoleRole::deserted(const std::string& why) {
  context_->post_from_outside([this, why] {
    if (!done_) throw deserted_error("its work", why);
  });
}
void SoleRole::received(const Member& member, LinkPacket packet) {
  auto shared = std::make_shared<LinkPacket>(std::move(packet));
  context_->post_from_outside([this, peer = member.peer, shared] {
    if (!worker_ || worker_->member.peer != peer || worker_->incarnation != shared->incarnation) return;
    worker_->unheard.push_back(std::move(*shared));
    hear(*context_);
  });
}

// What it is told of its files and of what is known is looked up each time: another worker may have measured since.
void SoleRole::find_worker(RoleContext& context) {
  if (worker_ || looking_ || done_ || members_.empty()) return say_waits(context);
  looking_ = true;
  auto opens = std::make_shared<OpenRole>();
  context.submit(
      "look at what a worker needs", "",
      [this, &context, opens] {
        *opens = world_.opens(context.graph(), context.node());
        opens->stage = context.graph().stages[static_cast<size_t>(context.node().stage)].name;
        opens->recovery = context.recovered();
      },
      [this, &context, opens] {
        looking_ = false;
        const Member* best = nullptr;
        for (const auto& [peer, member] : members_)
          if (best == nullptr || world_.members->roles_at(peer) < world_.members->roles_at(best->peer)) best = &member;
        if (best == nullptr) return say_waits(context);
        Worker& worker = worker_.emplace(Worker{.member = *best});
        worker.incarnation = world_.members->open(best->peer, node_, *opens);
        context.event("worker_joined", nlohmann::json{{"worker", best->name()}, {"incarnation", worker.incarnation}}.dump());
        say_waits(context);
      });
}

void SoleRole::lose(RoleContext& context, const std::string& why) {
  ++lost_;
  log_warn(fmt::format("{}: {} is lost ({}); it begins again elsewhere", context.node().id, worker_->member.name(), why));
  context.event(
      "worker_lost",
      nlohmann::json{{"worker", worker_->member.name()}, {"incarnation", worker_->incarnation}, {"why", why}, {"reissued", 1}}
          .dump());
  worker_->report.forget(context);
  worker_.reset();
  find_worker(context);
}

void SoleRole::hear(RoleContext& context) {
  while (worker_ && !writing_ && !worker_->unheard.empty()) {
    const LinkPacket packet = std::move(worker_->unheard.front());
    worker_->unheard.pop_front();
    try {
      heard(context, packet);
    } catch (const Error& e) {
      if (packet.kind == PacketKind::failed) throw;
      world_.members->drop(worker_->member.peer, e.what());  // it says what no node says
    }
  }
  say_waits(context);
}

void SoleRole::heard(RoleContext& context, const LinkPacket& packet) {
  switch (packet.kind) {
    case PacketKind::ready:
      worker_->started = true;
      send_states(context);
      if (stage_ended_) say(PacketKind::stage_end);
      break;
    case PacketKind::credit: {
      const auto at = worker_->states.find(packet.edge);
      const auto taken = static_cast<int64_t>(packet.number);
      if (at == worker_->states.end() || taken > at->second.sent)
        throw failure(fmt::format("a credit of {} messages of edge {}", taken, packet.edge));
      at->second.taken = std::max(at->second.taken, taken);
      worker_->fetches.erase(packet.edge);
      send_states(context);
      break;
    }
    case PacketKind::whole:
      resend(context, packet.edge);
      break;
    case PacketKind::payload:
      said(context, packet);
      break;
    case PacketKind::records: {
      RoleRecords records = decode_role_records(packet.body);
      worker_->report.take(context, *world_.members, worker_->member, records);
      if (!records.evaluations.empty()) write(context, std::move(records));
      break;
    }
    case PacketKind::finished:
      done_ = true;
      say(PacketKind::close);
      worker_->report.forget(context);
      worker_.reset();
      context.finish();
      break;
    case PacketKind::failed:
      std::rethrow_exception(decode_error(packet.body, worker_->member.name()));
    default:
      break;
  }
}

void SoleRole::write(RoleContext& context, RoleRecords records) {
  writing_ = true;
  auto shared = std::make_shared<const RoleRecords>(std::move(records));
  context.submit_io(
      "write down what was measured",
      [&context, shared] {
        for (const RoleRecords::Measured& m : shared->evaluations) context.journal().evaluation(m.row, m.kept);
      },
      [this, &context] {
        writing_ = false;
        hear(context);
      });
}

void SoleRole::said(RoleContext& context, const LinkPacket& packet) {
  const Envelope envelope = packet_payload(packet, *world_.codec);
  const std::vector<int> outputs = context.outputs("");
  int64_t& messages = worker_->said[envelope.edge];
  if (!envelope.payload || std::find(outputs.begin(), outputs.end(), envelope.edge) == outputs.end() ||
      envelope.number != messages + 1)
    throw failure(fmt::format("message {} of edge {} came after message {}", envelope.number, envelope.edge, messages));
  ++messages;
  say(PacketKind::credit, envelope.edge, messages);
  int64_t& last = last_number_.try_emplace(envelope.edge, -1).first->second;
  if (envelope.payload->number() <= last) return;
  last = envelope.payload->number();
  context.send(envelope.edge, envelope.payload);
}

// ---- what it is sent --------------------------------------------------------------------------------------------------

void SoleRole::send_states(RoleContext& context) {
  if (!worker_ || !worker_->started) return;
  for (auto& [edge, state] : states_) {
    Sent& to = worker_->states[edge];
    if (state.serial == to.serial || to.sent != to.taken) continue;
    to.serial = state.serial;
    auto envelope = std::make_shared<Envelope>(Envelope{Envelope::Kind::payload, edge, ++to.sent, state.newest});
    auto packet = std::make_shared<StatePacket>();
    context.submit(
        fmt::format("send {} to a worker", state.newest->describe()), "",
        [this, envelope, packet, before = std::exchange(to.held, state.newest)] {
          *packet = code_state(*envelope, *world_.codec, before.get(), node_, world_.members->contents(), world_.fetched_bytes);
        },
        [this, packet, edge = edge, incarnation = worker_->incarnation] {
          if (worker_ && worker_->incarnation == incarnation) {
            if (packet->offer) worker_->fetches[edge] = packet->offer;
            world_.members->send(worker_->member.peer, packet->to(incarnation));
          }
          packet->offer.reset();
        });
  }
}

// It cannot use what it was sent.
void SoleRole::resend(RoleContext& context, int edge) {
  const auto at = worker_->states.find(edge);
  if (at == worker_->states.end()) throw failure(fmt::format("it asks for edge {} again, of which it was sent nothing", edge));
  at->second.held = nullptr;
  at->second.serial = 0;
  note_sent_whole(context, worker_->member, edge, states_.at(edge).newest->describe());
  send_states(context);
}

void SoleRole::say(PacketKind kind, int edge, int64_t number) {
  LinkPacket packet;
  packet.kind = kind;
  packet.incarnation = worker_->incarnation;
  packet.node = node_;
  packet.edge = edge;
  packet.number = static_cast<uint64_t>(number);
  world_.members->send(worker_->member.peer, std::move(packet));
}

void SoleRole::say_waits(RoleContext& context) {
  if (done_) return;
  if (!worker_)
    context.wait_for("worker", "for a worker to join", "");
  else if (!worker_->started)
    context.wait_for("worker", fmt::format("for {} to be ready", worker_->member.name()), worker_->member.name());
  else
    context.wait_for("worker", fmt::format("for {} to end its part of the stage", worker_->member.name()),
                     worker_->member.name());
}

}  // namespace r1
