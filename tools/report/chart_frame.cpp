#include "tools/report/chart_frame.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tools/report/charts.h"
#include "tools/report/html.h"

namespace r1::report {

namespace {

std::string tick_text(double value) {
  if (std::abs(value) >= 1000) return count_text(value);
  return number(value);
}

}  // namespace

std::string tenth(double value) {
  std::string text = fmt::format("{:.1f}", value);
  if (text.ends_with(".0")) text.resize(text.size() - 2);
  return text == "-0" ? "0" : text;
}

std::string point(double x, double y) { return tenth(x) + " " + tenth(y); }

double label_width(const std::string& text) { return 6.9 * static_cast<double>(character_count(text)); }

std::vector<double> ticks(double low, double high, int limit) {
  if (!(high > low) || limit < 2) return {low};
  const double raw = (high - low) / (limit - 1);
  const double magnitude = std::pow(10.0, std::floor(std::log10(raw)));
  double step = 10 * magnitude;
  for (const double factor : {1.0, 2.0, 2.5, 5.0})
    if (factor * magnitude >= raw * (1 - 1e-9)) {
      step = factor * magnitude;
      break;
    }
  std::vector<double> at;
  for (double i = std::ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; ++i) at.push_back(i == 0 ? 0 : i * step);
  return at;
}

void Frame::make_room_for(const std::vector<double>& y_ticks) {
  for (const double t : y_ticks) left = std::max(left, 0.92 * label_width(tick_text(t)) + 8);
}

std::string Frame::axes(const std::vector<double>& y_ticks, const std::string& x_name) const {
  std::string out, labels;
  const double bottom = kHeight - kBottom;
  for (const double t : y_ticks) {
    const double at = y(t);
    out += fmt::format(R"(<path class="grid" d="M{}H{}"/>)", point(left, at), tenth(kWidth - right));
    labels += fmt::format(R"(<text class="tick" x="{}" y="{}" text-anchor="end">{}</text>)", tenth(left - 6), tenth(at + 3.5),
                          escaped(tick_text(t)));
  }
  std::vector<double> x_ticks = ticks(x_min, x_max, 5);
  std::erase_if(x_ticks, [](double t) { return t != std::floor(t); });
  for (const double t : x_ticks) {
    labels += fmt::format(R"(<text class="tick" x="{}" y="{}" text-anchor="middle">{}</text>)", tenth(x(t)), tenth(bottom + 14),
                          escaped(tick_text(t)));
    out += fmt::format(R"(<path class="axis" d="M{}v3"/>)", point(x(t), bottom));
  }
  out += fmt::format(R"(<path class="axis" d="M{}H{}"/>)", point(left, bottom), tenth(kWidth - right));
  labels += fmt::format(R"(<text class="tick" x="{}" y="{}" text-anchor="middle">{}</text>)", tenth(left + plot_width() / 2),
                        tenth(kHeight - 3), escaped(x_name));
  return out + labels;
}

std::string figure(const std::string& title, const std::string& note, const std::string& svg, const std::string& extra) {
  return fmt::format("<figure class=\"chart\"><figcaption><b>{}</b>{}{}</figcaption>{}</figure>\n", escaped(title),
                     note.empty() ? "" : " <span>" + escaped(note) + "</span>", extra, svg);
}

}  // namespace r1::report
