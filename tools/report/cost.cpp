// What each stage cost, and what proves that the run kept its promises.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "tools/report/html.h"
#include "tools/report/sections.h"

namespace r1::report {

namespace {

std::string bar(double share, const char* css_class) {
  return fmt::format("<span class=\"bar {}\" style=\"width:{:.1f}%\"></span>", css_class, 100 * std::clamp(share, 0.0, 1.0));
}

// below: HTML under the bar.
std::string bar_cell(const std::string& text, double share, const char* css_class, const std::string& below = "") {
  if (text.empty()) return "<td></td>";
  return fmt::format("<td class=\"bar-cell\">{}{}{}</td>", text, bar(share, css_class), below);
}

// "no work 2.1 %, else 10.6 %" on two lines; nothing where it was not measured.
std::string rest_text(const StageData& stage) {
  const auto rest = stage.summary.find("not_busy");
  if (rest == stage.summary.end()) return "";
  return fmt::format("<i>no work {} %<br>else {} %</i>", percent(rest->value("no_engine_at_work", 0.0)),
                     percent(rest->value("engines_outside_ops", 0.0)));
}

// "trainer 72 %", a line an engine, the busiest first.
std::string at_work_text(const StageData& stage) {
  const auto engines = stage.summary.find("engines_at_work");
  if (engines == stage.summary.end()) return "";
  std::vector<std::pair<double, std::string>> shares;
  for (const auto& [engine, share] : engines->items()) shares.emplace_back(-share.get<double>(), engine);
  std::sort(shares.begin(), shares.end());
  std::string text;
  for (const auto& [share, engine] : shares)
    text += fmt::format("{}{} <i>{} %</i>", text.empty() ? "" : "<br>", escaped(engine), percent(-share));
  return text;
}

std::string mark(bool good) { return good ? "<span class=\"ok\">✓</span> " : "<span class=\"bad\">✗</span> "; }

}  // namespace

std::string cost_section(const RunData& run) {
  double longest = 0, most_trained = 0, most_sampled = 0;
  for (const StageData& stage : run.stages) {
    longest = std::max(longest, stage.summary.value("seconds", 0.0));
    most_trained = std::max(most_trained, stage.summary.value("tokens_trained", 0.0));
    most_sampled = std::max(most_sampled, stage.summary.value("tokens_generated", 0.0));
  }
  if (longest <= 0) return "";
  std::string out =
      "<section id=\"cost\"><h2>Cost</h2>\n<p class=\"sub wide\"><b>busy</b>: CPU time inside ops over wall time × cores; "
      "below it, "
      "what the rest is: no engine had work, or one was at work outside ops or on fewer cores than there are. "
      "<b>at work</b>: share of the time in which each engine had a job. "
      "<b>overlap</b>: "
      "share of an RL stage in which generator and trainer were at work at once. <b>versions</b>: published weights.</p>\n<div "
      "class=\"scroll\"><table "
      "class=\"filled\"><thead><tr><th>stage</th><th>time</th><th>tokens trained</th>"
      "<th>tokens sampled</th><th>busy</th><th>at work</th><th>overlap</th><th>versions</th></tr></thead><tbody>\n";
  for (const StageData& stage : run.stages) {
    if (!stage.started()) continue;
    const double seconds = stage.summary.value("seconds", 0.0), trained = stage.summary.value("tokens_trained", 0.0),
                 sampled = stage.summary.value("tokens_generated", 0.0);
    out += fmt::format("<tr><td><a class=\"stage-name\" href=\"#{}\">{}</a></td>", escaped(stage_anchor(stage)),
                       escaped(stage.plan->name));
    out += bar_cell(duration(seconds), seconds / longest, kind_class(stage.kind));
    out += bar_cell(trained > 0 ? count_text(trained) : "", trained / most_trained, "c-green");
    out += bar_cell(sampled > 0 ? count_text(sampled) : "", sampled / most_sampled, "c-blue");
    const double busy = stage.summary.value("busy", 0.0);
    out += bar_cell(percent(busy) + " %", busy, "c-grey", rest_text(stage));
    out += fmt::format("<td class=\"fixed\">{}</td>", at_work_text(stage));
    const bool overlaps = stage.summary.contains("overlap");
    const double overlap = stage.summary.value("overlap", 0.0);
    out += bar_cell(overlaps ? percent(overlap) + " %" : "", overlap, "c-grey");
    out += fmt::format("<td class=\"fixed\">{}</td></tr>\n", stage.published > 0 ? fmt::format("{}", stage.published) : "");
  }
  return out + "</tbody></table></div></section>\n";
}

std::string proofs_section(const RunData& run) {
  std::string rows;
  double gap = 0;
  int64_t gap_tokens = 0, restarts = 0, stalls = 0;
  for (const StageData& stage : run.stages) {
    restarts += stage.restarts;
    stalls += stage.stalls;
    if (stage.ledger.draws == 0) continue;
    std::string ends =
        fmt::format("{} {}", grouped(stage.ledger.trained), stage.kind == StageKind::sampling ? "kept" : "trained");
    for (const auto& [reason, n] : stage.ledger.dropped) ends += fmt::format(" + {} {}", grouped(n), escaped(reason));
    if (stage.ledger.open > 0) ends += fmt::format(" + {} open", grouped(stage.ledger.open));
    std::string on_policy = "<td></td><td></td>";
    if (stage.kind == StageKind::rl) {
      const auto tokens = stage.summary.value("logprob_gap_tokens", int64_t{0});
      gap_tokens += tokens;
      const auto number_of = [&](const char* name) {
        const auto it = stage.summary.find(name);
        return it != stage.summary.end() && it->is_number() ? it->get<double>() : NAN;
      };
      // What was not measured is a dash: nothing was compared, nothing trained.
      std::string compared = "–", oldest = "–";
      if (const double stage_gap = number_of("logprob_gap_max"); std::isfinite(stage_gap)) {
        gap = std::max(gap, stage_gap);
        compared = fmt::format("{}{} over {} tokens", mark(stage_gap == 0), number(stage_gap), grouped(tokens));
      }
      if (const double age = number_of("staleness_max"); std::isfinite(age))
        oldest = fmt::format("{}{} of at most {}", mark(age <= static_cast<double>(stage.staleness_bound)), number(age),
                             stage.staleness_bound);
      on_policy = fmt::format("<td>{}</td><td>{}</td>", compared, oldest);
    }
    rows += fmt::format("<tr><td><a class=\"stage-name\" href=\"#{}\">{}</a></td><td>{}{} = {}</td>{}</tr>\n",
                        escaped(stage_anchor(stage)), escaped(stage.plan->name), mark(stage.ledger_complaint.empty()),
                        grouped(stage.ledger.draws), ends, on_policy);
    if (!stage.ledger_complaint.empty())
      rows += fmt::format("<tr><td></td><td class=\"bad\" colspan=\"3\">{}</td></tr>\n", escaped(stage.ledger_complaint));
  }
  std::string out = "<section id=\"proofs\"><h2>Promises kept</h2>\n";
  if (gap_tokens > 0)
    out += fmt::format(
        "<p>{}On-policy means on-policy: the trainer’s log-probabilities differed from the sampler’s by at most <b>{}</b> over "
        "<b>{}</b> compared tokens.</p>\n",
        mark(gap == 0), number(gap), grouped(gap_tokens));
  out += fmt::format(
      "<p>{}, {} in this run. <code>r1-run --replay</code> recomputes every update from the stored batches.</p>\n",
      restarts == 0 ? "No restart" : plural(restarts, "restart"), stalls == 0 ? "no stall" : plural(stalls, "stall"));
  if (!rows.empty())
    out +=
        "<div class=\"scroll\"><table><thead><tr><th>stage</th><th>every draw ends once: draws = trained + "
        "dropped</th><th>largest gap "
        "of log-probabilities</th><th>oldest trained sample</th></tr></thead><tbody>\n" +
        rows + "</tbody></table></div>\n";
  return out + "</section>\n";
}

}  // namespace r1::report
