#include "actors/evaluator_role.h"

#include <nlohmann/json.hpp>

#include "actors/evaluation.h"
#include "actors/messages.h"
#include "actors/model_chat.h"
#include "actors/received_weights.h"
#include "actors/roles.h"
#include "actors/training_plan.h"
#include "runtime/store/run_store.h"

namespace r1 {

namespace {

using nlohmann::json;

class EvaluatorRole final : public Role {
 public:
  explicit EvaluatorRole(const RunEnv& env) : env_(env) {}

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
    if (!weights->final) return;
    context.wait_over("weights");
    context.submit(
        "evaluate the last weights", "evaluator",
        [this, &context, weights] { measure(context, received_weights(*weights, nullptr, -1, *env_.device), "after"); },
        [this, &context] {
          measured_last_ = true;
          if (first_done_) context.finish();
        });
  }

 private:
  void measure(RoleContext& context, const std::shared_ptr<const WeightSet>& weights, const std::string& when) {
    EvaluationSpec spec = evaluation_spec(env_, context.node());
    if (const int64_t few = context.node().attrs.integer("problems_before"); when == "before" && few > 0) spec.problems = few;
    RunStore& store = context.store();
    const std::string key = "evaluation/" + weights->hash().hex() + "/" + spec.key();
    std::string text;
    if (const auto known = store.meta(key)) {
      text = *known;
    } else {
      const auto tokenizer = node_tokenizer(env_, context.graph(), context.node());
      spec.chat = node_chat(env_, context.graph(), context.node(), tokenizer);
      text = json(evaluate_model(env_, spec, weights, *tokenizer)).dump();
      store.set_meta(key, text);
    }
    const std::string& stage = context.graph().stages[context.node().stage].name;
    store.set_meta("metrics/" + stage + "/" + when, text);
  }

  RunEnv env_;
  bool first_done_ = false, measured_last_ = false;
};

}  // namespace

std::unique_ptr<Role> make_evaluator_role(const RunEnv& env) { return std::make_unique<EvaluatorRole>(env); }

}  // namespace r1
