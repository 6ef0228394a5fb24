// The values that links carry.
#include "runtime/net/link.h"

#include <gtest/gtest.h>

#include <set>

namespace r1 {
namespace {

TEST(LinkValues, every_kind_of_packet_has_a_name_of_its_own) {
  std::set<std::string_view> names;
  size_t kinds = 0;
  for (int i = 0; i < 256; ++i) {
    const std::string_view name = packet_kind_name(static_cast<PacketKind>(i));
    if (name.empty()) continue;
    ++kinds;
    names.insert(name);
  }
  EXPECT_EQ(names.size(), kinds);
  EXPECT_EQ(kinds, 39u);
}

TEST(LinkValues, a_frame_is_shared_and_outlives_its_first_holder) {
  WireFrame part;
  {
    const WireFrame whole(std::string("a frame with some bytes in it, too long to lie in the string itself"));
    part = whole.part(2, 5);
    EXPECT_EQ(whole.part(0, 1).bytes().data() + 2, part.bytes().data());
  }
  EXPECT_EQ(part.bytes(), "frame");
  EXPECT_EQ(frame_strings(wire_frames({"", "abc"})), (std::vector<std::string>{"", "abc"}));
}

}  // namespace
}  // namespace r1
