#include "actors/until_checks.h"

#include <fmt/format.h>

#include <algorithm>

#include "actors/run_env.h"
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

}  // namespace

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
