// Slow sweeps of Linear: the promise that a row's bits do not depend on its company rests on the matmul library, which picks
// its kernels by shape. So: many shapes, all the tails of N, every number of rows up to a tile and beyond.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "tests/kernels/buffers.h"

namespace r1::test {
namespace {

struct Types {
  DType in, out;
};

class LinearSweep : public testing::TestWithParam<Types> {
 protected:
  // Rows [0, T) together against each number of rows in `counts`, taken from the front and from the back.
  void expect_rows_alike(int64_t t, int64_t k, int64_t n, bool bias, const std::vector<int64_t>& counts) {
    Device& cpu = open_device("cpu");
    Context ctx(cpu);
    Buffers b(cpu, static_cast<uint64_t>(k * 1000 + n));
    const auto [in, out] = GetParam();
    Linear op{b.in(in, {t, k}), b.in(in, {n, k}, {}, 1 / std::sqrt(static_cast<double>(k))), bias ? b.in(in, {n}) : View{},
              b.out(out, {t, n})};
    run(ctx, op);
    const auto whole = read_bytes(op.y);
    const size_t row = whole.size() / static_cast<size_t>(t);
    const View scratch = b.out(out, {t, n});
    for (int64_t c : counts)
      for (const int64_t begin : {int64_t{0}, t - c}) {
        Linear part = op;
        part.x = op.x.slice(begin, begin + c);
        part.y = scratch.slice(0, c);
        run(ctx, part);
        const auto some = read_bytes(part.y);
        ASSERT_EQ(std::memcmp(some.data(), whole.data() + static_cast<size_t>(begin) * row, some.size()), 0)
            << "K=" << k << " N=" << n << (bias ? " bias" : "") << ": rows " << begin << " to " << begin + c << " of " << t;
      }
  }
};

TEST_P(LinearSweep, rows_alike_for_every_tail_of_n) {
  for (const int64_t k : {24, 64, 96, 100, 357})
    for (int64_t n = 1; n <= 70; ++n) expect_rows_alike(65, k, n, n % 2 == 0, {1, 2, 3, 7, 16, 31, 32, 33, 48, 64});
}

TEST_P(LinearSweep, rows_alike_beyond_one_column_tile) {
  for (const int64_t k : {96, 512})
    for (const int64_t n : {127, 129, 137, 255, 257, 511, 513, 520, 1000, 1023, 1025, 1030, 1056, 1087, 2049, 2055, 4099})
      expect_rows_alike(65, k, n, false, {1, 2, 3, 4, 5, 8, 16, 31, 32, 33, 64});
}

TEST_P(LinearSweep, rows_alike_for_every_number_of_rows) {
  std::vector<int64_t> counts;
  for (int64_t c = 1; c < 140; ++c) counts.push_back(c);
  for (const int64_t k : {96, 100, 256})
    for (const int64_t n : {33, 96, 288}) expect_rows_alike(140, k, n, true, counts);
}

TEST_P(LinearSweep, rows_alike_at_the_sizes_of_a_7b_model) {
  for (const auto& [k, n] : {std::pair<int64_t, int64_t>{3584, 512}, {3584, 4608}, {1536, 8960}, {8960, 1536}})
    expect_rows_alike(130, k, n, true, {1, 2, 3, 4, 7, 32, 64, 129});
}

INSTANTIATE_TEST_SUITE_P(Types, LinearSweep,
                         testing::Values(Types{DType::f32, DType::f32}, Types{DType::bf16, DType::bf16},
                                         Types{DType::bf16, DType::f32}),
                         [](const auto& i) { return std::string(dtype_name(i.param.in)) + "_to_" + dtype_name(i.param.out); });

}  // namespace
}  // namespace r1::test
