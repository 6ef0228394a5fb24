// Graphs that are right: parsing, defaults, types, the order of stages.
#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "test_roles.h"

namespace r1 {
namespace {

using test::kExample;
using test::roles;

GraphView load(const std::string& text) { return load_graph_text(text, "g.graph", roles()); }

std::string stage_names(const GraphView& g) {
  std::string names;
  for (const StagePlan& stage : g.stages) names += (names.empty() ? "" : " ") + stage.name;
  return names;
}

// A stage of one prompter and one trainer.
std::string small_stage(const std::string& name) {
  return "subgraph cluster_" + name + " { " + name + "_p [role=prompter, source=examples]; " + name + "_t [role=trainer]; " +
         name + "_p -> " + name + "_t }\n";
}

TEST(Graph, the_example_of_the_design_is_understood) {
  const GraphView g = load(kExample);
  EXPECT_EQ(g.name, "example");
  EXPECT_EQ(g.file, "g.graph");
  ASSERT_EQ(stage_names(g), "cold_start rl1");
  EXPECT_EQ(g.stages[1].label, "RL stage 1: reasoning");
  EXPECT_EQ(g.stages[1].after, std::vector<int>{0});
  EXPECT_EQ(g.nodes.size(), 8u);
  ASSERT_EQ(g.edges.size(), 9u);

  const NodePlan* trainer = g.node("rl1_trainer");
  ASSERT_NE(trainer, nullptr);
  EXPECT_EQ(trainer->role, "trainer");
  EXPECT_EQ(trainer->stage, 1);
  EXPECT_EQ(trainer->where.str(), "g.graph:14:5");
  EXPECT_DOUBLE_EQ(trainer->attrs.number("lr"), 2e-4);
  EXPECT_DOUBLE_EQ(trainer->attrs.number("kl"), 0.001);
  EXPECT_TRUE(trainer->attrs.flag("exact"));
  EXPECT_EQ(trainer->attrs.where("lr").str(), "g.graph:14:53");
  EXPECT_EQ(trainer->attrs.where("exact").str(), "");
  EXPECT_EQ(g.node("rl1_policy")->attrs.integer("samples"), 8);
  EXPECT_EQ(g.node("rl1_policy")->attrs.text("on_flip"), "recompute");
  EXPECT_FALSE(g.stages[0].attrs.has("max_seconds"));

  std::vector<std::string> edges;
  for (const EdgePlan& e : g.edges) edges.push_back(g.edge_name(e) + " " + e.carries + (e.crosses ? " crosses" : ""));
  EXPECT_EQ(edges, (std::vector<std::string>{
                       "cold_start_data -> cold_start_trainer examples", "rl1_prompts -> rl1_policy prompts",
                       "rl1_policy -> rl1_judge trajectories", "rl1_judge -> rl1_filter scored", "rl1_filter -> rl1_ref groups",
                       "rl1_ref -> rl1_trainer groups", "rl1_trainer -> rl1_policy weights", "rl1_trainer -> rl1_ref weights",
                       "cold_start_trainer -> rl1_trainer weights crosses"}));
  EXPECT_EQ(g.edges[6].attrs.integer("staleness"), 2);
  EXPECT_EQ(g.edges[7].attrs.integer("every"), 400);
  EXPECT_EQ(g.edges[1].attrs.integer("capacity"), 4);
  EXPECT_EQ(g.edges[6].where.str(), "g.graph:17:5");
  for (size_t i = 0; i < g.edges.size(); ++i) {
    EXPECT_EQ(g.edges[i].index, static_cast<int>(i));
    const auto& gives = g.nodes[g.edges[i].from].out_edges;
    EXPECT_EQ(std::count(gives.begin(), gives.end(), static_cast<int>(i)), 1);
  }
  EXPECT_EQ(trainer->in_edges, (std::vector<int>{5, 8}));
}

TEST(Graph, dots_lexical_forms_are_understood) {
  const GraphView g = load(
      "\xef\xbb\xbf# a line for the preprocessor\n"
      "DiGraph \"a graph\" { /* block\n comment */ SUBGRAPH cluster_a {\r\n"
      "p [role=prompter; source=\"tiny\" + \":ex\" + \"amples\" groups_per_batch=4][label=\"x\\ny\", color=red,];\n"
      "\"t\" [role = \"trainer\" lr=.5 until=\"a\\\"b\\\\c\\d\\\n"
      "e\"] p->t // the edge\n"
      "  # or so }\n"
      "} }");
  EXPECT_EQ(g.name, "a graph");
  EXPECT_EQ(g.node("p")->attrs.text("source"), "tiny:examples");
  EXPECT_EQ(g.node("p")->attrs.integer("groups_per_batch"), 4);
  EXPECT_DOUBLE_EQ(g.node("t")->attrs.number("lr"), 0.5);
  EXPECT_EQ(g.node("t")->attrs.text("until"), "a\"b\\c\\de");
}

TEST(Graph, columns_count_code_points) {
  const GraphView g = load("digraph { subgraph cluster_a { /* ä€ */ t [role=trainer] } }");
  EXPECT_EQ(g.node("t")->where.column, 41);
  EXPECT_EQ(g.name, "g.graph");
}

TEST(Graph, defaults_follow_the_scopes_of_dot) {
  const GraphView g = load(R"(digraph {
    seed=7; graph [max_seconds=100];
    node [lr="0.1", temperature=0.5, role=trainer]; edge [capacity=9]
    subgraph cluster_a { max_seconds=5; node [lr="0.2"]; a1 [role=prompter, source=examples]; a2; a1 -> a2; }
    subgraph cluster_b { b1 [role=prompter, source=examples]; b2 [lr="0.3"]; b1 -> b2 [capacity=2]; }
    edge [staleness=3];
    subgraph cluster_c { c0 [role=prompter, source=x]; c1 [role=generator]; c2[role=judge, rewards=a]; c3[role=filter]; c4;
      c0 -> c1 -> c2 -> c3; c3 -> c4 [carries=groups]; c4 -> c1; }
  })");
  EXPECT_EQ(g.attrs.integer("seed"), 7);
  EXPECT_EQ(g.stage("a")->attrs.integer("max_seconds"), 5);
  EXPECT_EQ(g.stage("b")->attrs.integer("max_seconds"), 100);
  EXPECT_DOUBLE_EQ(g.node("a2")->attrs.number("lr"), 0.2);
  EXPECT_DOUBLE_EQ(g.node("b2")->attrs.number("lr"), 0.3);
  EXPECT_DOUBLE_EQ(g.node("c4")->attrs.number("lr"), 0.1);
  EXPECT_DOUBLE_EQ(g.node("c1")->attrs.number("temperature"), 0.5);
  EXPECT_EQ(g.edges[0].attrs.integer("capacity"), 9);
  EXPECT_EQ(g.edges[1].attrs.integer("capacity"), 2);
  for (const EdgePlan& e : g.edges) EXPECT_EQ(e.attrs.has("staleness"), e.carries == "weights") << g.edge_name(e);
}

TEST(Graph, stages_are_ordered_by_their_edges_and_otherwise_as_in_the_file) {
  const std::string all = small_stage("d") + small_stage("c") + small_stage("b") + small_stage("a");
  EXPECT_EQ(stage_names(load("digraph { " + all + "}")), "d c b a");
  const GraphView g = load("digraph { " + all + "a_t -> c_t [carries=weights]; b_t -> d_t [carries=weights]; }");
  EXPECT_EQ(stage_names(g), "b d a c");
  EXPECT_EQ(g.stages[1].after, std::vector<int>{0});
  EXPECT_EQ(g.stages[2].after, std::vector<int>{});
  EXPECT_EQ(g.stages[3].after, std::vector<int>{2});
  EXPECT_EQ(g.nodes[0].id, "b_p");
  EXPECT_EQ(g.nodes[g.stages[3].nodes[1]].id, "c_t");
}

TEST(Graph, artifacts_feed_stages_without_ordering_them) {
  const GraphView g = load(R"(digraph {
    base [kind=model, path="m"];
    subgraph cluster_a {
      rm [kind=model, path="rm"];
      p [role=prompter, source=x]; g [role=generator]; j [role=judge, rewards="accuracy + help"]; f [role=filter]; t [role=trainer];
      p -> g -> j -> f; f -> t [carries=groups]; rm -> j [as=help]; t -> g;
    }
    base -> t; base -> g;
  })");
  EXPECT_EQ(g.nodes[0].id, "base");
  EXPECT_EQ(g.nodes[0].stage, -1);
  EXPECT_TRUE(g.nodes[0].artifact);
  EXPECT_EQ(g.node("rm")->stage, 0);
  for (const EdgePlan& e : g.edges) EXPECT_EQ(e.crosses, g.nodes[e.from].artifact) << g.edge_name(e);
  EXPECT_EQ(g.edges[g.node("rm")->out_edges[0]].carries, "model");
  EXPECT_EQ(g.edges[g.node("rm")->out_edges[0]].attrs.text("as"), "help");
}

TEST(Graph, files_are_loaded_and_missing_ones_are_bad_input) {
  const auto file = std::filesystem::temp_directory_path() / ("r1_graph_test_" + std::to_string(::getpid()) + ".graph");
  std::ofstream(file) << "digraph { " << small_stage("a") << " }";
  EXPECT_EQ(load_graph(file, roles()).name, file.stem().string());
  std::filesystem::remove(file);
  for (const auto& path : {file, std::filesystem::temp_directory_path()}) {
    try {
      load_graph(path, roles());
      FAIL() << path;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::bad_input);
      EXPECT_EQ(e.where().file, path.string());
    }
  }
}

TEST(Graph, roles_are_described_with_ports_attributes_and_defaults) {
  const std::string text = describe_roles(roles());
  for (const char* part :
       {"role=generator  samples completions", "takes prompts (required)", "on_flip      recompute|keep|finish", "kind=dataset",
        "seed ", "(edges that carry weights)", "required"})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
}

}  // namespace
}  // namespace r1
