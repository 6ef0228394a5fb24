// Pictures of a graph as inline SVG that follows the page's colours: the stages as boxes in a layout of our own, and every
// actor and channel drawn by Graphviz's `dot` where that is installed.
// Thread rule: pure functions but for the child process of actor_picture.
#pragma once

#include <string>
#include <vector>

#include "runtime/graph/graph.h"

namespace r1::report {

// A layered graph to draw from left to right. Edges point from lower to higher indices' layers; they must form no cycle.
struct LayeredBox {
  std::string title, subtitle, note;  // three lines
  std::string css_class;
  bool small = false;  // a model file: one line
  std::string link;    // "#stage-rl1"; may be empty
};
struct LayeredGraph {
  std::vector<LayeredBox> boxes;
  std::vector<std::pair<int, int>> edges;
};
std::string layered_picture(const LayeredGraph& graph);

// dot's drawing of graph_dot(annotate); "" when `dot` (a program, looked up in PATH) is missing or fails.
std::string actor_picture(const GraphView& graph, const RoleRegistry& registry, const std::string& dot = "dot");
// dot's SVG made fit to stand in a page: no prologue, colours as CSS variables. For tests.
std::string adapted_svg(const std::string& svg);

}  // namespace r1::report
