#include "actors/trainer_checks.h"

#include <fmt/format.h>

#include <set>
#include <string>

#include "actors/dataset.h"
#include "actors/graph_checks.h"
#include "actors/measured_checks.h"
#include "actors/model_checks.h"
#include "actors/run_env.h"
#include "actors/size_checks.h"
#include "actors/training_attrs.h"
#include "actors/training_plan.h"
#include "actors/until_checks.h"

namespace r1 {

namespace {

namespace fs = std::filesystem;

std::set<std::string> carried_in(const GraphView& graph, const NodePlan& node) {
  std::set<std::string> kinds;
  for (int e : node.in_edges) kinds.insert(graph.edges[e].carries);
  return kinds;
}

}  // namespace

void check_trainer(const fs::path& graph_dir, const GraphView& graph, const NodePlan& node) {
  const std::set<std::string> in = carried_in(graph, node);
  const std::string objective = node.attrs.text("objective");
  const bool finite = node.attrs.integer("epochs") > 0;
  const auto complain = [&](const std::string& what, const std::string& hint) { throw bad_input(what, node.where, hint); };
  const auto complain_of_records = [&](const std::string& what, RecordKind wanted, const std::string& hint) {
    std::string how;
    for (int e : node.in_edges)
      if (const NodePlan& from = graph.nodes[graph.edges[e].from]; from.role == "prompter" && how.empty())
        how = how_to_read(located_source(from.attrs.text("source"), graph_dir), {wanted});
    complain(what, how.empty() ? hint : how);
  };
  model_root(graph, node);
  if (objective == "grpo" && in.count("groups") == 0)
    complain("objective=grpo needs groups", "an edge from a filter or a reference");
  if (objective == "reward_model" && in.count("pairs") == 0)
    complain_of_records("objective=reward_model needs pairs", RecordKind::pair, "an edge from a prompter of pairs");
  if ((objective == "sft" || objective == "pretrain") && in.count("examples") + in.count("dataset") == 0)
    complain_of_records("objective=" + objective + " needs examples", RecordKind::example,
                        "an edge from a prompter of examples, or from a filter of an earlier stage");
  if (in.count("dataset") != 0 && !finite) complain("a trainer on a dataset needs to know how often to read it", "epochs=2");
  if (objective == "grpo" && finite)
    throw bad_input("grpo draws new prompts for every batch: epochs has no meaning", node.attrs.where("epochs"),
                    "until=\"batches(100)\"");
  int live = 0;
  for (int e : node.in_edges) {
    const EdgePlan& edge = graph.edges[e];
    if (edge.carries != "examples" && edge.carries != "pairs") continue;
    ++live;
    const NodePlan& from = graph.nodes[edge.from];
    if (finite && from.attrs.integer("count") == 0 && is_endless(from.attrs.text("source")))
      throw bad_input(fmt::format("'{}' is endless, so '{}' cannot make epochs of it", from.id, node.id), from.where,
                      "add count=1000");
  }
  check_made_sources_last(graph_dir, graph, node);
  if (!finite && live > 1)
    complain("several sources of examples can only be mixed as a finite set", "epochs=1, and count= on each prompter");
  parse_until(graph, node);
  if (const auto facts = stage_facts(graph_dir, graph, node.stage)) check_until_facts(graph, node, *facts);
  check_until_calls(graph, node);
  check_until_measured(graph_dir, graph, node);
  check_training_attrs(graph_dir, graph, node);
  if (objective == "grpo" && node.attrs.number("kl") > 0 && stage_node(graph, node.stage, "reference") == nullptr)
    throw bad_input("kl > 0 needs a reference", node.attrs.where("kl"),
                    "put a node [role=reference] between filter and trainer");
  if (objective == "grpo")
    if (const NodePlan* prompter = stage_node(graph, node.stage, "prompter"); prompter != nullptr) {
      const int64_t count = prompter->attrs.integer("count"), window = prompter->attrs.integer("groups_per_batch");
      if (count > 0 && count < window)
        throw bad_input(fmt::format("not enough prompts for one batch: count={} is below groups_per_batch={}", count, window),
                        attr_place(*prompter, "count"), fmt::format("groups_per_batch={}, or count={}", count, window));
      if (const int64_t wanted = parse_until(graph, node).batch_limit(); count > 0 && count / window < wanted)
        throw bad_input(fmt::format("until asks for {} batches, but '{}' draws {} prompts: {} batch{} of {}", wanted,
                                    prompter->id, count, count / window, count / window == 1 ? "" : "es", window),
                        attr_place(node, "until"),
                        fmt::format("remove count, or say count={}; until=\"batches({})\" draws what there is", wanted * window,
                                    count / window));
    }
  int trainers = 0;
  for (int n : graph.stages[node.stage].nodes)
    trainers += graph.nodes[n].role == "trainer" || graph.nodes[n].role == "distiller";
  if (trainers > 1) complain("a stage has one trainer", "make a stage of its own for '" + node.id + "'");
  check_model_use(graph_dir, graph, node);
  check_training_fits(node, model_config(graph_dir, model_root(graph, node)));
}

}  // namespace r1
