#include "runtime/nodes/opened_rank.h"

#include <utility>

#include "base/error.h"
#include "base/stop.h"

namespace r1 {

// To the head the number of a packet is the CPU time inside ops so far.
class OpenedRank::Channel final : public MessageChannel {
 public:
  explicit Channel(OpenedRank& rank) : rank_(rank) {}
  void send(ChannelMessage message) override {
    LinkPacket packet = rank_packet(rank_.incarnation_, rank_.node_, std::move(message));
    packet.number = rank_.services_.cpu_ns ? static_cast<uint64_t>(rank_.services_.cpu_ns()) : 0;
    rank_.services_.send(std::move(packet));
  }
  ChannelMessage receive(double patience_s) override { return came.take(patience_s); }

  MessageQueue came;

 private:
  OpenedRank& rank_;
};

OpenedRank::OpenedRank(Services services, Incarnation incarnation, int node, OpenRole open)
    : services_(std::move(services)),
      incarnation_(incarnation),
      node_(node),
      open_(std::move(open)),
      channel_(std::make_unique<Channel>(*this)) {}

OpenedRank::~OpenedRank() {
  end_channel();
  executor_.reset();
}

void OpenedRank::begin(std::shared_ptr<const NodeGraph> graph) {
  if (closed_) return;
  graph_ = std::move(graph);
  const NodePlan* plan = nullptr;
  try {
    plan = &opened_node(graph_->graph, open_, node_);
  } catch (...) {
    return failed(std::current_exception());
  }
  executor_ = services_.world->executor(plan->id);
  executor_->submit({[this, plan] {
                       const StopScope scope({&stop_, &unit_});
                       graph_->rank(*plan, *channel_);
                     },
                     [this](std::exception_ptr error) {
                       if (error && !stop_) failed(error);
                     }});
}

void OpenedRank::say(PacketKind kind, std::string body) {
  LinkPacket packet;
  packet.kind = kind;
  packet.incarnation = incarnation_;
  packet.node = node_;
  packet.body = std::move(body);
  services_.send(std::move(packet));
}

void OpenedRank::failed(std::exception_ptr error) { say(PacketKind::failed, encode_error(error)); }

void OpenedRank::received(const LinkPacket& packet) {
  if (packet.kind == PacketKind::rank && !closed_) channel_->came.put(rank_word(packet));
}

void OpenedRank::close(std::function<void()> then) {
  closed_ = true;
  end_channel();
  if (!executor_) return services_.world->post(std::move(then));
  std::vector<std::unique_ptr<Executor>> executors;
  executors.push_back(std::move(executor_));
  services_.world->end(std::move(executors), std::move(then));
}

void OpenedRank::tick(bool fetched) {
  RoleRecords records;
  records.moved = moved_.exchange(false) || fetched;
  if (closed_ || !records.moved) return;
  if (services_.cpu_ns) records.cpu_ns = services_.cpu_ns();
  say(PacketKind::records, encode(records));
}

void OpenedRank::end_channel() {
  stop_ = true;
  channel_->came.end_at_once(std::make_exception_ptr(failure("the head has ended this rank")));
}

}  // namespace r1
