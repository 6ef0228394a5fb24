// Coded chunks as planes: what is packed comes back, and bytes that no sender writes are refused with the reason.
#include "models/delta_pack.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"
#include "base/rng.h"
#include "kernels/delta_format.h"

namespace r1 {
namespace {

constexpr int64_t kValues = 4096;
constexpr size_t kPlaneHead = 9;

// One chunk of mode `gaps` with the differences.
CodedChunks chunk(const std::vector<uint8_t>& differences) {
  CodedChunks coded;
  const size_t count = differences.size();
  if (count >= 128) coded.payload.push_back(static_cast<uint8_t>(count | 128));
  coded.payload.push_back(static_cast<uint8_t>(count >= 128 ? count >> 7 : count));
  coded.payload.insert(coded.payload.end(), count, uint8_t{3});
  coded.payload.insert(coded.payload.end(), differences.begin(), differences.end());
  coded.codes = {static_cast<int32_t>(DeltaMode::gaps), static_cast<int32_t>(coded.payload.size())};
  return coded;
}

// Where the plane of differences begins.
size_t second_plane(const std::string& packed) {
  uint32_t stored = 0;
  std::memcpy(&stored, packed.data() + 5, sizeof stored);
  return kPlaneHead + stored;
}

std::string refused(const std::string& packed) {
  try {
    unpack_chunks(packed, kValues, 2);
    return "taken";
  } catch (const Error& e) {
    return e.message();
  }
}

TEST(DeltaPack, differences_of_any_number_and_kind_come_back_and_small_steps_take_two_bits) {
  Rng rng(1, "steps");
  for (const size_t count : {1, 2, 3, 4, 5, 63, 64, 65, 127, 128, 129, 1000})
    for (const double others : {0.0, 0.02, 0.2, 1.0}) {
      std::vector<uint8_t> differences(count);
      size_t large = 0;
      for (uint8_t& z : differences) {
        z = static_cast<uint8_t>(rng.chance(others) ? 4 + rng.below(124) : 1 + rng.below(3));
        large += z > 3;
      }
      const CodedChunks coded = chunk(differences);
      const std::string packed = pack_chunks(coded);
      const CodedChunks back = unpack_chunks(packed, kValues, 2);
      EXPECT_EQ(back.codes, coded.codes) << count;
      EXPECT_EQ(back.payload, coded.payload) << count << " " << others;
      const size_t steps = (count + 3) / 4 + large, second = second_plane(packed);
      if (2 * steps > count) continue;
      EXPECT_EQ(packed[second], 2) << count << " " << others;
      EXPECT_EQ(packed.size(), second + kPlaneHead + steps) << count << " " << others;
    }
}

TEST(DeltaPack, steps_that_no_sender_writes_are_refused) {
  std::vector<uint8_t> differences(70, 1);
  differences[5] = differences[66] = 9;
  const std::string packed = pack_chunks(chunk(differences));
  const size_t second = second_plane(packed), steps = second + kPlaneHead;
  ASSERT_EQ(packed[second], 2);
  const auto with = [&](size_t stored, std::string bytes) {
    const auto size = static_cast<uint32_t>(stored);
    std::memcpy(bytes.data() + second + 5, &size, sizeof size);
    return refused(bytes);
  };
  EXPECT_EQ(refused(packed), "taken");
  EXPECT_NE(with(17, packed.substr(0, steps + 17)).find("steps are cut short"), std::string::npos);
  EXPECT_NE(with(19, packed.substr(0, steps + 19)).find("fewer other steps"), std::string::npos);
  EXPECT_NE(with(21, packed + "x").find("more other steps"), std::string::npos);
  std::string behind = packed;
  behind[steps + 17] = static_cast<char>(behind[steps + 17] | 0x10);  // of the 71st, which there is not
  EXPECT_NE(refused(behind).find("steps behind the last"), std::string::npos);
  std::string unknown = packed;
  unknown[second] = 3;
  EXPECT_NE(refused(unknown).find("a plane of an unknown coding"), std::string::npos);
}

}  // namespace
}  // namespace r1
