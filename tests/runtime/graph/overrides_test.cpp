// --set.
#include <gtest/gtest.h>

#include "test_roles.h"

namespace r1 {
namespace {

GraphView with(const std::vector<std::string>& sets) {
  std::vector<Override> overrides;
  for (const std::string& set : sets) overrides.push_back(parse_override(set));
  return load_graph_text(test::kExample, "g", test::roles(), overrides);
}

std::string error_of(const std::string& set) {
  try {
    with({set});
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::bad_input);
    return e.what();
  }
  return "accepted";
}

TEST(Overrides, are_split_at_the_last_dot_before_the_first_equals_sign) {
  const Override o = parse_override("rl1_judge.rewards=a.b = c");
  EXPECT_EQ(o.target, "rl1_judge");
  EXPECT_EQ(o.attr, "rewards");
  EXPECT_EQ(o.value, "a.b = c");
  EXPECT_EQ(parse_override("a->b.capacity=3").target, "a -> b");
}

TEST(Overrides, are_utf8_as_graphs_are) {
  const auto refused = [](const std::string& set) {
    try {
      parse_override(set);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("accepted");
  };
  EXPECT_EQ(refused("base.path=caf\xe9").find("--set base.path=caf\uFFFD: this is not UTF-8"), 0u)
      << refused("base.path=caf\xe9");
  EXPECT_EQ(refused("base.path=caf\u00e9"), "accepted");
}

TEST(Overrides, reach_one_node_a_stage_all_nodes_all_edges_one_edge_or_the_graph) {
  GraphView g = with({"rl1_trainer.lr=1e-5", "graph.seed=3", "edge.staleness=1", "rl1.max_seconds=60", "rl1.temperature=0.5"});
  EXPECT_DOUBLE_EQ(g.node("rl1_trainer")->attrs.number("lr"), 1e-5);
  EXPECT_TRUE(g.node("rl1_trainer")->attrs.given.at("lr").overridden);
  EXPECT_FALSE(g.node("rl1_trainer")->attrs.given.at("kl").overridden);
  EXPECT_EQ(g.attrs.integer("seed"), 3);
  EXPECT_EQ(g.stage("rl1")->attrs.integer("max_seconds"), 60);
  EXPECT_FALSE(g.stage("cold_start")->attrs.has("max_seconds"));
  EXPECT_DOUBLE_EQ(g.node("rl1_policy")->attrs.number("temperature"), 0.5);
  int weights = 0;
  for (const EdgePlan& e : g.edges)
    if (e.attrs.fallback.count("staleness")) {
      ++weights;
      EXPECT_EQ(e.attrs.integer("staleness"), 1);
    }
  EXPECT_EQ(weights, 3);

  g = with({"node.lr=0.5", "rl1_trainer.lr=0.25", "rl1.capacity=7", "rl1_prompts -> rl1_policy.capacity=8"});
  EXPECT_DOUBLE_EQ(g.node("cold_start_trainer")->attrs.number("lr"), 0.5);
  EXPECT_DOUBLE_EQ(g.node("rl1_trainer")->attrs.number("lr"), 0.25);
  for (const EdgePlan& e : g.edges) {
    const std::string name = g.edge_name(e);
    const bool inside = name.rfind("rl1", 0) == 0;
    EXPECT_EQ(e.attrs.integer("capacity"), name == "rl1_prompts -> rl1_policy" ? 8 : inside ? 7 : 4) << name;
  }
}

TEST(Overrides, that_are_wrong_get_one_clear_error) {
  EXPECT_EQ(error_of("seed"),
            "--set seed: there is no '=' (TARGET.ATTR=VALUE; a target is a node, a stage, graph, node or edge)");
  EXPECT_EQ(
      error_of("seed=1"),
      "--set seed=1: there is no '.' before the '=' (TARGET.ATTR=VALUE; a target is a node, a stage, graph, node or edge)");
  EXPECT_EQ(error_of("rl1_trianer.lr=1"),
            "--set rl1_trianer.lr=1: there is no node or stage 'rl1_trianer' in the graph (did you mean 'rl1_trainer'?)");
  EXPECT_EQ(error_of("zebra_crossing.lr=1"),
            "--set zebra_crossing.lr=1: there is no node or stage 'zebra_crossing' in the graph "
            "(a node, graph, node, edge, or one of the stages cold_start and rl1)");
  EXPECT_EQ(error_of("rl1_trainer.unitl=x"),
            "--set rl1_trainer.unitl=x: a trainer has no attribute 'unitl' (did you mean 'until'?)");
  EXPECT_EQ(error_of("edge.stalenes=1"),
            "--set edge.stalenes=1: no edge has an attribute 'stalenes' (did you mean 'staleness'?)");
  EXPECT_EQ(error_of("node.sampels=1"), "--set node.sampels=1: no node has an attribute 'sampels' (did you mean 'samples'?)");
  EXPECT_EQ(error_of("graph.sed=1"), "--set graph.sed=1: the graph has no attribute 'sed' (did you mean 'seed'?)");
  EXPECT_EQ(error_of("rl1.max_second=1"),
            "--set rl1.max_second=1: neither stage 'rl1' nor anything in it has an attribute 'max_second' (did you mean "
            "'max_seconds'?)");
  EXPECT_EQ(error_of("rl1_policy -> rl1_judge.staleness=1"),
            "--set rl1_policy -> rl1_judge.staleness=1: this edge has no attribute 'staleness'");
  EXPECT_EQ(error_of("rl1_policy -> rl1_jduge.capacity=1"),
            "--set rl1_policy -> rl1_jduge.capacity=1: there is no edge 'rl1_policy -> rl1_jduge' in the graph (did you mean "
            "'rl1_policy -> rl1_judge'?)");
  EXPECT_EQ(error_of("rl1_trainer.lr=fast"), "--set rl1_trainer.lr=fast: rl1_trainer.lr must be a number, got 'fast'");
  EXPECT_EQ(error_of("edge.capacity=0"),
            "--set edge.capacity=0: cold_start_data -> cold_start_trainer.capacity must be at least 1, got 0");
  EXPECT_EQ(error_of("rl1_trainer.role=judge"),
            "--set rl1_trainer.role=judge: 'role' is part of the graph's shape (change the graph file)");
}

}  // namespace
}  // namespace r1
