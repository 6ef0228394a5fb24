// What a model answered to held-out prompts before and after a stage.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "actors/metric_table.h"
#include "actors/stored_rows.h"
#include "tools/report/html.h"
#include "tools/report/sections.h"

namespace r1::report {

namespace {

constexpr size_t kPrompts = 3;  // shown of each source; the run store has more
constexpr size_t kHeldOutPrompt = 400, kResponseCharacters = 1600;

// `asked`: the names of the evaluators' expressions.
std::string card(const ResponseRow& row, const nlohmann::json& parts, const std::string& when,
                 const std::vector<std::string>& asked) {
  std::string verdict = row.correct ? (*row.correct ? "right" : "wrong") : "";
  if (!row.finished) verdict += verdict.empty() ? "cut off" : ", cut off";
  std::string score = row.reward ? fmt::format("reward <b>{}</b>", number(*row.reward)) : "";
  if (!row.error.empty()) score = "no reward: " + escaped(row.error);
  for (const auto& [name, value] : parts.items())
    if (value.is_number() && shown_metric(name, asked))
      score += fmt::format(" · {} {}", escaped(name), number(value.get<double>()));
  return fmt::format(
      "<div class=\"sample\"><div class=\"when\"><b>{}</b>{}{}</div><div class=\"tokens\"><span class=\"prompt\">{}</span>{}"
      "</div><div class=\"score\">{}</div></div>\n",
      when, verdict.empty() ? "" : ": ", verdict, escaped(shortened(row.text, kHeldOutPrompt)),
      escaped(shortened(row.response, kResponseCharacters)), score);
}

}  // namespace

std::string held_out_samples_of(const StageData& stage, const RunStore& store) {
  // By evaluator, source and prompt: what was answered before, and after; sampled answers, not greedy ones.
  struct Pair {
    std::vector<std::pair<ResponseRow, nlohmann::json>> before, after;  // with its scores
  };
  std::map<std::tuple<std::string, std::string, int64_t>, Pair> answers;
  for (const EvaluationRow& evaluation : store.evaluations(stage.row.id)) {
    if (evaluation.moment == "during") continue;
    for (ResponseRow& row : store.responses(evaluation.evaluation)) {
      if (row.sample != 0) continue;
      Pair& pair = answers[{evaluation.node, row.source, row.prompt}];
      nlohmann::json scores = response_scores_in(store, evaluation, row);
      (evaluation.moment == "before" ? pair.before : pair.after).emplace_back(std::move(row), std::move(scores));
    }
  }
  const auto asked = stage.summary.value("held_out_rewards", std::vector<std::string>());
  std::string out;
  std::map<std::pair<std::string, std::string>, size_t> shown;
  for (const auto& [key, pair] : answers) {
    const auto& [node, source, prompt] = key;
    if (++shown[{node, source}] > kPrompts) continue;
    out += "<div class=\"pair\">";
    for (const auto& [row, scores] : pair.before) out += card(row, scores, "before", asked);
    for (const auto& [row, scores] : pair.after) out += card(row, scores, "after", asked);
    out += "</div>\n";
  }
  if (out.empty()) return "";
  return "<h4>Answers to held-out prompts</h4>\n<p class=\"legend\">The first prompts of each source; <code>r1-run --samples "
         "RUN</code> prints more.</p>\n" +
         out;
}

}  // namespace r1::report
