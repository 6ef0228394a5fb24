// The stages: as a picture, and as a table with held-out metrics before and after.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "actors/metric_table.h"
#include "tools/report/charts.h"
#include "tools/report/graph_picture.h"
#include "tools/report/html.h"
#include "tools/report/sections.h"

namespace r1::report {

namespace {

std::string metric_text(const HeldOutMetric& column, double value) {
  if (!std::isfinite(value)) return "–";
  return column.share ? percent(value) : fmt::format("{:.{}f}", value, column.decimals);
}

std::string metric_cell(const StageData& stage, const HeldOutMetric& column, double full) {
  const double before = stage.metric("before", column.name), after = stage.metric("after", column.name);
  std::string cell = fmt::format("<td data-label=\"{}\">", column.header);
  if (!std::isfinite(before) && !std::isfinite(after)) return fmt::format("<td data-label=\"{}\"></td>", column.header);
  cell += fmt::format("<span class=\"ba\"><i>{} →</i> <b>{}</b></span>{}", metric_text(column, before),
                      metric_text(column, after), dumbbell(before, after, full, colour_of(column.name.c_str())));
  return cell + "</td>";
}

std::string state_of(const StageData& stage) {
  if (stage.done()) return "";
  return fmt::format(" <span class=\"state{}\">{}</span>", stage.failed() || stage.broke ? " bad" : "",
                     stage.broke ? word_of(StageStatus::failed) : word_of(stage.row.status));
}

// What a stage brought, short enough for its box.
std::string box_note(const StageData& stage) {
  if (!stage.started() || stage.failed()) return word_of(stage.row.status);
  for (const HeldOutMetric& m : held_out_columns(stage.summary.value("held_out_rewards", std::vector<std::string>()))) {
    const double before = stage.metric("before", m.name), after = stage.metric("after", m.name);
    if (m.place != HeldOutMetric::Place::leads || !std::isfinite(after)) continue;
    const auto text = [&](double v) {
      return !std::isfinite(v) ? std::string("–") : m.share ? percent(v) : fmt::format("{:.2f}", v);
    };
    return fmt::format("{} {} → {}", m.name == "accuracy" ? "acc" : m.shorter, text(before), text(after));
  }
  if (stage.kind == StageKind::sampling && stage.ledger.draws > 0)
    return fmt::format("kept {} of {}", stage.ledger.trained, stage.ledger.draws);
  return stage.done() ? duration(stage.summary.value("seconds", 0.0)) : word_of(StageStatus::running);
}

}  // namespace

std::string stage_anchor(const StageData& stage) { return "stage-" + stage.plan->name; }

std::string stage_heading(const StageData& stage) {
  const std::string name = stage.title() == stage.plan->name ? "" : fmt::format(" <code>{}</code>", escaped(stage.plan->name));
  return fmt::format("<h3 id=\"{}\"><span class=\"chip {}\">{}</span> {}{}{}</h3>\n", escaped(stage_anchor(stage)),
                     kind_class(stage.kind), kind_name(stage.kind), escaped(stage.title()), name, state_of(stage));
}

std::string pipeline_section(const RunData& run) {
  const GraphView& graph = *run.graph;
  LayeredGraph picture;
  std::map<int, int> box_of_model;  // node -> box
  for (const StageData& stage : run.stages)
    picture.boxes.push_back({stage.plan->name, kind_name(stage.kind), box_note(stage),
                             fmt::format("{}{}", kind_class(stage.kind), stage.started() ? "" : " waiting"), false,
                             stage.started() ? "#" + stage_anchor(stage) : ""});
  for (const EdgePlan& edge : graph.edges) {
    const NodePlan &from = graph.nodes[edge.from], &to = graph.nodes[edge.to];
    if (!edge.crosses || to.stage < 0) continue;
    int source = from.stage;
    if (from.artifact) {
      const auto [it, fresh] = box_of_model.insert({edge.from, static_cast<int>(picture.boxes.size())});
      if (fresh) picture.boxes.push_back({from.id, "", "", "k-model", true, ""});
      source = it->second;
    }
    if (std::find(picture.edges.begin(), picture.edges.end(), std::pair{source, to.stage}) == picture.edges.end())
      picture.edges.emplace_back(source, to.stage);
  }
  return "<section id=\"pipeline\"><h2>The pipeline</h2>\n<p class=\"sub\">Boxes are stages with held-out accuracy or reward "
         "before → "
         "after; "
         "arrows carry finished weights, datasets or reward models. A box leads to its curves.</p>\n<div class=\"scroll\">" +
         layered_picture(picture) + "</div></section>\n";
}

std::string stages_section(const RunData& run) {
  const std::vector<HeldOutMetric> columns = held_out_columns(held_out_rewards(run));
  std::vector<const HeldOutMetric*> shown;
  double longest = 1;
  for (const HeldOutMetric& column : columns) {
    bool any = false;
    for (const StageData& stage : run.stages)
      any = any || std::isfinite(stage.metric("before", column.name)) || std::isfinite(stage.metric("after", column.name));
    if (any) shown.push_back(&column);
  }
  for (const StageData& stage : run.stages)
    for (const char* when : {"before", "after"})
      if (const double length = stage.metric(when, "length"); std::isfinite(length)) longest = std::max(longest, length);

  std::string out =
      "<section id=\"stages\"><h2>Stages, before and after</h2>\n<p class=\"sub\">Held-out problems, never trained on; shares "
      "in "
      "percent. <svg style=\"display:inline-block;width:46px;height:12px;vertical-align:-2px\" viewBox=\"0 0 46 12\" "
      "aria-hidden=\"true\"><path class=\"way c-grey\" d=\"M6 6H40\"/><circle class=\"hollow c-grey\" cx=\"6\" cy=\"6\" "
      "r=\"3.2\"/><circle class=\"dot c-grey\" cx=\"40\" cy=\"6\" r=\"3.7\"/></svg> hollow: before, filled: after.</p>\n"
      "<div class=\"scroll\"><table class=\"stage-table\"><thead><tr><th>stage</th>";
  for (const HeldOutMetric* column : shown)
    out += fmt::format("<th title=\"{} ({})\">{}</th>", escaped(column->meaning), escaped(column->note), column->header);
  out +=
      "<th class=\"n\">batches</th><th class=\"n\">tokens trained</th><th class=\"n\">tokens sampled</th><th "
      "class=\"n\">time</th></tr></thead><tbody>\n";
  for (const StageData& stage : run.stages) {
    std::string label =
        stage.title() == stage.plan->name ? "" : fmt::format("<span class=\"label-text\">{}</span>", escaped(stage.title()));
    if (!stage.row.verdict.empty())
      label += fmt::format("<span class=\"label-text{}\">{}</span>", stage.failed() ? " bad" : "", escaped(stage.row.verdict));
    const std::string name = stage.started() ? fmt::format("<a class=\"stage-name\" href=\"#{}\">{}</a>",
                                                           escaped(stage_anchor(stage)), escaped(stage.plan->name))
                                             : fmt::format("<span class=\"stage-name\">{}</span>", escaped(stage.plan->name));
    out += fmt::format("<tr><td class=\"wide\">{} <span class=\"chip {}\">{}</span>{}{}</td>", name, kind_class(stage.kind),
                       kind_name(stage.kind), state_of(stage), label);
    for (const HeldOutMetric* column : shown) out += metric_cell(stage, *column, column->name == "length" ? longest : 1);
    const auto cell = [&](const char* header, const std::string& text) {
      out += fmt::format("<td class=\"n\" data-label=\"{}\">{}</td>", header, text);
    };
    const double steps = stage.summary.value("steps", 0.0), trained = stage.summary.value("tokens_trained", 0.0),
                 sampled = stage.summary.value("tokens_generated", 0.0);
    cell("batches", steps > 0 ? grouped(static_cast<int64_t>(steps)) : "");
    cell("tokens trained", trained > 0 ? count_text(trained) : "");
    cell("tokens sampled", sampled > 0 ? count_text(sampled) : "");
    cell("time", stage.started() ? duration(stage.summary.value("seconds", 0.0)) : "");
    out += "</tr>\n";
  }
  out += "</tbody></table></div>\n<details><summary>What the columns mean</summary><dl class=\"glossary\">";
  for (const HeldOutMetric* column : shown)
    out += fmt::format("<dt>{}</dt><dd>{} ({})</dd>", column->header, escaped(column->meaning), escaped(column->note));
  return out + "</dl></details></section>\n";
}

}  // namespace r1::report
