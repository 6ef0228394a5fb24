// Cases of Embedding, Linear, RmsNorm, Rope, SwiGlu, Add, GatherRows and their backwards.
#include <fmt/format.h>

#include <cmath>
#include <numeric>

#include "tests/kernels/op_cases.h"

namespace r1::test {

namespace {

constexpr Layout kDense{};
constexpr Layout kOdd{.offset = 1};                // starts one element after an aligned address
constexpr Layout kStrided{.offset = 1, .gap = 5};  // and has odd row strides
constexpr Layout kWide{.gap = 64};                 // aligned rows, as the columns of a wider matrix are

const char* layout_name(const Layout& l) { return l.gap == 5 ? " strided" : l.gap ? " wide" : l.offset ? " misaligned" : ""; }

std::vector<int64_t> random_ints(Buffers& b, int64_t n, int64_t below) {
  std::vector<int64_t> x(static_cast<size_t>(n));
  for (auto& e : x) e = static_cast<int64_t>(b.rng().below(static_cast<uint64_t>(below)));
  return x;
}

struct LinearShape {
  int64_t t, k, n;
};
const LinearShape kLinearShapes[] = {
    {1, 64, 33},     {1, 96, 137},  {1, 357, 64},  {2, 24, 1},     {2, 512, 96},   {3, 100, 33},   {3, 256, 257},
    {7, 96, 96},     {7, 357, 137}, {31, 24, 288}, {31, 128, 33},  {32, 96, 137},  {32, 512, 64},  {33, 100, 96},
    {33, 96, 512},   {64, 64, 64},  {64, 357, 33}, {100, 24, 257}, {100, 256, 96}, {257, 96, 137}, {257, 100, 33},
    {300, 320, 130}, {0, 96, 64},   {65, 96, 8},   {65, 100, 16},  {33, 96, 1},    {65, 512, 513},
};

void add_linear_cases(std::vector<OpCase>& cases) {
  const auto linear = [&](DType f, DType out, LinearShape s, bool bias, Layout lx, Layout ly) {
    cases.push_back({fmt::format("Linear {}{} T={} K={} N={}{}{}", dtype_name(f), out != f ? "->f32" : "", s.t, s.k, s.n,
                                 bias ? " bias" : "", layout_name(lx)),
                     {.reduction = s.k, .magnitude = 1, .data = DType::f32},
                     [=](Buffers& b) -> AnyOp {
                       Linear op;
                       op.x = b.in(f, {s.t, s.k}, lx);
                       op.w = b.in(f, {s.n, s.k}, {.offset = lx.offset}, 1 / std::sqrt(static_cast<double>(s.k)));
                       if (bias) op.bias = b.in(f, {s.n}, {.offset = lx.offset});
                       op.y = b.out(out, {s.t, s.n}, ly);
                       return op;
                     }});
  };
  const auto backward_input = [&](DType f, DType grad, LinearShape s, bool accumulate, Layout l) {
    cases.push_back({fmt::format("LinearBackwardInput {}{} T={} K={} N={}{}{}", dtype_name(f), grad != f ? " dy f32" : "", s.t,
                                 s.k, s.n, accumulate ? " accumulate" : "", layout_name(l)),
                     {.reduction = s.n, .roundings = 1.0 + (accumulate || grad != f), .magnitude = 1, .data = f},
                     [=](Buffers& b) -> AnyOp {
                       LinearBackwardInput op;
                       op.dy = b.in(grad, {s.t, s.n}, l);
                       op.w = b.in(f, {s.n, s.k}, kDense, 1 / std::sqrt(static_cast<double>(s.n)));
                       op.dx = accumulate ? b.inout(f, {s.t, s.k}, l) : b.out(f, {s.t, s.k}, l);
                       op.accumulate = accumulate;
                       return op;
                     }});
  };
  const auto backward_weight = [&](DType f, DType grad, LinearShape s, bool bias, Layout l) {
    cases.push_back({fmt::format("LinearBackwardWeight {}{} T={} K={} N={}{}{}", dtype_name(f), grad != f ? " dy f32" : "", s.t,
                                 s.k, s.n, bias ? " bias" : "", layout_name(l)),
                     // A f32 dy may be rounded to bf16 to meet a bf16 x.
                     {.reduction = s.t, .roundings = grad != f ? 1.5 : 1.0, .magnitude = 1, .data = f},
                     [=](Buffers& b) -> AnyOp {
                       LinearBackwardWeight op;
                       op.dy = b.in(grad, {s.t, s.n}, l);
                       op.x = b.in(f, {s.t, s.k}, l);
                       op.dw = b.inout(DType::f32, {s.n, s.k});
                       if (bias) op.db = b.inout(DType::f32, {s.n});
                       return op;
                     }});
  };
  for (DType f : kFloatTypes) {
    int i = 0;
    for (const LinearShape& s : kLinearShapes) {
      const Layout l = i % 4 == 1 ? kStrided : i % 4 == 2 ? kWide : kDense;
      linear(f, f, s, i % 3 == 0, l, l);
      backward_input(f, f, s, i % 2 == 0, l);
      backward_weight(f, f, s, i % 3 == 0, l);
      ++i;
    }
    for (const LinearShape& s : {LinearShape{7, 100, 137}, LinearShape{33, 96, 1030}, LinearShape{64, 64, 137}}) {
      linear(f, DType::f32, s, s.t == 7, kDense, kStrided);
      const Layout l = s.t == 7 ? kStrided : s.t == 33 ? kWide : kDense;
      backward_input(f, DType::f32, s, s.t == 7, l);
      backward_weight(f, DType::f32, s, s.t == 7, l);
    }
  }
}

void add_norm_cases(std::vector<OpCase>& cases) {
  struct NormShape {
    int64_t t, h, d;  // h = 0: [T,D]
  };
  for (DType f : kFloatTypes)
    for (const NormShape& s : {NormShape{1, 0, 96}, NormShape{7, 0, 100}, NormShape{33, 0, 357}, NormShape{257, 0, 64},
                               NormShape{3, 0, 1}, NormShape{5, 0, 7}, NormShape{31, 4, 24}, NormShape{1, 2, 64},
                               NormShape{100, 2, 128}, NormShape{64, 0, 512}, NormShape{0, 0, 96}})
      for (const Layout& l : {kDense, kStrided}) {
        const Shape shape = s.h ? Shape{s.t, s.h, s.d} : Shape{s.t, s.d};
        const Shape rows = s.h ? Shape{s.t, s.h} : Shape{s.t};
        const auto name = fmt::format("{} T={} H={} D={}{}", dtype_name(f), s.t, s.h, s.d, layout_name(l));
        const bool keep = s.t != 7;
        cases.push_back({"RmsNorm " + name, {.reduction = s.d, .roundings = 2, .data = f}, [=](Buffers& b) -> AnyOp {
                           RmsNorm op{b.in(f, shape, l), b.in(f, {s.d}), b.out(f, shape, l), {}, 1e-5f};
                           if (keep) op.rstd = b.out(DType::f32, rows);
                           return op;
                         }});
        if (l.gap) {
          cases.push_back({"RmsNorm in place " + name, {.reduction = s.d, .roundings = 2, .data = f}, [=](Buffers& b) -> AnyOp {
                             const View x = b.inout(f, shape, l);
                             return RmsNorm{x, b.in(f, {s.d}), x, {}, 1e-5f};
                           }});
        }
        for (const bool accumulate : {false, true})
          cases.push_back(
              {fmt::format("RmsNormBackward {}{}", name, accumulate ? " accumulate" : ""),
               // Few features: the two terms of dx cancel.
               {.reduction = s.d + s.t, .noise = 8, .roundings = 1.0 + accumulate, .magnitude = s.d < 8 ? 8.0 : 1.0, .data = f},
               [=](Buffers& b) -> AnyOp {
                 RmsNormBackward op;
                 op.x = b.in(f, shape, l);
                 op.w = b.in(f, {s.d});
                 const auto x = read_values(op.x);
                 std::vector<double> rstd;
                 for (size_t i = 0; i < x.size(); i += static_cast<size_t>(s.d))
                   rstd.push_back(
                       1 / std::sqrt(1e-5 + std::inner_product(&x[i], &x[i] + s.d, &x[i], 0.0) / static_cast<double>(s.d)));
                 op.rstd = b.values(DType::f32, rows, rstd);
                 if (!accumulate && l.gap) {
                   op.dy = op.dx = b.inout(f, shape, l);
                 } else {
                   op.dy = b.in(f, shape, l);
                   op.dx = accumulate ? b.inout(f, shape, l) : b.out(f, shape, l);
                 }
                 op.dw = b.inout(DType::f32, {s.d});
                 op.accumulate = accumulate;
                 return op;
               }});
      }
  // A head as a column range of a wider head: the rows and the heads are strided (MLA's compressed keys).
  for (DType f : kFloatTypes)
    cases.push_back({fmt::format("RmsNorm {} columns of wider heads", dtype_name(f)),
                     {.reduction = 40, .roundings = 2, .data = f},
                     [=](Buffers& b) -> AnyOp {
                       const View x = b.in(f, {9, 3, 57}).columns(9, 49);
                       return RmsNorm{x, b.in(f, {40}), b.out(f, {9, 3, 40}), b.out(DType::f32, {9, 3}), 1e-6f};
                     }});
}

void add_rope_cases(std::vector<OpCase>& cases) {
  struct RopeShape {
    int64_t t, h, d, r;
  };
  for (DType f : kFloatTypes)
    for (const RopeShape& s :
         {RopeShape{1, 4, 24, 24}, RopeShape{33, 4, 64, 64}, RopeShape{7, 2, 32, 16}, RopeShape{100, 1, 16, 16},
          RopeShape{5, 3, 10, 6}, RopeShape{0, 2, 24, 24}, RopeShape{31, 2, 128, 128}, RopeShape{4, 2, 11, 2}})
      for (const Layout& l : {kDense, kStrided})
        for (const bool interleaved : {false, true})
          for (const bool inverse : {false, true})
            cases.push_back({fmt::format("Rope {} T={} H={} D={} R={}{}{}{}", dtype_name(f), s.t, s.h, s.d, s.r,
                                         interleaved ? " interleaved" : "", inverse ? " inverse" : "", layout_name(l)),
                             {.noise = 8, .data = f},
                             [=](Buffers& b) -> AnyOp {
                               const int64_t p_n = 50;
                               std::vector<double> table;
                               for (int64_t p = 0; p < p_n; ++p)
                                 for (int64_t i = 0; i < s.r; ++i) {
                                   const double angle =
                                       static_cast<double>(p) *
                                       std::pow(100.0, -2.0 * static_cast<double>(i % (s.r / 2)) / static_cast<double>(s.r));
                                   table.push_back(i < s.r / 2 ? std::cos(angle) : std::sin(angle));
                                 }
                               Rope op;
                               op.x = l.gap ? b.inout(f, {s.t, s.h * s.d}, l).heads(s.h) : b.inout(f, {s.t, s.h, s.d}, l);
                               op.positions = b.ints({s.t}, random_ints(b, s.t, p_n));
                               op.table = b.values(DType::f32, {p_n, s.r}, table);
                               op.interleaved = interleaved;
                               op.inverse = inverse;
                               return op;
                             }});
}

// A row of one, or of heads. More rows than names, and more names than rows.
void add_gather_cases(std::vector<OpCase>& cases) {
  struct GatherShape {
    int64_t n, t, h, d;  // h = 0: [T,D]
  };
  for (DType f : kFloatTypes)
    for (const GatherShape& s :
         {GatherShape{1, 29, 0, 96}, GatherShape{7, 29, 0, 33}, GatherShape{33, 29, 0, 256}, GatherShape{257, 29, 0, 100},
          GatherShape{2, 29, 0, 1}, GatherShape{0, 29, 0, 64}, GatherShape{64, 29, 0, 1000}, GatherShape{40, 90, 3, 24},
          GatherShape{120, 50, 2, 270}, GatherShape{3, 7, 5, 1}, GatherShape{0, 3, 2, 16}})
      for (const Layout& l : {kDense, kOdd, kStrided, kWide}) {
        const auto name = fmt::format("{} N={} T={} H={} D={}{}", dtype_name(f), s.n, s.t, s.h, s.d, layout_name(l));
        const Shape rows = s.h ? Shape{s.t, s.h, s.d} : Shape{s.t, s.d}, named = s.h ? Shape{s.n, s.h, s.d} : Shape{s.n, s.d};
        const Layout dense{.offset = l.offset};
        cases.push_back({"GatherRows " + name, {}, [=](Buffers& b) -> AnyOp {
                           return GatherRows{b.in(f, rows, l), b.ints({s.n}, random_ints(b, s.n, s.t)), b.out(f, named, dense)};
                         }});
        for (const bool accumulate : {true, false})
          cases.push_back(
              {fmt::format("GatherRowsBackward {}{}", name, accumulate ? " accumulate" : ""),
               {.reduction = s.n + 1, .magnitude = 1, .data = f},
               [=](Buffers& b) -> AnyOp {
                 const View names = b.ints({s.n}, random_ints(b, s.n, s.t)), dy = b.in(f, named, dense);
                 return GatherRowsBackward{names, dy, accumulate ? b.inout(f, rows, l) : b.out(f, rows, l), accumulate};
               }});
      }
}

void add_row_cases(std::vector<OpCase>& cases) {
  struct RowShape {
    int64_t t, d;
  };
  for (DType f : kFloatTypes)
    for (const RowShape& s : {RowShape{1, 96}, RowShape{7, 33}, RowShape{33, 256}, RowShape{257, 100}, RowShape{2, 1},
                              RowShape{0, 64}, RowShape{64, 1000}})
      for (const Layout& l : {kDense, kOdd}) {
        const auto name = fmt::format("{} T={} D={}{}", dtype_name(f), s.t, s.d, layout_name(l));
        const int64_t v = 29;
        const Layout& other = l.offset ? kDense : kOdd;  // where one of several lies otherwise
        cases.push_back(
            {"Embedding " + name, {}, [=](Buffers& b) -> AnyOp {
               return Embedding{b.ints({s.t}, random_ints(b, s.t, v)), b.in(f, {v, s.d}, l), b.out(f, {s.t, s.d}, l)};
             }});
        cases.push_back({"EmbeddingBackward " + name, {.reduction = s.t + 1, .magnitude = 1}, [=](Buffers& b) -> AnyOp {
                           return EmbeddingBackward{b.ints({s.t}, random_ints(b, s.t, v)), b.in(f, {s.t, s.d}, l),
                                                    b.inout(DType::f32, {v, s.d}, l)};
                         }});
        cases.push_back({"SwiGlu " + name, {.noise = 16, .data = f}, [=](Buffers& b) -> AnyOp {
                           return SwiGlu{b.in(f, {s.t, 2 * s.d}, l, 3), b.out(f, {s.t, s.d}, l)};
                         }});
        cases.push_back(
            {"SwiGluBackward " + name, {.noise = 16, .data = f}, [=](Buffers& b) -> AnyOp {
               return SwiGluBackward{b.in(f, {s.t, 2 * s.d}, l, 3), b.in(f, {s.t, s.d}, other), b.out(f, {s.t, 2 * s.d}, l)};
             }});
        cases.push_back({"Add " + name, {.data = f}, [=](Buffers& b) -> AnyOp {
                           return Add{b.in(f, {s.t, s.d}, l), b.in(f, {s.t, s.d}, l), b.out(f, {s.t, s.d}, l)};
                         }});
        cases.push_back({"Add to a in place " + name, {.data = f}, [=](Buffers& b) -> AnyOp {
                           const View a = b.inout(f, {s.t, s.d}, l);
                           return Add{a, b.in(f, {s.t, s.d}, other), a};
                         }});
      }
  // Far from zero: silu must neither overflow nor lose its sign.
  cases.push_back({"SwiGlu of large gates", {.noise = 16}, [](Buffers& b) -> AnyOp {
                     return SwiGlu{b.values(DType::f32, {1, 12}, {-1e4, -100, -88, 88, 100, 1e4, 1, 1, 1, 1, 1, 1}),
                                   b.out(DType::f32, {1, 6})};
                   }});
}

}  // namespace

void add_layer_cases(std::vector<OpCase>& cases) {
  add_linear_cases(cases);
  add_norm_cases(cases);
  add_rope_cases(cases);
  add_gather_cases(cases);
  add_row_cases(cases);
}

}  // namespace r1::test
