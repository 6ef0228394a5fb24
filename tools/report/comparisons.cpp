// The paper's comparisons, where a run holds both sides: learning from a teacher against RL alone, and RL with and without the
// language reward.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <regex>

#include "actors/metric_table.h"
#include "actors/run_env.h"
#include "tools/report/charts.h"
#include "tools/report/html.h"
#include "tools/report/sections.h"

namespace r1::report {

namespace {

std::string start_of(const RunData& run, const StageData& stage) {
  const NodePlan* trainer = stage_trainer(*run.graph, stage.index);
  return trainer == nullptr ? "" : model_origin(*run.graph, *trainer).id;
}

// Learns from data that an earlier stage of the run wrote.
bool learns_from_a_teacher(const RunData& run, const StageData& stage) {
  if (stage.kind == StageKind::distill) return true;
  if (stage.kind != StageKind::sft) return false;
  const NodePlan* trainer = stage_trainer(*run.graph, stage.index);
  for (const int e : trainer->in_edges)
    if (run.graph->edges[e].carries == "dataset" && !run.graph->nodes[run.graph->edges[e].from].artifact) return true;
  return false;
}

bool rewards_language(const RunData& run, const StageData& stage) {
  static const std::regex word("\\blanguage\\b");
  const NodePlan* judge = stage_node(*run.graph, stage.index, "judge");
  return judge != nullptr && std::regex_search(judge->attrs.text("rewards"), word);
}

bool measured(const StageData& stage) { return std::isfinite(stage.metric("after", "accuracy")); }

struct Row {
  std::string name;  // HTML
  const StageData* stage;
  const char* when;
};

std::string table(const std::vector<Row>& rows) {
  std::vector<HeldOutMetric> metrics = held_out_metrics();
  std::erase_if(metrics, [&](const HeldOutMetric& m) {
    return !m.share || std::none_of(rows.begin(), rows.end(),
                                    [&](const Row& row) { return std::isfinite(row.stage->metric("after", m.name)); });
  });
  std::string out = "<div class=\"scroll\"><table class=\"filled\"><thead><tr><th></th>";
  for (const HeldOutMetric& m : metrics) out += fmt::format("<th class=\"bar-cell\">{}</th>", escaped(m.header));
  out += "<th class=\"n\">tokens trained</th><th class=\"n\">sampled</th><th class=\"n\">time</th></tr></thead><tbody>\n";
  for (const Row& row : rows) {
    const bool after = std::string_view(row.when) == "after";
    out += fmt::format("<tr><td>{}</td>", row.name);
    for (const HeldOutMetric& m : metrics) {
      const double value = row.stage->metric(row.when, m.name);
      if (!std::isfinite(value)) {
        out += "<td></td>";
        continue;
      }
      out += fmt::format("<td class=\"bar-cell\">{}<span class=\"bar {}\" style=\"width:{:.1f}%\"></span></td>",
                         after ? "<b>" + percent(value) + "</b>" : "<i>" + percent(value) + "</i>",
                         after ? colour_of(m.name) : "c-grey", 100 * value);
    }
    const double trained = row.stage->summary.value("tokens_trained", 0.0),
                 sampled = row.stage->summary.value("tokens_generated", 0.0);
    for (const std::string& cell :
         {count_text(trained), count_text(sampled), duration(row.stage->summary.value("seconds", 0.0))})
      out += fmt::format("<td class=\"n\">{}</td>", after ? cell : "");
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

std::string linked(const StageData& stage) {
  return fmt::format("<a href=\"#{}\">{}</a>", escaped(stage_anchor(stage)), escaped(stage.title()));
}

std::string distillation(const RunData& run) {
  std::string out;
  for (const StagePair& pair : distillation_pairs(run)) {
    out += fmt::format("<h4>From <code>{}</code></h4>\n", escaped(start_of(run, *pair.first)));
    out += table({{"before", pair.first, "before"},
                  {linked(*pair.second), pair.second, "after"},
                  {linked(*pair.first), pair.first, "after"}});
  }
  if (out.empty()) return "";
  return "<h3>Learning from a teacher against RL alone</h3>\n<p class=\"sub\">The same base weights, taught twice: by the "
         "teacher’s "
         "curated answers, and by reinforcement learning of its own. The paper finds that a small model gains more from a "
         "strong teacher "
         "than from RL at its own size.</p>\n" +
         out;
}

std::string language(const RunData& run) {
  std::string out;
  for (const StagePair& pair : language_pairs(run)) {
    if (measured(*pair.first) || measured(*pair.second))
      out += table({{"before", pair.first, "before"},
                    {linked(*pair.first) + ", without", pair.first, "after"},
                    {linked(*pair.second) + ", with", pair.second, "after"}});
    std::string charts;
    for (const auto& [key, title] :
         {std::pair{"language", "Language consistency in training"}, {"accuracy", "Accuracy in training"}}) {
      LineChart chart{title, "share", {}, 0.0, 1.0};
      if (const Curve* without = pair.first->curve(key)) chart.series.push_back({"without", "c-grey", *without});
      if (const Curve* with = pair.second->curve(key)) chart.series.push_back({"with", colour_of(key), *with});
      charts += line_chart(chart);
    }
    out += "<div class=\"charts\">" + charts + "</div>\n";
  }
  if (out.empty()) return "";
  return "<h3>With and without the language reward</h3>\n<p class=\"sub\">Two RL stages from the same weights; only one "
         "rewards thoughts "
         "for keeping to the prompt’s language.</p>\n" +
         out;
}

}  // namespace

std::vector<StagePair> distillation_pairs(const RunData& run) {
  std::vector<StagePair> pairs;
  for (const StageData& taught : run.stages)
    for (const StageData& rl : run.stages)
      if (learns_from_a_teacher(run, taught) && rl.kind == StageKind::rl && measured(taught) && measured(rl) &&
          start_of(run, taught) == start_of(run, rl))
        pairs.push_back({&taught, &rl});
  return pairs;
}

std::vector<StagePair> language_pairs(const RunData& run) {
  std::vector<StagePair> pairs;
  for (const StageData& without : run.stages)
    for (const StageData& with : run.stages)
      if (without.kind == StageKind::rl && with.kind == StageKind::rl && without.started() && with.started() &&
          !rewards_language(run, without) && rewards_language(run, with) && start_of(run, without) == start_of(run, with))
        pairs.push_back({&without, &with});
  return pairs;
}

std::string comparisons_section(const RunData& run) {
  const std::string body = distillation(run) + language(run);
  return body.empty() ? "" : "<section id=\"comparisons\"><h2>Comparisons</h2>\n" + body + "</section>\n";
}

}  // namespace r1::report
