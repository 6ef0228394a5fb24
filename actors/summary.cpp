#include "actors/summary.h"

#include "actors/held_out.h"
#include "actors/steering.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "actors/stored_rows.h"

namespace r1 {

using nlohmann::json;
using nlohmann::ordered_json;

static constexpr const char* kFailuresKey = "failures";

static ordered_json failure_list(const std::vector<StageFailure>& failures) {
  ordered_json list = ordered_json::array();
  for (const StageFailure& f : failures) list.push_back({{"stage", f.stage}, {"reason", f.reason}});
  return list;
}

std::string stage_summary(const GraphView& graph, const StagePlan& stage, const RunStore& store, int64_t id,
                          const StageTimes& times, int cores) {
  const NodePlan* trainer = stage_trainer(graph, static_cast<int>(&stage - graph.stages.data()));
  ordered_json s;
  s["name"] = stage.name;
  if (!stage.label.empty()) s["label"] = stage.label;
  s["seconds"] = times.seconds;

  int64_t steps = 0, tokens_trained = 0, gap_tokens = 0;
  std::optional<double> gap, age_max;  // absent where nothing was compared, nothing trained
  const auto most = [](std::optional<double>& to, double value) { to = std::max(to.value_or(value), value); };
  for (const auto& [version, text] : store.batch_stats(id)) {
    const json b = batch_stats_in(store, id, version, text);
    ++steps;
    tokens_trained += b.value("tokens", int64_t{0});
    if (const auto it = b.find("logprob_gap_max"); it != b.end() && it->is_number()) most(gap, it->get<double>());
    gap_tokens += b.value("logprob_gap_tokens", int64_t{0});
    if (const auto it = b.find("age_max"); it != b.end() && it->is_number()) most(age_max, it->get<double>());
  }
  for (const MetricRow& m : store.metrics(id, "logprob_audit_gap")) most(gap, m.value);
  for (const MetricRow& m : store.metrics(id, "logprob_audit_tokens")) gap_tokens += static_cast<int64_t>(m.value);
  double generated = 0;
  for (const MetricRow& m : store.metrics(id, "tokens_generated")) generated += m.value;
  s["steps"] = steps;
  s["tokens_trained"] = trainer != nullptr ? tokens_trained : 0;
  s["tokens_generated"] = static_cast<int64_t>(generated);

  for (const char* when : {"before", "after"})
    if (const auto metrics = held_out_metrics_of(graph, stage, store, id, when)) s["metrics"][when] = *metrics;
  if (const std::vector<std::string> names = held_out_reward_names(graph, stage); !names.empty()) s["held_out_rewards"] = names;
  if (const auto checkpoint = store.artifact(id, "checkpoint")) {
    s["weights_hash"] = checkpoint->second;
    s["checkpoint"] = checkpoint->first;
  }
  if (const auto checkpoint = store.artifact(id, "best")) {
    Steering steering(graph, static_cast<int>(&stage - graph.stages.data()));
    steering.restore(store, id);
    if (const auto best = steering.best())
      s["best"] = {{"checkpoint", checkpoint->first}, {"weights_hash", checkpoint->second},
                   {"version", best->version},        {"evaluator", best->node},
                   {"metric", best->metric},          {"value", best->value}};
  }
  if (const auto dataset = store.artifact(id, "dataset")) {
    s["dataset"] = dataset->first;
    s["dataset_hash"] = dataset->second;
  }
  const LedgerCounts ledger = store.ledger(id);
  if (ledger.draws > 0) {
    s["draws"] = ledger.draws;
    s["trained"] = ledger.trained;
    auto dropped = ledger.dropped;
    if (ledger.open > 0) dropped["stage_ended"] += ledger.open;  // that is how complete_stage resolves them
    s["dropped"] = dropped;
  }
  if (trainer != nullptr && trainer->attrs.text("objective") == "grpo") {
    if (gap) s["logprob_gap_max"] = *gap;
    s["logprob_gap_tokens"] = gap_tokens;
    if (age_max) s["staleness_max"] = *age_max;
    s["overlap"] = times.overlap();
  }
  s["busy"] = times.busy(cores);
  // The rest of cores x wall time: nothing to do for any engine; an engine at work, but not (on all cores) inside ops.
  const double idle = times.idle();
  s["not_busy"] = {{"no_engine_at_work", idle}, {"engines_outside_ops", std::max(0.0, 1 - times.busy(cores) - idle)}};
  for (const auto& [engine, seconds] : times.engine_s)
    s["engines_at_work"][engine] = times.seconds > 0 ? seconds / times.seconds : 0;
  return s.dump();
}

std::string run_summary(const RunFacts& facts, const RunStore& store) {
  ordered_json s;
  s["graph"] = facts.graph;
  s["seed"] = facts.seed;
  s["seconds"] = facts.seconds;
  s["machine"] = facts.machine;
  s["fingerprint"] = facts.fingerprint;
  s["stages"] = ordered_json::array();
  if (!facts.failures.empty()) s["failed"] = failure_list(facts.failures);
  for (const StageRow& row : store.stages()) {
    if (row.summary_json.empty()) continue;
    ordered_json& stage = s["stages"].emplace_back(stage_summary_in(store, row.name, row.summary_json));
    stage["status"] = word_of(row.status == StageStatus::failed ? row.status : StageStatus::done);
    stage["verdict"] = row.verdict;
  }
  return s.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

void note_failures(RunStore& store, const std::vector<StageFailure>& failures) {
  store.set_meta(kFailuresKey, failure_list(failures).dump(-1, ' ', false, json::error_handler_t::replace));
}

std::vector<StageFailure> failures_of(const RunStore& store) {
  std::vector<StageFailure> failures;
  const auto text = store.meta(kFailuresKey);
  if (!text) return failures;
  const json list = stored_json(*text, store.place("meta", fmt::format("key='{}'", kFailuresKey)),
                                R"([{"stage!": "text", "reason!": "text"}])");
  for (const json& f : list) failures.push_back({f["stage"], f["reason"]});
  return failures;
}

std::string describe_machine() {
  std::string cpu = "unknown CPU";
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);)
    if (line.rfind("model name", 0) == 0) {
      cpu = line.substr(std::min(line.size(), line.find(':') + 2));
      break;
    }
  const double gib = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGE_SIZE)) / (1 << 30);
  return fmt::format("{} cores, {}, {:.0f} GiB", std::thread::hardware_concurrency(), cpu, gib);
}

}  // namespace r1
