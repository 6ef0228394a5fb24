// What roles check about a graph before the first actor starts (P10): each throws bad_input at the place in the graph file.
// Thread rule: pure functions but for reading headers of files.
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "runtime/graph/graph.h"
#include "tasks/source.h"

namespace r1 {

// `graph_dir`: where relative paths in the graph start.
RecordKind checked_source_kind(const std::filesystem::path& graph_dir, const NodePlan&, const std::string& source);
std::vector<std::string> split_sources(const std::string& comma_separated);

bool writes_dataset(const GraphView&, const NodePlan& filter);
// The names besides rules and facts that the expression of a judge (`rewards`) or a filter (`keep`) may use: models, "reward".
std::vector<std::string> other_names(const GraphView&, const NodePlan& judge_or_filter);
// Throws bad_input, with a suggestion, for a name in the expression `attr` that is none of those, no rule and not in `flags`.
void check_names(const GraphView&, const NodePlan&, const std::string& attr, const std::vector<std::string>& flags);

// Throws bad_input when no edge carries any of `what`, which the node is there for.
void check_taken(const GraphView&, const NodePlan&, const std::vector<std::string>& what, const char* hint);
void check_generator(const GraphView&, const NodePlan&);
void check_judge(const std::filesystem::path& graph_dir, const GraphView&, const NodePlan&);
void check_filter(const std::filesystem::path& graph_dir, const GraphView&, const NodePlan&);
void check_trainer(const std::filesystem::path& graph_dir, const GraphView&, const NodePlan&);
// A finite source that is read once cannot give more batches than it has; a schedule would not even have moved. check_trainer()
// says so of what is made or has count=, this of files, after their records have been looked at.
void check_sources_last(const std::filesystem::path& graph_dir, const GraphView&, const NodePlan& trainer);
void check_mtp(const std::filesystem::path& graph_dir, const GraphView&, const NodePlan& trainer);
void check_draft(const std::filesystem::path& graph_dir, const GraphView&, const NodePlan& generator);
void check_evaluator(const std::filesystem::path& graph_dir, const GraphView&, const NodePlan&);
void check_model_artifact(const std::filesystem::path& graph_dir, const NodePlan&);
void check_dataset_artifact(const std::filesystem::path& graph_dir, const NodePlan&);

// A condition of `until` on a part that no prompt with these facts has would never be true: bad_input.
using FactValues = std::map<std::string, std::set<std::string>>;
void check_until_facts(const GraphView& graph, const NodePlan& trainer, const FactValues& facts);

}  // namespace r1
