#include "actors/stored_rows.h"

#include <fmt/format.h>

namespace r1 {

#define R1_STAGE_SUMMARY                                                                               \
  R"({"name!": "text", "label": "text", "status": "text", "verdict": "text", "seconds!": "number",)"   \
  R"( "steps!": "integer", "tokens_trained": "integer", "tokens_generated": "integer",)"               \
  R"( "metrics": {"*": {"*": "number?"}}, "weights_hash": "text", "checkpoint": "text",)"              \
  R"( "dataset": "text", "dataset_hash": "text", "draws": "integer", "trained": "integer",)"           \
  R"( "dropped": {"*": "integer"}, "logprob_gap_max": "number", "logprob_gap_tokens": "integer",)"     \
  R"( "staleness_max": "number", "overlap": "number", "busy": "number", "not_busy": {"*": "number"},)" \
  R"( "engines_at_work": {"*": "number"}, "held_out_rewards": ["text"]})"

static StoredPlace meta_place(const RunStore& store, const std::string& key) {
  return store.place("meta", fmt::format("key='{}'", key));
}

static nlohmann::json batch_stats_at(const StoredPlace& place, const std::string& text) {
  return stored_json(text, place,
                     R"({"tokens": "integer", "trained_tokens": "integer", "examples": "integer", "examples_trained": "integer",
                         "completions": "integer", "kept": "integer", "dropped": "integer", "reward_errors": "integer",
                         "length": "number", "logprob_gap_tokens": "integer", "expert_load": [["number"]],
                         "missing": {"*": "integer"}, "*": "number?"})");
}

nlohmann::json batch_stats_in(const RunStore& store, int64_t stage, int64_t version, const std::string& text) {
  return batch_stats_at(store.place("batch_stats", fmt::format("stage={} and version={}", stage, version)), text);
}
nlohmann::json batch_stats_in(const StageJournal& stage, int64_t version, const std::string& text) {
  return batch_stats_at(stage.place("batch_stats", fmt::format("version={}", version)), text);
}

constexpr const char* kEvaluationMetrics = R"({"*": "number?"})";

static std::string evaluation_row(const EvaluationRow& row) {
  return fmt::format("node='{}' and moment='{}' and version={}", row.node, row.moment, row.version);
}

nlohmann::ordered_json evaluation_metrics_in(const RunStore& store, int64_t stage, const EvaluationRow& row) {
  return stored_ordered_json(row.metrics_json,
                             store.place("evaluations", fmt::format("stage={} and {}", stage, evaluation_row(row))),
                             kEvaluationMetrics);
}
nlohmann::ordered_json evaluation_metrics_in(const StageJournal& stage, const EvaluationRow& row) {
  return stored_ordered_json(row.metrics_json, stage.place("evaluations", evaluation_row(row)), kEvaluationMetrics);
}

nlohmann::json response_scores_in(const RunStore& store, const EvaluationRow& evaluation, const ResponseRow& row) {
  return stored_json(row.scores_json,
                     store.place("responses", fmt::format("evaluation='{}' and source='{}' and prompt={} and sample={}",
                                                          evaluation.evaluation, row.source, row.prompt, row.sample)),
                     R"({"*": "number?"})");
}

nlohmann::ordered_json stage_summary_in(const RunStore& store, const std::string& stage, const std::string& text) {
  return stored_ordered_json(text, store.place("stages", fmt::format("name='{}'", stage)), R1_STAGE_SUMMARY);
}

nlohmann::json scores_in(const RunStore& store, int64_t stage, const TrajectoryRow& row) {
  if (row.scores_json.empty()) return nlohmann::json::object();
  return stored_json(
      row.scores_json,
      store.place("trajectories", fmt::format("stage={} and draw={} and sample={}", stage, row.draw, row.sample)),
      R"({"*": "number?"})");
}

nlohmann::json run_summary_in(const std::string& file, const std::string& text) {
  return stored_json(text, {file, "", ""},
                     R"({"stages!": [)" R1_STAGE_SUMMARY R"(], "seconds!": "number", "machine!": "text"})");
}

double stored_meta_number(const RunStore& store, const std::string& key) {
  const auto text = store.meta(key);
  return text ? stored_number(*text, meta_place(store, key)) : 0;
}
int64_t stored_meta_integer(const RunStore& store, const std::string& key) {
  const auto text = store.meta(key);
  return text ? stored_integer(*text, meta_place(store, key)) : 0;
}

}  // namespace r1
