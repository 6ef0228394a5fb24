#include "actors/held_out.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "actors/stored_rows.h"
#include "rewards/expression.h"

namespace r1 {

using nlohmann::json;

std::optional<nlohmann::ordered_json> held_out_metrics_of(const GraphView& graph, const StagePlan& stage, const RunStore& store,
                                                          int64_t stage_id, const std::string& moment, int64_t version) {
  const std::vector<EvaluationRow> rows = store.evaluations(stage_id);
  std::vector<std::pair<std::string, nlohmann::ordered_json>> measured;  // in the graph's order
  for (const int n : stage.nodes)
    for (const EvaluationRow& row : rows)
      if (row.node == graph.nodes[n].id && row.moment == moment && (version < 0 || row.version == version))
        measured.emplace_back(row.node, evaluation_metrics_in(store, stage_id, row));
  if (measured.empty()) return std::nullopt;
  nlohmann::ordered_json all = nlohmann::ordered_json::object();
  for (const auto& [node, metrics] : measured) {
    for (const auto& [name, value] : metrics.items()) {
      if (!all.contains(name)) all[name] = value;
      if (measured.size() > 1) all[node + "/" + name] = value;
    }
  }
  return all;
}

std::vector<std::string> held_out_reward_names(const GraphView& graph, const StagePlan& stage) {
  std::vector<std::string> names;
  for (const int n : stage.nodes) {
    const NodePlan& node = graph.nodes[n];
    if (node.role != "evaluator" || node.attrs.text("rewards").empty()) continue;
    if (names.empty()) names.emplace_back("reward");
    EvaluationSpec spec;
    spec.rewards = node.attrs.text("rewards");
    spec.rewards_where = attr_place(node, "rewards");
    for (const std::string& name : reward_names(spec))
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

std::vector<ResponseRow> response_rows(const std::vector<EvaluatedSource>& kept) {
  std::vector<ResponseRow> rows;
  for (const EvaluatedSource& source : kept)
    for (const EvaluatedPrompt& p : source.prompts)
      for (size_t i = 0; i < p.responses.size(); ++i) {
        const EvaluatedResponse& r = p.responses[i];
        ResponseRow& row = rows.emplace_back();
        row.source = source.name;
        row.prompt = p.index;
        row.sample = r.sample;
        row.text = p.prompt.text;
        row.response = r.text;
        row.tokens = r.tokens;
        row.finished = r.finished;
        row.correct = is_correct(p.input(i), r.score);
        row.reward = r.score.reward;
        row.scores_json = json(r.score.parts).dump();
        row.error = r.score.error;
      }
  return rows;
}

std::string stage_model_hash(const StageJournal& journal, const GraphView& graph, const NodePlan& node,
                             const std::string& name) {
  for (const int e : node.in_edges) {
    const EdgePlan& edge = graph.edges[e];
    if (edge.carries != "model" || !edge.attrs.has("as") || edge.attrs.text("as") != name) continue;
    const NodePlan& from = graph.nodes[edge.from];
    if (from.artifact) return from.attrs.text("path");
    const auto checkpoint = journal.artifact_of(graph.stages[from.stage].name, "checkpoint");
    return checkpoint ? checkpoint->hash : "";
  }
  return "";
}

}  // namespace r1
