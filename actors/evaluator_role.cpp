#include "actors/evaluator_role.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "actors/evaluation.h"
#include "actors/held_out.h"
#include "actors/messages.h"
#include "actors/model_chat.h"
#include "actors/roles.h"
#include "actors/stored_rows.h"
#include "actors/training_plan.h"
#include "actors/weight_receiver.h"
#include "runtime/store/run_store.h"

namespace r1 {

namespace {

using nlohmann::json;

class EvaluatorRole final : public Role {
 public:
  explicit EvaluatorRole(const RunEnv& env) : env_(env), received_(*env.device) {}

  void start(RoleContext& context) override {
    const NodePlan* trainer = stage_trainer(context.graph(), context.node().stage);
    context.submit(
        "evaluate the first weights", "evaluator",
        [this, &context, trainer] {
          const NodePlan& node = context.node();
          auto weights = trainer != nullptr ? trainer_start_weights(env_, context.graph(), *trainer)
                                            : load_start_weights(env_, context.graph(), node, DType::f32);
          measure(context, std::make_shared<WeightSet>(convert_weights(*weights, weights->config(), env_.precision)),
                  trainer != nullptr ? "before" : "after");
        },
        [this, &context, trainer] {
          first_done_ = true;
          if (trainer == nullptr || measured_last_) context.finish();
        });
    if (trainer != nullptr) context.wait_for("weights", "for the stage's last weights", trainer->id);
  }

  void receive(RoleContext& context, int edge, PayloadPtr payload) override {
    auto weights = std::dynamic_pointer_cast<const WeightsMessage>(payload);
    context.release(edge);
    if (!weights->final) return measure_on_the_way(context, weights);
    context.wait_over("weights");
    context.submit(
        "evaluate the last weights", "evaluator",
        [this, &context, weights] { measure(context, received_.take(*weights), "after"); },
        [this, &context] {
          measured_last_ = true;
          if (first_done_) context.finish();
        });
  }

 private:
  // The trainer waits for it.
  void measure_on_the_way(RoleContext& context, const std::shared_ptr<const WeightsMessage>& weights) {
    auto found = std::make_shared<MetricsMessage>();
    found->version = weights->version;
    found->node = context.node().id;
    context.submit(
        fmt::format("evaluate version {}", weights->version), "evaluator",
        [this, &context, weights, found] {
          found->metrics = measure(context, received_.take(*weights), "during", weights->version);
        },
        [&context, found] {
          for (const int e : context.outputs("metrics")) context.send(e, found);
        });
  }

  std::map<std::string, double> measure(RoleContext& context, const std::shared_ptr<const WeightSet>& weights,
                                        const std::string& when, int64_t version = -1) {
    const NodePlan& node = context.node();
    EvaluationSpec spec = evaluation_spec(env_, node);
    if (const int64_t few = node.attrs.integer("problems_before"); when == "before" && few > 0) spec.problems = few;
    const auto tokenizer = node_tokenizer(env_, context.graph(), node);
    spec.chat = node_chat(env_, context.graph(), node, tokenizer);
    RunStore& store = context.store();
    EvaluationRow row;
    row.node = node.id;
    row.moment = when;
    row.version = when == "before" ? 0 : version >= 0 ? version : store.batch_count(context.stage_id());
    row.evaluation = weights->hash().hex() + " " + spec.key();
    for (const std::string& model : reward_model_names(context.graph(), node))
      row.evaluation += " " + model + "=" + stage_model_hash(store, context.graph(), node, model);
    std::vector<ResponseRow> kept;
    if (const auto known = store.known_evaluation(row.evaluation)) {
      row.metrics_json = *known;
    } else {
      const Evaluation found =
          evaluate_model(env_, spec, {weights, tokenizer}, load_reward_models(env_, context.graph(), node));
      row.metrics_json = json(found.metrics).dump();
      kept = response_rows(found.kept);
    }
    store.add_evaluation(context.stage_id(), row, kept);
    std::map<std::string, double> metrics;
    const nlohmann::ordered_json stored = evaluation_metrics_in(store, context.stage_id(), row);
    for (const auto& [name, value] : stored.items())
      if (value.is_number()) metrics[name] = value.get<double>();
    return metrics;
  }

  RunEnv env_;
  bool first_done_ = false, measured_last_ = false;
  WeightReceiver received_;  // touched by jobs alone
};

}  // namespace

std::unique_ptr<Role> make_evaluator_role(const RunEnv& env) { return std::make_unique<EvaluatorRole>(env); }

}  // namespace r1
