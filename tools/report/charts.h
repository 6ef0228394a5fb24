// Charts as inline SVG: curves over batches, stacked bars over batches, heat maps, dumbbells. They take plain numbers and name
// colours by CSS class (style.h), so that one picture serves light and dark. Not a plotting library.
//
// Every function returns one complete element (<figure> or <svg>); texts given are escaped here. Values that are not finite
// leave gaps. Thread rule: pure functions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/report/run_data.h"

namespace r1::report {

struct Series {
  std::string name;
  std::string colour;  // CSS class of its colour: "c-reward"; see colour_of
  Curve curve;
};

// Smoothed by a triangular window of an eighth of the points, what was measured faint behind; labels at the line's ends.
struct LineChart {
  std::string title;
  std::string note;  // after the title, small: unit or meaning
  std::vector<Series> series;
  std::optional<double> y_min, y_max;                 // else from the data; y_min 0 where the data is near it
  std::vector<std::pair<std::string, double>> rules;  // dashed horizontal lines with a name
  std::string x_name = "batch";
  bool smooth = true;
};
std::string line_chart(const LineChart& chart);  // "" without a point

// Bars over batches, neighbours joined where there are many: what a whole (all series' sum) consists of.
struct StackedChart {
  std::string title, note;
  std::vector<Series> series;  // all with the same x
  std::string x_name = "batch";
};
std::string stacked_chart(const StackedChart& chart);

// Load of experts (rows) over batches (columns), relative to an equal share. cells: [column][row], each column summing to 1.
struct HeatMap {
  std::string title, note;
  std::vector<std::vector<double>> cells;
  std::vector<double> x;
};
std::string heat_map(const HeatMap& map);
std::string heat_legend();

// Before (hollow) and after (filled) on a scale from 0 to `full`; NaN leaves its mark out.
std::string dumbbell(double before, double after, double full, const std::string& colour);

// The colour class of a metric, the same in all charts.
std::string colour_of(const std::string& metric);

// For tests and for callers that draw: the smoothing of line_chart.
std::vector<double> smoothed(const std::vector<double>& y);
// At most `limit` round numbers that cover or lie in [low, high].
std::vector<double> ticks(double low, double high, int limit);

}  // namespace r1::report
