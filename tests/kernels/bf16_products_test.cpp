// bf16 products of our own are one chain an element, in every form and at every edge: compared with that chain in plain loops.
// On tiles, which are the hardware's where R1_ISA is amx, else AVX-512's; by vdpbf16ps; and by multiply-adds in its place, in
// registers of AVX-512 and of AVX2.
#include "kernels/cpu/amx_matmul.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <span>
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
  bool (*transposed)() = [] { return true; };  // whether it knows c_transposed
};
bool has_pairs() { return cpu::has_isa(cpu::Isa::avx512_bf16); }
const Way kMultiplyAdds{"multiply_adds", cpu::bf16_matmul_by_multiply_adds, chain_of_pairs, has_pairs};
const Way kOnAvx2{"avx2", cpu::bf16_matmul_on_avx2, chain_of_pairs, [] { return cpu::has_isa(cpu::Isa::avx2); },
                  [] { return false; }};
const Way kWays[] = {
    {"tiles", cpu::tile_matmul, chain_of_tiles, [] { return cpu::has_isa(cpu::Isa::amx_software); }},
    {"pairs", cpu::bf16_matmul_by_pairs, chain_of_pairs, [] { return has_pairs() && cpu::chain_is_two_multiply_adds(); }},
    kMultiplyAdds,
    kOnAvx2,
    {"the_faster_one", cpu::bf16_matmul, chain_of_pairs,
     [] { return cpu::isa() == cpu::Isa::avx2 || (has_pairs() && cpu::chain_is_two_multiply_adds()); },
     [] { return cpu::isa() != cpu::Isa::avx2; }}};

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

struct Form {
  bool trans_b, c_transposed, accumulate, bias;
};
constexpr Form kForms[] = {{true, false, false, false}, {true, false, false, true},   {true, true, false, false},
                           {true, true, false, true},   {false, false, false, false}, {false, false, true, false}};

class Bf16Product : public testing::TestWithParam<Way> {
 protected:
  static std::vector<Form> forms() {
    std::vector<Form> known(std::begin(kForms), std::end(kForms));
    if (!GetParam().transposed()) std::erase_if(known, [](const Form& form) { return form.c_transposed; });
    return known;
  }
  void SetUp() override {
    if (!GetParam().has()) GTEST_SKIP() << "this CPU lacks it, or its vdpbf16ps is not two multiply-adds";
  }
  Rng rng_{3, "products of bf16"};
};

INSTANTIATE_TEST_SUITE_P(By, Bf16Product, testing::ValuesIn(kWays), [](const auto& p) { return p.param.name; });

TEST_P(Bf16Product, is_one_chain_an_element_in_every_form_and_at_every_edge) {
  for (const Form& form : forms())
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
                                  {1, 40, 600},
                                  {6, 31, 545},
                                  {7, 24, 300},
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

// What ends where memory ends.
class Guarded {
 public:
  explicit Guarded(size_t bytes) : page_(static_cast<size_t>(sysconf(_SC_PAGESIZE))) {
    whole_ = (bytes + page_ - 1) / page_ * page_ + page_;
    memory_ = static_cast<char*>(mmap(nullptr, whole_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(memory_ + whole_ - page_, page_, PROT_NONE);
    begin_ = memory_ + whole_ - page_ - bytes;
  }
  ~Guarded() { munmap(memory_, whole_); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  template <class T>
  T* as() {
    return reinterpret_cast<T*>(begin_);
  }

 private:
  size_t page_, whole_;
  char *memory_, *begin_;
};

TEST_P(Bf16Product, reads_and_writes_nothing_behind_the_last_of_its_elements) {
  for (const Form& form : forms())
    for (const auto& [m, n, k] :
         {std::tuple<int64_t, int64_t, int64_t>{1, 1, 1}, {3, 7, 31}, {6, 17, 33}, {9, 25, 259}, {40, 10, 5}})
      for (const DType type : {DType::f32, DType::bf16}) {
        Guarded a(static_cast<size_t>(m * k) * 2), b(static_cast<size_t>(n * k) * 2),
            bias(static_cast<size_t>(form.c_transposed ? m : n) * 2);
        Guarded c(static_cast<size_t>(m * n) * dtype_size(type));
        std::fill_n(a.as<uint16_t>(), m * k, bf16_from_f32(1));
        std::fill_n(b.as<uint16_t>(), n * k, bf16_from_f32(0.5f));
        std::fill_n(bias.as<uint16_t>(), form.c_transposed ? m : n, bf16_from_f32(2));
        GetParam().matmul({.a = a.as<uint16_t>(),
                           .lda = k,
                           .b = b.as<uint16_t>(),
                           .ldb = form.trans_b ? k : n,
                           .trans_b = form.trans_b,
                           .bias = form.bias ? bias.as<uint16_t>() : nullptr,
                           .c = c.as<void>(),
                           .c_type = type,
                           .ldc = form.c_transposed ? m : n,
                           .m = m,
                           .n = n,
                           .k = k,
                           .accumulate = form.accumulate,
                           .c_transposed = form.c_transposed});
        const float expected = 0.5f * static_cast<float>(k) + (form.bias ? 2.0f : 0.0f);
        for (int64_t i = 0; i < m * n; ++i)
          ASSERT_EQ(type == DType::f32 ? c.as<float>()[i] : f32_of(c.as<uint16_t>()[i]),
                    type == DType::f32 ? expected : f32_of(bf16_from_f32(expected)))
              << i;
      }
}

TEST_P(Bf16Product, of_what_is_no_number_is_none_in_its_elements_alone) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr int64_t kM = 9, kN = 21, kK = 40;
  auto a = random_bf16(rng_, kM * kK), b = random_bf16(rng_, kN * kK);
  a[1 * kK + 7] = bf16_from_f32(kInfinity);
  a[4 * kK + 8] = 0x7f81;  // NaN whose bits would be lost in rounding
  b[3 * kK + 7] = bf16_from_f32(-kInfinity);
  b[20 * kK + 39] = 0xffc1;
  b[8 * kK + 7] = 0;  // times infinite
  for (const DType type : {DType::f32, DType::bf16}) {
    std::vector<float> c(kM * kN);
    std::vector<uint16_t> c16(kM * kN);
    GetParam().matmul({.a = a.data(),
                       .lda = kK,
                       .b = b.data(),
                       .ldb = kK,
                       .trans_b = true,
                       .bias = nullptr,
                       .c = type == DType::f32 ? static_cast<void*>(c.data()) : static_cast<void*>(c16.data()),
                       .c_type = type,
                       .ldc = kN,
                       .m = kM,
                       .n = kN,
                       .k = kK,
                       .accumulate = false});
    for (int64_t row = 0; row < kM; ++row)
      for (int64_t column = 0; column < kN; ++column) {
        const float sum = GetParam().chain(
            0, kK, [&](int64_t i) { return f32_of(a[static_cast<size_t>(row * kK + i)]); },
            [&](int64_t i) { return f32_of(b[static_cast<size_t>(column * kK + i)]); });
        const auto at = static_cast<size_t>(row * kN + column);
        const float got = type == DType::f32 ? c[at] : f32_of(c16[at]);
        const float expected = type == DType::f32 ? sum : f32_of(bf16_from_f32(sum));
        EXPECT_TRUE(got == expected || (std::isnan(got) && std::isnan(expected))) << row << ' ' << column << ": " << got;
      }
  }
}

struct WeightShape {
  int64_t n, k, t;
};
constexpr WeightShape kWeightShapes[] = {{1, 1, 1}, {16, 32, 32}, {33, 17, 45}, {20, 50, 1100}, {40, 100, 511}};

class WeightProduct : public testing::Test {
 protected:
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
  if (!has_pairs()) GTEST_SKIP() << "no AVX512_BF16";
  compare(cpu::tile_weight_product, chain_of_tiles);
}

TEST_F(WeightProduct, by_pairs_adds_a_chain_for_every_256_tokens) {
  if (!cpu::own_bf16(cpu::isa())) GTEST_SKIP() << "no product of our own";
  if (cpu::has_bf16_pairs(cpu::isa()) && !cpu::chain_is_two_multiply_adds())
    GTEST_SKIP() << "vdpbf16ps is not two multiply-adds here";
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

class BfloatChain : public testing::TestWithParam<Way> {
 protected:
  void SetUp() override {
    if (!GetParam().has()) GTEST_SKIP() << "this CPU lacks it";
  }
  // The chain of k pairs of numbers, and bias: of one row, and the same of as many as are no longer few.
  static float chain(const uint16_t* a, const uint16_t* b, int64_t k, const uint16_t* bias, DType type) {
    float first = 0;
    for (const int64_t m : {1, 9}) {
      std::vector<uint16_t> rows;
      for (int64_t row = 0; row < m; ++row) rows.insert(rows.end(), a, a + k);
      std::vector<float> c(static_cast<size_t>(m), -1.0f);
      std::vector<uint16_t> c16(static_cast<size_t>(m));
      GetParam().matmul({.a = rows.data(),
                         .lda = k,
                         .b = b,
                         .ldb = k,
                         .trans_b = true,
                         .bias = bias,
                         .c = type == DType::f32 ? static_cast<void*>(c.data()) : static_cast<void*>(c16.data()),
                         .c_type = type,
                         .ldc = 1,
                         .m = m,
                         .n = 1,
                         .k = k,
                         .accumulate = false});
      for (size_t i = 0; i < c.size(); ++i) {
        const float got = type == DType::f32 ? c[i] : f32_of(c16[i]);
        if (m == 1) first = got;
        EXPECT_EQ(got, first);
      }
    }
    return first;
  }
  static uint16_t power(int e) { return bf16_from_f32(std::ldexp(1.0f, e)); }
};
INSTANTIATE_TEST_SUITE_P(By, BfloatChain, testing::Values(kMultiplyAdds, kOnAvx2), [](const auto& p) { return p.param.name; });

TEST_P(BfloatChain, of_multiply_adds_takes_denormal_numbers_for_zero_and_makes_none) {
  // 2^-130 is denormal; 2^-64 times 2^-65 is, too.
  const uint16_t a[] = {power(-130), power(-64), power(0), power(-64)}, b[] = {power(10), power(-65), power(3), power(-40)};
  for (int64_t at = 0; at < 4; ++at)
    EXPECT_EQ(chain(a + at, b + at, 1, nullptr, DType::f32), at < 2 ? 0.0f : at == 2 ? 8.0f : std::ldexp(1.0f, -104)) << at;
}

TEST_P(BfloatChain, rounds_its_sum_to_the_nearest_even_and_a_denormal_one_to_zero) {
  Rng rng(6, "sums of all bits");
  const uint16_t ones[] = {power(0), power(0), power(0)};
  for (int turn = 0; turn < 20'000; ++turn) {
    // 24 bits in three numbers, whose partial sums are exact.
    const auto bits = rng.bits();
    const uint32_t mantissa =
        turn % 2 == 0 ? static_cast<uint32_t>(bits) & 0xffffff : (static_cast<uint32_t>(bits) & 0xff0000) | 0x8000;
    const float sign = (bits >> 31 & 1) != 0 ? -1.0f : 1.0f;
    uint16_t parts[3];
    for (int i = 0; i < 3; ++i)
      parts[i] = bf16_from_f32(sign * static_cast<float>(mantissa >> 8 * i & 0xff) * std::ldexp(1.0f, 8 * i - 20));
    const float sum = sign * static_cast<float>(mantissa) * std::ldexp(1.0f, -20);
    ASSERT_EQ(chain(parts, ones, 3, nullptr, DType::f32), sum);
    ASSERT_EQ(chain(parts, ones, 3, nullptr, DType::bf16), f32_of(bf16_from_f32(sum))) << sum;
  }
  const uint16_t one[] = {power(0)}, sum[] = {bf16_from_f32(std::ldexp(-1.5f, -126))}, bias[] = {power(-126)};
  EXPECT_EQ(chain(sum, one, 1, bias, DType::f32), std::ldexp(-1.0f, -127));
  EXPECT_EQ(chain(sum, one, 1, bias, DType::bf16), 0.0f);
}

}  // namespace
}  // namespace r1::test
