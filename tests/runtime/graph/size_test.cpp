// Graphs far larger than anyone draws: time linear in nodes and edges, and limits where a few bytes would become many.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <ctime>

#include "tests/runtime/graph/test_roles.h"

namespace r1 {
namespace {

const RoleRegistry kRoles = test::roles();

// Two nodes a stage; every stage goes on with the one that is declared behind it, so that the last one has to run first.
std::string chain(int stages) {
  std::string text = "digraph g {\n";
  for (int i = 0; i < stages; ++i)
    text += fmt::format(
        "subgraph cluster_s{0} {{ p{0} [role=prompter, source=\"tiny:examples\"]; t{0} [role=trainer]; p{0} -> t{0}; }}\n", i);
  for (int i = 0; i + 1 < stages; ++i) text += fmt::format("t{} -> t{} [carries=weights];\n", i + 1, i);
  return text + "}\n";
}

double thread_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// Of processor time: to load, to print and to compare a graph of so many nodes, with an attribute set from outside.
double seconds_of(int nodes) {
  const std::string text = chain(nodes / 2);
  const double begin = thread_seconds();
  const GraphView graph = load_graph_text(text, "g", kRoles, {parse_override("s3.lr=0.5"), parse_override("t7.kl=1")});
  EXPECT_EQ(static_cast<int>(graph.nodes.size()), nodes);
  EXPECT_EQ(graph.stages.front().name, fmt::format("s{}", nodes / 2 - 1));
  EXPECT_FALSE(graph_dot(graph, kRoles, false).empty());
  EXPECT_FALSE(graph_dot(graph, kRoles, true).empty());
  EXPECT_TRUE(graph_difference(graph, graph).empty());
  return thread_seconds() - begin;
}

TEST(GraphSize, a_graph_of_50000_nodes_takes_about_ten_times_as_long_as_one_of_5000) {
  const double once = std::min(seconds_of(5'000), seconds_of(5'000));
  const double tenfold = seconds_of(50'000);
  EXPECT_LT(tenfold, 30 * once) << once << " s, then " << tenfold << " s";  // 100 where every node looks at every other one
}

std::string refusal(const std::string& text) {
  try {
    load_graph_text(text, "g", kRoles);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(GraphSize, mistakes_in_large_graphs_are_found_as_fast) {
  const std::string text = chain(25'000);
  const double begin = thread_seconds();
  load_graph_text(text, "g", kRoles);
  const double whole = thread_seconds() - begin;
  const auto with = [&](const std::string& more) { return text.substr(0, text.size() - 2) + more + "}\n"; };
  for (const auto& [more, expected] : {std::pair{"t99 -> traner7 [carries=weights];", "'traner7' is not declared"},
                                       std::pair{"t0 -> t24999 [carries=weights];", "stages wait for each other"},
                                       std::pair{"t1 -> t0 [carries=weights];", "two such edges"}}) {
    const double start = thread_seconds();
    EXPECT_NE(refusal(with(more)).find(expected), std::string::npos) << more;
    EXPECT_LT(thread_seconds() - start, 5 * whole) << more;
  }
}

TEST(GraphSize, a_few_bytes_do_not_become_gigabytes) {
  std::string defaults = "digraph g {\n";
  for (int i = 0; i < 257; ++i) defaults += "node [lr=\"0.1\"];\n";
  EXPECT_NE(refusal(defaults + "}").find("more than 256 defaults in one scope"), std::string::npos);

  std::string long_value =
      fmt::format("digraph g {{\nnode [source=\"{}\"];\nsubgraph cluster_s {{\n", std::string(60'000, 'x'));
  for (int i = 0; i < 10'000; ++i) long_value += fmt::format("p{} [role=prompter];\n", i);
  EXPECT_NE(refusal(long_value + "}}").find("take more than 256 MiB"), std::string::npos);
}

}  // namespace
}  // namespace r1
