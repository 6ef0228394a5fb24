#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tools/report/chart_frame.h"
#include "tools/report/charts.h"
#include "tools/report/html.h"

namespace r1::report {

namespace {

constexpr size_t kMaxPoints = 150;     // of a drawn line: more than the eye resolves on this width
constexpr size_t kMaxRawPoints = 220;  // beyond it the raw data is drawn as its range
constexpr size_t kSmoothFrom = 12;
constexpr double kLabelGap = 13;  // between the baselines of two labels

struct Range {
  double low = INFINITY, high = -INFINITY;
  void add(double v) {
    if (!std::isfinite(v)) return;
    low = std::min(low, v);
    high = std::max(high, v);
  }
};

// A line through the finite points, every `stride`-th and the last; a gap starts a new piece.
std::string line_path(const Frame& frame, const std::vector<double>& x, const std::vector<double>& y, size_t stride) {
  std::string d, last;
  bool pen_down = false, moved = false;
  const auto lift = [&] {
    if (pen_down && !moved) d += "L" + last;  // a point between two gaps: a line of no length has round ends
    pen_down = moved = false;
  };
  for (size_t i = 0; i < x.size(); ++i) {
    if (i % stride != 0 && i + 1 != x.size()) continue;
    if (!std::isfinite(y[i])) {
      lift();
      continue;
    }
    last = point(frame.x(x[i]), frame.y(y[i]));
    d += (pen_down ? "L" : "M") + last;
    moved = pen_down;
    pen_down = true;
  }
  if (x.size() > 1) lift();
  return d;
}

// The area between the smallest and the largest value of each group of neighbours.
std::string range_path(const Frame& frame, const std::vector<double>& x, const std::vector<double>& y) {
  const size_t group = (y.size() + kMaxPoints - 1) / kMaxPoints;
  std::string up, down;
  for (size_t i = 0; i < y.size(); i += group) {
    Range r;
    for (size_t k = i; k < std::min(i + group, y.size()); ++k) r.add(y[k]);
    if (!(r.low <= r.high)) continue;
    const double at = frame.x(x[std::min(i + group / 2, x.size() - 1)]);
    up += (up.empty() ? "M" : "L") + point(at, frame.y(r.high));
    down = "L" + point(at, frame.y(r.low)) + down;
  }
  return up.empty() ? "" : up + down + "Z";
}

struct Label {
  std::string text, colour;
  double y = 0;
};

// Moves labels apart so that none covers another, keeping their order and as near to their lines as that allows.
void spread(std::vector<Label>& labels, double top, double bottom) {
  std::stable_sort(labels.begin(), labels.end(), [](const Label& a, const Label& b) { return a.y < b.y; });
  for (size_t i = 1; i < labels.size(); ++i) labels[i].y = std::max(labels[i].y, labels[i - 1].y + kLabelGap);
  double limit = bottom;
  for (size_t i = labels.size(); i-- > 0; limit = labels[i].y - kLabelGap) labels[i].y = std::min(labels[i].y, limit);
  limit = top;
  for (Label& label : labels) {
    label.y = std::max(label.y, limit);
    limit = label.y + kLabelGap;
  }
}

// Round bounds around the data; from 0 where the data comes near it.
void choose_scale(Frame& frame, const LineChart& chart, const Range& data) {
  double low = chart.y_min.value_or(data.low), high = chart.y_max.value_or(data.high);
  if (!chart.y_min && low > 0 && low < 0.4 * high) low = 0;
  if (!(high > low)) {
    const double pad = high == 0 ? 1 : std::abs(high) * 0.1;
    if (!chart.y_max) high += pad;
    if (!chart.y_min && low != 0) low -= pad;
    if (!(high > low)) high = low + pad;
  }
  if (!chart.y_max) high += 0.04 * (high - low);
  if (!chart.y_min && low != 0) low -= 0.04 * (high - low);
  frame.y_min = low;
  frame.y_max = high;
}

// Where the line ends: its last finite value.
double last_finite(const std::vector<double>& y) {
  for (size_t i = y.size(); i-- > 0;)
    if (std::isfinite(y[i])) return y[i];
  return NAN;
}

}  // namespace

std::vector<double> smoothed(const std::vector<double>& y) {
  const auto n = static_cast<int64_t>(y.size());
  const int64_t half = std::max<int64_t>(1, n / 16);
  // Running sums up to k of the finite values, of k times them, and the same of ones: so a window costs the same at any width.
  struct Sums {
    double value = 0, moment = 0, count = 0, count_moment = 0;
  };
  std::vector<Sums> sums(y.size() + 1);
  for (int64_t k = 0; k < n; ++k) {
    const double valid = std::isfinite(y[k]) ? 1 : 0, value = valid > 0 ? y[k] : 0, at = static_cast<double>(k);
    const Sums& s = sums[k];
    sums[k + 1] = {s.value + value, s.moment + at * value, s.count + valid, s.count_moment + at * valid};
  }
  std::vector<double> out(y.size(), NAN);
  for (int64_t i = 0; i < n; ++i) {
    if (!std::isfinite(y[i])) continue;
    // Weight half + 1 - |k - i|: rising in [begin, i], falling in (i, end).
    const Sums &begin = sums[std::max<int64_t>(0, i - half)], &middle = sums[i + 1], &end = sums[std::min(n, i + half + 1)];
    const double rise = static_cast<double>(half + 1 - i), fall = static_cast<double>(half + 1 + i);
    const double sum = rise * (middle.value - begin.value) + (middle.moment - begin.moment) +
                       fall * (end.value - middle.value) - (end.moment - middle.moment);
    const double weights = rise * (middle.count - begin.count) + (middle.count_moment - begin.count_moment) +
                           fall * (end.count - middle.count) - (end.count_moment - middle.count_moment);
    out[i] = sum / weights;
  }
  return out;
}

std::string line_chart(const LineChart& chart) {
  Frame frame;
  Range xs, data;
  for (const Series& s : chart.series) {
    for (size_t i = 0; i < s.curve.x.size(); ++i)
      if (std::isfinite(s.curve.y[i])) xs.add(s.curve.x[i]), data.add(s.curve.y[i]);
  }
  if (!(xs.low <= xs.high)) return "";
  for (const auto& [name, value] : chart.rules) data.add(value);
  frame.x_min = xs.low;
  frame.x_max = xs.high > xs.low ? xs.high : xs.low + 1;
  choose_scale(frame, chart, data);

  const std::vector<double> y_ticks = ticks(frame.y_min, frame.y_max, 5);
  frame.make_room_for(y_ticks);

  std::vector<Label> labels;
  std::vector<std::vector<double>> lines;
  for (const Series& s : chart.series) {
    lines.push_back(chart.smooth && s.curve.y.size() >= kSmoothFrom ? smoothed(s.curve.y) : s.curve.y);
    const double end = last_finite(lines.back());
    if (!std::isfinite(end)) continue;
    labels.push_back({chart.series.size() > 1 ? fmt::format("{} {}", s.name, number(end)) : number(end), s.colour, end});
  }
  for (const auto& [name, value] : chart.rules) labels.push_back({name, "c-rule", value});
  for (const Label& label : labels) frame.right = std::max(frame.right, label_width(label.text) + 10);
  for (Label& label : labels) label.y = frame.y(label.y) + 3.5;
  spread(labels, Frame::kTop + 4, Frame::kHeight - Frame::kBottom + 2);

  std::string body = frame.axes(y_ticks, chart.x_name);
  for (const auto& [name, value] : chart.rules)
    body += fmt::format(R"(<path class="rule" d="M{}H{}"/>)", point(frame.left, frame.y(value)),
                        tenth(Frame::kWidth - frame.right));
  for (size_t k = 0; k < chart.series.size(); ++k) {
    const Series& s = chart.series[k];
    const auto& [x, y] = s.curve;
    if (chart.smooth && y.size() >= kSmoothFrom) {
      if (y.size() > kMaxRawPoints)
        body += fmt::format(R"(<path class="range {}" d="{}"/>)", s.colour, range_path(frame, x, y));
      else
        body += fmt::format(R"(<path class="raw {}" d="{}"/>)", s.colour, line_path(frame, x, y, 1));
    }
  }
  for (size_t k = 0; k < chart.series.size(); ++k) {
    const Series& s = chart.series[k];
    const size_t stride = (lines[k].size() + kMaxPoints - 1) / kMaxPoints;
    body += fmt::format(R"(<path class="line {}" data-name="{}" d="{}"/>)", s.colour, escaped(s.name),
                        line_path(frame, s.curve.x, lines[k], std::max<size_t>(1, stride)));
    if (s.curve.x.size() == 1 && std::isfinite(lines[k][0]))
      body += fmt::format(R"(<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="2.5"/>)", s.colour, frame.x(s.curve.x[0]),
                          frame.y(lines[k][0]));
  }
  for (const Label& label : labels)
    body += fmt::format(R"(<text class="label {}" x="{:.1f}" y="{:.1f}">{}</text>)", label.colour,
                        Frame::kWidth - frame.right + 6, label.y, escaped(label.text));
  const std::string svg = fmt::format(
      R"(<svg viewBox="0 0 {} {}" role="img" aria-label="{}" data-plot="{:.1f} {:.1f} {:.1f} {:.1f} {:.6g} {:.6g} {:.6g} {:.6g}">{}</svg>)",
      Frame::kWidth, Frame::kHeight, escaped(chart.title), frame.left, Frame::kTop, frame.plot_width(), frame.plot_height(),
      frame.x_min, frame.x_max, frame.y_min, frame.y_max, body);
  return figure(chart.title, chart.note, svg);
}

}  // namespace r1::report
