// bf16 products on tiles are one chain an element, in every form and at every edge: compared with that chain in plain loops.
// Where R1_ISA is amx the tiles are the hardware's, else AVX-512's.
#include "kernels/cpu/amx_matmul.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/rng.h"
#include "kernels/cpu/isa.h"

namespace r1::test {
namespace {

float f32_of(uint16_t x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float f;
  std::memcpy(&f, &bits, sizeof f);
  return f;
}

// c += sum of k products in blocks of 32, from value(i), other(i).
template <class A, class B>
float chain(float c, int64_t k, A&& value, B&& other) {
  for (int64_t begin = 0; begin < k; begin += 32) {
    float sums[2] = {0, 0};
    for (int64_t i = begin; i < std::min(begin + 32, k); ++i) sums[i % 2] = std::fma(value(i), other(i), sums[i % 2]);
    c += sums[0] + sums[1];
  }
  return c;
}

class TileProduct : public testing::Test {
 protected:
  void SetUp() override {
    if (!cpu::has_isa(cpu::Isa::amx_software)) GTEST_SKIP() << "no AVX512_BF16";
  }
  std::vector<uint16_t> bf16(int64_t count) {
    std::vector<uint16_t> v(static_cast<size_t>(count));
    for (uint16_t& x : v) x = bf16_from_f32(static_cast<float>(rng_.normal()));
    return v;
  }
  std::vector<float> f32(int64_t count) {
    std::vector<float> v(static_cast<size_t>(count));
    for (float& x : v) x = static_cast<float>(rng_.normal());
    return v;
  }
  Rng rng_{3, "products on tiles"};
};

struct Form {
  bool trans_b, c_transposed, accumulate, bias;
};
constexpr Form kForms[] = {{true, false, false, false}, {true, false, false, true},   {true, true, false, false},
                           {true, true, false, true},   {false, false, false, false}, {false, false, true, false}};

TEST_F(TileProduct, is_one_chain_an_element_in_every_form_and_at_every_edge) {
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
                                  {33, 50, 130}})
      for (const DType type : {DType::f32, DType::bf16}) {
        const int64_t lda = k + 3, ldb = (form.trans_b ? k : n) + 5, ldc = (form.c_transposed ? m : n) + 2;
        const auto a = bf16(m * lda), b = bf16((form.trans_b ? n : k) * ldb), bias = bf16(std::max(m, n));
        const auto before = f32((form.c_transposed ? n : m) * ldc);
        std::vector<float> c = before;
        std::vector<uint16_t> c16;
        for (float x : before) c16.push_back(bf16_from_f32(x));
        cpu::tile_matmul({.a = a.data(),
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
              expected = chain(
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

TEST_F(TileProduct, for_weight_gradients_goes_on_from_what_was_there_in_order_of_tokens) {
  for (const auto& [n, k, t] : {std::tuple<int64_t, int64_t, int64_t>{1, 1, 1}, {16, 32, 32}, {33, 17, 45}, {20, 50, 1100}}) {
    const int64_t ld_dy = n + 1, ld_x = k + 4, ld_dw = k + 3;
    const auto dy = bf16(t * ld_dy), x = bf16(t * ld_x);
    const auto before = f32(n * ld_dw);
    std::vector<float> dw = before;
    cpu::tile_weight_product({.dy = dy.data(),
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
        const float expected =
            j >= k ? before[at]
                   : chain(
                         before[at], t, [&](int64_t s) { return f32_of(dy[static_cast<size_t>(s * ld_dy + i)]); },
                         [&](int64_t s) { return f32_of(x[static_cast<size_t>(s * ld_x + j)]); });
        ASSERT_EQ(dw[at], expected) << "n " << n << " k " << k << " t " << t << " [" << i << "," << j << "]";
      }
  }
}

}  // namespace
}  // namespace r1::test
