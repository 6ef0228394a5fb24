// bf16 products of our own are one chain an element, in every form and at every edge: compared with that chain in plain loops.
// On tiles, which are the hardware's where R1_ISA is amx, else AVX-512's; by vdpbf16ps; and by multiply-adds in its place.
#include "kernels/cpu/amx_matmul.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <vector>

#include "base/rng.h"
#include "kernels/cpu/bf16_matmul-inl.h"
#include "kernels/cpu/isa.h"

namespace r1::test {
namespace {

float f32_of(uint16_t x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float f;
  std::memcpy(&f, &bits, sizeof f);
  return f;
}

using Numbers = std::function<float(int64_t)>;

// c and the sum of k products a(i) b(i), by tiles: in blocks of 32.
float chain_of_tiles(float c, int64_t k, const Numbers& a, const Numbers& b) {
  for (int64_t begin = 0; begin < k; begin += 32) {
    float sums[2] = {0, 0};
    for (int64_t i = begin; i < std::min(begin + 32, k); ++i) sums[i % 2] = std::fma(a(i), b(i), sums[i % 2]);
    c += sums[0] + sums[1];
  }
  return c;
}
// By pairs: the odd one first.
float chain_of_pairs(float c, int64_t k, const Numbers& a, const Numbers& b) {
  for (int64_t i = 0; i < k; i += 2) {
    if (i + 1 < k) c = std::fma(a(i + 1), b(i + 1), c);
    c = std::fma(a(i), b(i), c);
  }
  return c;
}

struct Way {
  const char* name;
  void (*matmul)(const cpu::Bf16Matmul&);
  float (*chain)(float c, int64_t k, const Numbers& a, const Numbers& b);
  bool (*has)();
};
bool has_pairs() { return cpu::has_isa(cpu::Isa::avx512_bf16); }
const Way kWays[] = {
    {"tiles", cpu::tile_matmul, chain_of_tiles, [] { return cpu::has_isa(cpu::Isa::amx_software); }},
    {"pairs", cpu::bf16_matmul_by_pairs, chain_of_pairs, [] { return has_pairs() && cpu::chain_is_two_multiply_adds(); }},
    {"multiply_adds", cpu::bf16_matmul_by_multiply_adds, chain_of_pairs, has_pairs},
    {"the_faster_one", cpu::bf16_matmul, chain_of_pairs, [] { return has_pairs() && cpu::chain_is_two_multiply_adds(); }}};

std::vector<uint16_t> random_bf16(Rng& rng, int64_t count) {
  std::vector<uint16_t> v(static_cast<size_t>(count));
  for (uint16_t& x : v) x = bf16_from_f32(static_cast<float>(rng.normal()));
  return v;
}
std::vector<float> random_f32(Rng& rng, int64_t count) {
  std::vector<float> v(static_cast<size_t>(count));
  for (float& x : v) x = static_cast<float>(rng.normal());
  return v;
}

class Bf16Product : public testing::TestWithParam<Way> {
 protected:
  void SetUp() override {
    if (!GetParam().has()) GTEST_SKIP() << "no AVX512_BF16, or its vdpbf16ps is not two multiply-adds";
  }
  Rng rng_{3, "products of bf16"};
};

struct Form {
  bool trans_b, c_transposed, accumulate, bias;
};
constexpr Form kForms[] = {{true, false, false, false}, {true, false, false, true},   {true, true, false, false},
                           {true, true, false, true},   {false, false, false, false}, {false, false, true, false}};

INSTANTIATE_TEST_SUITE_P(By, Bf16Product, testing::ValuesIn(kWays), [](const auto& p) { return p.param.name; });

TEST_P(Bf16Product, is_one_chain_an_element_in_every_form_and_at_every_edge) {
  for (const Form& form : kForms)
    for (const auto& [m, n, k] : {std::tuple<int64_t, int64_t, int64_t>{1, 1, 1},
                                  {5, 7, 31},
                                  {16, 16, 32},
                                  {17, 33, 64},
                                  {48, 16, 96},
                                  {64, 32, 33},
                                  {70, 16, 64},
                                  {129, 15, 40},
                                  {200, 17, 64},
                                  {33, 50, 130},
                                  {270, 9, 520},
                                  {3, 100, 257}})
      for (const DType type : {DType::f32, DType::bf16}) {
        const int64_t lda = k + 3, ldb = (form.trans_b ? k : n) + 5, ldc = (form.c_transposed ? m : n) + 2;
        const auto a = random_bf16(rng_, m * lda), b = random_bf16(rng_, (form.trans_b ? n : k) * ldb);
        const auto bias = random_bf16(rng_, std::max(m, n));
        const auto before = random_f32(rng_, (form.c_transposed ? n : m) * ldc);
        std::vector<float> c = before;
        std::vector<uint16_t> c16;
        for (float x : before) c16.push_back(bf16_from_f32(x));
        GetParam().matmul({.a = a.data(),
                           .lda = lda,
                           .b = b.data(),
                           .ldb = ldb,
                           .trans_b = form.trans_b,
                           .bias = form.bias ? bias.data() : nullptr,
                           .c = type == DType::f32 ? static_cast<void*>(c.data()) : static_cast<void*>(c16.data()),
                           .c_type = type,
                           .ldc = ldc,
                           .m = m,
                           .n = n,
                           .k = k,
                           .accumulate = form.accumulate,
                           .c_transposed = form.c_transposed});
        for (int64_t i = 0; i < (form.c_transposed ? n : m); ++i)
          for (int64_t j = 0; j < ldc; ++j) {
            const int64_t row = form.c_transposed ? j : i, column = form.c_transposed ? i : j;
            const auto at = static_cast<size_t>(i * ldc + j);
            const float old = type == DType::f32 ? before[at] : f32_of(bf16_from_f32(before[at]));
            float expected = old;
            if (row < m && column < n) {
              expected = GetParam().chain(
                  0, k, [&](int64_t x) { return f32_of(a[static_cast<size_t>(row * lda + x)]); },
                  [&](int64_t x) {
                    return f32_of(b[static_cast<size_t>(form.trans_b ? column * ldb + x : x * ldb + column)]);
                  });
              if (form.bias) expected += f32_of(bias[static_cast<size_t>(form.c_transposed ? row : column)]);
              if (form.accumulate) expected = old + expected;
              if (type == DType::bf16) expected = f32_of(bf16_from_f32(expected));
            }
            const float got = type == DType::f32 ? c[at] : f32_of(c16[at]);
            ASSERT_EQ(got, expected) << "m " << m << " n " << n << " k " << k << " trans_b " << form.trans_b << " c_transposed "
                                     << form.c_transposed << " bias " << form.bias << " [" << row << "," << column << "]";
          }
      }
}

struct WeightShape {
  int64_t n, k, t;
};
constexpr WeightShape kWeightShapes[] = {{1, 1, 1}, {16, 32, 32}, {33, 17, 45}, {20, 50, 1100}, {40, 100, 511}};

class WeightProduct : public testing::Test {
 protected:
  void SetUp() override {
    if (!cpu::has_isa(cpu::Isa::avx512_bf16)) GTEST_SKIP() << "no AVX512_BF16";
  }
  // expected(n, k): the chain of an element that begins with `before`.
  template <class F>
  void compare(void (*product)(const cpu::Bf16WeightProduct&), F&& expected_of) {
    for (const auto& [n, k, t] : kWeightShapes) {
      const int64_t ld_dy = n + 1, ld_x = k + 4, ld_dw = k + 3;
      const auto dy = random_bf16(rng_, t * ld_dy), x = random_bf16(rng_, t * ld_x);
      const auto before = random_f32(rng_, n * ld_dw);
      std::vector<float> dw = before;
      product({.dy = dy.data(),
               .ld_dy = ld_dy,
               .x = x.data(),
               .ld_x = ld_x,
               .dw = dw.data(),
               .ld_dw = ld_dw,
               .n = n,
               .k = k,
               .t = t});
      for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < ld_dw; ++j) {
          const auto at = static_cast<size_t>(i * ld_dw + j);
          const auto dy_of = [&, ld_dy = ld_dy](int64_t s) { return f32_of(dy[static_cast<size_t>(s * ld_dy + i)]); };
          const auto x_of = [&, ld_x = ld_x](int64_t s) { return f32_of(x[static_cast<size_t>(s * ld_x + j)]); };
          const float expected = j >= k ? before[at] : expected_of(before[at], t, dy_of, x_of);
          ASSERT_EQ(dw[at], expected) << "n " << n << " k " << k << " t " << t << " [" << i << "," << j << "]";
        }
    }
  }
  Rng rng_{4, "products for weights"};
};

TEST_F(WeightProduct, on_tiles_goes_on_from_what_was_there_in_order_of_tokens) {
  compare(cpu::tile_weight_product, chain_of_tiles);
}

TEST_F(WeightProduct, by_pairs_adds_a_chain_for_every_256_tokens) {
  if (!cpu::chain_is_two_multiply_adds()) GTEST_SKIP() << "vdpbf16ps is not two multiply-adds here";
  compare(cpu::bf16_weight_product, [](float c, int64_t t, const Numbers& dy, const Numbers& x) {
    for (int64_t t0 = 0; t0 < t; t0 += 256)
      c += chain_of_pairs(
          0, std::min<int64_t>(256, t - t0), [&](int64_t s) { return dy(t0 + s); }, [&](int64_t s) { return x(t0 + s); });
    return c;
  });
}

R1_BF16_TARGET void round_both_ways(const float* from, uint16_t* by_instruction, uint16_t* by_numbers) {
  const __m512 x = _mm512_loadu_ps(from);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(by_instruction), cpu::round_bf16(x, true));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(by_numbers), cpu::round_bf16(x, false));
}

TEST(BfloatRounding, by_whole_numbers_is_that_of_the_instruction) {
  if (!has_pairs()) GTEST_SKIP() << "no AVX512_BF16";
  Rng rng(5, "floats of all bits");
  for (int turn = 0; turn < 100'000; ++turn) {
    float from[16];
    for (float& x : from) {
      auto bits = rng.bits();
      if (turn % 4 == 1) bits &= 0x807fffffu;                 // denormal, zero
      if (turn % 4 == 2) bits |= 0x7f800000u;                 // no number, infinite
      if (turn % 4 == 3) bits = (bits & ~0xffffu) | 0x8000u;  // halfway
      if (turn % 8 == 6) bits &= 0xff80ffffu;
      x = std::bit_cast<float>(bits);
    }
    uint16_t a[16], b[16];
    round_both_ways(from, a, b);
    for (int i = 0; i < 16; ++i) ASSERT_EQ(a[i], b[i]) << std::hex << std::bit_cast<uint32_t>(from[i]);
  }
}

TEST(BfloatChain, of_multiply_adds_takes_denormal_numbers_for_zero_and_makes_none) {
  if (!has_pairs()) GTEST_SKIP() << "no AVX512_BF16";
  // 2^-130 is denormal; 2^-64 times 2^-65 is, too.
  const auto power = [](int e) { return bf16_from_f32(std::ldexp(1.0f, e)); };
  const uint16_t a[] = {power(-130), power(-64), power(0), power(-64)}, b[] = {power(10), power(-65), power(3), power(-40)};
  for (int64_t at = 0; at < 4; ++at) {
    float c = -1;
    cpu::bf16_matmul_by_multiply_adds({.a = a + at,
                                       .lda = 1,
                                       .b = b + at,
                                       .ldb = 1,
                                       .trans_b = true,
                                       .bias = nullptr,
                                       .c = &c,
                                       .c_type = DType::f32,
                                       .ldc = 1,
                                       .m = 1,
                                       .n = 1,
                                       .k = 1,
                                       .accumulate = false});
    EXPECT_EQ(c, at < 2 ? 0.0f : at == 2 ? 8.0f : std::ldexp(1.0f, -104)) << at;
  }
}

}  // namespace
}  // namespace r1::test
