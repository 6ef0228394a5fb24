#include "tools/terminal/summary_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <vector>

#include "actors/metric_table.h"
#include "actors/stored_rows.h"
#include "tools/terminal/text.h"

namespace r1::terminal {
namespace {

using nlohmann::json;

constexpr size_t kStageColumns = 13;

struct Column {
  std::string title;
  size_t width;
  std::function<std::string(const json& stage)> cell;
};

// What was not measured leaves its cell empty.
std::string metric(const json& stage, const char* when, const HeldOutMetric& m) {
  if (!shown_metric(m.name, stage.value("held_out_rewards", std::vector<std::string>()))) return "";
  const json values = stage.value("metrics", json::object()).value(when, json::object());
  const auto value = values.find(m.name);
  if (value == values.end() || !value->is_number()) return "";
  return m.share ? share_text(value->get<double>(), 3) : fmt::format("{:.{}f}", value->get<double>(), m.decimals);
}
std::string before_after(const json& stage, const HeldOutMetric& m) {
  const std::string before = metric(stage, "before", m), after = metric(stage, "after", m);
  return after.empty() || before.empty() ? after : before + " > " + after;
}

// The names of the evaluators' expressions, in the order of stages.
std::vector<std::string> reward_names(const json& stages) {
  std::vector<std::string> names;
  for (const json& stage : stages)
    for (const json& name : stage.value("held_out_rewards", json::array()))
      if (std::find(names.begin(), names.end(), name.get<std::string>()) == names.end())
        names.push_back(name.get<std::string>());
  return names;
}

std::vector<Column> table_columns(const json& stages) {
  std::vector<Column> columns;
  for (const HeldOutMetric& m : held_out_columns(reward_names(stages))) {
    const bool leads = m.place == HeldOutMetric::Place::leads;  // shown with where it came from
    columns.push_back({m.shorter, std::max<size_t>(6, m.shorter.size() + 1),
                       [m, leads](const json& s) { return leads ? before_after(s, m) : metric(s, "after", m); }});
  }
  columns.push_back({"steps", 6, [](const json& s) { return fmt::format("{}", s.value("steps", int64_t{0})); }});
  columns.push_back({"sec", 4, [](const json& s) { return fmt::format("{:.0f}", s.value("seconds", 0.0)); }});
  return columns;
}

}  // namespace

std::string summary_table(const std::string& summary_json, const std::string& file) {
  const json s = run_summary_in(file, summary_json);
  std::vector<Column> columns;
  for (Column& c : table_columns(s["stages"])) {
    size_t longest = 0;
    for (const json& stage : s["stages"]) longest = std::max(longest, c.cell(stage).size());
    if (longest == 0) continue;
    c.width = std::max(c.width, longest + 1);
    columns.push_back(std::move(c));
  }
  std::string out = padded("stage", kStageColumns);
  for (const Column& c : columns) out += fmt::format("{:>{}}", c.title, c.width);
  out += "\n";
  for (const json& stage : s["stages"]) {
    out += padded(stage["name"].get<std::string>(), kStageColumns);
    for (const Column& c : columns) out += fmt::format("{:>{}}", c.cell(stage), c.width);
    out += "\n";
  }
  int64_t gap_tokens = 0;
  double gap = 0;
  for (const json& stage : s["stages"]) {
    gap_tokens += stage.value("logprob_gap_tokens", int64_t{0});
    if (stage.contains("logprob_gap_max")) gap = std::max(gap, stage["logprob_gap_max"].get<double>());
  }
  out += fmt::format("\n{} on {}\n", clock_text(s["seconds"].get<double>()), s["machine"].get<std::string>());
  if (gap_tokens > 0) out += fmt::format("train/inference gap: {:g} over {} tokens\n", gap, gap_tokens);
  return out;
}

}  // namespace r1::terminal
