// Head of the page: what ran, and the summary in words.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "tools/report/html.h"
#include "tools/report/sections.h"

namespace r1::report {

namespace {

// "12 stages: 3 pre-training, 2 SFT, 4 RL"
std::string kinds_text(const RunData& run) {
  std::vector<std::pair<StageKind, int>> counts;
  for (const StageData& stage : run.stages) {
    auto it = std::find_if(counts.begin(), counts.end(), [&](const auto& c) { return c.first == stage.kind; });
    if (it == counts.end()) it = counts.insert(counts.end(), {stage.kind, 0});
    ++it->second;
  }
  std::string text;
  for (const auto& [kind, count] : counts) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, kind_name(kind));
  return text;
}

double gain(const StageData& stage, const char* metric) {
  const double d = stage.metric("after", metric) - stage.metric("before", metric);
  return std::isfinite(d) ? d : -INFINITY;
}

const StageData* best_of(const RunData& run, StageKind kind, const char* metric) {
  const StageData* best = nullptr;
  for (const StageData& stage : run.stages)
    if (stage.kind == kind && gain(stage, metric) > 0 && (best == nullptr || gain(stage, metric) > gain(*best, metric)))
      best = &stage;
  return best;
}

// The first in the order of the recipe: what comes later stands on its shoulders.
const StageData* first_of(const RunData& run, StageKind kind, const char* metric) {
  const auto it = std::find_if(run.stages.begin(), run.stages.end(),
                               [&](const StageData& s) { return s.kind == kind && gain(s, metric) > 0; });
  return it != run.stages.end() ? &*it : nullptr;
}

std::string from_to(const StageData& stage, const char* metric) {
  return fmt::format("from {} % to {} %", percent(stage.metric("before", metric)), percent(stage.metric("after", metric)));
}

}  // namespace

std::string summary_sentences(const RunData& run) {
  int64_t models = 0;
  double trained = 0, generated = 0;
  for (const NodePlan& node : run.graph->nodes) models += node.artifact && node.role == "model";
  for (const StageData& stage : run.stages) {
    trained += stage.summary.value("tokens_trained", 0.0);
    generated += stage.summary.value("tokens_generated", 0.0);
  }
  std::string text =
      run.finished() ? fmt::format("In {}", duration(run.seconds))
                     : fmt::format("{}: {} of {} are complete. In {}", run.failures.empty() ? "Not finished yet" : "Failed",
                                   run.done(), plural(static_cast<int64_t>(run.stages.size()), "stage"), duration(run.seconds));
  if (!run.machine.empty()) text += " on " + run.machine;
  const std::string stages = fmt::format("{} ({})", plural(static_cast<int64_t>(run.stages.size()), "stage"), kinds_text(run));
  if (trained == 0)
    text += run.finished() ? fmt::format(", this run went through {} and trained nothing", stages) : ", nothing was trained";
  else if (!run.finished())
    text += fmt::format(", {} tokens were trained on", count_text(trained));
  else
    text += fmt::format(", this run trained {} through {} on {} tokens", plural(std::max<int64_t>(1, models), "model"), stages,
                        count_text(trained));
  if (generated > 0) text += fmt::format(", and {} tokens were sampled", count_text(generated));
  text += ".";

  std::vector<std::string> facts;
  if (const StageData* rl = first_of(run, StageKind::rl, "accuracy"))
    facts.push_back(
        fmt::format("“{}” took held-out accuracy {} by reinforcement learning", rl->title(), from_to(*rl, "accuracy")));
  if (const StageData* rl = first_of(run, StageKind::rl, "reward"))
    facts.push_back(fmt::format("“{}” took the held-out reward from {:.3f} to {:.3f}", rl->title(),
                                rl->metric("before", "reward"), rl->metric("after", "reward")));
  if (const StageData* rl = best_of(run, StageKind::rl, "harmless"); rl != nullptr && gain(*rl, "harmless") > 0.1)
    facts.push_back(fmt::format("“{}” took harmless answers {}", rl->title(), from_to(*rl, "harmless")));
  const auto pairs = distillation_pairs(run);
  const StagePair* widest = nullptr;
  for (const StagePair& pair : pairs) {
    const auto lead = [](const StagePair& p) {
      return p.first->metric("after", "accuracy") - p.second->metric("after", "accuracy");
    };
    if (std::isfinite(lead(pair)) && (widest == nullptr || lead(pair) > lead(*widest))) widest = &pair;
  }
  if (widest != nullptr)
    facts.push_back(
        fmt::format("a student that learnt from the teacher’s answers reached {} %, its twin trained by RL alone {} %",
                    percent(widest->first->metric("after", "accuracy")), percent(widest->second->metric("after", "accuracy"))));
  else if (const StageData* distilled = best_of(run, StageKind::distill, "accuracy"))
    facts.push_back(fmt::format("distillation took “{}” {}", distilled->title(), from_to(*distilled, "accuracy")));
  if (facts.empty()) {
    if (const StageData* sft = best_of(run, StageKind::sft, "accuracy"))
      facts.push_back(fmt::format("“{}” took held-out accuracy {}", sft->title(), from_to(*sft, "accuracy")));
    else if (const StageData* rm = best_of(run, StageKind::reward_model, "pair_accuracy"))
      facts.push_back(fmt::format("“{}” tells the better answer of a pair in {} % of held-out pairs", rm->title(),
                                  percent(rm->metric("after", "pair_accuracy"))));
  }
  if (facts.empty()) return text + " No held-out metric rose in a completed stage.";
  std::string second;
  for (const std::string& fact : facts) second += (second.empty() ? "" : "; ") + fact;
  if (second[0] >= 'a' && second[0] <= 'z') second[0] = static_cast<char>(second[0] - 'a' + 'A');
  return text + " " + second + ".";
}

// What failed, before everything else.
static std::string failure_box(const RunData& run) {
  if (run.failures.empty()) return "";
  std::string out = "<section class=\"failure\" role=\"alert\"><h2>This run failed</h2>\n<ul>";
  for (const StageFailure& f : run.failures) {
    const auto at =
        std::find_if(run.stages.begin(), run.stages.end(), [&](const StageData& s) { return s.plan->name == f.stage; });
    const std::string anchor = at != run.stages.end() && at->started() ? stage_anchor(*at) : "stages";
    out += "<li>";
    if (!f.stage.empty()) out += fmt::format("<a href=\"#{}\">{}</a>: ", escaped(anchor), escaped(f.stage));
    out += escaped(f.reason) + "</li>";
  }
  return out + "</ul></section>\n";
}

std::string head_section(const RunData& run) {
  std::string out = fmt::format("<header>\n<h1>{}</h1>\n{}<p class=\"lead\">{}</p>\n<dl class=\"facts\">",
                                escaped(run.graph->name), failure_box(run), escaped(summary_sentences(run)));
  const auto fact = [&](const char* name, const std::string& value) {
    if (!value.empty()) out += fmt::format("<div><dt>{}</dt><dd>{}</dd></div>", name, escaped(value));
  };
  fact("graph", run.graph_file);
  fact("started", run.started);
  fact(run.finished() ? "total time" : "time so far", duration(run.seconds));
  fact("state", run.finished()          ? "complete"
                : !run.failures.empty() ? fmt::format("failed; {} of {} stages complete", run.done(), run.stages.size())
                                        : fmt::format("{} of {} stages complete", run.done(), run.stages.size()));
  fact("seed", fmt::format("{}", run.seed));
  fact("precision", run.precision);
  fact("machine", run.machine);
  fact("numeric fingerprint", run.fingerprint);
  fact("changed while it ran", fmt::format("{}", fmt::join(run.changes, "; ")));
  return out + "</dl>\n";
}

}  // namespace r1::report
