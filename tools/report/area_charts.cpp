#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "tools/report/chart_frame.h"
#include "tools/report/charts.h"
#include "tools/report/html.h"

namespace r1::report {

namespace {

constexpr size_t kMaxBars = 64;
constexpr size_t kMaxColumns = 72, kMaxRows = 64;

// Load over an equal share: below bounds[i] is class i.
constexpr std::array<double, 6> kLoadBounds = {0.25, 0.5, 0.8, 1.25, 2, 4};

size_t load_class(double relative) {
  return static_cast<size_t>(std::upper_bound(kLoadBounds.begin(), kLoadBounds.end(), relative) - kLoadBounds.begin());
}

}  // namespace

std::string stacked_chart(const StackedChart& chart) {
  if (chart.series.empty() || chart.series[0].curve.x.empty()) return "";
  const std::vector<double>& x = chart.series[0].curve.x;
  const size_t group = (x.size() + kMaxBars - 1) / kMaxBars;
  const size_t bars = (x.size() + group - 1) / group;
  std::vector<std::vector<double>> height(bars, std::vector<double>(chart.series.size(), 0));  // mean a batch
  Frame frame;
  frame.y_max = 0;
  for (size_t b = 0; b < bars; ++b) {
    const size_t begin = b * group, end = std::min(begin + group, x.size());
    double sum = 0;
    for (size_t k = 0; k < chart.series.size(); ++k) {
      for (size_t i = begin; i < end; ++i) height[b][k] += chart.series[k].curve.y[i] / static_cast<double>(end - begin);
      sum += height[b][k];
    }
    frame.y_max = std::max(frame.y_max, sum);
  }
  if (frame.y_max <= 0) return "";
  frame.x_min = x.front() - 0.5;
  frame.x_max = x.back() + 0.5;
  const std::vector<double> y_ticks = ticks(0, frame.y_max, 5);
  frame.make_room_for(y_ticks);
  std::string body;
  const double width = frame.plot_width() / static_cast<double>(bars);
  const double gap = width > 4 ? 0.8 : 0;
  std::string legend;
  std::vector<double> base(bars, 0);
  for (size_t k = 0; k < chart.series.size(); ++k) {
    std::string d;
    double total = 0;
    for (const double y : chart.series[k].curve.y) total += y;
    for (size_t b = 0; b < bars; ++b) {
      const double h = height[b][k];
      if (h <= 0) continue;
      const double left = frame.left + static_cast<double>(b) * width;
      d += fmt::format("M{}h{:.1f}V{:.1f}h-{:.1f}z", point(left, frame.y(base[b] + h)), width - gap, frame.y(base[b]),
                       width - gap);
      base[b] += h;
    }
    if (d.empty()) continue;
    body += fmt::format(R"(<path class="fill {}" d="{}"><title>{}</title></path>)", chart.series[k].colour, d,
                        escaped(chart.series[k].name));
    legend += fmt::format(R"(<span class="key {}">{} {}</span> )", chart.series[k].colour, escaped(chart.series[k].name),
                          grouped(static_cast<int64_t>(std::llround(total))));
  }
  body = frame.axes(y_ticks, chart.x_name) + body;
  return figure(chart.title, chart.note,
                fmt::format(R"(<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>)", Frame::kWidth, Frame::kHeight,
                            escaped(chart.title), body),
                "<span class=\"keys\">" + legend + "</span>");
}

std::string heat_map(const HeatMap& map) {
  if (map.cells.empty() || map.cells[0].empty()) return "";
  const size_t experts = map.cells[0].size();
  const size_t column_group = (map.cells.size() + kMaxColumns - 1) / kMaxColumns;
  const size_t columns = (map.cells.size() + column_group - 1) / column_group;
  const size_t row_group = (experts + kMaxRows - 1) / kMaxRows;
  const size_t rows = (experts + row_group - 1) / row_group;
  Frame frame;
  frame.x_min = map.x.front() - 0.5;
  frame.x_max = map.x.back() + 0.5;
  frame.y_min = static_cast<double>(experts);  // expert 0 on top
  frame.y_max = 0;
  std::array<std::string, kLoadBounds.size() + 1> paths;
  const double width = frame.plot_width() / static_cast<double>(columns);
  const double height = frame.plot_height() / static_cast<double>(rows);
  for (size_t r = 0; r < rows; ++r) {
    size_t run_class = 0, run_begin = 0;
    const auto close = [&](size_t end) {
      if (end > run_begin)
        paths[run_class] += fmt::format(
            "M{}h{:.1f}v{:.1f}h-{:.1f}z",
            point(frame.left + static_cast<double>(run_begin) * width, Frame::kTop + static_cast<double>(r) * height),
            static_cast<double>(end - run_begin) * width, height, static_cast<double>(end - run_begin) * width);
      run_begin = end;
    };
    for (size_t c = 0; c < columns; ++c) {
      double sum = 0, cells = 0;
      for (size_t i = c * column_group; i < std::min((c + 1) * column_group, map.cells.size()); ++i)
        for (size_t e = r * row_group; e < std::min((r + 1) * row_group, map.cells[i].size()); ++e)
          sum += map.cells[i][e], ++cells;
      const size_t of = load_class(cells > 0 ? sum / cells * static_cast<double>(experts) : 1);
      if (c == 0 || of != run_class) close(c), run_class = of;
    }
    close(columns);
  }
  std::string body;
  for (size_t k = 0; k < paths.size(); ++k)
    if (!paths[k].empty()) body += fmt::format(R"(<path class="heat h{}" d="{}"/>)", k, paths[k]);
  std::vector<double> at = ticks(0, static_cast<double>(experts - 1), 5);
  std::erase_if(at, [](double t) { return t != std::floor(t); });
  for (const double t : at)
    body += fmt::format(R"(<text class="tick" x="{:.1f}" y="{:.1f}" text-anchor="end">{:.0f}</text>)", frame.left - 6,
                        Frame::kTop + (t + 0.5) / static_cast<double>(experts) * frame.plot_height() + 3.5, t);
  body += frame.axes({}, "batch");
  return figure(map.title, map.note,
                fmt::format(R"(<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>)", Frame::kWidth, Frame::kHeight,
                            escaped(map.title), body));
}

std::string heat_legend() {
  std::string out = R"(<p class="legend">load of an expert over an equal share: )";
  for (size_t k = 0; k <= kLoadBounds.size(); ++k) {
    const std::string text = k == 0                    ? fmt::format("under {:g}", kLoadBounds[0])
                             : k == kLoadBounds.size() ? fmt::format("over {:g}", kLoadBounds.back())
                                                       : fmt::format("{:g}–{:g}", kLoadBounds[k - 1], kLoadBounds[k]);
    out += fmt::format(R"(<span class="swatch"><i class="heat-key h{}"></i>{}</span> )", k, text);
  }
  return out + "</p>\n";
}

std::string dumbbell(double before, double after, double full, const std::string& colour) {
  constexpr double kWidth = 84, kMargin = 5, kY = 6;
  const auto at = [&](double v) { return kMargin + std::clamp(v / full, 0.0, 1.0) * (kWidth - 2 * kMargin); };
  std::string body = fmt::format(R"(<path class="axis" d="M{} {}H{}"/>)", kMargin, kY, kWidth - kMargin);
  if (std::isfinite(before) && std::isfinite(after))
    body += fmt::format(R"(<path class="way {}" d="M{}H{:.1f}"/>)", colour, point(at(before), kY), at(after));
  if (std::isfinite(before))
    body += fmt::format(R"(<circle class="hollow {}" cx="{:.1f}" cy="{}" r="3.2"/>)", colour, at(before), kY);
  if (std::isfinite(after))
    body += fmt::format(R"(<circle class="dot {}" cx="{:.1f}" cy="{}" r="3.7"/>)", colour, at(after), kY);
  return fmt::format(R"(<svg class="dumbbell" viewBox="0 0 {} 12" aria-hidden="true">{}</svg>)", kWidth, body);
}

std::string colour_of(const std::string& metric) {
  static constexpr std::array<std::pair<const char*, const char*>, 12> kColours = {{{"reward", "c-blue"},
                                                                                    {"accuracy", "c-green"},
                                                                                    {"accuracy_greedy", "c-green"},
                                                                                    {"format", "c-orange"},
                                                                                    {"language", "c-purple"},
                                                                                    {"helpful", "c-sky"},
                                                                                    {"harmless", "c-red"},
                                                                                    {"pair_accuracy", "c-green"},
                                                                                    {"length", "c-grey"},
                                                                                    {"kl", "c-red"},
                                                                                    {"entropy", "c-sky"},
                                                                                    {"loss", "c-blue"}}};
  for (const auto& [name, colour] : kColours)
    if (metric == name) return colour;
  return "c-grey";
}

}  // namespace r1::report
