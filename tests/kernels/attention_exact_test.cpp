// Attention gives the same bits packed alone, packed in company, and over KV pages in any layout, admitted in chunks: the
// trainer's forward pass and the generator's are the same numbers.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "kernels/cpu/isa.h"
#include "tests/kernels/op_cases.h"
#include "tests/kernels/test_devices.h"

namespace r1::test {
namespace {

struct Shape4 {
  int64_t hq, hk, d, dv;
};

class AttentionExact : public testing::TestWithParam<std::tuple<std::string, DType, Shape4>> {
 protected:
  Device& device_ = open_device(std::get<0>(GetParam()));
  const DType f_ = std::get<1>(GetParam());
  const Shape4 h_ = std::get<2>(GetParam());
  Context ctx_{device_};
  const float scale_ = 1 / std::sqrt(static_cast<float>(h_.d));

  // o as bytes, [T, Hq, Dv].
  std::vector<std::byte> packed(const View& q, const View& k, const View& v, const std::vector<int64_t>& offsets, bool lse) {
    Buffers b(device_, 0);
    AttentionPacked op{
        q, k, v, b.out(f_, {q.shape[0], h_.hq, h_.dv}), {}, b.ints({static_cast<int64_t>(offsets.size())}, offsets), scale_};
    if (lse) op.lse = b.out(DType::f32, {q.shape[0], h_.hq});
    run(ctx_, op);
    EXPECT_TRUE(b.damage().empty());
    return read_bytes(op.o);
  }
};

// Two keys of weights 1 and e^-0.3125 = .7316, which bf16 rounds to 187/256: values that cancel with that give 0 with rounded
// weights and .0007 with others.
TEST(TileAttention, rounds_softmax_weights_where_the_instruction_set_has_tiles_and_only_there) {
  Device& device = open_device("cpu");
  Context ctx(device);
  Buffers b(device, 0);
  constexpr double kRounded = 187.0 / 256;
  const View q = b.values(DType::bf16, {2, 1, 2}, {1, 0, 1, 0}), k = b.values(DType::bf16, {2, 1, 2}, {0, 0, -0.3125, 0});
  const View v = b.values(DType::bf16, {2, 1, 1}, {-kRounded, 1});
  const AttentionPacked op{q, k, v, b.out(DType::bf16, {2, 1, 1}), {}, b.ints({2}, {0, 2}), 1};
  run(ctx, op);
  const double exact = (std::exp(-0.3125) - kRounded) / (std::exp(-0.3125) + 1);
  EXPECT_NEAR(read_values(op.o)[1], cpu::uses_tiles(cpu::isa()) ? 0 : exact, 1e-5);
}

TEST_P(AttentionExact, the_last_rows_of_a_sequence_have_their_bits_where_they_alone_ask) {
  Buffers b(device_, 22);
  const std::vector<int64_t> offsets = {0, 3, 40, 41, 171};
  const int64_t t = offsets.back(), s_n = static_cast<int64_t>(offsets.size());
  const View q = b.in(f_, {t, h_.hq, h_.d}), k = b.in(f_, {t, h_.hk, h_.d}), v = b.in(f_, {t, h_.hk, h_.dv});
  const auto all = packed(q, k, v, offsets, true);
  const size_t row = all.size() / static_cast<size_t>(t);
  const std::vector<std::vector<int64_t>> asked = {{1, 5, 0, 64}, {0, 24, 1, 99}, {3, 37, 1, 130}};
  for (const std::vector<int64_t>& queries : asked) {
    std::vector<int64_t> rows, query_offsets = {0};
    for (size_t s = 0; s < queries.size(); ++s) {
      for (int64_t i = offsets[s + 1] - queries[s]; i < offsets[s + 1]; ++i) rows.push_back(i);
      query_offsets.push_back(static_cast<int64_t>(rows.size()));
    }
    const auto n = static_cast<int64_t>(rows.size());
    const View some = b.out(f_, {n, h_.hq, h_.d}), o = b.out(f_, {n, h_.hq, h_.dv});
    run(ctx_, GatherRows{q, b.ints({n}, rows), some});
    AttentionPacked op{some, k, v, o, {}, b.ints({s_n}, offsets), scale_, b.ints({s_n}, query_offsets)};
    run(ctx_, op);
    const auto bytes = read_bytes(o);
    for (size_t i = 0; i < rows.size(); ++i)
      EXPECT_EQ(std::memcmp(bytes.data() + i * row, all.data() + static_cast<size_t>(rows[i]) * row, row), 0) << rows[i];
  }
}

TEST_P(AttentionExact, a_sequence_alone_equals_the_sequence_packed_with_others) {
  Buffers b(device_, 21);
  const std::vector<int64_t> offsets = {0, 3, 36, 37, 85, 117};
  const int64_t t = offsets.back();
  const View q = b.in(f_, {t, h_.hq, h_.d}), k = b.in(f_, {t, h_.hk, h_.d}), v = b.in(f_, {t, h_.hk, h_.dv});
  const auto all = packed(q, k, v, offsets, true);
  const size_t row = all.size() / static_cast<size_t>(t);
  for (size_t s = 0; s + 1 < offsets.size(); ++s) {
    const int64_t begin = offsets[s], end = offsets[s + 1];
    const auto alone = packed(q.slice(begin, end), k.slice(begin, end), v.slice(begin, end), {0, end - begin}, false);
    EXPECT_EQ(std::memcmp(alone.data(), all.data() + static_cast<size_t>(begin) * row, alone.size()), 0) << "sequence " << s;
    // A prefix of it: what comes later does not change what came before.
    const int64_t part = (end - begin + 1) / 2;
    const auto prefix =
        packed(q.slice(begin, begin + part), k.slice(begin, begin + part), v.slice(begin, begin + part), {0, part}, false);
    EXPECT_EQ(std::memcmp(prefix.data(), all.data() + static_cast<size_t>(begin) * row, prefix.size()), 0) << "prefix of " << s;
  }
}

TEST_P(AttentionExact, numbers_that_are_not_finite_stay_in_their_sequence) {
  Buffers b(device_, 22);
  const int64_t t = 60, middle = 20, end = 40;
  const auto make = [&](int64_t heads, int64_t width, bool bad) {
    Rng rng(22, std::to_string(heads * width));
    std::vector<double> x;
    for (int64_t i = 0; i < t * heads * width; ++i) {
      const int64_t row = i / (heads * width);
      const double good = rng.normal();
      x.push_back(bad && (row < middle || row >= end) ? std::numeric_limits<double>::quiet_NaN() : good);
    }
    return b.values(f_, {t, heads, width}, x);
  };
  const auto both = [&](bool bad) {
    auto o = packed(make(h_.hq, h_.d, bad), make(h_.hk, h_.d, bad), make(h_.hk, h_.dv, bad), {0, middle, end, t}, true);
    const size_t row = o.size() / static_cast<size_t>(t);
    return std::vector<std::byte>(o.begin() + static_cast<int64_t>(middle * row), o.begin() + static_cast<int64_t>(end * row));
  };
  EXPECT_EQ(both(true), both(false));
}

TEST_P(AttentionExact, pages_in_any_layout_filled_in_chunks_equal_packed) {
  for (uint64_t seed : {1, 2, 3}) {
    Rng rng(seed, "paged against packed");
    Buffers b(device_, seed);
    std::vector<int64_t> lengths, offsets = {0};
    for (int s = 0; s < 5; ++s) lengths.push_back(1 + static_cast<int64_t>(rng.below(70)));
    for (int64_t n : lengths) offsets.push_back(offsets.back() + n);
    const int64_t t = offsets.back(), s_n = static_cast<int64_t>(lengths.size()), width = 6, p_n = 32;
    const View q = b.in(f_, {t, h_.hq, h_.d}), k = b.in(f_, {t, h_.hk, h_.d}), v = b.in(f_, {t, h_.hk, h_.dv});
    const auto expected = packed(q, k, v, offsets, true);
    const size_t row_bytes = expected.size() / static_cast<size_t>(t);

    std::vector<int64_t> pages(p_n), table(static_cast<size_t>(s_n * width), -1);
    std::iota(pages.begin(), pages.end(), 0);
    rng.shuffle(pages);
    const View k_pages = b.out(f_, {p_n, h_.hk, h_.d, kKeyBlock}), v_pages = b.out(f_, {p_n, h_.hk, kKeyBlock, h_.dv});  // NaN
    std::vector<int64_t> done(lengths.size(), 0);
    // Each round a few sequences bring a chunk of rows, interleaved row by row; decoding is a chunk of one.
    while (done != lengths) {
      std::vector<int64_t> seq, pos, row;
      for (int64_t s = 0; s < s_n; ++s) {
        if (rng.chance(0.4)) continue;
        const int64_t n =
            std::min<int64_t>(lengths[s] - done[s], rng.chance(0.5) ? 1 : 1 + static_cast<int64_t>(rng.below(40)));
        for (int64_t i = 0; i < n; ++i) {
          const int64_t p = done[s]++;
          if (p % kKeyBlock == 0) {
            table[static_cast<size_t>(s * width + p / kKeyBlock)] = pages.back();
            pages.pop_back();
          }
          seq.push_back(s), pos.push_back(p), row.push_back(offsets[s] + p);
        }
      }
      std::vector<size_t> order(seq.size());
      std::iota(order.begin(), order.end(), 0);
      rng.shuffle(order);
      const auto n = static_cast<int64_t>(order.size());
      const auto arranged = [&](const std::vector<int64_t>& x) {
        std::vector<int64_t> y;
        for (size_t i : order) y.push_back(x[i]);
        return y;
      };
      Buffers c(device_, 0);
      const auto take = [&](const View& x) {
        View y = c.out(x.dtype, {n, x.shape[1], x.shape[2]});
        const auto all = read_bytes(x);
        const size_t bytes = all.size() / static_cast<size_t>(t);
        std::vector<std::byte> chosen;
        for (int64_t r : arranged(row))
          chosen.insert(chosen.end(), all.begin() + r * static_cast<int64_t>(bytes),
                        all.begin() + (r + 1) * static_cast<int64_t>(bytes));
        write_bytes(y, chosen);
        return y;
      };
      const View page_table = c.ints({s_n, width}, table), row_seq = c.ints({n}, arranged(seq)),
                 row_pos = c.ints({n}, arranged(pos));
      run(ctx_, KvWrite{take(k), take(v), k_pages, v_pages, page_table, row_seq, row_pos});
      const View o = c.out(f_, {n, h_.hq, h_.dv});
      run(ctx_, AttentionPaged{take(q), k_pages, v_pages, o, page_table, row_seq, row_pos, scale_});
      const auto got = read_bytes(o);
      const auto rows = arranged(row);
      for (size_t i = 0; i < rows.size(); ++i)
        ASSERT_EQ(
            std::memcmp(got.data() + i * row_bytes, expected.data() + static_cast<size_t>(rows[i]) * row_bytes, row_bytes), 0)
            << "seed " << seed << " sequence " << arranged(seq)[i] << " position " << arranged(pos)[i] << " in a batch of "
            << n;
    }
  }
}

// Long enough for what a device may do in parts: a row alone, a batch of a few, a whole prompt in order.
class LongAttentionExact : public AttentionExact {};

TEST_P(LongAttentionExact, a_row_of_a_long_sequence_has_its_bits_in_a_batch_of_any_size) {
  Buffers b(device_, 31);
  const int64_t t = 600, width = 40;
  // Large values that cancel, under weights that are nearly equal: what is left of them in a row's sum shows every other order
  // of addition, which bf16 would hide.
  Rng rng(31, "pages");
  std::vector<double> values, queries;
  for (int64_t i = 0; i < t * h_.hk * h_.dv; ++i) {
    const int64_t block = i / (h_.hk * h_.dv) / 256;
    values.push_back(rng.normal() + (block == 0 ? 64 : block == 1 ? -64 : 0));
  }
  for (int64_t i = 0; i < t * h_.hq * h_.d; ++i) queries.push_back(rng.normal() / 32);
  const View q = b.values(f_, {t, h_.hq, h_.d}, queries), k = b.in(f_, {t, h_.hk, h_.d}),
             v = b.values(f_, {t, h_.hk, h_.dv}, values);
  const auto expected = packed(q, k, v, {0, t}, true);
  const size_t row_bytes = expected.size() / static_cast<size_t>(t);

  std::vector<int64_t> table(width, -1), pages(width);
  std::iota(pages.begin(), pages.end(), 0);
  rng.shuffle(pages);
  std::copy_n(pages.begin(), (t + kKeyBlock - 1) / kKeyBlock, table.begin());
  const View k_pages = b.out(f_, {width, h_.hk, h_.d, kKeyBlock}),
             v_pages = b.out(f_, {width, h_.hk, kKeyBlock, h_.dv});  // NaN
  const View page_table = b.ints({1, width}, table);
  std::vector<int64_t> all(static_cast<size_t>(t));
  std::iota(all.begin(), all.end(), 0);
  const View every_seq = b.ints({t}, std::vector<int64_t>(all.size(), 0)), every_pos = b.ints({t}, all);
  run(ctx_, KvWrite{k, v, k_pages, v_pages, page_table, every_seq, every_pos});

  const auto expect_rows = [&](int64_t begin, int64_t end) {
    Buffers c(device_, 0);
    const View o = c.out(f_, {end - begin, h_.hq, h_.dv});
    run(ctx_, AttentionPaged{q.slice(begin, end), k_pages, v_pages, o, page_table, every_seq.slice(begin, end),
                             every_pos.slice(begin, end), scale_});
    const auto got = read_bytes(o);
    for (int64_t i = begin; i < end; ++i)
      ASSERT_EQ(std::memcmp(got.data() + static_cast<size_t>(i - begin) * row_bytes,
                            expected.data() + static_cast<size_t>(i) * row_bytes, row_bytes),
                0)
          << "position " << i << " in a batch of " << end - begin;
  };
  expect_rows(0, t);
  for (const int64_t position : {0, 63, 64, 255, 256}) expect_rows(position, position + 1);
  for (int64_t position = 501; position < t; position += 7) expect_rows(position, position + 1);
  expect_rows(250, 262);
  expect_rows(497, 600);
}

INSTANTIATE_TEST_SUITE_P(On, LongAttentionExact,
                         testing::Combine(testing::ValuesIn(test_devices(true)), testing::ValuesIn(kFloatTypes),
                                          testing::Values(Shape4{3, 1, 24, 17})),
                         [](const auto& i) {
                           return device_test_name(std::get<0>(i.param)) + "_" + dtype_name(std::get<1>(i.param));
                         });

INSTANTIATE_TEST_SUITE_P(On, AttentionExact,
                         testing::Combine(testing::ValuesIn(test_devices(true)), testing::ValuesIn(kFloatTypes),
                                          testing::Values(Shape4{4, 4, 24, 24}, Shape4{4, 2, 32, 32}, Shape4{4, 1, 64, 64},
                                                          Shape4{2, 2, 16, 16}, Shape4{3, 1, 24, 17})),
                         [](const auto& i) {
                           const Shape4 h = std::get<2>(i.param);
                           return device_test_name(std::get<0>(i.param)) + "_" + dtype_name(std::get<1>(i.param)) + "_" +
                                  std::to_string(h.hq) + "_" + std::to_string(h.hk) + "_" + std::to_string(h.d) + "_" +
                                  std::to_string(h.dv);
                         });

}  // namespace
}  // namespace r1::test
