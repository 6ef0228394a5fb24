#include "actors/evaluator_plan.h"

#include "actors/held_out.h"
#include "actors/model_chat.h"

namespace r1 {

EvaluationSpec planned_evaluation(const RunEnv& env, const GraphView& graph, const NodePlan& evaluator, bool before) {
  EvaluationSpec spec = evaluation_spec(env, evaluator);
  if (const int64_t few = evaluator.attrs.integer("problems_before"); before && few > 0) spec.problems = few;
  spec.chat = node_chat(env, graph, evaluator, node_tokenizer(env, graph, evaluator));
  return spec;
}

std::string evaluation_key(const EvaluationSpec& spec, const StageJournal& journal, const GraphView& graph,
                           const NodePlan& evaluator) {
  std::string key = " " + spec.key();
  for (const std::string& model : reward_model_names(graph, evaluator))
    key += " " + model + "=" + stage_model_hash(journal, graph, evaluator, model);
  return key;
}

}  // namespace r1
