#include "actors/ranks_at_nodes.h"

#include <fmt/format.h>

#include <utility>

#include "actors/far_ranks.h"
#include "actors/node_roles.h"
#include "models/forwarding_engines.h"
#include "runtime/nodes/rank_seat.h"

namespace r1 {
namespace {

class SeatChannel final : public RankChannel {
 public:
  explicit SeatChannel(RankSeat::Options options) : seat_(std::move(options)) {}
  void send(ChannelMessage message) override { seat_.send(std::move(message)); }
  ChannelMessage receive(double patience_s) override { return seat_.receive(patience_s); }
  void give_up() override { seat_.give_up(); }
  Incarnation incarnation() const { return seat_.incarnation(); }
  const std::string& at() const { return seat_.at(); }

 private:
  RankSeat seat_;
};

class EnginesWithRanks final : public ForwardingEngines {
 public:
  EnginesWithRanks(RankWorld world, std::shared_ptr<const EngineFactory> inner)
      : ForwardingEngines(std::move(inner)), world_(std::move(world)) {}

  std::unique_ptr<Learner> learner(const std::string& node, const TrainerConfig& config,
                                   const WeightSet& start) const override {
    const auto places = world_.places.find(node);
    if (places == world_.places.end() || config.ranks < 2) return inner_->learner(node, config, start);
    const GraphView& graph = *world_.graph;
    const NodePlan& plan = *graph.node(node);
    RankSeat::Options seat;
    seat.members = world_.members;
    seat.node = static_cast<int>(&plan - graph.nodes.data());
    seat.open = open_role(*world_.env, graph, plan, world_.graph_file, *world_.store);
    seat.open.stage = graph.stages[static_cast<size_t>(plan.stage)].name;
    std::vector<FarRank> ranks;
    uint64_t attempt = 0;
    for (seat.rank = 1; seat.rank < config.ranks; ++seat.rank) {
      seat.name = fmt::format("rank {} of {}", seat.rank, node);
      seat.preferred = place_of_rank(places->second, seat.rank);
      auto channel = std::make_unique<SeatChannel>(seat);
      attempt = channel->incarnation();
      ranks.push_back({fmt::format("{} at {}", seat.name, channel->at()), std::move(channel)});
    }
    return far_ranked_learner(*inner_, node, config, start, attempt, fmt::format("rank 0 of {} at the head", node),
                              std::move(ranks), world_.ring);
  }

 private:
  const RankWorld world_;
};

}  // namespace

int64_t ranks_at_nodes(const NodePlan& node) {
  if (node.artifact || !node.attrs.has("ranks")) return 0;
  return node.attrs.text("host") == "head" ? 0 : node.attrs.integer("ranks") - 1;
}

std::string place_of_rank(const std::vector<std::string>& nodes, int64_t rank) {
  return nodes.at(static_cast<size_t>(rank - 1) % nodes.size());
}

std::shared_ptr<const EngineFactory> engines_with_ranks_at_nodes(RankWorld world, std::shared_ptr<const EngineFactory> inner) {
  return std::make_shared<EnginesWithRanks>(std::move(world), std::move(inner));
}

}  // namespace r1
