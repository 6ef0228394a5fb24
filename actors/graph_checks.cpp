#include "actors/graph_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "actors/metric_table.h"
#include "actors/reward_programs.h"
#include "actors/run_env.h"
#include "actors/scored_writer.h"
#include "actors/training_plan.h"
#include "base/files.h"
#include "tasks/chat_template.h"
#include "rewards/expression.h"
#include "rewards/rules.h"

namespace r1 {

namespace {

namespace fs = std::filesystem;

// Errors of files and sources that have no place of their own get the attribute's.
template <class F>
auto placed(const NodePlan& node, const std::string& attr, F&& f) {
  try {
    return f();
  } catch (const Error& e) {
    const Where where = attr_place(node, attr);
    std::string message = e.message();
    if (!e.where().file.empty() && e.where().file != where.file) message = e.where().str() + ": " + message;
    throw bad_input(message, where, e.hint());
  }
}

std::set<std::string> carried_in(const GraphView& graph, const NodePlan& node) {
  std::set<std::string> kinds;
  for (int e : node.in_edges) kinds.insert(graph.edges[e].carries);
  return kinds;
}

// The facts of the prompts of the stage's sources, and their values; nullopt when a file has to be read for them
// (check_data does).
std::optional<FactValues> stage_facts(const fs::path& graph_dir, const GraphView& graph, int stage) {
  FactValues facts;
  for (int n : graph.stages[stage].nodes) {
    const NodePlan& node = graph.nodes[n];
    if (node.role != "prompter") continue;
    const std::string source = located_source(node.attrs.text("source"), graph_dir);
    if (source_path(source)) return std::nullopt;
    if (source_kind(source) != RecordKind::prompt) continue;
    for (const auto& [name, values] : placed(node, "source", [&] { return open_source(source, 0)->fact_values(); }))
      facts[name].insert(values.begin(), values.end());
  }
  return facts;
}

RewardExpression check_expression(const fs::path& graph_dir, const GraphView& graph, const NodePlan& node,
                                  const std::string& attr) {
  if (const auto facts = stage_facts(graph_dir, graph, node.stage)) check_names(graph, node, attr, flag_names(*facts));
  return RewardExpression::parse(node.attrs.text(attr), attr_place(node, attr));
}

// Every name is recorded with the statistics of its batch and can stand in `until`, so it has to be told from theirs.
void check_recorded(const RewardExpression& expression, const Where& where) {
  const auto& rules = rule_names();
  for (const std::string& name : expression.variables())
    if (batch_metric(name) != nullptr && std::find(rules.begin(), rules.end(), name) == rules.end())
      throw bad_input(fmt::format("'{}' is the name of a batch's own metric, and cannot be a reward beside it", name), where,
                      "rename the field of the prompts, or the model's as=NAME");
}

// A punishment that begins behind the longest completion is a slip.
void check_overlong(const GraphView& graph, const NodePlan& judge, const RewardExpression& rewards) {
  const NodePlan* generator = stage_node(graph, judge.stage, "generator");
  if (generator == nullptr) return;
  const auto longest = static_cast<double>(generator->attrs.integer("max_tokens"));
  for (const OverlongUse& use : rewards.overlongs())
    if (use.max - use.cache >= longest)
      throw bad_input(fmt::format("overlong punishes completions of more than {} tokens, but '{}' stops at max_tokens={}",
                                  use.max - use.cache, generator->id, longest),
                      use.where, fmt::format("overlong(length, {0}, {1})", longest, std::ceil(longest / 4)));
}

// A filter asks no program: it knows what the judge's said.
void check_kept_programs(const GraphView& graph, const NodePlan& filter, const RewardExpression& keep) {
  const NodePlan* judge = stage_node(graph, filter.stage, "judge");
  const std::vector<std::string> scored = judge != nullptr ? scored_names(graph, filter.stage) : std::vector<std::string>();
  for (const std::string& name : keep.variables())
    if (is_program_call(name) && std::find(scored.begin(), scored.end(), name) == scored.end())
      throw bad_input(fmt::format("keep uses {}, which the judge's rewards do not ask", name), attr_place(filter, "keep"),
                      "use it in rewards too, or keep by reward");
}

// A judge without a filter writes its scores, and needs to know when it has all.
void check_written_scores(const GraphView& graph, const NodePlan& judge) {
  if (!writes_scores(graph, judge)) return;
  if (const NodePlan* trainer = stage_trainer(graph, judge.stage))
    throw bad_input(fmt::format("'{}' gives its scores to nobody, but '{}' is to learn in this stage", judge.id, trainer->id),
                    judge.where, fmt::format("a filter between them: {} -> FILTER -> {};", judge.id, trainer->id));
  const NodePlan* prompter = stage_node(graph, judge.stage, "prompter");
  if (prompter == nullptr || prompter->attrs.integer("count") == 0)
    throw bad_input(fmt::format("'{}' writes the scored responses, which need an end: how many prompts are drawn", judge.id),
                    prompter != nullptr ? prompter->where : judge.where, "add count=1000 to the prompter");
}

// The models that the expression of a judge or an evaluator uses.
void check_reward_models(const GraphView& graph, const NodePlan& node) {
  std::set<std::string> seen;
  for (int e : node.in_edges) {
    const EdgePlan& edge = graph.edges[e];
    if (edge.carries != "model") continue;
    if (!edge.attrs.has("as")) {
      if (node.role == "evaluator") continue;  // the model that it evaluates
      throw bad_input("a model that a judge uses needs a name", edge.where, "add [as=NAME] and use NAME in rewards=");
    }
    const std::string name = edge.attrs.text("as");
    const auto& rules = rule_names();
    if (std::find(rules.begin(), rules.end(), name) != rules.end())
      throw bad_input("'" + name + "' is the name of a built-in reward", edge.attrs.where("as"), "choose another name");
    if (!seen.insert(name).second) throw bad_input("two models are named '" + name + "'", edge.attrs.where("as"));
    const NodePlan& from = graph.nodes[edge.from];
    if (!from.artifact && from.attrs.text("objective") != "reward_model")
      throw bad_input("'" + from.id + "' does not train a reward model", edge.where, "objective=reward_model");
  }
}

}  // namespace

bool writes_dataset(const GraphView& graph, const NodePlan& filter) {
  for (int e : filter.out_edges)
    if (graph.edges[e].carries == "dataset") return true;
  return false;
}

std::vector<std::string> other_names(const GraphView& graph, const NodePlan& node) {
  if (node.role == "judge" || node.role == "evaluator") return reward_model_names(graph, node);
  std::vector<std::string> names = {"reward"};
  if (const NodePlan* judge = stage_node(graph, node.stage, "judge"))
    for (const std::string& name : reward_model_names(graph, *judge)) names.push_back(name);
  return names;
}

void check_names(const GraphView& graph, const NodePlan& node, const std::string& attr, const std::vector<std::string>& flags) {
  const Where where = attr_place(node, attr);
  std::vector<std::string> known = other_names(graph, node);
  const auto& rules = rule_names();
  known.insert(known.end(), rules.begin(), rules.end());
  known.insert(known.end(), flags.begin(), flags.end());
  check_variables(RewardExpression::parse(node.attrs.text(attr), where), known, where);
}

RecordKind checked_source_kind(const fs::path& graph_dir, const NodePlan& node, const std::string& source) {
  return placed(node, "source", [&] { return source_kind(located_source(source, graph_dir)); });
}

std::vector<std::string> split_sources(const std::string& text) {
  std::vector<std::string> parts;
  size_t at = 0;
  while (at <= text.size()) {
    const size_t comma = std::min(text.find(',', at), text.size());
    std::string part = text.substr(at, comma - at);
    part.erase(0, part.find_first_not_of(' '));
    part.erase(part.find_last_not_of(' ') + 1);
    if (!part.empty()) parts.push_back(part);
    at = comma + 1;
  }
  return parts;
}

void check_taken(const GraphView& graph, const NodePlan& node, const std::vector<std::string>& what, const char* hint) {
  for (int e : node.out_edges)
    if (std::find(what.begin(), what.end(), graph.edges[static_cast<size_t>(e)].carries) != what.end()) return;
  throw bad_input(fmt::format("nobody takes what '{}' gives: it would work for nothing", node.id), node.where, hint);
}

void check_generator(const GraphView& graph, const NodePlan& node) {
  model_root(graph, node);
  check_taken(graph, node, {"trajectories"}, "an edge to a judge");
  const NodePlan* trainer = stage_trainer(graph, node.stage);
  const bool truncated = node.attrs.number("top_p") < 1 || node.attrs.integer("top_k") > 0;
  if (trainer != nullptr && trainer->attrs.text("objective") == "grpo") {
    if (truncated && !node.attrs.flag("allow_truncated"))
      throw bad_input(
          fmt::format("generator '{}' truncates the distribution (top_p, top_k) that '{}' learns from", node.id, trainer->id),
          node.attrs.where(node.attrs.number("top_p") < 1 ? "top_p" : "top_k"),
          "remove top_p and top_k, or say allow_truncated=true");
    if (node.attrs.number("temperature") <= 0)
      throw bad_input(fmt::format("generator '{}' is greedy: grpo needs samples that differ", node.id),
                      node.attrs.where("temperature"), "temperature=1");
    bool fed = false;
    for (int e : node.in_edges) fed = fed || graph.edges[e].carries == "weights";
    if (!fed)
      throw bad_input(fmt::format("generator '{}' gets no weights from '{}'", node.id, trainer->id), node.where,
                      fmt::format("add: {} -> {} [carries=weights, staleness=1];", trainer->id, node.id));
    if (node.attrs.integer("samples") < 2)
      throw bad_input("grpo compares the samples of a group: one is not enough", node.attrs.where("samples"), "samples=8");
  }
}

void check_judge(const fs::path& graph_dir, const GraphView& graph, const NodePlan& node) {
  const RewardExpression rewards = check_expression(graph_dir, graph, node, "rewards");
  check_overlong(graph, node, rewards);
  check_recorded(rewards, attr_place(node, "rewards"));
  check_judge_programs(graph_dir, graph, node);
  check_written_scores(graph, node);
  check_reward_models(graph, node);
}

void check_filter(const fs::path& graph_dir, const GraphView& graph, const NodePlan& node) {
  bool dataset = false, groups = false;
  for (int e : node.out_edges) {
    dataset = dataset || graph.edges[e].carries == "dataset";
    groups = groups || graph.edges[e].carries == "groups";
  }
  if (dataset == groups)
    throw bad_input(fmt::format("filter '{}' {}", node.id, dataset ? "gives both groups and a dataset" : "leads nowhere"),
                    node.where, "one filter forms batches or writes a dataset");
  const NodePlan* generator = stage_node(graph, node.stage, "generator");
  bool credits = false;
  for (int e : node.out_edges) credits = credits || graph.edges[e].carries == "credits";
  const bool resample = node.attrs.text("fill") == "resample";
  if (resample != credits && generator != nullptr)
    throw bad_input(resample ? "fill=resample has to tell the generator how many more draws it needs"
                             : fmt::format("'{}' has nothing to tell '{}'", node.id, generator->id),
                    resample ? attr_place(node, "fill") : node.where,
                    resample ? fmt::format("add: {} -> {};", node.id, generator->id) : "fill=resample, or remove the edge");
  if (resample && node.attrs.text("order") != "draw")
    throw bad_input("fill=resample fills batches in draw order", attr_place(node, "order"), "order=draw");
  if (resample && (dataset || max_draws_of(node, stage_window(graph, node.stage)) < stage_window(graph, node.stage)))
    throw bad_input(dataset ? "fill=resample is for batches, not for datasets" : "max_draws is below groups_per_batch",
                    attr_place(node, dataset ? "fill" : "max_draws"));
  if (const NodePlan* prompter = stage_node(graph, node.stage, "prompter");
      resample && prompter != nullptr && prompter->attrs.integer("count") > 0)
    throw bad_input(fmt::format("fill=resample draws until its batches are full, but '{}' ends after count={}", prompter->id,
                                prompter->attrs.integer("count")),
                    attr_place(*prompter, "count"), "remove count, or say fill=shrink");
  if (!dataset) return;
  check_kept_programs(graph, node, check_expression(graph_dir, graph, node, "keep"));
  const NodePlan* prompter = stage_node(graph, node.stage, "prompter");
  if (prompter == nullptr || prompter->attrs.integer("count") == 0)
    throw bad_input("a dataset needs an end: how many prompts are drawn for it",
                    prompter != nullptr ? prompter->where : node.where, "add count=1000 to the prompter");
}

// Combinations of grpo's attributes without a meaning (docs/grpo.md).
void check_grpo_attrs(const GraphView& graph, const NodePlan& node) {
  const Attrs& a = node.attrs;
  const auto refuse = [&](const std::string& what, const char* attr, const std::string& hint) {
    throw bad_input(what, attr_place(node, attr), hint);
  };
  const NodePlan* filter = stage_node(graph, node.stage, "filter");
  const bool resamples = filter != nullptr && filter->attrs.text("fill") == "resample";
  const bool sequence = a.text("ratio") == "sequence", cispo = a.text("clip") == "cispo", decoupled = a.flag("decoupled");
  if (sequence && cispo)
    refuse("clip=cispo weighs every token by its own ratio, ratio=sequence has none", "clip", "ratio=token, or clip=ppo");
  if (sequence && a.text("loss_mean") != "sequence")
    refuse(fmt::format("ratio=sequence treats a sequence as one, loss_mean={} does not", a.text("loss_mean")), "loss_mean",
           "loss_mean=sequence");
  if (!decoupled && a.text("behave_above") == "mask")
    refuse("behave_above=mask is about the importance weights of decoupled=true", "behave_above", "add decoupled=true");
  if (!decoupled && a.text("behave_cap") != a.fallback.at("behave_cap"))
    refuse("behave_cap bounds the importance weights of decoupled=true", "behave_cap", "add decoupled=true");
  if (a.text("mean_over") == "all" && resamples)
    refuse("mean_over=all counts the groups with equal rewards, and fill=resample draws others in their place", "mean_over",
           "mean_over=kept");
  if (decoupled && a.number("behave_cap") <= 0)
    refuse("behave_cap=0 leaves no importance weight", "behave_cap", "behave_cap=2");
}

void check_template_name(const NodePlan& node) {
  const std::string name = node.attrs.text("template");
  placed(node, "template", [&] { return name == "auto" ? nullptr : ChatTemplate::named(name); });
}

ModelConfig artifact_config(const fs::path& graph_dir, const NodePlan& model) {
  RunEnv env;
  env.graph_dir = graph_dir;
  return placed(model, model.attrs.has("path") ? "path" : "config", [&] { return origin_config(env, model); });
}

// `attr`: what of `node` asks for the module of its model.
void need_mtp_module(const fs::path& graph_dir, const GraphView& graph, const NodePlan& node, const char* attr) {
  const NodePlan& model = model_root(graph, node);
  if (!artifact_config(graph_dir, model).has_mtp())
    throw bad_input(fmt::format("model '{}' has no multi-token prediction module", model.id), node.attrs.where(attr),
                    "its config.json needs \"model_type\": \"deepseek_v3\" and \"num_nextn_predict_layers\": 1");
}

// A reward model that starts from another one goes on with what that one sees.
void check_sees(const fs::path& graph_dir, const GraphView& graph, const NodePlan& node) {
  const NodePlan& origin = model_origin(graph, node);
  std::string sees;
  if (origin.artifact)
    sees = artifact_config(graph_dir, origin).sees;
  else if (origin.attrs.text("objective") == "reward_model")
    sees = origin.attrs.text("sees");
  if (!sees.empty() && sees != node.attrs.text("sees"))
    throw bad_input(
        fmt::format("'{}' goes on with the reward model '{}', which was trained with sees={}", node.id, origin.id, sees),
        attr_place(node, "sees"), fmt::format("sees={}", sees));
}

// Of a trainer whose `until` may outlast its source: what check_source_lasts() says, for files or for all else.
void check_lasts(const fs::path& graph_dir, const GraphView& graph, const NodePlan& trainer, bool files) {
  const int64_t wanted = parse_until(graph, trainer).batch_limit(), batch = trainer.attrs.integer("batch");
  for (int e : trainer.in_edges) {
    const EdgePlan& edge = graph.edges[e];
    if (wanted == 0 || (edge.carries != "examples" && edge.carries != "pairs")) continue;
    const NodePlan& from = graph.nodes[edge.from];
    int64_t records = from.attrs.integer("count");
    if (files != (records == 0 && source_path(located_source(from.attrs.text("source"), graph_dir)).has_value())) continue;
    if (records == 0)
      records = placed(from, "source", [&] {
        return static_cast<int64_t>(open_source(located_source(from.attrs.text("source"), graph_dir), 0)->size().value_or(0));
      });
    const int64_t batches = (records + batch - 1) / batch;
    if (records == 0 || batches >= wanted) continue;
    throw bad_input(fmt::format("until asks for {} batches, but '{}' gives {} {}: {} batch{} of {}", wanted, from.id, records,
                                edge.carries, batches, batches == 1 ? "" : "es", batch),
                    attr_place(trainer, "until"),
                    fmt::format("epochs={} reads them again and again; until=\"batches({})\" reads them once",
                                (wanted * batch + records - 1) / records, batches));
  }
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

void check_trainer(const fs::path& graph_dir, const GraphView& graph, const NodePlan& node) {
  const std::set<std::string> in = carried_in(graph, node);
  const std::string objective = node.attrs.text("objective");
  const bool finite = node.attrs.integer("epochs") > 0;
  const auto complain = [&](const std::string& what, const std::string& hint) { throw bad_input(what, node.where, hint); };
  model_root(graph, node);
  if (objective == "grpo" && in.count("groups") == 0)
    complain("objective=grpo needs groups", "an edge from a filter or a reference");
  if (objective == "reward_model" && in.count("pairs") == 0)
    complain("objective=reward_model needs pairs", "an edge from a prompter of pairs");
  if ((objective == "sft" || objective == "pretrain") && in.count("examples") + in.count("dataset") == 0)
    complain("objective=" + objective + " needs examples",
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
    if (finite && from.attrs.integer("count") == 0 && !source_path(from.attrs.text("source")))
      throw bad_input(fmt::format("'{}' is endless, so '{}' cannot make epochs of it", from.id, node.id), from.where,
                      "add count=1000");
  }
  if (!finite) check_lasts(graph_dir, graph, node, /*files=*/false);
  if (!finite && live > 1)
    complain("several sources of examples can only be mixed as a finite set", "epochs=1, and count= on each prompter");
  parse_until(graph, node);
  if (const auto facts = stage_facts(graph_dir, graph, node.stage)) check_until_facts(graph, node, *facts);
  if (objective == "grpo") check_grpo_attrs(graph, node);
  if (objective == "reward_model") check_sees(graph_dir, graph, node);
  if (objective == "grpo" && node.attrs.number("kl") > 0 && stage_node(graph, node.stage, "reference") == nullptr)
    throw bad_input("kl > 0 needs a reference", node.attrs.where("kl"),
                    "put a node [role=reference] between filter and trainer");
  if (objective == "grpo")
    if (const NodePlan* prompter = stage_node(graph, node.stage, "prompter"); prompter != nullptr) {
      const int64_t count = prompter->attrs.integer("count"), window = prompter->attrs.integer("groups_per_batch");
      if (count > 0 && count < window)
        throw bad_input("not enough prompts for one batch", attr_place(*prompter, "count"), "count is below groups_per_batch");
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
}

void check_sources_last(const fs::path& graph_dir, const GraphView& graph, const NodePlan& trainer) {
  if (trainer.attrs.integer("epochs") == 0) check_lasts(graph_dir, graph, trainer, /*files=*/true);
}

void check_mtp(const fs::path& graph_dir, const GraphView& graph, const NodePlan& node) {
  if (!node.attrs.flag("mtp")) return;
  if (node.attrs.text("objective") != "pretrain")
    throw bad_input("mtp trains the multi-token prediction module in pre-training only", node.attrs.where("mtp"),
                    "remove mtp=true, or objective=pretrain");
  if (node.attrs.number("mtp_weight") <= 0)
    throw bad_input("mtp=true needs a positive mtp_weight", attr_place(node, "mtp_weight"), "mtp_weight=\"0.3\"");
  need_mtp_module(graph_dir, graph, node, "mtp");
}

void check_draft(const fs::path& graph_dir, const GraphView& graph, const NodePlan& node) {
  if (node.attrs.flag("draft")) need_mtp_module(graph_dir, graph, node, "draft");
}

// Its `rewards`: as a judge's, about the prompts that it asks itself.
static void check_evaluator_rewards(const fs::path& graph_dir, const GraphView& graph, const NodePlan& node) {
  check_reward_models(graph, node);
  if (node.attrs.text("rewards").empty()) {
    if (!reward_model_names(graph, node).empty())
      throw bad_input(fmt::format("'{}' is given models by name, but its `rewards` is empty", node.id), node.where,
                      "add rewards=\"" + reward_model_names(graph, node)[0] + "\"");
    return;
  }
  check_judge_programs(graph_dir, graph, node);
  FactValues facts;
  bool prompts = false;
  for (const std::string& s : split_sources(node.attrs.text("source"))) {
    const std::string source = located_source(s, graph_dir);
    if (checked_source_kind(graph_dir, node, s) != RecordKind::prompt) continue;
    prompts = true;
    if (source_path(source)) return;  // check_data reads it
    for (const auto& [name, values] : placed(node, "source", [&] { return open_source(source, 0)->fact_values(); }))
      facts[name].insert(values.begin(), values.end());
  }
  if (!prompts)
    throw bad_input("rewards are of responses to prompts, and the source gives pairs", attr_place(node, "rewards"),
                    "remove rewards, or add a source of prompts");
  check_names(graph, node, "rewards", flag_names(facts));
}

// Measurements on the way: the trainer that waits for them has to hear of them.
static void check_steering(const GraphView& graph, const NodePlan& node) {
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
    const RecordKind kind = checked_source_kind(graph_dir, node, s);
    if (kind == RecordKind::example)
      throw bad_input("'" + s + "' gives examples; an evaluator needs prompts or pairs", node.attrs.where("source"));
  }
  int models = 0;
  for (int e : node.in_edges) models += graph.edges[e].carries == "model" && !graph.edges[e].attrs.has("as");
  if (models > 1)
    throw bad_input(fmt::format("'{}' is given {} models to evaluate", node.id, models), node.where,
                    "one evaluator a model; those that `rewards` names need [as=NAME]");
  check_evaluator_rewards(graph_dir, graph, node);
  check_steering(graph, node);
}

void check_model_artifact(const fs::path& graph_dir, const NodePlan& node) {
  RunEnv env;
  env.graph_dir = graph_dir;
  check_template_name(node);
  const bool path = node.attrs.has("path"), config = node.attrs.has("config");
  if (path == config)
    throw bad_input(fmt::format("model '{}' {}", node.id, path ? "has both path and config" : "has neither path nor config"),
                    node.where, "path=\"DIR\" for trained weights, config=\"FILE\" for random ones");
  if (config && !node.attrs.has("tokenizer"))
    throw bad_input(fmt::format("model '{}' has no tokenizer", node.id), node.where, "tokenizer=\"tiny\" or a tokenizer.json");
  const ModelConfig c = placed(node, path ? "path" : "config", [&] {
    if (path) check_model_dir(resolve_path(env, node.attrs.text("path")));
    return origin_config(env, node);
  });
  const int32_t vocabulary = placed(node, "tokenizer", [&] {
    GraphView alone;  // the tokenizer of an artifact depends on nothing else
    return node_tokenizer(env, alone, node)->vocab_size();
  });
  if (vocabulary > c.vocab_size)
    throw bad_input(fmt::format("the tokenizer of '{}' has {} ids, the model only {}", node.id, vocabulary, c.vocab_size),
                    node.where, "vocab_size in config.json must cover the tokenizer");
}

void check_dataset_artifact(const fs::path& graph_dir, const NodePlan& node) {
  check_template_name(node);
  RunEnv env;
  env.graph_dir = graph_dir;
  placed(node, "path", [&] { return source_kind("jsonl:" + resolve_path(env, node.attrs.text("path")).string()); });
}

}  // namespace r1
