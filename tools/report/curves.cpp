// The curves of a stage, over its batches.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "actors/metric_table.h"
#include "actors/run_env.h"
#include "tools/report/charts.h"
#include "tools/report/html.h"
#include "tools/report/sections.h"

namespace r1::report {

namespace {

// The chart of a metric, titled as the table of metrics says; `title` and `note` where a stage means something else by it.
std::string single(const StageData& stage, const char* key, const char* colour = nullptr, bool smooth = true,
                   const char* title = nullptr, const char* note = nullptr) {
  const Curve* curve = stage.curve(key);
  const BatchMetric* metric = batch_metric(key);
  if (curve == nullptr || metric == nullptr) return "";
  return line_chart({title != nullptr ? title : metric->title,
                     note != nullptr ? note : metric->note,
                     {{key, colour != nullptr ? colour : colour_of(key), *curve}},
                     {},
                     {},
                     {},
                     "batch",
                     smooth});
}

// Shares on one chart, whatever else the judge scored on charts of its own.
std::string reward_charts(const StageData& stage) {
  LineChart shares{"Parts of the reward", "", {}, 0.0, 1.0};
  std::string others;
  for (const std::string& part : stage.reward_parts) {
    const Curve* curve = stage.curve(part);
    if (curve == nullptr) continue;
    if (std::all_of(curve->y.begin(), curve->y.end(), [](double v) { return std::isnan(v) || (v >= 0 && v <= 1); }))
      shares.series.push_back({part, colour_of(part), *curve});
    else
      others += line_chart({part, "mean score", {{part, colour_of(part), *curve}}});
  }
  if (shares.series.size() == 1) shares.title = shares.series[0].name;  // a lone curve has no legend
  return single(stage, "reward") + line_chart(shares) + others;
}

std::string age_chart(const StageData& stage) {
  LineChart chart{"Age when trained", "versions behind", {}, 0.0};
  chart.smooth = false;
  for (const auto& [key, name] : {std::pair{"age", "mean"}, {"age_max", "max"}})
    if (const Curve* curve = stage.curve(key))
      chart.series.push_back({name, key == std::string("age") ? "c-blue" : "c-grey", *curve});
  if (chart.series.empty()) return "";
  chart.rules = {{fmt::format("bound {}", stage.staleness_bound), static_cast<double>(stage.staleness_bound)}};
  chart.y_max = std::max(1.0, static_cast<double>(stage.staleness_bound)) * 1.15;
  for (const Series& s : chart.series)
    for (const double y : s.curve.y)
      if (std::isfinite(y)) chart.y_max = std::max(*chart.y_max, y * 1.05);
  return line_chart(chart);
}

const char* colour_of_outcome(const std::string& reason) {
  if (reason == "trained") return "c-blue";
  if (reason == "equal_rewards") return "c-orange";
  if (reason == "stale") return "c-red";
  if (reason == "reward_error") return "c-purple";
  if (reason == "rejected") return "c-red";
  return reason == "stage_ended" ? "c-grey" : "c-sky";
}

// What became of the draws of each batch. A batch's draws follow those of the batch before: the statistics say how many.
std::string outcome_chart(const StageData& stage) {
  const Curve *kept = stage.curve("kept"), *dropped = stage.curve("dropped");
  if (kept == nullptr || dropped == nullptr || kept->x.size() != dropped->x.size()) return "";
  const size_t batches = kept->x.size();
  std::map<std::string, std::vector<double>> counts;
  counts["trained"].assign(batches, 0);
  size_t batch = 0;
  double end = kept->y[0] + dropped->y[0], seen = 0;
  for (const Resolution& r : stage.resolutions) {
    if (r.reason == "stage_ended") continue;
    while (seen >= end && batch + 1 < batches) ++batch, end += kept->y[batch] + dropped->y[batch];
    seen += 1;
    auto& of = counts[r.reason.empty() ? "trained" : r.reason];
    of.resize(batches, 0);
    of[batch] += 1;
  }
  StackedChart chart{"What became of the draws", "prompts a batch", {}};
  chart.series.push_back({"trained", colour_of_outcome("trained"), {kept->x, counts["trained"]}});
  for (const auto& [reason, count] : counts)
    if (reason != "trained") chart.series.push_back({reason, colour_of_outcome(reason), {kept->x, count}});
  return stacked_chart(chart);
}

std::string expert_charts(const StageData& stage) {
  if (stage.expert_load.empty()) return "";
  std::string out;
  const size_t layers = stage.expert_load[0].size();
  for (size_t layer = 0; layer < layers; ++layer) {
    HeatMap map{fmt::format("Expert load, MoE layer {}", layer), "a row an expert", {}, {}};
    for (size_t b = 0; b < stage.expert_load.size(); ++b) {
      if (layer >= stage.expert_load[b].size() || stage.expert_load[b][layer].size() != stage.expert_load[0][layer].size())
        continue;
      map.cells.push_back(stage.expert_load[b][layer]);
      map.x.push_back(stage.expert_x[b]);
    }
    out += heat_map(map);
  }
  return out;
}

// What was measured on the way, as the table of stages names it: shares on one chart.
std::string held_out_charts(const RunData& run, const StageData& stage) {
  LineChart shares{"Held out", "shares, measured at versions on the way", {}, 0.0, 1.0};
  shares.smooth = false;
  std::string others;
  for (const HeldOutMetric& m : held_out_columns(held_out_rewards(run))) {
    const auto curve = stage.held_out.find(m.name);
    if (curve == stage.held_out.end()) continue;
    const std::string colour = colour_of(m.name);
    if (m.share)
      shares.series.push_back({m.header, colour, curve->second});
    else
      others += line_chart({"Held out: " + m.header, m.note, {{m.header, colour, curve->second}}, {}, {}, {}, "batch", false});
  }
  return (shares.series.empty() ? "" : line_chart(shares)) + others;
}

std::string sub_line(const RunData& run, const StageData& stage) {
  const GraphView& graph = *run.graph;
  std::string text = plural(stage.summary.value("steps", int64_t{0}), "batch");
  text += ", " + duration(stage.summary.value("seconds", 0.0));
  if (const NodePlan* judge = stage_node(graph, stage.index, "judge"))
    text += fmt::format("; reward = <code>{}</code>", escaped(judge->attrs.text("rewards")));
  if (const NodePlan* trainer = stage_trainer(graph, stage.index))
    text += fmt::format("; started from <code>{}</code>", escaped(model_origin(graph, *trainer).id));
  if (stage.kind == StageKind::sampling && stage.ledger.draws > 0)
    text += fmt::format("; completions kept from {} of {} prompts", grouped(stage.ledger.trained), grouped(stage.ledger.draws));
  std::string verdict;
  if (!stage.row.verdict.empty())
    verdict = fmt::format("<p class=\"sub wide{}\">{}</p>\n", stage.failed() ? " bad" : "", escaped(stage.row.verdict));
  return "<p class=\"sub wide\">" + text + "</p>\n" + verdict;
}

}  // namespace

std::string curves_of(const RunData& run, const StageData& stage) {
  std::string charts;
  if (stage.kind == StageKind::rl) {
    charts += reward_charts(stage);
    for (const char* key : {"length", "entropy", "kl"}) charts += single(stage, key);
    charts += age_chart(stage);
    charts += outcome_chart(stage);
    charts += single(stage, "grad_norm", "c-grey");
    charts += single(stage, "clip_fraction", "c-grey");
  } else if (stage.kind == StageKind::sampling) {
    charts += single(stage, "kept", "c-green", true, "Kept completions", "a batch of prompts");
  } else {
    charts += single(stage, "loss", nullptr, true, nullptr, stage.kind == StageKind::reward_model ? "a pair" : nullptr);
    if (stage.kind == StageKind::reward_model) charts += single(stage, "pair_accuracy");
    charts += single(stage, "lr", "c-grey", false);
    charts += single(stage, "grad_norm", "c-grey");
  }
  charts += held_out_charts(run, stage);
  const std::string experts = expert_charts(stage);
  charts += single(stage, "expert_load_max", "c-red");
  charts += single(stage, "expert_bias_spread", "c-purple");
  charts += experts;
  if (charts.empty()) charts = stage.kind == StageKind::sampling ? "" : "<p class=\"note\">No batch has been trained yet.</p>";
  return stage_heading(stage) + sub_line(run, stage) + "<div class=\"charts\">" + charts + "</div>\n" +
         (experts.empty() ? "" : heat_legend());
}

}  // namespace r1::report
