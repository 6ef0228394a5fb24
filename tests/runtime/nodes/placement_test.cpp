#include "runtime/nodes/placement.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace r1 {
namespace {

GraphView graph_of(const std::map<std::string, std::string>& attrs) {
  GraphView graph;
  NodePlan node;
  node.id = "policy";
  node.role = "generator";
  for (const auto& [name, value] : attrs) node.attrs.given[name] = {value, {"a.graph", 3, 7}, false};
  graph.nodes.push_back(node);
  return graph;
}

std::vector<FleetEntry> entries() {
  std::vector<FleetEntry> all(4);
  for (size_t i = 0; i < all.size(); ++i) all[i].name = "node" + std::to_string(i + 1);
  all[2].host = all[3].host = "gpu07";
  all[1].tags = {"fast"};
  all[3].tags = {"fast", "big"};
  return all;
}

using Names = std::vector<std::string>;
Names placed(const std::map<std::string, std::string>& attrs) { return place_roles(graph_of(attrs), {0}, entries()).at(0); }

TEST(Placement, is_every_node_unless_host_or_tags_say_otherwise) {
  EXPECT_EQ(placed({}), (Names{"node1", "node2", "node3", "node4"}));
  EXPECT_EQ(placed({{"host", "localhost"}}), (Names{"node1", "node2"}));
  EXPECT_EQ(placed({{"host", "gpu07"}, {"tags", "big"}}), Names{"node4"});
  EXPECT_EQ(placed({{"host", "node3"}}), Names{"node3"});
  EXPECT_EQ(placed({{"tags", "fast"}}), (Names{"node2", "node4"}));
  EXPECT_EQ(placed({{"tags", "big, fast"}}), Names{"node4"});
  EXPECT_EQ(placed({{"replicas", "2"}}).size(), 4u) << "two at a time: others take the place of one that is lost";
  EXPECT_EQ(placement_text(graph_of({{"replicas", "2"}}), {{0, {"node1", "node2", "node3"}}}),
            "policy: 2 of node1, node2, node3\n");
  EXPECT_EQ(placement_text(graph_of({}), {{0, {"node1", "node2"}}}), "policy: node1, node2\n");
}

TEST(Placement, that_no_node_fits_is_bad_input_at_the_attribute) {
  for (const auto& attrs : std::vector<std::map<std::string, std::string>>{
           {{"host", "elsewhere"}}, {{"tags", "huge"}}, {{"replicas", "5"}}, {{"host", "gpu07"}, {"replicas", "3"}}}) {
    try {
      placed(attrs);
      ADD_FAILURE() << attrs.begin()->second;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::bad_input);
      EXPECT_EQ(e.where().str(), "a.graph:3:7") << e.what();
    }
  }
}

}  // namespace
}  // namespace r1
