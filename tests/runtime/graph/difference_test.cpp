#include <gtest/gtest.h>

#include "test_roles.h"

namespace r1 {
namespace {

std::string changed(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

std::vector<std::string> difference(const std::string& text) {
  const RoleRegistry registry = test::roles();
  return graph_difference(load_graph_text(test::kExample, "a", registry), load_graph_text(text, "b", registry));
}

using Lines = std::vector<std::string>;

TEST(Difference, is_empty_for_layout_cosmetics_labels_and_written_out_defaults) {
  std::string text = changed(test::kExample, "RL stage 1", "Stage 2");
  text = changed(text, "[role=reference]", "[role=reference, color=red] /* note */");
  text = changed(text, "samples=8", "on=auto, samples=8");
  text =
      changed(text, "rl1_prompts -> rl1_policy -> rl1_judge", "rl1_policy -> rl1_judge; rl1_prompts -> rl1_policy; rl1_judge");
  EXPECT_EQ(difference(text), Lines{});
}

TEST(Difference, names_attributes_nodes_edges_and_stages) {
  EXPECT_EQ(difference(changed(test::kExample, "lr=\"2e-4\"", "lr=\"1e-4\"")), Lines{"rl1_trainer.lr: 2e-4 -> 1e-4"});
  EXPECT_EQ(difference(changed(test::kExample, "staleness=2", "staleness=0")),
            Lines{"rl1_trainer -> rl1_policy [weights].staleness: 2 -> 0"});
  EXPECT_EQ(difference(changed(test::kExample, "digraph example {", "digraph example { seed=5; max_seconds=9;")),
            (Lines{"graph.seed: 1 -> 5", "cold_start.max_seconds: (none) -> 9", "rl1.max_seconds: (none) -> 9"}));
  std::string text = changed(test::kExample, "rl1_ref     [role=reference];", "");
  text = changed(text, "-> rl1_ref -> rl1_trainer;", "; rl1_filter -> rl1_trainer [carries=groups];");
  text = changed(text, "rl1_trainer -> rl1_ref    [carries=weights, every=400];", "");
  EXPECT_EQ(difference(text),
            (Lines{"node rl1_ref: removed", "edge rl1_filter -> rl1_ref [groups]: removed",
                   "edge rl1_ref -> rl1_trainer [groups]: removed", "edge rl1_trainer -> rl1_ref [weights]: removed",
                   "edge rl1_filter -> rl1_trainer [groups]: added"}));
}

}  // namespace
}  // namespace r1
