#include "runtime/flow/local_stage.h"

#include <fmt/format.h>

#include <utility>

namespace r1 {
namespace {

constexpr int kJobs = -10;  // lane (kJobs, node): jobs of a node's executor; (kJobs, kIoJobs): of the stage's share of I/O
constexpr int kIoJobs = -1;

}  // namespace

LocalStage::LocalStage(StepWorld& world, HostServices services, const RoleFactory& factory, LocalLinks links,
                       std::function<void()> wake)
    : world_(world),
      life_(world.new_life()),
      services_(services),
      links_(std::move(links)),
      wake_(std::move(wake)),
      io_(world.executor(jobs_of(kIoJobs), "")) {
  services_.transport = this;
  services_.stop = &stop_;
  const GraphView& graph = *services_.graph;
  for (const int node : services_.stage->nodes) {
    if (graph.nodes[node].artifact) continue;
    Slot& slot = slots_[node];
    slot.executor = world_.executor(jobs_of(node), graph.nodes[node].id);
    slot.host = std::make_unique<RoleHost>(services_, node, factory(graph, graph.nodes[node]), *slot.executor, *io_);
  }
  for (auto& [node, slot] : slots_) world_.push({life_, kFromConductor, node}, 0, [h = slot.host.get()] { h->start(); });
}

LocalStage::~LocalStage() { teardown(0); }

StepWorld::Lane LocalStage::jobs_of(int node) const { return {life_, kJobs, node}; }

bool LocalStage::teardown(double) {
  if (std::exchange(closed_, true)) return true;
  if (links_.done_at_teardown > 0) {
    if (world_.rng().chance(links_.done_at_teardown)) world_.force(jobs_of(kIoJobs));
    for (auto& [node, slot] : slots_)
      if (world_.rng().chance(links_.done_at_teardown)) world_.force(jobs_of(node));
  }
  stop_ = true;
  world_.forget(life_);
  for (auto& [node, slot] : slots_) slot.host.reset();
  return true;
}

std::vector<StageHost::RoleState> LocalStage::roles() const {
  std::vector<RoleState> rows;
  for (const auto& [node, slot] : slots_) {
    const NodePlan& plan = services_.graph->nodes[node];
    rows.push_back({plan.id, plan.role, slot.state, slot.progress});
  }
  return rows;
}

bool LocalStage::call(const std::string& node, std::function<void(RoleHost&)> call) {
  for (const auto& [index, slot] : slots_) {
    if (services_.graph->nodes[index].id != node) continue;
    run(kFromConductor, index, [host = slot.host.get(), call = std::move(call)] { call(*host); });
    return true;
  }
  return false;
}

RoleHost* LocalStage::host(const std::string& node) {
  for (auto& [index, slot] : slots_)
    if (services_.graph->nodes[index].id == node) return slot.host.get();
  return nullptr;
}

std::string LocalStage::way(int from, int to) const {
  const auto& nodes = services_.graph->nodes;
  return fmt::format("{} -> {}", from < 0 ? "the stage" : nodes[from].id, nodes[to].id);
}

void LocalStage::arrive(int from, int to, const Envelope& envelope) {
  if (links_.arrived) links_.arrived(*services_.stage, from, to, envelope);
  slots_.at(to).host->handle(envelope);
}

void LocalStage::post(int from, int to, Envelope envelope) {
  if (closed_) return;
  if (links_.sent) links_.sent(*services_.stage, from, to, envelope);
  std::function<void()> step;
  const Delivery delivery = links_.deliver ? links_.deliver(*services_.stage, to, envelope) : Delivery::once;
  if (links_.codec != nullptr) {
    auto packet = std::make_shared<Packet>(encode_envelope(envelope, *links_.codec, last_sent_[envelope.edge].get()));
    if (envelope.payload) last_sent_[envelope.edge] = envelope.payload;
    if (links_.damage) links_.damage(*services_.stage, to, *packet);
    step = [this, from, to, packet] {
      Envelope read;
      try {
        read = decode_envelope(*packet, *links_.codec);
      } catch (const Error& e) {
        return failed(
            to, std::make_exception_ptr(r1::failure(fmt::format("{} got a damaged message: {}", way(from, to), e.what()))));
      }
      arrive(from, to, read);
    };
  } else {
    step = [this, from, to, e = std::make_shared<Envelope>(std::move(envelope))] { arrive(from, to, *e); };
  }
  const int64_t ready_ns = links_.delay_ns ? world_.clock().now_ns() + links_.delay_ns() : 0;
  if (delivery == Delivery::lost) return;
  world_.push({life_, from, to}, ready_ns, step);
  if (delivery == Delivery::twice) world_.push({life_, from, to}, ready_ns, step);
}

void LocalStage::run(int from, int on, std::function<void()> call) {
  if (closed_) return;
  world_.push({life_, from, on}, 0, [h = slots_.at(on).host.get(), call = std::move(call)] { h->run(call); });
}

void LocalStage::finished(int node) {
  ++finished_;
  slots_.at(node).state = RoleStatus::finished;
  if (wake_) wake_();
}

void LocalStage::failed(int node, std::exception_ptr error) {
  slots_.at(node).state = RoleStatus::failed;
  if (!failure_) failure_ = Failure{services_.graph->nodes[node].id, error};
  if (wake_) wake_();
}

void LocalStage::end_stage(int) {
  for (auto& [node, slot] : slots_) post(kFromConductor, node, {});
}

void LocalStage::progress(int node, const std::string& text) { slots_.at(node).progress = text; }

}  // namespace r1
