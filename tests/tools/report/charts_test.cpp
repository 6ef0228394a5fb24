// Charts are well-formed whatever they are given, and show what they are told.
#include "tools/report/charts.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <regex>

#include "tests/tools/report/markup.h"
#include "tools/report/graph_picture.h"
#include "tools/report/html.h"

namespace r1::report {
namespace {

const std::string kHostile = "</svg><script>alert('x')</script>&\"\x01\xff";

Curve ramp(int n, double from = 0, double to = 1) {
  Curve c;
  for (int i = 0; i < n; ++i) c.x.push_back(i), c.y.push_back(from + (to - from) * i / std::max(1, n - 1));
  return c;
}

std::vector<double> attribute_values(const std::string& svg, const std::string& pattern) {
  std::vector<double> out;
  const std::regex expression(pattern);
  for (std::sregex_iterator it(svg.begin(), svg.end(), expression), end; it != end; ++it) out.push_back(std::stod((*it)[1]));
  return out;
}

TEST(MarkupCheck, objects_to_what_is_not_well_formed) {
  EXPECT_EQ(markup_complaint("<p class=\"a\">x &lt; y<br><b>z</b></p>"), "");
  for (const char* bad : {"<p>", "</p>", "<p><b></p></b>", "<p a=b></p>", "<p a=\"1\" a=\"2\"></p>", "a < b", "a & b",
                          "<p a=\"<\"></p>", "<p a=\"1\"", "a > b"})
    EXPECT_NE(markup_complaint(bad), "") << bad;
}

TEST(Html, hostile_text_is_escaped) {
  EXPECT_EQ(escaped("<a href=\"x\">&'"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;");
  EXPECT_EQ(escaped("a\x01\n\xff"), "a\xef\xbf\xbd\n\xef\xbf\xbd");
  EXPECT_EQ(escaped("加 减"), "加 减");
}

TEST(Html, numbers_read_as_people_write_them) {
  EXPECT_EQ(number(0), "0");
  EXPECT_EQ(number(2e-4), "2e-4");
  EXPECT_EQ(number(1.55e-5), "1.6e-5");
  EXPECT_EQ(number(0.12345), "0.123");
  EXPECT_EQ(number(123456), "123,456");
  EXPECT_EQ(number(NAN), "–");
  EXPECT_EQ(grouped(-1234567), "-1,234,567");
  EXPECT_EQ(grouped(-123), "-123");
  EXPECT_EQ(count_text(999), "999");
  EXPECT_EQ(count_text(1005295), "1.0M");
  EXPECT_EQ(bytes_text(36000000), "34.3 MiB");
  EXPECT_EQ(duration(480.4), "8 min 00 s");
  EXPECT_EQ(duration(7.04), "7.0 s");
  EXPECT_EQ(duration(59.6), "1 min 00 s");
  EXPECT_EQ(plural(2, "batch"), "2 batches");
  EXPECT_EQ(plural(1, "stage"), "1 stage");
  EXPECT_EQ(utc_time(0), "1970-01-01 00:00 UTC");
  EXPECT_EQ(shortened("加减得进", 3), "加减…");
  EXPECT_EQ(shortened("加减得", 3), "加减得");
}

TEST(LineChart, is_well_formed_for_any_data) {
  const double nan = NAN, huge = 1e300;
  for (const Curve& curve :
       {ramp(1), ramp(2), ramp(20), ramp(300), ramp(5, 3, 3), ramp(5, 0, 0), ramp(5, -2, -2), ramp(9, -1e-9, 1e-9),
        Curve{{0, 1, 2, 3}, {nan, 1, nan, 2}}, Curve{{5, 6}, {nan, 2}}, Curve{{0, 1}, {-huge, huge}}}) {
    const std::string svg =
        line_chart({kHostile, kHostile, {{kHostile, "c-blue", curve}}, {}, {}, {{kHostile, 0.5}}, kHostile});
    EXPECT_EQ(markup_complaint(svg), "") << svg;
    EXPECT_EQ(svg.find("nan"), std::string::npos) << svg;
    EXPECT_EQ(svg.find("inf"), std::string::npos) << svg;
    EXPECT_EQ(svg.find("<script"), std::string::npos);
  }
}

TEST(LineChart, without_a_finite_point_there_is_no_chart) {
  EXPECT_EQ(line_chart({"x", "", {}}), "");
  EXPECT_EQ(line_chart({"x", "", {{"a", "c-blue", {{0, 1}, {NAN, INFINITY}}}}}), "");
}

TEST(LineChart, what_was_not_measured_is_a_gap_and_a_point_between_gaps_is_seen) {
  const std::string svg = line_chart({"x", "", {{"a", "c-blue", {{0, 1, 2, 3, 4, 5}, {1, 2, NAN, 3, NAN, 2}}}}});
  const size_t at = svg.find("data-name=\"a\" d=\"");
  ASSERT_NE(at, std::string::npos);
  const std::string path = svg.substr(at + 17, svg.find('"', at + 17) - at - 17);
  EXPECT_EQ(std::count(path.begin(), path.end(), 'M'), 3) << path;
  EXPECT_EQ(std::count(path.begin(), path.end(), 'L'), 3) << path;
}

TEST(LineChart, labels_never_cover_each_other_and_stay_inside) {
  LineChart chart{"x", "", {}, 0.0, 1.0};
  for (int i = 0; i < 6; ++i)
    chart.series.push_back({"series " + std::to_string(i), "c-blue", ramp(30, 0, 0.999 + 0.0001 * i)});
  const std::string svg = line_chart(chart);
  std::vector<double> y = attribute_values(svg, "class=\"label[^>]* y=\"([0-9.]+)\"");
  ASSERT_EQ(y.size(), 6u);
  std::sort(y.begin(), y.end());
  for (size_t i = 1; i < y.size(); ++i) EXPECT_GE(y[i] - y[i - 1], 12);
  EXPECT_GT(y.front(), 8);
  EXPECT_LT(y.back(), 196);
}

TEST(LineChart, long_curves_stay_small) {
  const std::string svg = line_chart({"loss", "", {{"loss", "c-blue", ramp(100000, 6, 1)}}});
  EXPECT_LT(svg.size(), 12000u);
}

TEST(LineChart, smoothing_keeps_constants_and_gaps_and_lowers_noise) {
  const std::vector<double> constant(50, 2.5);
  for (const double y : smoothed(constant)) EXPECT_NEAR(y, 2.5, 1e-12);
  std::vector<double> noise;
  for (int i = 0; i < 64; ++i) noise.push_back(i % 2 == 0 ? 1 : -1);
  const auto smooth = smoothed(noise);
  for (int i = 8; i < 56; ++i) EXPECT_LT(std::abs(smooth[i]), 0.3);
  // The window by its definition: half width 2 for 40 points.
  std::vector<double> y;
  for (int i = 0; i < 40; ++i) y.push_back(i * i % 7);
  EXPECT_NEAR(smoothed(y)[20], (y[18] + 2 * y[19] + 3 * y[20] + 2 * y[21] + y[22]) / 9, 1e-12);
  EXPECT_NEAR(smoothed(y)[0], (3 * y[0] + 2 * y[1] + y[2]) / 6, 1e-12);
  EXPECT_NEAR(smoothed(y)[39], (3 * y[39] + 2 * y[38] + y[37]) / 6, 1e-12);
  EXPECT_TRUE(std::isnan(smoothed({1, NAN, 3})[1]));
  EXPECT_DOUBLE_EQ(smoothed({1, NAN, 1})[0], 1);
}

TEST(LineChart, ticks_are_round_and_inside) {
  EXPECT_EQ(ticks(0, 1, 5), (std::vector<double>{0, 0.25, 0.5, 0.75, 1}));
  EXPECT_EQ(ticks(0, 2000, 5), (std::vector<double>{0, 500, 1000, 1500, 2000}));
  for (const double t : ticks(-0.37, 0.81, 5)) {
    EXPECT_GE(t, -0.37);
    EXPECT_LE(t, 0.81);
  }
  EXPECT_EQ(ticks(3, 3, 5).size(), 1u);
}

TEST(StackedChart, its_legend_counts_and_its_bars_stand_on_each_other) {
  StackedChart chart{
      kHostile, "", {{"trained", "c-blue", {{0, 1, 2}, {4, 3, 2}}}, {kHostile, "c-orange", {{0, 1, 2}, {0, 1, 2}}}}};
  const std::string svg = stacked_chart(chart);
  EXPECT_EQ(markup_complaint(svg), "") << svg;
  EXPECT_NE(svg.find("trained 9"), std::string::npos) << svg;
  // More batches than bars: the totals are those of all batches.
  chart.series = {{"trained", "c-blue", {}}};
  for (int i = 0; i < 1001; ++i) chart.series[0].curve.x.push_back(i), chart.series[0].curve.y.push_back(3);
  EXPECT_NE(stacked_chart(chart).find("trained 3,003"), std::string::npos);
  EXPECT_EQ(stacked_chart({"x", "", {{"a", "c-blue", {{0, 1}, {0, 0}}}}}), "");
}

TEST(HeatMap, balanced_experts_are_pale_and_a_busy_one_is_not) {
  HeatMap map{"Expert load", "", {}, {}};
  for (int b = 0; b < 10; ++b) map.cells.push_back({0.25, 0.25, 0.25, 0.25}), map.x.push_back(b);
  const std::string balanced = heat_map(map);
  EXPECT_EQ(markup_complaint(balanced), "") << balanced;
  EXPECT_NE(balanced.find("heat h3"), std::string::npos);
  EXPECT_EQ(balanced.find("heat h5"), std::string::npos);
  for (auto& column : map.cells) column = {0.7, 0.2, 0.1, 0.0};
  const std::string skewed = heat_map(map);
  EXPECT_NE(skewed.find("heat h5"), std::string::npos) << skewed;  // 0.7 of 1/4: 2.8 times
  EXPECT_NE(skewed.find("heat h0"), std::string::npos);
  EXPECT_EQ(markup_complaint(heat_legend()), "");
}

TEST(HeatMap, many_experts_and_batches_stay_small) {
  HeatMap map{"Expert load", "", {}, {}};
  for (int b = 0; b < 2000; ++b) {
    std::vector<double> column;
    for (int e = 0; e < 256; ++e) column.push_back(((b * 7 + e * 13) % 11) / (5.0 * 256));
    map.cells.push_back(column);
    map.x.push_back(b);
  }
  const std::string svg = heat_map(map);
  EXPECT_EQ(markup_complaint(svg), "");
  EXPECT_LT(svg.size(), 200000u);
}

TEST(Dumbbell, leaves_out_what_was_not_measured) {
  EXPECT_EQ(markup_complaint(dumbbell(0.2, 0.9, 1, "c-green")), "");
  EXPECT_EQ(dumbbell(NAN, 0.9, 1, "c-green").find("hollow"), std::string::npos);
  EXPECT_EQ(dumbbell(0.2, NAN, 1, "c-green").find("\"dot"), std::string::npos);
}

TEST(LayeredPicture, boxes_do_not_overlap_and_every_edge_is_drawn) {
  LayeredGraph graph;
  for (int i = 0; i < 9; ++i) graph.boxes.push_back({kHostile, "RL", "x", "k-rl", false, "#" + kHostile});
  graph.boxes.push_back({"model", "", "", "k-model", true, ""});
  graph.edges = {{9, 0}, {0, 1}, {1, 2}, {2, 3}, {0, 3}, {0, 4}, {4, 5}, {3, 5}, {5, 6}, {5, 7}, {9, 8}, {8, 7}};
  const std::string svg = layered_picture(graph);
  EXPECT_EQ(markup_complaint(svg), "") << svg;
  const std::string rect = "<rect class=\"box[^>]*";
  const auto x = attribute_values(svg, rect + " x=\"([0-9.]+)\""), y = attribute_values(svg, rect + " y=\"([0-9.]+)\"");
  const auto w = attribute_values(svg, rect + " width=\"([0-9.]+)\""),
             h = attribute_values(svg, rect + " height=\"([0-9.]+)\"");
  ASSERT_EQ(x.size(), 10u);
  for (size_t i = 0; i < x.size(); ++i)
    for (size_t k = i + 1; k < x.size(); ++k)
      EXPECT_TRUE(x[i] + w[i] <= x[k] || x[k] + w[k] <= x[i] || y[i] + h[i] <= y[k] || y[k] + h[k] <= y[i]) << i << " " << k;
  EXPECT_EQ(attribute_values(svg, "class=\"flow\"[^>]* d=\"M([0-9.]+)").size(), graph.edges.size());
  EXPECT_EQ(layered_picture({}), "");
}

TEST(ActorPicture, dots_drawing_takes_on_the_pages_colours) {
  const std::string svg = adapted_svg(
      "<?xml version=\"1.0\"?>\n<!DOCTYPE svg>\n<!-- x > y -->\n<svg width=\"8pt\" xmlns=\"http://www.w3.org/2000/svg\"><g "
      "id=\"node1\" "
      "class=\"node\"><path fill=\"#dbe9f6\" stroke=\"#555555\" d=\"M0 0\"/><path fill=\"none\" stroke=\"#c0392b\" d=\"M0 "
      "0\"/><text "
      "font-family=\"Helvetica,sans-Serif\" fill=\"#c0392b\">a</text></g></svg>\n");
  EXPECT_EQ(markup_complaint(svg), "") << svg;
  EXPECT_NE(svg.find("style=\"fill:var(--role-1);stroke:var(--muted)\""), std::string::npos) << svg;
  EXPECT_NE(svg.find("style=\"fill:none;stroke:var(--red)\""), std::string::npos) << svg;
  EXPECT_EQ(svg.find('#'), std::string::npos) << svg;
  EXPECT_EQ(svg.find("Helvetica"), std::string::npos);
  EXPECT_EQ(adapted_svg("no picture"), "");
}

}  // namespace
}  // namespace r1::report
