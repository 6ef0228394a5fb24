// An output row of a forward op is the same bits whatever rows stand beside it, in whatever order (docs/architecture.md section
// 6).
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "tests/kernels/op_cases.h"
#include "tests/kernels/test_devices.h"

namespace r1::test {
namespace {

// The views of each row-wise forward op that hold one row per row; all others are shared by the rows.
const std::map<std::string, std::set<std::string>> kRowViews = {
    {"Embedding", {"ids", "y"}},
    {"Linear", {"x", "y"}},
    {"RmsNorm", {"x", "y", "rstd"}},
    {"Rope", {"x", "positions"}},
    {"SwiGlu", {"gate_up", "y"}},
    {"Add", {"a", "b", "y"}},
    {"GatherRows", {"rows", "y"}},
    {"AttentionPaged", {"q", "o", "row_seq", "row_pos"}},
    {"MlaKeys", {"kv", "kr", "k"}},
    {"MoeRoute", {"logits", "scores", "experts", "weights"}},
    {"MoeCombine", {"places", "weights", "y"}},
    {"LogProb", {"logits", "targets", "logp", "lse", "entropy"}},
    {"Sample", {"logits", "keys", "positions", "temperature", "token", "logp", "entropy"}},
};

class RowInvariance : public testing::TestWithParam<std::tuple<std::string, std::string>> {};

std::vector<std::byte> take_rows(const std::vector<std::byte>& bytes, int64_t all, const std::vector<int64_t>& rows) {
  const size_t row_bytes = all ? bytes.size() / static_cast<size_t>(all) : 0;
  std::vector<std::byte> taken;
  for (int64_t r : rows) {
    const auto* p = bytes.data() + static_cast<size_t>(r) * row_bytes;
    taken.insert(taken.end(), p, p + row_bytes);
  }
  return taken;
}

// Runs `any` with only `rows` of it, in that order, in fresh contiguous memory; returns its outputs.
std::vector<Output> run_rows(const AnyOp& any, const std::map<std::string, std::vector<std::byte>>& before,
                             const std::vector<int64_t>& rows, Device& device) {
  AnyOp part = any;
  std::vector<Tensor> keep;
  std::vector<Output> outputs;
  Context ctx(device);
  std::visit(
      [&](auto& op) {
        const auto& per_row = kRowViews.at(op_name(any));
        for_each_view(op, [&](View& v, ViewInfo info) {
          if (!v || !per_row.count(info.name)) return;
          Shape shape(v.shape.begin(), v.shape.begin() + v.rank);
          const int64_t all = shape[0];
          shape[0] = static_cast<int64_t>(rows.size());
          keep.emplace_back(device, v.dtype, shape.data(), v.rank);
          v = keep.back();
          write_bytes(v, take_rows(before.at(info.name), all, rows));
        });
      },
      part);
  run(ctx, part);
  return outputs_of(part);
}

TEST_P(RowInvariance, a_row_has_the_same_bits_in_any_company) {
  const auto& [name, wanted] = GetParam();
  Device& device = open_device(name);
  // Of Linear: every path that few rows take (kernels/cpu/linear.cpp, rather_transposed).
  const std::vector<int64_t> counts =
      emulated(device) ? std::vector<int64_t>{1, 17, 61} : std::vector<int64_t>{1, 2, 3, 7, 13, 16, 17, 31, 44, 53, 61};
  int compared = 0, seen = 0;
  for (const OpCase& c : op_cases()) {
    if (c.name.substr(0, c.name.find(' ')) != wanted || c.name.find("in place") != std::string::npos) continue;
    if (emulated(device) && seen++ % (wanted == "Sample" ? 9 : 3) != 0) continue;
    Buffers buffers(device, 5);
    const AnyOp any = c.make(buffers);
    std::map<std::string, std::vector<std::byte>> before;
    std::visit(
        [&](const auto& op) {
          for_each_view(op, [&](const View& v, ViewInfo i) {
            if (v) before[i.name] = read_bytes(v);
          });
        },
        any);
    Context ctx(device);
    run(ctx, any);
    const auto whole = outputs_of(any);
    const int64_t t = whole[0].shape[0];
    for (size_t i = 0; i <= counts.size(); ++i) {
      const int64_t n = i < counts.size() ? counts[i] : t;
      if (n > t || t < 2) continue;
      std::vector<int64_t> rows;
      for (int64_t r = 0; r < t; ++r) rows.push_back(r);
      Rng(n, "rows").shuffle(rows);
      rows.resize(static_cast<size_t>(n));
      auto expected = whole;
      for (Output& o : expected) o.bytes = take_rows(o.bytes, t, rows), o.shape[0] = n;
      EXPECT_EQ(bit_difference(run_rows(any, before, rows, device), expected), "")
          << c.name << ", " << n << " of " << t << " rows";
      ++compared;
    }
  }
  EXPECT_GT(compared, emulated(device) ? 0 : 5);
}

// Rows enough for every tile that a card has for products, whose choice is by their number.
TEST(LinearRows, of_many_have_the_bits_of_few) {
  for (const std::string& name : test_devices()) {
    Device& device = open_device(name);
    const bool large = name.starts_with("gpu") && !emulated(device);
    const int64_t t = large ? 1152 : 640, k = large ? 1048 : 72, n = large ? 4096 : 264;
    Context ctx(device);
    for (const DType f : kFloatTypes) {
      Buffers b(device, 6);
      const View x = b.in(f, {t, k}), w = b.in(f, {n, k}), y = b.out(DType::f32, {t, n});
      run(ctx, Linear{x, w, View{}, y});
      for (const int64_t rows : {int64_t{1}, int64_t{64}, int64_t{65}, int64_t{200}, int64_t{513}}) {
        const View first = b.out(DType::f32, {rows, n}), last = b.out(DType::f32, {rows, n});
        run(ctx, Linear{x.slice(0, rows), w, View{}, first});
        run(ctx, Linear{x.slice(t - rows, t), w, View{}, last});
        EXPECT_TRUE(read_bytes(first) == read_bytes(y.slice(0, rows)))
            << name << " " << dtype_name(f) << ", " << rows << " rows";
        EXPECT_TRUE(read_bytes(last) == read_bytes(y.slice(t - rows, t)))
            << name << " " << dtype_name(f) << ", " << rows << " rows";
      }
    }
  }
}

std::vector<std::string> row_ops() {
  std::vector<std::string> names;
  for (const auto& [name, views] : kRowViews) names.push_back(name);
  return names;
}
INSTANTIATE_TEST_SUITE_P(On, RowInvariance, testing::Combine(testing::ValuesIn(test_devices()), testing::ValuesIn(row_ops())),
                         [](const auto& i) { return device_test_name(std::get<0>(i.param)) + "_" + std::get<1>(i.param); });

}  // namespace
}  // namespace r1::test
