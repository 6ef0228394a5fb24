// What the op table's cases do not show of the ops on weight versions: that they are each other's inverse, that damage is
// refused, and that their hashes are those of base/hash.h.
#include <gtest/gtest.h>

#include <cmath>

#include "base/hash.h"
#include "base/rng.h"
#include "kernels/delta_format.h"
#include "kernels/ops.h"
#include "tests/kernels/test_devices.h"

namespace r1::test {
namespace {

template <class Bits>
std::vector<Bits> stepped(const std::vector<Bits>& from, double share, uint64_t ulps, Rng& rng) {
  std::vector<Bits> to = from;
  for (Bits& x : to)
    if (rng.chance(share)) x = static_cast<Bits>(x + rng.below(2 * ulps + 1) - ulps);
  return to;
}

struct Coded {
  std::vector<int32_t> codes, payload;
};
Coded encode(Device& device, const Tensor& previous, const Tensor& next) {
  Context ctx(device);
  const int64_t chunks = (next.view().size() + kDeltaChunk - 1) / kDeltaChunk;
  const Tensor codes(device, DType::i32, {chunks, 2});
  run(ctx, DeltaMeasure{next, previous, codes});
  Coded out{download_as<int32_t>(codes), {}};
  int64_t bytes = 0;
  for (size_t i = 1; i < out.codes.size(); i += 2) bytes += out.codes[i];
  const Tensor payload(device, DType::i32, {(bytes + 3) / 4});
  run(ctx, DeltaEncode{next, previous, codes, payload, View{}});
  out.payload = download_as<int32_t>(payload);
  return out;
}

// The values after, or nothing when a chunk was refused.
template <class Bits>
std::vector<Bits> apply(Device& device, DType dtype, const std::vector<Bits>& previous, const Coded& coded) {
  Context ctx(device);
  const auto chunks = static_cast<int64_t>(coded.codes.size()) / 2;
  const Tensor values = tensor_from(device, dtype, {static_cast<int64_t>(previous.size())}, previous.data());
  const Tensor codes = tensor_from(device, DType::i32, {chunks, 2}, coded.codes.data());
  const Tensor payload = tensor_from(device, DType::i32, {static_cast<int64_t>(coded.payload.size())}, coded.payload.data());
  const Tensor status(device, DType::i32, {chunks});
  run(ctx, DeltaApply{codes, payload, values, status, View{}});
  for (int32_t s : download_as<int32_t>(status))
    if (s != 0) return {};
  return download_as<Bits>(values);
}

template <class Bits>
void round_trips(const std::string& name, DType dtype) {
  Device& device = open_device(name);
  Rng rng(1, "version ops");
  std::vector<Bits> before(kDeltaChunk + 777);
  for (Bits& x : before) x = static_cast<Bits>(rng.bits());
  for (const double share : {0.0, 0.001, 0.03, 0.3, 1.0})
    for (const uint64_t ulps : {1, 90, 60'000}) {
      const std::vector<Bits> after = stepped(before, share, ulps, rng);
      const auto n = static_cast<int64_t>(before.size());
      const Coded coded =
          encode(device, tensor_from(device, dtype, {n}, before.data()), tensor_from(device, dtype, {n}, after.data()));
      EXPECT_EQ(apply(device, dtype, before, coded), after) << name << " " << share << " " << ulps;
    }
}

TEST(VersionOps, what_is_encoded_is_applied_bit_by_bit) {
  for (const std::string& name : every_test_device()) {
    round_trips<uint16_t>(name, DType::bf16);
    round_trips<uint32_t>(name, DType::f32);
  }
}

ChangeSum change_sum(Device& device, const std::vector<uint16_t>& previous, const std::vector<uint16_t>& next, int64_t first) {
  const auto n = static_cast<int64_t>(previous.size()), chunks = (n + kDeltaChunk - 1) / kDeltaChunk;
  const Tensor from = tensor_from(device, DType::bf16, {n}, previous.data());
  const Tensor to = tensor_from(device, DType::bf16, {n}, next.data());
  Context ctx(device);
  const Tensor codes(device, DType::i32, {chunks, 2}), sums(device, DType::i64, {chunks, 2});
  run(ctx, DeltaMeasure{to, from, codes});
  int64_t bytes = 0;
  const std::vector<int32_t> coded = download_as<int32_t>(codes);
  for (size_t i = 1; i < coded.size(); i += 2) bytes += coded[i];
  run(ctx, DeltaEncode{to, from, codes, Tensor(device, DType::i32, {(bytes + 3) / 4}), sums, first});
  ChangeSum sum;
  const std::vector<uint64_t> words = download_as<uint64_t>(sums);
  for (size_t i = 0; i < words.size(); i += 2) sum += {words[i], words[i + 1]};
  return sum;
}

TEST(VersionOps, the_sum_of_changes_depends_on_where_values_began_and_came_to_and_not_on_the_way) {
  Rng rng(4, "sums");
  std::vector<uint16_t> first(kDeltaChunk + 99);
  for (uint16_t& x : first) x = static_cast<uint16_t>(rng.bits());
  const std::vector<uint16_t> second = stepped(first, 0.01, 1, rng), third = stepped(second, 0.6, 300, rng);
  for (const std::string& name : every_test_device()) {
    Device& device = open_device(name);
    ChangeSum by_way = change_sum(device, first, second, 5);
    EXPECT_NE(by_way, ChangeSum{}) << name;
    by_way += change_sum(device, second, third, 5);
    EXPECT_EQ(by_way, change_sum(device, first, third, 5)) << name;
    EXPECT_NE(by_way, change_sum(device, first, third, 6)) << name << ": elsewhere";
    by_way += change_sum(device, third, first, 5);
    EXPECT_EQ(by_way, ChangeSum{}) << name << ": there and back";
  }
}

TEST(VersionOps, damage_is_refused_by_all_kernels_alike_or_harmless) {
  Device &device = open_device(test_devices().back()), &reference = open_device("reference");
  Rng rng(2, "damage");
  std::vector<uint16_t> before(3000);
  for (uint16_t& x : before) x = static_cast<uint16_t>(rng.bits());
  int refused = 0;
  for (const double share : {0.004, 0.4}) {
    const std::vector<uint16_t> after = stepped(before, share, 200, rng);
    const Coded good = encode(device, tensor_from(device, DType::bf16, {3000}, before.data()),
                              tensor_from(device, DType::bf16, {3000}, after.data()));
    for (int i = 0; i < 400; ++i) {
      Coded bad = good;
      if (i % 4 == 0)
        bad.codes[rng.below(2)] = static_cast<int32_t>(rng.below(5'000)) - 500;
      else if (i % 4 == 1)
        bad.payload.resize(rng.below(bad.payload.size() + 1));
      else
        bad.payload[rng.below(bad.payload.size())] ^= static_cast<int32_t>(1u << rng.below(32));
      const auto got = apply(device, DType::bf16, before, bad);
      EXPECT_EQ(got, apply(reference, DType::bf16, before, bad)) << i;
      refused += got.empty();
    }
  }
  EXPECT_GT(refused, 300);
}

TEST(VersionOps, a_hash_is_that_of_the_bytes_on_the_host) {
  Rng rng(3, "hash");
  std::vector<float> x(5000);
  for (float& e : x) e = static_cast<float>(rng.normal());
  x[4321] = INFINITY;
  const std::vector<int64_t> spans = {0, 5000, 17, 17, 4000, 5000, 1, 4321};
  for (const std::string& name : every_test_device()) {
    Device& device = open_device(name);
    Context ctx(device);
    const Tensor on_device = tensor_from(device, DType::f32, {5000}, x.data());
    const Tensor hashes(device, DType::i64, {4, 2}), bad(device, DType::i64, {4});
    run(ctx, HashSpans{tensor_from(device, DType::i64, {4, 2}, spans.data()), on_device, hashes, bad});
    const std::vector<uint64_t> got = download_as<uint64_t>(hashes);
    for (size_t c = 0; c < 4; ++c) {
      const auto begin = static_cast<size_t>(spans[2 * c]), end = static_cast<size_t>(spans[2 * c + 1]);
      const Hash128 want = hash_bytes(x.data() + begin, (end - begin) * sizeof(float));
      EXPECT_EQ(got[2 * c], want.hi) << name << " " << c;
      EXPECT_EQ(got[2 * c + 1], want.lo) << name << " " << c;
    }
    EXPECT_EQ(download_as<int64_t>(bad), (std::vector<int64_t>{4321, -1, 321, -1})) << name;
  }
}

}  // namespace
}  // namespace r1::test
