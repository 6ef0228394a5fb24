// The order of stages, and the canonical order of nodes and edges.
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <queue>
#include <set>

#include "runtime/graph/draft.h"

namespace r1::graph {

namespace {

using Dependencies = std::vector<std::set<int>>;  // [stage]: the stages that must be complete first

// A cycle exists among the stages not in `done`: names it, at its last edge in the file.
[[noreturn]] void refuse_cycle(const GraphView& view, const Dependencies& after, const std::vector<bool>& done) {
  // Walking backwards along unfinished dependencies must come back to a stage seen before.
  int at = static_cast<int>(std::find(done.begin(), done.end(), false) - done.begin());
  std::vector<int> path, place(after.size(), -1);  // place[stage]: in the path
  while (place[at] < 0) {
    place[at] = static_cast<int>(path.size());
    path.push_back(at);
    at = *std::find_if(after[at].begin(), after[at].end(), [&](int s) { return !done[s]; });
  }
  path.erase(path.begin(), path.begin() + place[at]);
  std::reverse(path.begin(), path.end());
  std::rotate(path.begin(), std::min_element(path.begin(), path.end()), path.end());
  std::fill(place.begin(), place.end(), -1);
  for (size_t i = 0; i < path.size(); ++i) place[path[i]] = static_cast<int>(i);

  std::string names;
  for (const int s : path) names += view.stages[s].name + " -> ";
  names += view.stages[path[0]].name;
  std::string edges;
  const EdgePlan* last = nullptr;
  for (const EdgePlan& edge : view.edges) {
    const int from = view.nodes[edge.from].stage, to = view.nodes[edge.to].stage;
    if (view.nodes[edge.from].artifact || place[from] < 0 || to != path[(place[from] + 1) % path.size()]) continue;
    edges += fmt::format("{}{} in line {}", edges.empty() ? "" : ", ", view.edge_name(edge), edge.where.line);
    last = &edge;
  }
  throw bad_input("stages wait for each other: " + names, last->where, "remove one of " + edges);
}

// Old indices in their new order, by dependency, ties by order of declaration.
std::vector<int> stage_order(const GraphView& view, const Dependencies& after) {
  const size_t count = view.stages.size();
  std::vector<std::vector<int>> before(count);  // [stage]: those that wait for it
  std::vector<size_t> missing(count);           // [stage]: so many are not complete
  std::priority_queue<int, std::vector<int>, std::greater<>> ready;
  for (size_t s = 0; s < count; ++s) {
    for (const int other : after[s]) before[other].push_back(static_cast<int>(s));
    missing[s] = after[s].size();
    if (missing[s] == 0) ready.push(static_cast<int>(s));
  }
  std::vector<bool> done(count, false);
  std::vector<int> order;
  while (!ready.empty()) {
    const int next = ready.top();
    ready.pop();
    done[next] = true;
    order.push_back(next);
    for (const int waiting : before[next])
      if (--missing[waiting] == 0) ready.push(waiting);
  }
  if (order.size() < count) refuse_cycle(view, after, done);
  return order;
}

std::vector<int> inverse(const std::vector<int>& order) {
  std::vector<int> position(order.size());
  for (size_t i = 0; i < order.size(); ++i) position[order[i]] = static_cast<int>(i);
  return position;
}

template <class T>
std::vector<T> permuted(const std::vector<T>& items, const std::vector<int>& order) {
  std::vector<T> result;
  for (const int i : order) result.push_back(items[i]);
  return result;
}

std::vector<int> sorted_by(size_t count, const std::function<int(int)>& key) {
  std::vector<int> order(count);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return key(a) < key(b); });
  return order;
}

}  // namespace

void arrange(GraphView& view) {
  Dependencies after(view.stages.size());
  for (const EdgePlan& edge : view.edges) {
    const NodePlan &from = view.nodes[edge.from], &to = view.nodes[edge.to];
    if (!from.artifact && from.stage != to.stage) after[to.stage].insert(from.stage);
  }
  const std::vector<int> stages = stage_order(view, after);
  const std::vector<int> stage_position = inverse(stages);
  view.stages = permuted(view.stages, stages);
  for (size_t s = 0; s < stages.size(); ++s) {
    view.stages[s].nodes.clear();
    view.stages[s].after.clear();
    for (const int before : after[stages[s]]) view.stages[s].after.push_back(stage_position[before]);
    std::sort(view.stages[s].after.begin(), view.stages[s].after.end());
  }

  for (NodePlan& node : view.nodes)
    if (node.stage >= 0) node.stage = stage_position[node.stage];
  const std::vector<int> nodes = sorted_by(view.nodes.size(), [&](int n) { return view.nodes[n].stage; });
  const std::vector<int> node_position = inverse(nodes);
  view.nodes = permuted(view.nodes, nodes);
  for (size_t n = 0; n < view.nodes.size(); ++n) {
    NodePlan& node = view.nodes[n];
    node.in_edges.clear();
    node.out_edges.clear();
    if (node.stage >= 0) view.stages[node.stage].nodes.push_back(static_cast<int>(n));
  }

  for (EdgePlan& edge : view.edges) edge.from = node_position[edge.from], edge.to = node_position[edge.to];
  const int last = static_cast<int>(view.stages.size());
  view.edges = permuted(view.edges, sorted_by(view.edges.size(), [&](int e) {
                          const int from = view.nodes[view.edges[e].from].stage, to = view.nodes[view.edges[e].to].stage;
                          return from == to ? from : last;
                        }));
  for (size_t e = 0; e < view.edges.size(); ++e) {
    EdgePlan& edge = view.edges[e];
    edge.index = static_cast<int>(e);
    view.nodes[edge.from].out_edges.push_back(edge.index);
    view.nodes[edge.to].in_edges.push_back(edge.index);
  }
}

}  // namespace r1::graph
