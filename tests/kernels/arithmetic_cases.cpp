// Cases of the losses, Fill, Copy, Axpby, SumSquares, ScaleByNorm, Gemm and AdamW.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tests/kernels/op_cases.h"

namespace r1::test {

namespace {

constexpr DType f32 = DType::f32;

// Log-probabilities in [-6, 0) and values near them.
std::vector<double> log_probabilities(Buffers& b, int64_t t) {
  std::vector<double> x(static_cast<size_t>(t));
  for (double& e : x) e = -6 * b.rng().uniform() - 1e-3;
  return x;
}
std::vector<double> near(Buffers& b, std::vector<double> x, double spread) {
  for (double& e : x) e += spread * b.rng().normal();
  return x;
}
std::vector<double> masked_weights(Buffers& b, int64_t t) {
  std::vector<double> w(static_cast<size_t>(t));
  for (double& e : w) e = b.rng().chance(0.3) ? 0 : 0.01 + b.rng().uniform() / 7;
  return w;
}

// Rows cut into sequences of 0 to 9 rows.
View sequence_offsets(Buffers& b, int64_t rows) {
  std::vector<int64_t> offsets = {0};
  while (offsets.back() < rows)
    offsets.push_back(std::min<int64_t>(rows, offsets.back() + static_cast<int64_t>(b.rng().below(10))));
  return b.ints({static_cast<int64_t>(offsets.size())}, offsets);
}

void add_loss_cases(std::vector<OpCase>& cases) {
  for (int64_t t : {0, 1, 7, 33, 257, 1000}) {
    for (int form = 0; form < 4; ++form)
      cases.push_back({fmt::format("GrpoLoss T={}{}{}", t, form & 1 ? " reference" : "", form & 2 ? " proximal" : ""),
                       {.reduction = t + 1, .noise = 16, .magnitude = 1},
                       [=](Buffers& b) -> AnyOp {
                         GrpoLoss op;
                         const auto logp = log_probabilities(b, t);
                         op.logp = b.values(f32, {t}, logp, {.offset = 1});
                         op.behaviour = b.values(f32, {t}, near(b, logp, 0.3));
                         if (form & 1) op.reference = b.values(f32, {t}, near(b, logp, 0.5));
                         if (form & 2) op.proximal = b.values(f32, {t}, near(b, logp, 0.2));
                         op.advantage = b.in(f32, {t});
                         op.weight = b.values(f32, {t}, masked_weights(b, t));
                         op.dlogp = b.out(f32, {t}, {.offset = 1});
                         op.loss = b.inout(f32, {1});
                         op.stats = b.inout_values(f32, {6}, {3, 1, 0.5, 0.25, 0.125, 4});
                         op.clip_high = 0.28f;
                         op.kl = form & 1 ? 0.05f : 0;
                         op.behave_cap = 1.2f;
                         return op;
                       }});
    // The variants: a ratio per sequence, masked importance weights, CISPO.
    for (int form = 0; form < 5; ++form)
      cases.push_back({fmt::format("GrpoLoss T={} {}{}", t, form < 3 ? "by sequence" : "cispo",
                                   form % 3 == 0 ? ""
                                   : form == 1   ? " masked"
                                                 : " capped"),
                       {.reduction = t + 1, .noise = 16, .magnitude = 1},
                       [=](Buffers& b) -> AnyOp {
                         GrpoLoss op;
                         const auto logp = log_probabilities(b, t);
                         op.logp = b.values(f32, {t}, logp, {.offset = 1});
                         op.behaviour = b.values(f32, {t}, near(b, logp, 0.3));
                         op.reference = b.values(f32, {t}, near(b, logp, 0.5));
                         if (form % 3 != 0) op.proximal = b.values(f32, {t}, near(b, logp, 0.2));
                         op.advantage = b.in(f32, {t});
                         op.weight = b.values(f32, {t}, masked_weights(b, t));
                         if (form < 3) op.offsets = sequence_offsets(b, t);
                         op.dlogp = b.out(f32, {t}, {.offset = 1});
                         op.loss = b.inout(f32, {1});
                         op.stats = b.inout_values(f32, {6}, {3, 1, 0.5, 0.25, 0.125, 4});
                         op.clip_low = op.clip_high = 0.05f;
                         op.kl = 0.05f;
                         op.behave_cap = 1.02f;
                         op.behave_mask = form == 1;
                         op.cispo = form >= 3;
                         return op;
                       }});
    cases.push_back({fmt::format("NllLoss T={}", t), {.reduction = t + 1, .magnitude = 1}, [=](Buffers& b) -> AnyOp {
                       return NllLoss{b.values(f32, {t}, log_probabilities(b, t)), b.values(f32, {t}, masked_weights(b, t)),
                                      b.out(f32, {t}), b.inout(f32, {1})};
                     }});
    cases.push_back(
        {fmt::format("PairLoss P={}", t), {.reduction = t + 1, .noise = 8, .magnitude = 1}, [=](Buffers& b) -> AnyOp {
           PairLoss op;
           const Shape shape = t == 7 ? Shape{2 * t, 1} : Shape{2 * t};
           op.scores = b.in(f32, shape, {}, t == 33 ? 40 : 1);
           op.dscores = b.out(f32, shape);
           op.loss = b.inout(f32, {1});
           op.stats = b.inout_values(f32, {2}, {2, 3});
           op.l2 = 0.01f;
           op.weight = 0.1f;
           return op;
         }});
  }
  // Tokens that do not count may hold anything.
  const double nan = std::nan("");
  cases.push_back({"GrpoLoss with garbage in masked tokens", {.noise = 16}, [=](Buffers& b) -> AnyOp {
                     GrpoLoss op;
                     op.logp = b.values(f32, {3}, {-1, nan, -2});
                     op.behaviour = b.values(f32, {3}, {-1.1, -INFINITY, -2});
                     op.reference = b.values(f32, {3}, {-1.2, INFINITY, -2.5});
                     op.advantage = b.values(f32, {3}, {1, nan, -1});
                     op.weight = b.values(f32, {3}, {0.5, 0, 0.25});
                     op.dlogp = b.out(f32, {3});
                     op.loss = b.inout(f32, {1});
                     op.stats = b.inout_values(f32, {6}, {0, 0, 0, 0, 0, 0});
                     op.kl = 0.1f;
                     return op;
                   }});
  cases.push_back({"NllLoss with garbage in masked tokens", {}, [=](Buffers& b) -> AnyOp {
                     return NllLoss{b.values(f32, {3}, {-1, nan, -INFINITY}), b.values(f32, {3}, {1, 0, 0}), b.out(f32, {3}),
                                    b.inout(f32, {1})};
                   }});
}

void add_plain_cases(std::vector<OpCase>& cases) {
  for (int64_t n : {0, 1, 7, 33, 1000, 70001}) {
    for (const Layout& l : {Layout{}, Layout{.offset = 1}}) {
      const auto name = fmt::format("n={}{}", n, l.offset ? " misaligned" : "");
      for (DType t : {DType::f32, DType::bf16, DType::i32, DType::i64})
        cases.push_back({fmt::format("Fill {} {}", dtype_name(t), name), {}, [=](Buffers& b) -> AnyOp {
                           return Fill{b.out(t, {n}, l), -3.0f};
                         }});
      for (const float beta : {0.0f, 1.0f, 0.75f})
        cases.push_back({fmt::format("Axpby beta={} {}", beta, name), {.magnitude = 1}, [=](Buffers& b) -> AnyOp {
                           return Axpby{b.in(f32, {n}, l), beta == 0 ? b.out(f32, {n}, l) : b.inout(f32, {n}, l), 0.3f, beta};
                         }});
      for (const bool accumulate : {false, true})
        cases.push_back({fmt::format("SumSquares {}{}", name, accumulate ? " accumulate" : ""),
                         {.reduction = n + 1},
                         [=](Buffers& b) -> AnyOp {
                           return SumSquares{b.in(f32, {n}, l), accumulate ? b.inout(f32, {1}) : b.out(f32, {1}), accumulate};
                         }});
      cases.push_back({fmt::format("ScaleByNorm {}", name), {.roundings = 1}, [=](Buffers& b) -> AnyOp {
                         return ScaleByNorm{b.inout(f32, {n}, l), b.values(f32, {1}, {n % 2 ? 7.5 : 0.0}), 1e-7f};
                       }});
      // Ranges that begin and end anywhere, with and without decay, with elements between them.
      for (const bool to_bf16 : {false, true})
        cases.push_back(
            {fmt::format("AdamW in ranges {}{}", name, to_bf16 ? " to bf16" : ""), {.noise = 16}, [=](Buffers& b) -> AnyOp {
               AdamW op;
               op.master = b.inout(f32, {n}, l);
               op.grad = b.in(f32, {n}, l);
               op.m = b.inout(f32, {n}, l, 0.1);
               std::vector<double> v(static_cast<size_t>(n));
               for (double& e : v) e = 0.01 + b.rng().uniform();
               op.v = b.inout_values(f32, {n}, v, l);
               op.weights = b.inout(to_bf16 ? DType::bf16 : f32, {n}, l);
               std::vector<int64_t> ranges;
               for (int64_t at = 0; at < n;) {
                 const int64_t begin = at + static_cast<int64_t>(b.rng().below(3)) * (n / 40);
                 const int64_t end = begin + static_cast<int64_t>(b.rng().below(static_cast<uint64_t>(n / 8 + 2)));
                 if (end <= n) ranges.insert(ranges.end(), {begin, end, static_cast<int64_t>(b.rng().below(2))});
                 at = end + 1;
               }
               op.ranges = b.ints({static_cast<int64_t>(ranges.size()) / 3, 3}, ranges, DType::i64);
               op.weight_decay = 0.5f;
               op.step = 3;
               return op;
             }});
      for (int weights = 0; weights < 3; ++weights)
        for (const int64_t step : {1, 1000}) {
          if (n > 1000 && (step == 1 || weights == 1)) continue;
          cases.push_back({fmt::format("AdamW {} step={}{}", name, step,
                                       weights == 0   ? ""
                                       : weights == 1 ? " to f32"
                                                      : " to bf16"),
                           {.noise = 16},
                           [=](Buffers& b) -> AnyOp {
                             AdamW op;
                             op.master = b.inout(f32, {n}, l);
                             op.grad = b.in(f32, {n}, l);
                             op.m = b.inout(f32, {n}, l, 0.1);
                             std::vector<double> v(static_cast<size_t>(n));
                             for (double& e : v) e = 0.01 + b.rng().uniform();
                             op.v = b.inout_values(f32, {n}, v, l);
                             if (weights) op.weights = b.out(weights == 1 ? f32 : DType::bf16, {n}, l);
                             op.weight_decay = 0.1f;
                             op.grad_scale = 0.5f;
                             op.step = step;
                             return op;
                           }});
        }
    }
  }
  for (DType from : kFloatTypes)
    for (DType to : kFloatTypes)
      for (const Layout& l : {Layout{}, Layout{.offset = 1, .gap = 3}}) {
        for (const auto& [t, d] : {std::pair<int64_t, int64_t>{1, 7}, {33, 100}, {0, 5}, {257, 96}})
          cases.push_back(
              {fmt::format("Copy {}->{} T={} D={}{}", dtype_name(from), dtype_name(to), t, d, l.gap ? " strided" : ""),
               {},
               [=](Buffers& b) -> AnyOp {
                 return Copy{b.in(from, {t, d}, l), b.out(to, {t, d}, l)};
               }});
        cases.push_back(
            {fmt::format("Copy {}->{} columns of heads{}", dtype_name(from), dtype_name(to), l.gap ? " strided" : ""),
             {},
             [=](Buffers& b) -> AnyOp {
               return Copy{b.in(from, {9, 3, 24}, l).columns(5, 21), b.out(to, {9, 3, 16}, l)};
             }});
        // One key shared by all heads: the source's heads have stride 0.
        cases.push_back(
            {fmt::format("Copy {}->{} one head to all{}", dtype_name(from), dtype_name(to), l.gap ? " strided" : ""),
             {},
             [=](Buffers& b) -> AnyOp {
               View src = b.in(from, {9, 1, 16}, l);
               src.shape[1] = 3;
               src.stride[1] = 0;
               return Copy{src, b.out(to, {9, 3, 16}, l)};
             }});
      }
  cases.push_back(
      {"Copy f32->bf16 of special values", {}, [](Buffers& b) -> AnyOp {
         return Copy{b.values(f32, {6}, {INFINITY, -INFINITY, 0.0, -0.0, 3.3961e38, 1e-41}), b.out(DType::bf16, {6})};
       }});
  for (DType t : {DType::i32, DType::i64})
    cases.push_back(
        {fmt::format("Copy {}", dtype_name(t)), {}, [=](Buffers& b) -> AnyOp {
           return Copy{b.ints({5}, {1, -2, 0, 1 << 30, t == DType::i64 ? (int64_t{1} << 62) + 1 : 9}, t), b.out(t, {5})};
         }});
}

void add_gemm_cases(std::vector<OpCase>& cases) {
  struct GemmShape {
    int64_t m, n, k;
  };
  for (const GemmShape& s : {GemmShape{1, 1, 1}, GemmShape{7, 33, 100}, GemmShape{96, 96, 256}, GemmShape{64, 257, 31},
                             GemmShape{5, 4, 0}, GemmShape{0, 3, 4}})
    for (int form = 0; form < 8; ++form) {
      const bool ta = form & 1, tb = form & 2, strided = form & 4;
      for (const float beta : {0.0f, 0.5f})
        cases.push_back({fmt::format("Gemm {}x{}x{}{}{}{} beta={}", s.m, s.n, s.k, ta ? " a^T" : "", tb ? " b^T" : "",
                                     strided ? " strided" : "", beta),
                         {.reduction = s.k + 1, .magnitude = std::sqrt(static_cast<double>(s.k))},
                         [=](Buffers& b) -> AnyOp {
                           const Layout l = strided ? Layout{.offset = 1, .gap = 3} : Layout{};
                           Gemm op;
                           op.a = b.in(f32, ta ? Shape{s.k, s.m} : Shape{s.m, s.k}, l);
                           op.b = b.in(f32, tb ? Shape{s.n, s.k} : Shape{s.k, s.n}, l);
                           op.c = beta == 0 ? b.out(f32, {s.m, s.n}, l) : b.inout(f32, {s.m, s.n}, l);
                           op.trans_a = ta;
                           op.trans_b = tb;
                           op.alpha = 1.5f;
                           op.beta = beta;
                           return op;
                         }});
    }
}

}  // namespace

void add_arithmetic_cases(std::vector<OpCase>& cases) {
  add_loss_cases(cases);
  add_plain_cases(cases);
  add_gemm_cases(cases);
}

}  // namespace r1::test
