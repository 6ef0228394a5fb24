// The JSON of the run store's rows, read back with its types checked (base/stored.h): statistics of batches, held-out metrics,
// summaries of stages, scores. Whoever reads them gets values that can be used, or the failure that names the row.
// Thread rule: pure functions but for reading the run store.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/stored.h"
#include "runtime/store/run_store.h"
#include "runtime/flow/stage_memory.h"

namespace r1 {

// `text`: as batch_stats() gave it. Counts are integers; every other statistic is a number or null.
nlohmann::json batch_stats_in(const RunStore& store, int64_t stage, int64_t version, const std::string& text);
nlohmann::json batch_stats_in(const StageJournal& stage, int64_t version, const std::string& text);

// What an evaluator measured (of all evaluators of a stage: actors/held_out.h): numbers or null.
nlohmann::ordered_json evaluation_metrics_in(const RunStore& store, int64_t stage, const EvaluationRow& row);
nlohmann::ordered_json evaluation_metrics_in(const StageJournal& stage, const EvaluationRow& row);

// The scores of a response that an evaluation kept: numbers or null.
nlohmann::json response_scores_in(const RunStore& store, const EvaluationRow& evaluation, const ResponseRow& row);

// `text`: a stage's object of summary.json, as its row has it or the stage_summary of this moment.
nlohmann::ordered_json stage_summary_in(const RunStore& store, const std::string& stage, const std::string& text);

// A trajectory's scores: numbers or null.
nlohmann::json scores_in(const RunStore& store, int64_t stage, const TrajectoryRow& row);

// A whole summary.json, from `file`.
nlohmann::json run_summary_in(const std::string& file, const std::string& text);

// A number of the table meta; 0 where it is not there.
double stored_meta_number(const RunStore& store, const std::string& key);
int64_t stored_meta_integer(const RunStore& store, const std::string& key);

}  // namespace r1
