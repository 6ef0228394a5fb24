// Layered drawing after Sugiyama: longest-path layers, dummy boxes where an edge skips layers, order by medians of neighbours,
// then rows straightened by moving boxes towards their neighbours.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tools/report/chart_frame.h"
#include "tools/report/graph_picture.h"
#include "tools/report/html.h"

namespace r1::report {

namespace {

constexpr double kBoxWidth = 116, kBoxHeight = 52, kSmallHeight = 22, kDummyHeight = 6;
constexpr double kColumn = 146, kRowGap = 16, kMargin = 6;
constexpr int kSweeps = 24, kRowSweeps = 100;

struct Cell {
  int box = -1;  // -1: a dummy, where an edge passes
  int layer = 0;
  double y = 0, height = kDummyHeight;
  std::vector<int> before, after;  // cells of the layer to the left and right
};

class Layout {
 public:
  explicit Layout(const LayeredGraph& graph) : graph_(graph) {
    assign_layers();
    make_cells();
    order_layers();
    assign_rows();
  }

  std::string draw() const {
    std::string edges, boxes;
    for (const auto& route : routes_) edges += edge(route);
    double bottom = 0;
    for (const Cell& cell : cells_) {
      bottom = std::max(bottom, cell.y + cell.height / 2);
      if (cell.box >= 0) boxes += box(cell);
    }
    const double width = static_cast<double>(layers_.size() - 1) * kColumn + kBoxWidth + 2 * kMargin;
    return fmt::format(
        R"(<svg class="stages-picture" viewBox="0 0 {0} {1}" style="min-width:{2:.0f}px;max-width:{0}px" role="img" aria-label="the stages and what flows between them"><defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path class="tip" d="M0 0L8 4L0 8z"/></marker></defs>{3}{4}</svg>)",
        tenth(width), tenth(bottom + kMargin), 0.82 * width, edges, boxes);
  }

 private:
  void assign_layers() {
    const auto n = static_cast<int>(graph_.boxes.size());
    layer_.assign(static_cast<size_t>(n), 0);
    for (int round = 0; round < n; ++round)
      for (const auto& [from, to] : graph_.edges) layer_[to] = std::max(layer_[to], std::min(n, layer_[from] + 1));
    // A box without predecessors stands right before what it feeds.
    for (int b = 0; b < n; ++b) {
      int first = -1;
      bool source = true;
      for (const auto& [from, to] : graph_.edges) {
        if (to == b) source = false;
        if (from == b) first = first < 0 ? layer_[to] : std::min(first, layer_[to]);
      }
      if (source && graph_.boxes[b].small && first > 0) layer_[b] = first - 1;
    }
  }

  void make_cells() {
    layers_.resize(static_cast<size_t>(layer_.empty() ? 1 : *std::max_element(layer_.begin(), layer_.end()) + 1));
    for (size_t b = 0; b < graph_.boxes.size(); ++b) {
      Cell& cell = cells_.emplace_back();
      cell.box = static_cast<int>(b);
      cell.layer = layer_[b];
      cell.height = graph_.boxes[b].small ? kSmallHeight : kBoxHeight;
      layers_[cell.layer].push_back(static_cast<int>(b));
    }
    for (const auto& [from, to] : graph_.edges) {
      std::vector<int> route = {from};
      for (int layer = layer_[from] + 1; layer < layer_[to]; ++layer) {
        const auto dummy = static_cast<int>(cells_.size());
        cells_.emplace_back().layer = layer;
        layers_[layer].push_back(dummy);
        route.push_back(dummy);
      }
      route.push_back(to);
      for (size_t i = 1; i < route.size(); ++i) {
        cells_[route[i - 1]].after.push_back(route[i]);
        cells_[route[i]].before.push_back(route[i - 1]);
      }
      routes_.push_back(std::move(route));
    }
  }

  double mean_y(const std::vector<int>& neighbours, double otherwise) const {
    if (neighbours.empty()) return otherwise;
    double sum = 0;
    for (const int c : neighbours) sum += cells_[c].y;
    return sum / static_cast<double>(neighbours.size());
  }

  void stack(const std::vector<int>& layer) {
    double at = kMargin;
    for (const int c : layer) {
      cells_[c].y = at + cells_[c].height / 2;
      at += cells_[c].height + kRowGap;
    }
  }

  int64_t crossings() const {
    int64_t count = 0;
    for (const auto& layer : layers_)
      for (size_t i = 0; i < layer.size(); ++i)
        for (size_t k = i + 1; k < layer.size(); ++k)
          for (const int a : cells_[layer[i]].after)
            for (const int b : cells_[layer[k]].after) count += cells_[a].y > cells_[b].y;
    return count;
  }

  void order_layers() {
    for (const auto& layer : layers_) stack(layer);
    auto best = layers_;
    int64_t fewest = crossings();
    for (int sweep = 0; sweep < kSweeps && fewest > 0; ++sweep) {
      const bool right = sweep % 2 == 0;
      for (size_t i = 0; i < layers_.size(); ++i) {
        auto& layer = layers_[right ? i : layers_.size() - 1 - i];
        std::vector<std::pair<double, int>> keyed;
        for (const int c : layer) keyed.emplace_back(mean_y(right ? cells_[c].before : cells_[c].after, cells_[c].y), c);
        std::stable_sort(keyed.begin(), keyed.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
        for (size_t k = 0; k < layer.size(); ++k) layer[k] = keyed[k].second;
        stack(layer);
      }
      if (const int64_t now = crossings(); now < fewest) fewest = now, best = layers_;
    }
    layers_ = best;
    for (const auto& layer : layers_) stack(layer);
  }

  // Moves the cells of each layer to the mean of their neighbours, keeping order and distance: overlapping neighbours are
  // merged into blocks that move together (pool adjacent violators).
  void assign_rows() {
    for (int sweep = 0; sweep < kRowSweeps; ++sweep)
      for (size_t i = 0; i < layers_.size(); ++i) align(layers_[sweep % 2 == 0 ? i : layers_.size() - 1 - i]);
    for (const auto& route : routes_) straighten(route);
    double top = INFINITY;
    for (const Cell& cell : cells_) top = std::min(top, cell.y - cell.height / 2);
    for (Cell& cell : cells_) cell.y += kMargin - top;
  }

  void align(const std::vector<int>& layer) {
    struct Block {
      double wanted = 0, weight = 0;  // of the first cell's centre; the sum of what its cells want
      size_t begin = 0, end = 0;
      double at() const { return wanted / weight; }
    };
    std::vector<double> offset(layer.size(), 0);  // of centres, packed without gaps
    for (size_t i = 1; i < layer.size(); ++i)
      offset[i] = offset[i - 1] + (cells_[layer[i - 1]].height + cells_[layer[i]].height) / 2 + kRowGap;
    std::vector<Block> blocks;
    for (size_t i = 0; i < layer.size(); ++i) {
      const Cell& cell = cells_[layer[i]];
      std::vector<int> near = cell.before;
      near.insert(near.end(), cell.after.begin(), cell.after.end());
      // A long edge runs level and bends at its ends: its inner pieces follow each other, not the boxes.
      if (cell.box < 0 && std::any_of(near.begin(), near.end(), [&](int c) { return cells_[c].box < 0; }))
        std::erase_if(near, [&](int c) { return cells_[c].box >= 0; });
      const double weight = cell.box < 0 ? 3 : 1;
      Block block{(mean_y(near, cell.y) - offset[i]) * weight, weight, i, i + 1};
      while (!blocks.empty() && blocks.back().at() > block.at()) {
        block.wanted += blocks.back().wanted;
        block.weight += blocks.back().weight;
        block.begin = blocks.back().begin;
        blocks.pop_back();
      }
      blocks.push_back(block);
    }
    for (const Block& block : blocks)
      for (size_t i = block.begin; i < block.end; ++i) cells_[layer[i]].y = block.at() + offset[i];
  }

  bool is_free(int moved, double y) const {
    for (const int c : layers_[cells_[moved].layer])
      if (c != moved && std::abs(cells_[c].y - y) < (cells_[c].height + cells_[moved].height) / 2 + kRowGap / 3) return false;
    return true;
  }

  // The inner pieces of a long edge on one level, where one of their levels is free in all layers.
  void straighten(const std::vector<int>& route) {
    for (size_t i = 1; i + 1 < route.size(); ++i) {
      const double y = cells_[route[i]].y;
      if (!std::all_of(route.begin() + 1, route.end() - 1, [&](int c) { return is_free(c, y); })) continue;
      for (size_t k = 1; k + 1 < route.size(); ++k) cells_[route[k]].y = y;
      return;
    }
  }

  static double left(const Cell& cell) { return kMargin + cell.layer * kColumn; }

  std::string edge(const std::vector<int>& route) const {
    const Cell& from = cells_[route.front()];
    double x = left(from) + kBoxWidth, y = from.y;
    std::string d = "M" + point(x, y);
    for (size_t i = 1; i < route.size(); ++i) {
      const Cell& to = cells_[route[i]];
      const bool end = i + 1 == route.size();
      const double x2 = left(to), middle = (x + x2) / 2;
      d += fmt::format("C{} {} {}", point(middle, y), point(middle, to.y), point(x2 - (end ? 1 : 0), to.y));
      if (!end) d += fmt::format("H{}", tenth(x2 + kBoxWidth));
      x = x2 + kBoxWidth;
      y = to.y;
    }
    return fmt::format(R"svg(<path class="flow" marker-end="url(#tip)" d="{}"/>)svg", d);
  }

  std::string box(const Cell& cell) const {
    const LayeredBox& b = graph_.boxes[cell.box];
    const double x = left(cell), y = cell.y - cell.height / 2, centre = x + kBoxWidth / 2;
    std::string body = fmt::format(R"(<rect class="box {}" x="{}" y="{}" width="{}" height="{}" rx="{}"/>)", b.css_class,
                                   tenth(x), tenth(y), kBoxWidth, cell.height, b.small ? 11 : 6);
    const auto line = [&](const char* css, double at, const std::string& text) {
      if (!text.empty())
        body += fmt::format(R"(<text class="{}" x="{}" y="{}" text-anchor="middle">{}</text>)", css, tenth(centre),
                            tenth(y + at), escaped(shortened(text, 19)));
    };
    if (b.small) {
      line("box-note", 15, b.title);
    } else {
      line("box-title", 17, b.title);
      line("box-kind", 31, b.subtitle);
      line("box-note", 44, b.note);
    }
    return b.link.empty() ? body : fmt::format(R"(<a href="{}">{}</a>)", escaped(b.link), body);
  }

  const LayeredGraph& graph_;
  std::vector<int> layer_;
  std::vector<Cell> cells_;
  std::vector<std::vector<int>> layers_;
  std::vector<std::vector<int>> routes_;
};

}  // namespace

std::string layered_picture(const LayeredGraph& graph) {
  if (graph.boxes.empty()) return "";
  return Layout(graph).draw();
}

}  // namespace r1::report
