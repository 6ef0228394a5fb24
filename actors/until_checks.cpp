#include "actors/until_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "actors/metric_bounds.h"
#include "actors/metric_table.h"
#include "actors/run_env.h"
#include "actors/steering.h"
#include "actors/training_plan.h"

namespace r1 {

namespace {

namespace fs = std::filesystem;

// `files`: for files, or for all else.
void check_lasts(const fs::path& graph_dir, const GraphView& graph, const NodePlan& trainer, bool files,
                 const std::map<std::string, int64_t>& left_out) {
  const int64_t wanted = parse_until(graph, trainer).batch_limit(), batch = trainer.attrs.integer("batch");
  for (int e : trainer.in_edges) {
    const EdgePlan& edge = graph.edges[e];
    if (wanted == 0 || (edge.carries != "examples" && edge.carries != "pairs")) continue;
    const NodePlan& from = graph.nodes[edge.from];
    int64_t records = from.attrs.integer("count");
    if (files != (records == 0 && reads_files(from.attrs.text("source")))) continue;
    if (records == 0)
      records = placed(from, "source", [&] {
        return static_cast<int64_t>(open_source(located_source(from.attrs.text("source"), graph_dir), 0)->size().value_or(0));
      });
    if (records == 0) continue;
    const auto without = left_out.find(from.id);
    if (without != left_out.end()) records -= without->second;
    const int64_t batches = (records + batch - 1) / batch;
    if (batches >= wanted) continue;
    throw bad_input(fmt::format("until asks for {} batches, but '{}' gives {} {}{}: {} batch{} of {}", wanted, from.id, records,
                                edge.carries,
                                without == left_out.end() ? "" : fmt::format(", {} left out as contaminated", without->second),
                                batches, batches == 1 ? "" : "es", batch),
                    attr_place(trainer, "until"),
                    fmt::format("epochs={} reads them again and again; until=\"batches({})\" reads them once",
                                (wanted * batch + records - 1) / records, batches));
  }
}

// What is measured on the way has a value every so many batches, any other metric one a batch.
int64_t batches_a_value(const GraphView& graph, const NodePlan& trainer, const std::string& metric) {
  if (!metric.starts_with(kHeldOutPrefix)) return 1;
  int64_t often = 0;
  for (const SteeringEvaluator& e : steering_evaluators(graph, trainer.stage))
    often = often == 0 ? e.every : std::min(often, e.every);
  return std::max<int64_t>(often, 1);
}

std::string between(const Bounds& b) {
  if (std::isinf(b.most)) return fmt::format("is never below {:g}", b.least);
  if (std::isinf(b.least)) return fmt::format("is at most {:g}", b.most);
  return fmt::format("lies between {:g} and {:g}", b.least, b.most);
}

// Why `call` of a plateau is none; "" when it is one.
std::string no_plateau(const UntilCall& call, const Bounds& b, bool grpo, std::string& hint) {
  hint = fmt::format("plateau({}, {}, 0.005): the end of rising by 0.005 and more", call.metric, call.window);
  if (call.value < 0) return fmt::format("waits for a fall of more than {:g}", -call.value);
  if (call.value > b.most - b.least) return fmt::format("is true whatever is learned: '{}' {}", call.metric, between(b));
  if (call.metric == "loss" && grpo) {
    hint = fmt::format("plateau(reward, {}, 0.005)", call.window);
    return "is true whatever is learned: a policy's loss stays about 0, as the advantages of a group cancel";
  }
  if (call.metric != "loss" && call.metric != "mtp_loss") return {};
  hint = fmt::format("below({}, VALUE, {}), or batches(500)", call.metric, call.window);
  return fmt::format("is true while '{}' falls: a plateau is where a metric no longer rises", call.metric);
}

}  // namespace

void check_until_calls(const GraphView& graph, const NodePlan& node) {
  constexpr double kMostTokens = 1e18;
  const Until until = parse_until(graph, node);
  const int64_t passes = node.attrs.integer("epochs");
  for (const UntilCall& call : until.calls()) {
    const auto refuse = [&](const std::string& why, const std::string& hint) {
      throw bad_input(fmt::format("until: {} {}", call.text, why), attr_place(node, "until"), hint);
    };
    using Kind = UntilCall::Kind;
    if (call.kind == Kind::tokens && call.value > kMostTokens)
      refuse("never comes true: no stage has so many tokens", "tokens(1e9)");
    if (call.kind == Kind::epochs && call.value > static_cast<double>(passes))
      refuse(fmt::format("never comes true: epochs={} ends the stage before", passes),
             fmt::format("epochs={}", std::ceil(call.value)));
    if (call.metric.empty()) continue;
    const Bounds b = metric_bounds(graph, node, call.metric);
    if (call.kind == Kind::above && call.value >= b.most)
      refuse(fmt::format("never comes true: '{}' {}", call.metric, between(b)), fmt::format("a VALUE below {:g}", b.most));
    if (call.kind == Kind::below && call.value <= b.least)
      refuse(fmt::format("never comes true: '{}' {}", call.metric, between(b)), fmt::format("a VALUE above {:g}", b.least));
    std::string hint;
    if (call.kind == Kind::plateau)
      if (const std::string why = no_plateau(call, b, node.attrs.text("objective") == "grpo", hint); !why.empty())
        refuse(why, hint);
  }
}

std::vector<std::pair<Where, std::string>> intervals_that_never_come(const GraphView& graph, const NodePlan& trainer) {
  std::vector<std::pair<Where, std::string>> found;
  const int64_t limit = parse_until(graph, trainer).batch_limit();
  if (limit == 0) return found;
  const auto note = [&](const Where& where, int64_t every, const std::string& what) {
    if (every > limit)
      found.emplace_back(where, fmt::format("every={}, and '{}' ends after {} batch{}: {}", every, trainer.id, limit,
                                            limit == 1 ? "" : "es", what));
  };
  for (const UntilCall& call : parse_until(graph, trainer).calls()) {
    if (call.metric.empty()) continue;
    const double values = static_cast<double>(call.window) * (call.kind == UntilCall::Kind::plateau ? 2 : 1);
    const double needs = std::max(values * static_cast<double>(batches_a_value(graph, trainer, call.metric)),
                                  static_cast<double>(call.min_batches));
    if (needs > static_cast<double>(limit))
      found.emplace_back(
          attr_place(trainer, "until"),
          fmt::format("until: {} needs {} batches, and batches({}) ends '{}' before", call.text, needs, limit, trainer.id));
  }
  for (const SteeringEvaluator& e : steering_evaluators(graph, trainer.stage))
    note(attr_place(*e.node, "every"), e.every, fmt::format("'{}' measures nothing on the way", e.node->id));
  for (const int index : trainer.out_edges) {
    const EdgePlan& edge = graph.edges[static_cast<size_t>(index)];
    const NodePlan& to = graph.nodes[static_cast<size_t>(edge.to)];
    if (edge.carries != "weights" || to.role != "reference") continue;
    note(edge.attrs.where("every"), edge.attrs.integer("every"), fmt::format("'{}' stays as it began", to.id));
  }
  return found;
}

void check_made_sources_last(const fs::path& graph_dir, const GraphView& graph, const NodePlan& trainer) {
  if (trainer.attrs.integer("epochs") == 0) check_lasts(graph_dir, graph, trainer, /*files=*/false, {});
}

void check_sources_last(const fs::path& graph_dir, const GraphView& graph, const NodePlan& trainer,
                        const std::map<std::string, int64_t>& left_out) {
  if (trainer.attrs.integer("epochs") == 0) check_lasts(graph_dir, graph, trainer, /*files=*/true, left_out);
}

void check_until_facts(const GraphView& graph, const NodePlan& node, const FactValues& facts) {
  const NodePlan* judge = stage_node(graph, node.stage, "judge");
  const std::vector<std::string> used = parse_until(graph, node).metrics();
  const auto names = [](const std::vector<std::string>& v, const char* name) {
    return std::find(v.begin(), v.end(), name) != v.end();
  };
  if (judge == nullptr || !(names(used, "accuracy") || names(used, "language") || names(used, "harmless"))) return;
  const std::vector<std::string> models = reward_model_names(graph, *judge);
  const auto has = [&](const char* fact, const char* value) {
    const auto it = facts.find(fact);
    return it != facts.end() && (value == nullptr || it->second.count(value) != 0);
  };
  const auto refuse = [&](const char* metric, const char* why) {
    if (names(used, metric) && !names(models, metric))
      throw bad_input(fmt::format("until: no batch will have '{}': {}", metric, why), attr_place(node, "until"));
  };
  if (const auto it = facts.find("checkable"); it != facts.end() && it->second == std::set<std::string>{"0"})
    refuse("accuracy", "no prompt of this stage has an answer");
  if (!has("language", nullptr)) refuse("language", "no prompt of this stage has a language");
  if (!has("harm", "1")) refuse("harmless", "no prompt of this stage has harm=1");
}

}  // namespace r1
