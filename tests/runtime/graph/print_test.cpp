// graph_dot: canonical, stable, valid DOT.
#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>

#include "test_roles.h"

namespace r1 {
namespace {

using test::roles;

void expect_equal(const Attrs& a, const Attrs& b) {
  ASSERT_EQ(a.given.size(), b.given.size());
  for (const auto& [name, attr] : a.given) EXPECT_EQ(attr.value, b.given.at(name).value) << name;
  EXPECT_EQ(a.fallback, b.fallback);
}

void expect_equal(const GraphView& a, const GraphView& b) {
  EXPECT_EQ(a.name, b.name);
  expect_equal(a.attrs, b.attrs);
  ASSERT_EQ(a.nodes.size(), b.nodes.size());
  for (size_t i = 0; i < a.nodes.size(); ++i) {
    EXPECT_EQ(a.nodes[i].id, b.nodes[i].id);
    EXPECT_EQ(a.nodes[i].role, b.nodes[i].role);
    EXPECT_EQ(a.nodes[i].stage, b.nodes[i].stage);
    EXPECT_EQ(a.nodes[i].in_edges, b.nodes[i].in_edges);
    EXPECT_EQ(a.nodes[i].out_edges, b.nodes[i].out_edges);
    expect_equal(a.nodes[i].attrs, b.nodes[i].attrs);
  }
  ASSERT_EQ(a.edges.size(), b.edges.size());
  for (size_t i = 0; i < a.edges.size(); ++i) {
    EXPECT_EQ(a.edge_name(a.edges[i]), b.edge_name(b.edges[i]));
    EXPECT_EQ(a.edges[i].carries, b.edges[i].carries);
    EXPECT_EQ(a.edges[i].crosses, b.edges[i].crosses);
    expect_equal(a.edges[i].attrs, b.edges[i].attrs);
  }
  ASSERT_EQ(a.stages.size(), b.stages.size());
  for (size_t i = 0; i < a.stages.size(); ++i) {
    EXPECT_EQ(a.stages[i].name, b.stages[i].name);
    EXPECT_EQ(a.stages[i].label, b.stages[i].label);
    EXPECT_EQ(a.stages[i].nodes, b.stages[i].nodes);
    EXPECT_EQ(a.stages[i].after, b.stages[i].after);
    expect_equal(a.stages[i].attrs, b.stages[i].attrs);
  }
}

// A random valid graph: stages of several shapes in random order of dependency, values with every awkward character.
std::string random_graph(std::mt19937& random) {
  const auto pick = [&](int n) { return static_cast<int>(random() % n); };
  const auto awkward = [&] {
    static const char* kParts[] = {"a",   "\\\"", "\\\\", "\\n", "\\d", " ",    "{",  "//",
                                   "[x]", "ä",    "->",   ";",   "'",   "\\\n", "\\t"};
    std::string text = "x";
    for (int i = pick(8); i > 0; --i) text += kParts[pick(15)];
    return text;
  };
  const int count = 1 + pick(5);
  std::string text = "digraph " + std::string(pick(2) ? "g" : "\"a name\"") + " {\n";
  if (pick(2)) text += "seed=" + std::to_string(pick(99)) + ";";
  if (pick(2)) text += "max_seconds=\"77\";";
  if (pick(2))
    text += "node [lr=\"0." + std::to_string(1 + pick(9)) + "\"]; edge [capacity=" + std::to_string(1 + pick(9)) + "];";
  if (pick(2)) text += "m [kind=model, path=\"" + awkward() + "\"];";
  const bool model = text.find("kind=model") != std::string::npos;
  for (int s = 0; s < count; ++s) {
    const std::string n = "s" + std::to_string(s);
    text += "subgraph cluster_" + n + " { ";
    if (pick(2)) text += "label=\"" + awkward() + "\"; ";
    if (pick(2)) text += "max_seconds=" + std::to_string(1 + pick(50)) + "; ";
    text += n + "p [role=prompter, source=\"" + awkward() + "\"]; " + n + "g [role=generator, on=\"" + awkward() + "\"]; ";
    text +=
        n + "j [role=judge, rewards=\"" + awkward() + "\"]; " + n + "f [role=filter]; " + n + "t [role=trainer, lr=\".5\"]; ";
    text += n + "p -> " + n + "g -> " + n + "j -> " + n + "f; " + n + "f -> " + n + "t [carries=groups]; ";
    if (pick(2)) text += n + "t -> " + n + "g [staleness=" + std::to_string(pick(4)) + "]; ";
    text += "}\n";
  }
  // A random order without cycles: edges go from a lower to a higher rank.
  std::vector<int> rank(count);
  for (int i = 0; i < count; ++i) rank[i] = i;
  std::shuffle(rank.begin(), rank.end(), random);
  for (int i = 1; i < count; ++i)
    if (pick(3) > 0)
      text += "s" + std::to_string(rank[pick(i)]) + "t -> s" + std::to_string(rank[i]) + "t [carries=weights];\n";
  if (model) text += "m -> s0g;";
  return text + "}";
}

TEST(Print, is_canonical) {
  const std::string text = R"(digraph g { seed=2; m [path="a b", kind=model, color=red];
    subgraph cluster_b { b [role=trainer, lr="3e-4"] } m -> b [carries=weights, staleness=1, color=blue];
    subgraph cluster_a { label="the \"first\""; max_seconds=9; a [role=trainer] } a -> b [label=x, carries=weights]; })";
  RoleRegistry registry = roles();
  for (RoleSpec& role : registry.roles)
    for (PortSpec& port : role.ports) port.many = true;
  EXPECT_EQ(graph_dot(load_graph_text(text, "g", registry), registry, false), R"(digraph g {
  seed=2;
  m [kind=model, path="a b"];
  subgraph cluster_a {
    label="the \"first\"";
    max_seconds=9;
    a [role=trainer];
  }
  subgraph cluster_b {
    b [role=trainer, lr="3e-4"];
  }
  m -> b [carries=weights, staleness=1];
  a -> b [carries=weights];
}
)");
}

TEST(Print, loading_what_was_printed_gives_an_equal_graph_and_the_same_text) {
  const RoleRegistry registry = roles();
  std::vector<std::string> texts = {test::kExample};
  std::mt19937 random(20250123);
  for (int i = 0; i < 200; ++i) texts.push_back(random_graph(random));
  for (const std::string& text : texts) {
    SCOPED_TRACE(text);
    const GraphView first = load_graph_text(text, "g", registry, {parse_override("node.lr=2e-5")});
    const std::string printed = graph_dot(first, registry, false);
    SCOPED_TRACE(printed);
    const GraphView second = load_graph_text(printed, "g", registry);
    expect_equal(first, second);
    EXPECT_EQ(graph_dot(second, registry, false), printed);
    EXPECT_EQ(graph_difference(first, second), std::vector<std::string>{});
    // The drawing is a graph file too, with the same meaning.
    expect_equal(first, load_graph_text(graph_dot(first, registry, true), "g", registry));
    if (testing::Test::HasFailure()) break;
  }
}

TEST(Print, dot_draws_the_printed_and_the_annotated_graph) {
  if (std::system("dot -V > /dev/null 2>&1") != 0) GTEST_SKIP() << "dot (Graphviz) is not installed";
  const RoleRegistry registry = roles();
  std::mt19937 random(7);
  std::vector<std::string> texts = {test::kExample};
  for (int i = 0; i < 5; ++i) texts.push_back(random_graph(random));
  const auto file = std::filesystem::temp_directory_path() / ("r1_print_test_" + std::to_string(::getpid()) + ".dot");
  for (const std::string& text : texts) {
    const GraphView view = load_graph_text(text, "g", registry);
    for (const std::string& dot : {text, graph_dot(view, registry, false), graph_dot(view, registry, true)}) {
      std::ofstream(file) << dot;
      FILE* pipe = ::popen(("dot -Tsvg " + file.string() + " 2>&1").c_str(), "r");
      ASSERT_NE(pipe, nullptr);
      std::string output;
      char buffer[4096];
      while (const size_t n = std::fread(buffer, 1, sizeof buffer, pipe)) output.append(buffer, n);
      const int status = ::pclose(pipe);
      EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << output << dot;
      EXPECT_EQ(output.rfind("<?xml", 0), 0u) << output.substr(0, 300) << dot;  // no warning came before it
      for (const NodePlan& node : view.nodes) EXPECT_NE(output.find(">" + node.id + "<"), std::string::npos) << node.id;
      // DOT sees the same membership as we do: one cluster for each stage.
      size_t clusters = 0;
      for (size_t at = 0; (at = output.find("class=\"cluster\"", at)) != std::string::npos; ++at) ++clusters;
      EXPECT_EQ(clusters, view.stages.size());
    }
  }
  std::filesystem::remove(file);
}

TEST(Print, annotation_shows_roles_attributes_and_payloads) {
  const RoleRegistry registry = roles();
  const std::string dot = graph_dot(load_graph_text(test::kExample, "g", registry), registry, true);
  EXPECT_NE(dot.find("label=\"rl1_policy\\ngenerator\\nsamples = 8\\n"), std::string::npos) << dot;
  EXPECT_NE(dot.find("label=\"staleness=2\""), std::string::npos) << dot;
  EXPECT_NE(dot.find("fontcolor=\"#c0392b\", constraint=false]"), std::string::npos) << dot;  // weights that flow back
  EXPECT_NE(dot.find("label=\"RL stage 1: reasoning\""), std::string::npos) << dot;
  EXPECT_NE(dot.find("style=\"dashed,bold\""), std::string::npos) << dot;
}

TEST(Print, weights_that_flow_onwards_shape_the_layout) {
  const RoleRegistry registry = roles();
  const std::string text = "digraph g { subgraph cluster_a { t [role=trainer]; e [role=evaluator]; t -> e } }";
  const std::string dot = graph_dot(load_graph_text(text, "g", registry), registry, true);
  EXPECT_EQ(dot.find("constraint"), std::string::npos) << dot;
}

}  // namespace
}  // namespace r1
