// What contents that nodes fetch are made of, and whom a node is told to ask for one.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/nodes/content.h"
#include "runtime/nodes/content_tree.h"
#include "tests/runtime/nodes/noise.h"

namespace r1 {
namespace {

using test::noise;

TEST(ContentTree, gives_each_node_two_parents_that_came_before_and_two_children) {
  ContentTree tree;
  std::map<PeerId, int> children;
  for (PeerId node = 1; node <= 30; ++node) {
    const std::vector<PeerId> parents = tree.join("x", node, "host");
    EXPECT_EQ(parents.size(), std::min<size_t>(node - 1, 2)) << node;
    for (const PeerId parent : parents) EXPECT_LT(parent, node);
    if (parents.empty()) continue;
    EXPECT_LE(++children[parents[0]], 2);
    EXPECT_TRUE(parents.size() == 1 || parents[0] != parents[1]);
  }
  EXPECT_TRUE(tree.join("x", 7, "host").empty()) << "who asks again has failed with its parents";
  EXPECT_TRUE(tree.join("y", 7, "host").empty()) << "another content";
}

TEST(ContentTree, prefers_parents_of_the_same_host_and_asks_nobody_who_is_lost_cannot_listen_or_has_forgotten) {
  ContentTree tree;
  EXPECT_TRUE(tree.join("x", 1, "a").empty());
  EXPECT_EQ(tree.join("x", 2, "b"), (std::vector<PeerId>{1}));
  EXPECT_EQ(tree.join("x", 3, "b"), (std::vector<PeerId>{2, 1}));
  tree.lost(2);
  EXPECT_EQ(tree.join("x", 4, "b"), (std::vector<PeerId>{3, 1}));
  tree.bar(3);
  EXPECT_EQ(tree.join("x", 5, "b"), (std::vector<PeerId>{4, 1}));
  tree.forget("x");
  EXPECT_TRUE(tree.join("x", 6, "b").empty());
  tree.holds("x", 6, "b");
  EXPECT_EQ(tree.members("x"), (std::vector<PeerId>{6}));
}

TEST(Content, leaves_of_any_frames_are_those_of_their_bytes_in_a_row) {
  Packet packet;
  std::string row;
  for (const size_t bytes : {size_t{100}, size_t{0}, size_t{3} << 20, (size_t{1} << 20) - 100, size_t{5}, size_t{1} << 20}) {
    packet.frames.push_back(noise(bytes, bytes));
    row += packet.frames.back();
  }
  const auto shared = std::make_shared<const Packet>(packet);
  std::string again, hashes;
  for (uint64_t at = 0; at < row.size(); at += kPieceBytesOfContent)
    for (const WireFrame& leaf : leaves_at(shared, at, piece_at(at, row.size()))) {
      EXPECT_EQ(leaf.size(), std::min<uint64_t>(kLeafBytes, row.size() - again.size()));
      again += leaf.bytes();
      hashes += leaf_hash(leaf.bytes());
    }
  EXPECT_EQ(again, row);
  EXPECT_EQ(hashes.size(), leaves_of(row.size()) * kLeafHashBytes);
  std::vector<WireFrame> leaves = leaves_at(shared, kLeafBytes, 2 * kLeafBytes);
  EXPECT_TRUE(are_leaves(leaves, kLeafBytes, hashes));
  EXPECT_FALSE(are_leaves(leaves, 0, hashes)) << "others";
  std::string wrong(leaves[1].bytes());
  wrong[77] ^= 1;
  leaves[1] = WireFrame(wrong);
  EXPECT_FALSE(are_leaves(leaves, kLeafBytes, hashes));
  EXPECT_FALSE(are_leaves(leaves, uint64_t{100} << 20, hashes)) << "beyond the end";
  EXPECT_TRUE(leaves_at(shared, row.size() + kLeafBytes, kLeafBytes).empty());
  EXPECT_EQ(leaves_at(shared, 0, 100 * kLeafBytes).size(), leaves_of(row.size())) << "as far as there are any";
  const std::string hash = content_of(packet).hash;
  std::swap(packet.frames[0], packet.frames[1]);
  EXPECT_NE(content_of(packet).hash, hash) << "where frames end is part of it";
}

}  // namespace
}  // namespace r1
