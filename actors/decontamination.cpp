#include "actors/decontamination.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/stop.h"

namespace r1 {

namespace {

bool drops(const NodePlan& node) { return node.attrs.text("decontaminate") == "drop"; }

// The sources that a node reads to learn from; none for other nodes.
std::vector<std::string> learned_sources(const RunEnv& env, const NodePlan& node) {
  if (node.role == "prompter") return split_sources(located_source(node.attrs.text("source"), env.graph_dir));
  if (node.role == "dataset") return {"jsonl:" + resolve_path(env, node.attrs.text("path")).string()};
  return {};
}

std::vector<std::string> asked_sources(const RunEnv& env, const NodePlan& node) {
  if (node.role != "evaluator") return {};
  return split_sources(located_source(node.attrs.text("source"), env.graph_dir));
}

bool asks_what_is_learned(const std::string& spec) {
  const auto part = held_out_part(spec);
  return part && !part->test;
}

}  // namespace

std::shared_ptr<const EvaluationGrams> evaluation_grams(const RunEnv& env, const GraphView& graph) {
  std::map<std::string, int64_t> asked;  // source -> how many of it, where it has no end
  for (const NodePlan& node : graph.nodes)
    for (const std::string& spec : asked_sources(env, node)) {
      if (asks_what_is_learned(spec)) continue;
      int64_t& most = asked[spec];
      most = std::max({most, node.attrs.integer("problems"), node.attrs.integer("problems_before")});
    }
  if (asked.empty()) return nullptr;
  auto grams = std::make_shared<EvaluationGrams>();
  for (const auto& [spec, problems] : asked) {
    const auto source = open_source(spec, env.seed, {.in_file_order = true});
    std::vector<std::string> questions;
    const uint64_t n = source->size().value_or(static_cast<uint64_t>(problems));
    for (uint64_t i = 0; i < n; ++i) {
      next_unit();
      try {
        questions.push_back(source->texts(i).at(0));
      } catch (const Error& e) {
        if (e.code() != ExitCode::bad_input) throw;
      }
    }
    grams->add(questions);
  }
  return grams;
}

std::function<bool(const std::vector<std::string>&)> contaminated_texts(const RunEnv& env, const GraphView& graph,
                                                                        const NodePlan& node) {
  if (!drops(node) || (node.role == "prompter" && !reads_files(node.attrs.text("source")))) return {};
  const auto grams = evaluation_grams(env, graph);
  if (grams == nullptr) return {};
  return [grams](const std::vector<std::string>& texts) { return grams->meet(texts); };
}

void check_held_out(const RunEnv& env, const GraphView& graph) {
  std::vector<std::pair<const NodePlan*, std::string>> asked;
  for (const NodePlan& node : graph.nodes)
    for (const std::string& spec : asked_sources(env, node)) asked.emplace_back(&node, spec);
  for (const NodePlan& node : graph.nodes) {
    const std::vector<std::string> learned = learned_sources(env, node);
    if (!learned.empty() && drops(node) && asked.empty())
      throw bad_input("there is nothing to keep apart from: no evaluator in the graph", attr_place(node, "decontaminate"),
                      "decontaminate=report");
    if (node.role == "prompter" && drops(node) && !reads_files(node.attrs.text("source")))
      throw bad_input(fmt::format("'{}' is made, not read from a file: no record of it is compared", node.attrs.text("source")),
                      attr_place(node, "decontaminate"), "decontaminate=report");
    for (const std::string& spec : learned)
      for (const auto& [evaluator, question] : asked) {
        const auto held_out = held_out_part(question);
        if (!held_out || !held_out->test || source_path(spec) != source_path(question)) continue;
        const auto own = held_out_part(spec);
        const bool apart = own && !own->test && own->seed == held_out->seed && own->share >= held_out->share;
        if (apart || (own && own->test)) continue;
        throw bad_input(fmt::format("'{}' reads records of {} that '{}' holds out of it", node.id,
                                    source_path(spec)->filename().string(), evaluator->id),
                        attr_place(node, node.role == "dataset" ? "path" : "source"),
                        node.role == "dataset"
                            ? "a data set is a file whole: read it by a prompter, with split=train"
                            : fmt::format("split=train&held_out={:g}{}", held_out->share,
                                          held_out->seed != 0 ? fmt::format("&split_seed={}", held_out->seed) : ""));
      }
  }
}

}  // namespace r1
