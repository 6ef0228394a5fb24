#include "tools/terminal/summary_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "tools/terminal/text.h"

namespace r1::terminal {
namespace {

using nlohmann::json;

constexpr size_t kNameColumns = 13;

struct Column {
  const char* title;
  size_t width;
  std::string (*cell)(const json& stage);
};

std::string metric(const json& stage, const char* when, const char* name) {
  const json m = stage.value("metrics", json::object()).value(when, json::object());
  return m.contains(name) ? share_text(m[name].get<double>(), 3) : "";
}
std::string before_after(const json& stage, const char* name) {
  const std::string before = metric(stage, "before", name), after = metric(stage, "after", name);
  return after.empty() || before.empty() ? after : before + " > " + after;
}

const Column kColumns[] = {
    {"accuracy", 13, [](const json& s) { return before_after(s, "accuracy"); }},
    {"greedy", 7, [](const json& s) { return metric(s, "after", "accuracy_greedy"); }},
    {"format", 7, [](const json& s) { return metric(s, "after", "format"); }},
    {"lang", 6, [](const json& s) { return metric(s, "after", "language"); }},
    {"len", 6,
     [](const json& s) {
       const json m = s.value("metrics", json::object()).value("after", json::object());
       return m.contains("length") ? fmt::format("{:.1f}", m["length"].get<double>()) : "";
     }},
    {"help", 6, [](const json& s) { return metric(s, "after", "helpful"); }},
    {"harml", 6, [](const json& s) { return metric(s, "after", "harmless"); }},
    {"pairs", 6, [](const json& s) { return metric(s, "after", "pair_accuracy"); }},
    {"steps", 6, [](const json& s) { return fmt::format("{}", s.value("steps", int64_t{0})); }},
    {"sec", 4, [](const json& s) { return fmt::format("{:.0f}", s.value("seconds", 0.0)); }},
};

}  // namespace

std::string summary_table(const std::string& summary_json) {
  const json s = json::parse(summary_json);
  std::vector<const Column*> columns;
  for (const Column& c : kColumns)
    if (std::any_of(s["stages"].begin(), s["stages"].end(), [&](const json& stage) { return !c.cell(stage).empty(); }))
      columns.push_back(&c);
  std::string out = padded("stage", kNameColumns);
  for (const Column* c : columns) out += fmt::format("{:>{}}", c->title, c->width);
  out += "\n";
  for (const json& stage : s["stages"]) {
    out += padded(stage["name"].get<std::string>(), kNameColumns);
    for (const Column* c : columns) out += fmt::format("{:>{}}", c->cell(stage), c->width);
    out += "\n";
  }
  int64_t gap_tokens = 0;
  double gap = 0;
  for (const json& stage : s["stages"]) {
    gap_tokens += stage.value("logprob_gap_tokens", int64_t{0});
    gap = std::max(gap, stage.value("logprob_gap_max", 0.0));
  }
  out += fmt::format("\n{} on {}\n", clock_text(s["seconds"].get<double>()), s["machine"].get<std::string>());
  if (gap_tokens > 0) out += fmt::format("train/inference gap: {:g} over {} tokens\n", gap, gap_tokens);
  return out;
}

}  // namespace r1::terminal
