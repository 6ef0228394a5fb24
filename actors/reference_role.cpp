#include "actors/reference_role.h"

#include <fmt/format.h>

#include <deque>

#include "actors/graph_checks.h"
#include "actors/kept_reference.h"
#include "actors/messages.h"
#include "actors/model_checks.h"
#include "actors/placed_attrs.h"
#include "actors/weight_receiver.h"
#include "models/engines.h"
#include "models/weights.h"

namespace r1 {

namespace {

class ReferenceRole final : public Role {
 public:
  explicit ReferenceRole(const RunEnv& env) : env_(env), received_(*env.device) {}

  bool recalls() const override { return true; }

  void start(RoleContext& context) override {
    out_ = context.outputs("groups").at(0);
    for (int e : context.inputs("weights")) every_ = context.graph().edges[e].attrs.integer("every");
    temperature_ = 1;
    if (const NodePlan* g = stage_node(context.graph(), context.node().stage, "generator"))
      temperature_ = g->attrs.number("temperature");
    busy_ = true;
    context.submit(
        "load the reference", "",
        [this, &context] {
          std::shared_ptr<WeightSet> weights;
          // At a node of another process the head keeps it, and sends it.
          if (env_.root.empty()) kept_.emplace(env_, context.graph().stages[static_cast<size_t>(context.node().stage)].name);
          if (auto found = kept_ ? kept_->load(context.recovered(), context.journal()) : std::nullopt) {
            weights = found->weights;
            version_ = found->version;
            received_.hold(weights, version_);
          } else {
            weights = load_start_weights(env_, context.graph(), context.node(), env_.precision);
          }
          engine_ = env_.engines->frozen(context.node().id, weights);
        },
        [this, &context] {
          busy_ = false;
          pump(context);
        });
  }

  void receive(RoleContext& context, int edge, PayloadPtr payload) override {
    if (auto batch = std::dynamic_pointer_cast<const BatchMessage>(payload)) {
      in_ = edge;
      waiting_.push_back(std::move(batch));
    } else if (auto weights = std::dynamic_pointer_cast<const WeightsMessage>(payload)) {
      context.release(edge);
      weights_edge_ = edge;
      refreshes_.push_back(std::move(weights));
    }
    pump(context);
  }
  void on_room(RoleContext& context, int) override { pump(context); }
  void on_stage_end(RoleContext& context) override {
    ended_ = true;
    if (!busy_) context.finish();
  }

 private:
  int64_t version_for(int64_t batch) const { return every_ > 0 ? batch / every_ * every_ : 0; }

  void pump(RoleContext& context) {
    if (busy_) return;
    if (ended_) return context.finish();
    if (done_ && context.room(out_) > 0) {
      context.send(out_, std::exchange(done_, nullptr));
      context.release(in_);
    }
    if (done_) return;
    // A refresh may not overtake batches that the version before still has to score.
    if (!refreshes_.empty() && (waiting_.empty() || version_for(waiting_.front()->version) >= refreshes_.front()->version))
      return refresh(context);
    if (waiting_.empty()) return;
    if (version_for(waiting_.front()->version) > version_) {
      context.wait_for("weights",
                       fmt::format("for weights of version {} as the new reference", version_for(waiting_.front()->version)),
                       stage_trainer(context.graph(), context.node().stage)->id);
      return;
    }
    context.wait_over("weights");
    auto batch = std::make_shared<BatchMessage>(*waiting_.front());
    waiting_.pop_front();
    busy_ = true;
    context.submit(
        "reference log-probabilities of " + batch->describe(), "reference", [this, batch] { score(*batch); },
        [this, &context, batch] {
          busy_ = false;
          done_ = batch;
          pump(context);
        });
  }

  void score(BatchMessage& batch) {
    std::vector<Sequence> sequences;
    for (const auto& g : batch.groups)
      if (g.dropped.empty())
        sequences.insert(sequences.end(), g.scored->group->samples.begin(), g.scored->group->samples.end());
    std::vector<std::vector<float>> logp = engine_->logprobs(sequences, temperature_);
    size_t next = 0;
    for (auto& g : batch.groups) {
      if (!g.dropped.empty()) continue;
      for (size_t i = 0; i < g.scored->group->samples.size(); ++i) g.reference_logp.push_back(std::move(logp[next++]));
    }
  }

  // The new reference is on disk before it is used: a restarted stage finds it there.
  void refresh(RoleContext& context) {
    auto next = std::move(refreshes_.front());
    refreshes_.pop_front();
    if (next->version <= version_) return pump(context);
    busy_ = true;
    context.submit(
        fmt::format("refresh the reference from version {}", next->version), "",
        [this, &context, next] {
          if (!received_.accept(*next, /*whole=*/true)) return;
          if (kept_) kept_->keep(context.journal(), *received_.held(), next->version);
          engine_->set_weights(received_.held());
          version_ = next->version;
        },
        [this, &context] {
          received_.ask_again(context, weights_edge_);
          busy_ = false;
          pump(context);
        });
  }

  RunEnv env_;
  int in_ = -1, out_ = -1, weights_edge_ = -1;
  bool busy_ = false, ended_ = false;
  int64_t every_ = 0, version_ = 0;
  double temperature_ = 1;
  std::deque<std::shared_ptr<const BatchMessage>> waiting_;
  std::deque<std::shared_ptr<const WeightsMessage>> refreshes_;  // each may be the difference to the one before it
  PayloadPtr done_;
  std::unique_ptr<FrozenModel> engine_;
  WeightReceiver received_;  // touched by jobs alone, as is kept_
  std::optional<KeptReference> kept_;
};

}  // namespace

RoleKind reference_kind(const std::filesystem::path& graph_dir) {
  using namespace spec;
  RoleKind r;
  r.spec.name = "reference";
  r.spec.doc = "adds a frozen model's log-probabilities for the KL term";
  r.spec.attrs = placed();
  r.spec.attrs.push_back(on());
  r.spec.edge_attrs = {
      capacity(),
      carried(integer("every", "0", 0, 1'000'000'000, "refresh the reference every so many versions; 0: never"), {"weights"})};
  r.spec.ports = {takes("groups", true), takes_weights(Versions::every), takes_finished("model"), gives("groups")};
  r.spec.check = [graph_dir](const GraphView& graph, const NodePlan& node) {
    check_taken(graph, node, {"groups"}, "an edge to a trainer");
    check_model_use(graph_dir, graph, node);
    for (const int e : node.in_edges)
      if (const EdgePlan& edge = graph.edges[static_cast<size_t>(e)];
          edge.carries == "weights" && edge.attrs.given.count("every") == 0)
        throw bad_input(fmt::format("'{}' would never take the weights that it is given", node.id), edge.where,
                        "say after how many versions: [carries=weights, every=100], or remove the edge");
  };
  r.make = [](const RunEnv& env) -> std::unique_ptr<Role> { return std::make_unique<ReferenceRole>(env); };
  return r;
}

}  // namespace r1
