// What the checks of several roles ask about a graph (P10): each throws bad_input at the place in the graph file. What one role
// alone checks stands beside its spec, in the role's file.
// Thread rule: pure functions but for reading headers of files.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "actors/run_env.h"
#include "rewards/expression.h"
#include "runtime/graph/graph.h"
#include "tasks/source.h"

namespace r1 {

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

// `graph_dir`: where relative paths in the graph start.
RecordKind checked_source_kind(const std::filesystem::path& graph_dir, const NodePlan&, const std::string& source);

using FactValues = std::map<std::string, std::set<std::string>>;
// The facts of the prompts of the stage's sources, and their values; nullopt when a file has to be read for them (check_data
// does).
std::optional<FactValues> stage_facts(const std::filesystem::path& graph_dir, const GraphView&, int stage);

bool writes_dataset(const GraphView&, const NodePlan& filter);
// The names besides rules and facts that the expression of a judge (`rewards`) or a filter (`keep`) may use: models, "reward".
std::vector<std::string> other_names(const GraphView&, const NodePlan& judge_or_filter);
// Throws bad_input, with a suggestion, for a name in the expression `attr` that is none of those, no rule and not in `flags`.
void check_names(const GraphView&, const NodePlan&, const std::string& attr, const std::vector<std::string>& flags);
// The expression, its names checked where the stage's facts are known.
RewardExpression check_expression(const std::filesystem::path& graph_dir, const GraphView&, const NodePlan&,
                                  const std::string& attr);
// Refuses an expression of which no name depends on the completion: all of a prompt would be worth the same. `so`: what is
// lost.
void check_varies(const GraphView&, const NodePlan&, const std::string& attr, const std::string& so);
// The models that the expression of a judge or an evaluator uses: all that it is given.
void check_reward_models(const GraphView&, const NodePlan& judge_or_evaluator);

// Throws bad_input when no edge carries any of `what`, which the node is there for.
void check_taken(const GraphView&, const NodePlan&, const std::vector<std::string>& what, const char* hint);

// Refuses what was said of this node alone and has no effect on it: who says it means something by it. The default, and what is
// meant for whoever can use it (Attr::shared), may stand. `why`: "on a filter that forms batches".
void refuse_without_effect(const NodePlan&, const std::string& attr, const std::string& why, const std::string& hint);
// The same of several, all of them in one message.
void refuse_without_effect(const NodePlan&, const std::vector<std::string>& attrs, const std::string& why,
                           const std::string& hint);

// Of a kind=model node; an error stands at its path or config.
ModelConfig model_config(const std::filesystem::path& graph_dir, const NodePlan& model);
// `attr`: what of `node` asks for the multi-token prediction module of its model.
void need_mtp_module(const std::filesystem::path& graph_dir, const GraphView&, const NodePlan&, const char* attr);

}  // namespace r1
