#include "runtime/graph/graph.h"

#include "base/json.h"
#include "runtime/graph/draft.h"

namespace r1 {

const NodePlan* GraphView::node(const std::string& id) const {
  for (const NodePlan& node : nodes)
    if (node.id == id) return &node;
  return nullptr;
}

const StagePlan* GraphView::stage(const std::string& name) const {
  for (const StagePlan& stage : stages)
    if (stage.name == name) return &stage;
  return nullptr;
}

std::string GraphView::edge_name(const EdgePlan& edge) const { return nodes[edge.from].id + " -> " + nodes[edge.to].id; }

static GraphView checked_graph(const std::string& text, const std::string& file, const std::string& fallback_name,
                               const RoleRegistry& registry, const std::vector<Override>& overrides) {
  graph::Draft draft = graph::draft_graph(graph::parse_syntax(text, file), file, registry);
  if (draft.view.name.empty()) draft.view.name = fallback_name;
  graph::OverrideSet set(overrides);
  set.apply_to_nodes(draft.view, registry);
  graph::check_nodes(draft, registry);
  graph::connect_edges(draft, registry);
  set.apply_to_edges(draft.view, registry);
  graph::check_edges(draft, registry);
  graph::arrange(draft.view);
  for (const NodePlan& node : draft.view.nodes)
    if (const RoleSpec* spec = registry.find(node.role); spec->check) spec->check(draft.view, node);
  return std::move(draft.view);
}

GraphView load_graph(const std::filesystem::path& file, const RoleRegistry& registry, const std::vector<Override>& overrides) {
  constexpr size_t kMaxGraphBytes = size_t{1} << 24;
  std::error_code error;
  if (!std::filesystem::exists(file, error)) throw bad_input("there is no such file", {file.string()});
  if (std::filesystem::is_directory(file, error)) throw bad_input("this is a directory, not a graph file", {file.string()});
  std::string text;
  try {
    text = read_small_file(file, kMaxGraphBytes);
  } catch (const Error& e) {
    throw bad_input(e.message(), {file.string()});
  }
  return checked_graph(text, file.string(), file.stem().string(), registry, overrides);
}

GraphView load_graph_text(const std::string& text, const std::string& name, const RoleRegistry& registry,
                          const std::vector<Override>& overrides) {
  return checked_graph(text, name, name, registry, overrides);
}

}  // namespace r1
