// What the charts share: the plot's frame, axes with round ticks, and the mapping from values to the picture.
// Thread rule: values.
#pragma once

#include <string>
#include <vector>

namespace r1::report {

struct Frame {
  static constexpr double kWidth = 360, kHeight = 196;
  static constexpr double kTop = 8, kBottom = 30;
  double left = 34, right = 14;  // margins
  double x_min = 0, x_max = 1, y_min = 0, y_max = 1;

  double plot_width() const { return kWidth - left - right; }
  double plot_height() const { return kHeight - kTop - kBottom; }
  double x(double value) const { return left + (value - x_min) / (x_max - x_min) * plot_width(); }
  double y(double value) const { return kTop + (y_max - value) / (y_max - y_min) * plot_height(); }

  // Widens the left margin until the labels fit. Before anything is placed by x().
  void make_room_for(const std::vector<double>& y_ticks);
  // Grid, tick labels and the axis's name. `y_ticks` may be empty.
  std::string axes(const std::vector<double>& y_ticks, const std::string& x_name) const;
};

std::string tenth(double value);              // "12.3", "12"
std::string point(double x, double y);        // "12.3 45.6"
double label_width(const std::string& text);  // of 11 px text, estimated
// <figure> with its caption around `svg`; `extra` follows the caption (a legend).
std::string figure(const std::string& title, const std::string& note, const std::string& svg, const std::string& extra = "");

}  // namespace r1::report
