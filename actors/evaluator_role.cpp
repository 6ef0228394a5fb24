#include "actors/evaluator_role.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "actors/evaluation.h"
#include "actors/evaluator_plan.h"
#include "actors/graph_checks.h"
#include "actors/held_out.h"
#include "actors/measured_checks.h"
#include "actors/messages.h"
#include "actors/metric_table.h"
#include "actors/model_checks.h"
#include "actors/placed_attrs.h"
#include "actors/reward_programs.h"
#include "actors/size_checks.h"
#include "actors/stop_attribute.h"
#include "actors/stored_rows.h"
#include "actors/training_plan.h"
#include "actors/weight_receiver.h"
#include "rewards/rules.h"
#include "tasks/spec.h"

namespace r1 {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class EvaluatorRole final : public Role {
 public:
  explicit EvaluatorRole(const RunEnv& env) : env_(env), received_(*env.device) {}

  void start(RoleContext& context) override {
    const NodePlan* trainer = stage_trainer(context.graph(), context.node().stage);
    context.submit(
        "evaluate the first weights", "evaluator",
        [this, &context, trainer] {
          const NodePlan& node = context.node();
          auto weights = trainer != nullptr ? trainer_start_weights(env_, context.graph(), *trainer)
                                            : load_start_weights(env_, context.graph(), node, DType::f32);
          measure(context, std::make_shared<WeightSet>(convert_weights(*weights, weights->config(), env_.precision)),
                  trainer != nullptr ? "before" : "after", 0);
        },
        [this, &context, trainer] {
          first_done_ = true;
          if (trainer == nullptr || measured_last_) context.finish();
        });
    if (trainer != nullptr) context.wait_for("weights", "for the stage's last weights", trainer->id);
  }

  void receive(RoleContext& context, int edge, PayloadPtr payload) override {
    auto weights = std::dynamic_pointer_cast<const WeightsMessage>(payload);
    context.release(edge);
    if (!weights->final) return measure_on_the_way(context, edge, weights);
    context.wait_over("weights");
    context.submit(
        "evaluate the last weights", "evaluator",
        [this, &context, weights] {
          if (received_.accept(*weights, /*whole=*/true)) measure(context, received_.held(), "after", weights->version);
        },
        [this, &context, edge] {
          if (received_.ask_again(context, edge)) return;
          measured_last_ = true;
          if (first_done_) context.finish();
        });
  }

 private:
  // The trainer waits for it.
  void measure_on_the_way(RoleContext& context, int edge, const std::shared_ptr<const WeightsMessage>& weights) {
    auto found = std::make_shared<MetricsMessage>();
    found->version = weights->version;
    found->node = context.node().id;
    context.submit(
        fmt::format("evaluate version {}", weights->version), "evaluator",
        [this, &context, weights, found] {
          if (received_.accept(*weights, /*whole=*/true))
            found->metrics = measure(context, received_.held(), "during", weights->version);
        },
        [this, &context, edge, found] {
          if (received_.ask_again(context, edge)) return;
          for (const int e : context.outputs("metrics")) context.send(e, found);
        });
  }

  std::map<std::string, double> measure(RoleContext& context, const std::shared_ptr<const WeightSet>& weights,
                                        const std::string& when, int64_t version) {
    const NodePlan& node = context.node();
    const EvaluationSpec spec = planned_evaluation(env_, context.graph(), node, when == "before");
    StageJournal& journal = context.journal();
    EvaluationRow row;
    row.node = node.id;
    row.moment = when;
    row.version = version;
    row.evaluation = weights->hash().hex() + evaluation_key(spec, journal, context.graph(), node);
    std::vector<ResponseRow> kept;
    if (const auto known = journal.known_evaluation(row.evaluation)) {
      row.metrics_json = *known;
    } else {
      const Evaluation found = evaluate_model(env_, spec, {weights, node_tokenizer(env_, context.graph(), node)},
                                              load_reward_models(env_, context.graph(), node));
      row.metrics_json = json(found.metrics).dump();
      kept = response_rows(found.kept);
    }
    journal.evaluation(row, kept);
    std::map<std::string, double> metrics;
    const nlohmann::ordered_json stored = evaluation_metrics_in(journal, row);
    for (const auto& [name, value] : stored.items())
      if (value.is_number()) metrics[name] = value.get<double>();
    return metrics;
  }

  RunEnv env_;
  bool first_done_ = false, measured_last_ = false;
  WeightReceiver received_;  // touched by jobs alone
};

constexpr const char* kSaysNothing = "it would say nothing of a model";

// Its `rewards`: as a judge's, about the prompts that it asks itself.
void check_evaluator_rewards(const fs::path& graph_dir, const GraphView& graph, const NodePlan& node) {
  check_reward_models(graph, node);
  check_judge_programs(graph_dir, graph, node);
  if (node.attrs.text("rewards").empty()) {
    if (!reward_model_names(graph, node).empty())
      throw bad_input(fmt::format("'{}' is given models by name, but its `rewards` is empty", node.id), node.where,
                      "add rewards=\"" + reward_model_names(graph, node)[0] + "\"");
    return;
  }
  FactValues facts;
  bool prompts = false;
  for (const std::string& s : split_sources(node.attrs.text("source"))) {
    const std::string source = located_source(s, graph_dir);
    if (checked_source_kind(graph_dir, node, s) != RecordKind::prompt) continue;
    prompts = true;
    if (source_path(source)) return check_varies(graph, node, "rewards", kSaysNothing);  // check_data reads its names
    for (const auto& [name, values] : placed(node, "source", [&] { return open_source(source, 0)->fact_values(); }))
      facts[name].insert(values.begin(), values.end());
  }
  if (!prompts)
    throw bad_input("rewards are of responses to prompts, and the source gives pairs", attr_place(node, "rewards"),
                    "remove rewards, or add a source of prompts");
  check_names(graph, node, "rewards", flag_names(facts));
  check_varies(graph, node, "rewards", kSaysNothing);
}

// Some names are those of the data: by kind, domain or source of the prompts.
void check_measured(const NodePlan& node, const std::string& metric) {
  if (metric.starts_with("accuracy_") || metric.ends_with("_greedy") || metric.find('/') != std::string::npos) return;
  const std::vector<std::string> measured = measured_names(node);
  if (std::find(measured.begin(), measured.end(), metric) != measured.end()) return;
  const std::string near = nearest(metric, measured);
  throw bad_input(
      fmt::format("'{}' does not measure '{}'", node.id, metric), attr_place(node, "metric"),
      near.empty() ? fmt::format("it measures {}", fmt::join(measured, ", ")) : fmt::format("did you mean '{}'?", near));
}

// Measurements on the way: the trainer that waits for them has to hear of them.
void check_steering(const fs::path& graph_dir, const GraphView& graph, const NodePlan& node) {
  const NodePlan* trainer = stage_trainer(graph, node.stage);
  const int64_t every = node.attrs.integer("every");
  bool told = false, asked = false;
  for (int e : node.out_edges) told = told || graph.edges[e].carries == "metrics";
  for (int e : node.in_edges) asked = asked || graph.edges[e].carries == "weights";
  const auto refuse = [&](const char* attr, const std::string& what, const std::string& hint) {
    throw bad_input(what, attr_place(node, attr), hint);
  };
  if (every > 0 && (trainer == nullptr || !asked))
    refuse("every", fmt::format("'{}' measures on the way of nothing: it gets no weights from a trainer", node.id),
           "remove every=" + node.attrs.text("every"));
  if (every > 0 && !told)
    refuse("every",
           fmt::format("'{}' waits for what '{}' measures every {} batches, and has to be told", trainer->id, node.id, every),
           fmt::format("add: {} -> {};", node.id, trainer->id));
  if (told && every == 0)
    throw bad_input(fmt::format("'{}' has nothing to tell '{}' on the way", node.id, trainer->id), node.where,
                    "every=20, or remove the edge");
  if (node.attrs.text("keep") == "best" && every == 0)
    refuse("keep", "keep=best chooses among the versions that are measured on the way", "add every=20");
  if (node.attrs.text("keep") != "best" && !node.attrs.text("metric").empty())
    refuse("metric", "metric says which version is the best one, and none is kept", "add keep=best");
  if (trainer == nullptr)
    refuse_without_effect(node, "problems_before", "without a trainer in the stage: the model is measured once", "problems=");
  if (const std::string metric = node.attrs.text("metric"); !metric.empty()) check_measured(node, metric);
  check_best_measured(graph_dir, graph, node);
  int keepers = 0;
  for (int n : graph.stages[node.stage].nodes) {
    const NodePlan& other = graph.nodes[n];
    keepers += other.role == "evaluator" && other.attrs.text("keep") == "best";
  }
  if (keepers > 1) refuse("keep", "two evaluators of a stage keep the best version", "keep=best of one of them");
  for (const StagePlan& stage : graph.stages)
    if (node.attrs.text("keep") == "best" && stage.name == graph.stages[node.stage].name + "-best")
      refuse("keep",
             fmt::format("the checkpoint of stage '{}' would lie where that of the best version of '{}' lies", stage.name,
                         graph.stages[node.stage].name),
             "rename one of the stages");
}

void check_evaluator(const fs::path& graph_dir, const GraphView& graph, const NodePlan& node) {
  model_root(graph, node);
  const auto sources = split_sources(node.attrs.text("source"));
  if (sources.empty()) throw bad_input("no source to evaluate on", node.attrs.where("source"));
  for (const std::string& s : sources) {
    if (parse_source_spec(s).weight)
      throw bad_input("'" + s + "': an evaluator asks all of its sources, and reports each", node.attrs.where("source"),
                      "remove weight=; problems= says how many are asked");
    const RecordKind kind = checked_source_kind(graph_dir, node, s);
    if (kind == RecordKind::example)
      throw bad_input("'" + s + "' gives examples; an evaluator needs prompts or pairs", node.attrs.where("source"),
                      how_to_read(located_source(s, graph_dir), {RecordKind::prompt, RecordKind::pair}));
  }
  int models = 0;
  for (int e : node.in_edges) models += graph.edges[e].carries == "model" && !graph.edges[e].attrs.has("as");
  if (models > 1)
    throw bad_input(fmt::format("'{}' is given {} models to evaluate", node.id, models), node.where,
                    "one evaluator a model; those that `rewards` names need [as=NAME]");
  check_evaluator_rewards(graph_dir, graph, node);
  check_steering(graph_dir, graph, node);
}

// When it measures, and what becomes of it.
std::vector<AttrSpec> moment_attrs() {
  using namespace spec;
  return {
      changeable(integer("problems_before", "0", 0, 1'000'000,
                         "problems for the first weights (random ones teach little); 0: as `problems`")),
      integer("every", "0", 0, 1'000'000'000,
              "batches between measurements on the way, for which the trainer waits (then add: evaluator -> trainer); 0: none"),
      choice("keep", "last", {"last", "best"},
             "best: the version with the highest `metric` is kept beside the last one, in checkpoints/STAGE-best"),
      text("metric", "", "keep=best: the metric that decides; default: reward, or accuracy without `rewards`")};
}

}  // namespace

RoleKind evaluator_kind(const std::filesystem::path& graph_dir) {
  using namespace spec;
  RoleKind r;
  r.spec.name = "evaluator";
  r.spec.doc = "measures a stage's first and last weights on held-out prompts";
  add_specs(evaluation_table(), r.spec.attrs);
  add_specs(program_table(), r.spec.attrs);
  r.spec.attrs.push_back(on());
  for (AttrSpec& attr : moment_attrs()) r.spec.attrs.push_back(std::move(attr));
  for (AttrSpec& attr : spec::placed()) r.spec.attrs.push_back(std::move(attr));
  r.spec.edge_attrs = {capacity(), model_name()};
  r.spec.ports = {takes_weights(Versions::last), takes_finished("model", true), gives("metrics")};
  r.spec.check = [graph_dir](const GraphView& graph, const NodePlan& node) {
    check_evaluator(graph_dir, graph, node);
    parse_stop_texts(node.attrs.text("stop"), attr_place(node, "stop"));
    check_model_use(graph_dir, graph, node);
    check_batch_fits(graph, node);
  };
  r.make = [](const RunEnv& env) -> std::unique_ptr<Role> { return std::make_unique<EvaluatorRole>(env); };
  return r;
}

}  // namespace r1
