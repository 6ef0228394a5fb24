#include "tools/report/run_data.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <set>

#include "actors/held_out.h"
#include "actors/metric_table.h"
#include "actors/run_env.h"
#include "actors/stored_rows.h"
#include "actors/summary.h"
#include "base/error.h"

namespace r1::report {

using nlohmann::json;

namespace {

// "2 cores, AMD EPYC, 24 GiB" -> 2.
int cores_of(const std::string& machine) {
  int cores = 0;
  std::from_chars(machine.data(), machine.data() + machine.size(), cores);
  return std::max(cores, 1);
}

// A batch that did not measure something has no number there: its curve has a gap.
void read_statistics(const RunStore& store, StageData& stage) {
  std::vector<double> batches;
  for (const auto& [version, text] : store.batch_stats(stage.row.id)) {
    const json stats = batch_stats_in(store, stage.row.id, version, text);
    const auto x = static_cast<double>(version);
    batches.push_back(x);
    for (const auto& [name, value] : stats.items()) {
      if (!value.is_number()) continue;
      Curve& curve = stage.curves[name];
      curve.y.resize(batches.size() - 1, NAN);
      curve.y.push_back(value.get<double>());
    }
    if (const auto load = stats.find("expert_load"); load != stats.end()) {
      stage.expert_load.push_back(load->get<std::vector<std::vector<double>>>());
      stage.expert_x.push_back(x);
    }
  }
  for (auto& [name, curve] : stage.curves) {
    curve.x = batches;
    curve.y.resize(batches.size(), NAN);
  }
}

// What was measured on the way: nothing where that is before and after alone.
void read_held_out(const RunStore& store, StageData& stage) {
  const std::vector<EvaluationRow> rows = store.evaluations(stage.row.id);
  if (std::none_of(rows.begin(), rows.end(), [](const EvaluationRow& r) { return r.moment == "during"; })) return;
  std::map<std::string, std::map<int64_t, double>> by_version;
  for (const EvaluationRow& row : rows) {
    const nlohmann::ordered_json metrics = evaluation_metrics_in(store, stage.row.id, row);
    for (const auto& [name, value] : metrics.items())
      if (value.is_number()) by_version[name].emplace(row.version, value.get<double>());
  }
  for (const auto& [name, values] : by_version)
    for (const auto& [version, value] : values) {
      stage.held_out[name].x.push_back(static_cast<double>(version));
      stage.held_out[name].y.push_back(value);
    }
}

// The names that the judge gave its scores, without the standing parts that its expression does not ask for.
std::vector<std::string> reward_parts(const RunStore& store, const StageData& stage) {
  std::set<std::string> names;
  int looked_at = 0;
  for (const Resolution& r : stage.resolutions) {
    for (const TrajectoryRow& t : store.trajectories(stage.row.id, r.draw)) {
      const json scores = scores_in(store, stage.row.id, t);
      for (const auto& [name, value] : scores.items()) names.insert(name);
    }
    if (++looked_at == 16) break;  // parts may differ by kind of prompt
  }
  std::erase_if(names, [&](const std::string& name) { return !shown_metric(name, stage.asked); });
  return {names.begin(), names.end()};
}

}  // namespace

StageKind kind_of(const GraphView& graph, int stage) {
  const NodePlan* trainer = stage_trainer(graph, stage);
  if (trainer == nullptr) return StageKind::sampling;
  if (trainer->role == "distiller") return StageKind::distill;
  const std::string objective = trainer->attrs.text("objective");
  if (objective == "grpo") return StageKind::rl;
  if (objective == "reward_model") return StageKind::reward_model;
  return objective == "sft" ? StageKind::sft : StageKind::pretrain;
}

const char* kind_name(StageKind kind) {
  switch (kind) {
    case StageKind::pretrain:
      return "pre-training";
    case StageKind::sft:
      return "SFT";
    case StageKind::rl:
      return "RL";
    case StageKind::reward_model:
      return "reward model";
    case StageKind::distill:
      return "distillation";
    case StageKind::sampling:
      return "sampling";
  }
  return "";
}

const char* kind_class(StageKind kind) {
  switch (kind) {
    case StageKind::pretrain:
      return "k-pre";
    case StageKind::sft:
      return "k-sft";
    case StageKind::rl:
      return "k-rl";
    case StageKind::reward_model:
      return "k-rm";
    case StageKind::distill:
      return "k-dis";
    case StageKind::sampling:
      return "k-sam";
  }
  return "";
}

const Curve* StageData::curve(const std::string& name) const {
  const auto it = curves.find(name);
  return it == curves.end() || it->second.x.empty() ? nullptr : &it->second;
}

double StageData::metric(const char* when, const std::string& name) const {
  constexpr double kAbsent = std::numeric_limits<double>::quiet_NaN();
  if (!shown_metric(name, summary.value("held_out_rewards", std::vector<std::string>()))) return kAbsent;
  const auto metrics = summary.find("metrics");
  if (metrics == summary.end() || !metrics->contains(when)) return kAbsent;
  const json& m = (*metrics)[when];
  return m.contains(name) && m[name].is_number() ? m[name].get<double>() : kAbsent;
}

std::string StageData::title() const { return plan->label.empty() ? plan->name : plan->label; }

size_t RunData::done() const {
  size_t n = 0;
  for (const StageData& stage : stages) n += stage.done();
  return n;
}

std::vector<std::string> held_out_rewards(const RunData& run) {
  std::vector<std::string> names;
  for (const StageData& stage : run.stages)
    for (const std::string& name : held_out_reward_names(*run.graph, *stage.plan))
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  return names;
}

StageData read_stage(const GraphView& graph, int index, const StageRow* row, const RunStore& store, int cores) {
  StageData stage;
  stage.plan = &graph.stages[static_cast<size_t>(index)];
  stage.index = index;
  stage.kind = kind_of(graph, index);
  stage.staleness_bound = stage_staleness(graph, index);
  stage.summary = json::object();
  if (row == nullptr || row->status == StageStatus::waiting) return stage;
  stage.row = *row;
  const int64_t id = row->id;
  stage.times = StageTimes::of(store, stage.row);
  stage.summary = stage_summary_in(store, stage.plan->name,
                                   stage.ended() && !stage.row.summary_json.empty()
                                       ? stage.row.summary_json
                                       : stage_summary(graph, *stage.plan, store, id, stage.times, cores));
  read_statistics(store, stage);
  read_held_out(store, stage);
  stage.ledger = store.ledger(id);
  if (stage.ledger.draws > 0) {
    stage.ledger_complaint = store.check_ledger(id, /*running=*/!stage.ended());
    stage.resolutions = store.resolutions(id);
    stage.asked = asked_names(graph, stage.index);
    stage.reward_parts = reward_parts(store, stage);
  }
  stage.published = static_cast<int64_t>(store.versions(id).size());
  stage.restarts = static_cast<int64_t>(store.events(id, 1000, "restart").size());
  stage.stalls = static_cast<int64_t>(store.events(id, 1000, "stall").size());
  return stage;
}

RunData read_head(const GraphView& graph, const RunStore& store) {
  RunData run;
  run.graph = &graph;
  run.graph_file = store.meta("graph").value_or(graph.name);
  run.machine = store.meta("machine").value_or("");
  run.fingerprint = store.meta("fingerprint").value_or("");
  run.started = store.meta("started").value_or("");
  run.seed = static_cast<uint64_t>(graph.attrs.integer("seed"));
  run.cores = cores_of(run.machine);
  run.precision = store.meta("precision").value_or("");
  run.failures = failures_of(store);
  const auto shown = [](const std::string& value) { return value.empty() ? std::string("(none)") : value; };
  for (const StageRow& stage : store.stages())
    for (const ChangeRow& c : store.changes(stage.id))
      run.changes.push_back(
          fmt::format("{}: {} → {} from batch {} on", c.attribute, shown(c.before), shown(c.after), c.version));
  for (const auto& [node, host] : store.drained()) run.changes.push_back(fmt::format("{} on {} is drained", node, host));
  run.seconds = stored_meta_number(store, "seconds");
  return run;
}

RunData read_run(const GraphView& graph, const RunStore& store) {
  RunData run = read_head(graph, store);
  std::map<std::string, StageRow> rows;
  for (StageRow& row : store.stages()) rows[row.name] = row;
  double stage_seconds = 0;
  for (size_t i = 0; i < graph.stages.size(); ++i) {
    const auto row = rows.find(graph.stages[i].name);
    run.stages.push_back(read_stage(graph, static_cast<int>(i), row == rows.end() ? nullptr : &row->second, store, run.cores));
    stage_seconds += run.stages.back().summary.value("seconds", 0.0);
  }
  for (const StageFailure& failure : run.failures)
    for (StageData& stage : run.stages)
      if (stage.plan->name == failure.stage) stage.broke = true;
  // Of a run that goes on only the time of earlier processes is noted.
  run.seconds = std::max(stage_seconds, run.seconds);
  return run;
}

}  // namespace r1::report
