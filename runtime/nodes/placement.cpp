#include "runtime/nodes/placement.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>
#include <sstream>

#include "base/clipped.h"
#include "base/error.h"

namespace r1 {
namespace {

std::vector<std::string> words_of(const std::string& list) {
  std::vector<std::string> words;
  std::istringstream in(list);
  for (std::string word; std::getline(in, word, ',');) {
    const size_t begin = word.find_first_not_of(' '), end = word.find_last_not_of(' ');
    if (begin != word.npos) words.push_back(word.substr(begin, end - begin + 1));
  }
  return words;
}

std::string text_of(const NodePlan& node, const char* attr) { return node.attrs.has(attr) ? node.attrs.text(attr) : ""; }

Where place_of(const NodePlan& node, const char* attr) {
  return node.attrs.given.count(attr) != 0 ? node.attrs.where(attr) : node.where;
}

std::string host_of(const FleetEntry& entry) { return entry.host.empty() ? "localhost" : entry.host; }

}  // namespace

Placement place_roles(const GraphView& graph, const std::vector<int>& nodes, const std::vector<FleetEntry>& entries) {
  Placement placement;
  for (const int n : nodes) {
    const NodePlan& node = graph.nodes[static_cast<size_t>(n)];
    const std::string host = text_of(node, "host");
    const std::vector<std::string> tags = words_of(text_of(node, "tags"));
    if (tags.empty() && !text_of(node, "tags").empty())
      throw bad_input(fmt::format("'{}' asks for tags='{}', which names none", node.id, clipped(text_of(node, "tags"))),
                      place_of(node, "tags"), "tags=\"big,fast\": nodes that have all of these tags");
    const int64_t replicas = node.attrs.has("replicas") ? node.attrs.integer("replicas") : 0;
    std::vector<std::string>& chosen = placement[n];
    for (const FleetEntry& entry : entries) {
      const bool has_tags = std::all_of(tags.begin(), tags.end(), [&](const std::string& tag) {
        return std::find(entry.tags.begin(), entry.tags.end(), tag) != entry.tags.end();
      });
      const bool fits = (host.empty() || host == host_of(entry) || host == entry.name) && has_tags;
      if (fits) chosen.push_back(entry.name);
    }
    if (chosen.empty())
      throw bad_input(fmt::format("no node of the host file fits '{}', which asks for {}={}", node.id,
                                  host.empty() ? "tags" : "host", clipped(host.empty() ? text_of(node, "tags") : host)),
                      place_of(node, host.empty() ? "tags" : "host"),
                      "host= is a host or node1, node2, ...; tags= are all to be on its line");
    if (static_cast<int64_t>(chosen.size()) < replicas)
      throw bad_input(fmt::format("'{}' asks for {} nodes, and {} fit", node.id, replicas, chosen.size()),
                      place_of(node, "replicas"), "fewer replicas, or more lines in the host file");
  }
  return placement;
}

void refuse_places(const GraphView& graph) {
  std::vector<std::string> asked, node_sets;
  std::set<std::string> sets;
  std::optional<Where> first;
  for (const NodePlan& node : graph.nodes)
    for (const char* attr : {"host", "tags", "replicas"}) {
      const auto given = node.attrs.given.find(attr);
      if (given == node.attrs.given.end() || given->second.value == node.attrs.fallback.at(attr) ||
          given->second.value == "head")
        continue;
      if (!first) first = given->second.where;
      asked.push_back(fmt::format("'{}' asks for {}={}", node.id, attr, clipped(given->second.value)));
      node_sets.push_back(fmt::format("--set {}.{}={}", node.id, attr, node.attrs.fallback.at(attr)));
      sets.insert(fmt::format("--set node.{}={}", attr, node.attrs.fallback.at(attr)));
    }
  if (!first) return;
  constexpr size_t kMostNamed = 6;
  const size_t more = asked.size() - std::min(asked.size(), kMostNamed);
  asked.resize(asked.size() - more);
  throw bad_input(fmt::format("{}{}, and this run has no nodes: all of it would run in this process", fmt::join(asked, ", "),
                              more > 0 ? fmt::format(", {} more places are asked for", more) : ""),
                  *first,
                  fmt::format("--hostfile FILE or --slurm beside it, or {} to do without",
                              node_sets.size() == 1 ? node_sets[0] : fmt::format("{}", fmt::join(sets, " "))));
}

std::string placement_text(const GraphView& graph, const Placement& placement) {
  std::string text;
  for (const auto& [node, names] : placement) {
    const NodePlan& plan = graph.nodes[static_cast<size_t>(node)];
    const int64_t replicas = plan.attrs.has("replicas") ? plan.attrs.integer("replicas") : 0;
    const std::string some = replicas > 0 ? fmt::format("{} of ", replicas) : "";
    text += fmt::format("{}: {}{}\n", plan.id, some, fmt::join(names, ", "));
  }
  return text;
}

}  // namespace r1
