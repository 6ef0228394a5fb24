#include "tools/terminal/run_watch.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "actors/changed_run.h"
#include "actors/metric_table.h"
#include "actors/run_env.h"
#include "actors/stored_rows.h"
#include "actors/training_plan.h"
#include "tools/terminal/text.h"

namespace r1::terminal {
namespace {

using nlohmann::json;

constexpr double kRateWindow_s = 8;
constexpr size_t kCurvePoints = 2000;  // older ones are of no use on a screen

const NodePlan* trainer_of(const GraphView& graph, const StagePlan& plan) {
  for (const char* role : {"trainer", "distiller"})
    if (const NodePlan* node = stage_node(graph, static_cast<int>(&plan - graph.stages.data()), role)) return node;
  return nullptr;
}

const NodePlan* node_of(const GraphView& graph, const StagePlan& plan, const char* role) {
  return stage_node(graph, static_cast<int>(&plan - graph.stages.data()), role);
}

// Stages of one kind take about equally long a step: what the estimate of the time left goes by.
std::string kind_of(const GraphView& graph, const StagePlan& plan) {
  const NodePlan* trainer = trainer_of(graph, plan);
  return trainer == nullptr ? "dataset" : trainer->attrs.text("objective");
}

const char* curve_name(const GraphView& graph, const StagePlan& plan) {
  const std::string kind = kind_of(graph, plan);
  return kind == "grpo" || kind == "dataset" ? "reward" : "loss";
}

std::vector<std::string> result_pieces(const json& s) {
  std::vector<std::string> pieces;
  const json metrics = s.value("metrics", json::object());
  const json before = metrics.value("before", json::object()), after = metrics.value("after", json::object());
  struct Piece {
    std::string text;
    double change;
  };
  const auto asked = s.value("held_out_rewards", std::vector<std::string>());
  const auto piece = [&](const HeldOutMetric& m) -> std::optional<Piece> {
    if (!shown_metric(m.name, asked)) return std::nullopt;
    if (!after.contains(m.name) || !after[m.name].is_number()) return std::nullopt;
    const double last = after[m.name].get<double>();
    if (!before.contains(m.name) || !before[m.name].is_number())
      return Piece{fmt::format("{} {}", m.header, share_text(last, 3)), 0};
    const double first = before[m.name].get<double>();
    return Piece{fmt::format("{} {} > {}", m.header, share_text(first, 3), share_text(last, 3)), std::abs(last - first)};
  };
  std::vector<Piece> others;
  for (const HeldOutMetric& m : held_out_columns(asked)) {
    if (m.place == HeldOutMetric::Place::tabled) continue;
    auto p = piece(m);
    if (p && m.place == HeldOutMetric::Place::leads)
      pieces.push_back(p->text);
    else if (p)
      others.push_back(*std::move(p));
  }
  std::stable_sort(others.begin(), others.end(), [](const Piece& x, const Piece& y) { return x.change > y.change; });
  for (const Piece& p : others) pieces.push_back(p.text);
  if (s.contains("dataset"))
    pieces.push_back(fmt::format("kept from {} of {} prompts", s.value("trained", 0), s.value("draws", 0)));
  return pieces;
}

// What was measured, and what was learned.
std::string result_text(std::vector<std::string> pieces, const std::string& verdict) {
  if (!verdict.empty()) pieces.push_back(verdict);
  return fmt::format("{}", fmt::join(pieces, "  "));
}

}  // namespace

RunWatch::RunWatch(const GraphView& graph, const RunStore& store) : graph_(graph), store_(store), begin_s_(clock_.now_s()) {
  for (const StageRow& row : store.stages()) {
    ids_[row.name] = row.id;
    if (!row.ended()) continue;
    watched_[row.name].result = result_text(result_pieces(stage_summary_in(store, row.name, row.summary_json)), row.verdict);
    watched_[row.name].seconds = row.seconds;
    watched_[row.name].failed = row.status == StageStatus::failed;
  }
}

void RunWatch::started(const std::string& stage) {
  for (const StageRow& row : store_.stages()) ids_[row.name] = row.id;
  Watched& w = watched_[stage];
  w = {};
  w.running = true;
  w.begin_s = clock_.now_s();
  w.first_step = store_.batch_count(ids_.at(stage));
}

std::vector<std::string> RunWatch::done(const std::string& stage, const std::string& summary_json,
                                        const StageVerdict& verdict) {
  Watched& w = watched_[stage];
  w.running = false;
  w.failed = verdict.failed();
  w.seconds = clock_.now_s() - w.begin_s;
  const json s = stage_summary_in(store_, stage, summary_json);
  w.seconds = s.value("seconds", w.seconds);
  std::vector<std::string> pieces = result_pieces(s);
  w.result = result_text(pieces, verdict.line);
  return pieces;
}

int64_t RunWatch::limit(const StagePlan& plan) const {
  if (const NodePlan* trainer = trainer_of(graph_, plan)) {
    const int64_t remembered = remembered_batches(store_, plan.name);
    if (remembered > 0) return remembered;
    const auto id = ids_.find(plan.name);  // of a stage that has begun
    if (id == ids_.end()) return parse_until(graph_, *trainer).batch_limit();
    return parse_until(graph_, changed_node(*trainer, store_.changes(id->second), INT64_MAX)).batch_limit();
  }
  const NodePlan* prompter = node_of(graph_, plan, "prompter");
  if (prompter == nullptr) return 0;
  const int64_t window = prompter->attrs.integer("groups_per_batch");
  return (prompter->attrs.integer("count") + window - 1) / window;
}

void RunWatch::read_batches(const StagePlan& plan, Watched& w) {
  const NodePlan* generator = node_of(graph_, plan, "generator");
  const double samples = generator ? static_cast<double>(generator->attrs.integer("samples")) : 0;
  for (const auto& [version, text] : store_.batch_stats(ids_.at(plan.name), w.next)) {
    const json stats = batch_stats_in(store_, ids_.at(plan.name), version, text);
    // The numbers of what was learned follow those of what was sampled: a batch is read when both are there.
    if (trainer_of(graph_, plan) != nullptr && !stats.contains("trained_tokens")) break;
    w.next = version + 1;
    w.latest.clear();  // what the newest batch did not measure is not shown
    for (const auto& [name, value] : stats.items())
      if (value.is_number()) w.latest[name] = value.get<double>();
    const char* curve = curve_name(graph_, plan);
    if (stats.contains(curve) && stats[curve].is_number()) w.curve.push_back(stats[curve].get<double>());
    if (w.curve.size() > kCurvePoints) w.curve.erase(w.curve.begin());
    const double groups = stats.value("kept", 0.0) + stats.value("dropped", 0.0);
    w.trained += stats.value("tokens", 0.0);
    w.generated += stats.value("length", 0.0) * groups * samples;
    w.kept += stats.value("kept", 0.0);
    w.dropped += stats.value("dropped", 0.0);
  }
  const double now = clock_.now_s();
  w.marks.push_back({now, w.trained, w.generated});
  while (w.marks.size() > 2 && w.marks.front().at_s < now - kRateWindow_s) w.marks.pop_front();
}

StageState RunWatch::make(const StagePlan& plan) {
  StageState s;
  s.name = plan.name;
  s.label = plan.label;
  const auto found = watched_.find(plan.name);
  if (found == watched_.end()) return s;
  Watched& w = found->second;
  if (!w.running) {
    s.status = w.failed ? StageState::Status::failed : StageState::Status::done;
    s.seconds = w.seconds;
    s.result = w.result;
    return s;
  }
  s.status = StageState::Status::running;
  s.seconds = clock_.now_s() - w.begin_s;
  s.limit = limit(plan);
  s.step = store_.batch_count(ids_.at(plan.name));
  s.note = w.note;
  read_batches(plan, w);
  s.curve = w.curve;
  s.curve_name = curve_name(graph_, plan);
  for (const std::string& name : asked_names(graph_, static_cast<int>(&plan - graph_.stages.data())))
    if (w.latest.count(name)) s.metrics.emplace_back(name, w.latest[name]);
  if (w.latest.count("reward_errors") && w.latest["reward_errors"] > 0)
    s.metrics.emplace_back("reward errors", w.latest["reward_errors"]);
  if (kind_of(graph_, plan) == "reward_model" && w.latest.count("pair_accuracy"))
    s.metrics.emplace_back("pairs right", w.latest["pair_accuracy"]);
  const auto &first = w.marks.front(), &last = w.marks.back();
  if (last.at_s - first.at_s > 0.5) {
    s.trainer_tokens_s = (last.trained - first.trained) / (last.at_s - first.at_s);
    s.generator_tokens_s = (last.generated - first.generated) / (last.at_s - first.at_s);
  }
  if (w.latest.count("age")) {
    s.age = w.latest["age"];
    for (int node : plan.nodes)
      for (int e : graph_.nodes[node].out_edges)
        if (graph_.edges[e].attrs.has("staleness"))
          s.staleness = std::max(s.staleness, graph_.edges[e].attrs.integer("staleness"));
  }
  if (w.kept + w.dropped > 0) s.dropped = w.dropped / (w.kept + w.dropped);
  if (s.step > w.first_step && w.paced_s < 0) {
    w.paced_s = clock_.now_s();
    w.paced_step = s.step;
  }
  if (s.limit > s.step && s.step > w.paced_step && w.paced_s >= 0)
    s.left_s =
        (clock_.now_s() - w.paced_s) / static_cast<double>(s.step - w.paced_step) * static_cast<double>(s.limit - s.step);
  return s;
}

StageState RunWatch::stage_state(const std::string& stage) {
  const StagePlan* plan = graph_.stage(stage);
  return plan != nullptr ? make(*plan) : StageState{};
}

// A stage that has not begun takes as long a step as those of its kind that have.
void RunWatch::estimate(ScreenState& state) const {
  std::map<std::string, std::pair<double, double>> spent;  // seconds, steps
  for (size_t i = 0; i < state.stages.size(); ++i) {
    const StageState& s = state.stages[i];
    const auto id = ids_.find(s.name);
    if (s.status == StageState::Status::waiting || id == ids_.end()) continue;
    auto& [seconds, steps] = spent[kind_of(graph_, graph_.stages[i])];
    seconds += s.seconds;
    steps += static_cast<double>(store_.batch_count(id->second));
  }
  double left = 0;
  bool any = false;
  for (size_t i = 0; i < state.stages.size(); ++i) {
    const StageState& s = state.stages[i];
    if (s.status == StageState::Status::done || s.status == StageState::Status::failed) continue;
    if (s.status == StageState::Status::running) {
      if (s.left_s < 0) state.left_is_minimum = true;
      left += std::max(0.0, s.left_s);
      any = any || s.left_s >= 0;
      continue;
    }
    const auto known = spent.find(kind_of(graph_, graph_.stages[i]));
    const int64_t steps = limit(graph_.stages[i]);
    if (known == spent.end() || known->second.second < 1 || steps == 0) {
      state.left_is_minimum = true;
      continue;
    }
    left += known->second.first / known->second.second * static_cast<double>(steps);
  }
  if (any) state.left_s = left;
}

ScreenState RunWatch::state(const std::string& title) {
  ScreenState state;
  state.title = title;
  state.seconds = clock_.now_s() - begin_s_;
  for (const StagePlan& plan : graph_.stages) state.stages.push_back(make(plan));
  estimate(state);
  return state;
}

}  // namespace r1::terminal
