// Cases of LogProb, its backward and Sample.
#include <fmt/format.h>

#include <cmath>

#include "tests/kernels/op_cases.h"

namespace r1::test {

namespace {

std::vector<int64_t> random_targets(Buffers& b, int64_t t, int64_t v) {
  std::vector<int64_t> x(static_cast<size_t>(t));
  for (auto& e : x) e = static_cast<int64_t>(b.rng().below(static_cast<uint64_t>(v)));
  return x;
}

struct LogitShape {
  int64_t t, v;
};
const LogitShape kShapes[] = {{1, 1},    {1, 137},   {7, 33},  {33, 137}, {100, 512},
                              {5, 1030}, {3, 20011}, {0, 137}, {257, 65}, {2, 8193}};

void add_log_prob(std::vector<OpCase>& cases, DType f, LogitShape s, float temperature, double spread, bool odd) {
  const auto name = fmt::format("{} T={} V={} temperature={} spread={}{}", dtype_name(f), s.t, s.v, temperature, spread,
                                odd ? " misaligned" : "");
  const Layout l{.offset = odd};
  // z - lse cancels: its error is that of z.
  const double magnitude = 4 * spread / temperature + std::log(static_cast<double>(s.v)) + 1;
  cases.push_back({"LogProb " + name, {.noise = 4, .magnitude = magnitude}, [=](Buffers& b) -> AnyOp {
                     LogProb op;
                     op.logits = b.in(f, {s.t, s.v}, l, spread);
                     op.targets = b.ints({s.t}, random_targets(b, s.t, s.v));
                     op.logp = b.out(DType::f32, {s.t}, l);
                     op.lse = b.out(DType::f32, {s.t}, l);
                     if (s.t != 7) op.entropy = b.out(DType::f32, {s.t});
                     op.temperature = temperature;
                     return op;
                   }});
  for (const bool in_place : {false, true})
    cases.push_back({fmt::format("LogProbBackward {}{}", name, in_place ? " in place" : ""),
                     // exp(z - lse): the error of z - lse is relative; 1 - p cancels wholly for V = 1.
                     {.noise = 4 * magnitude, .magnitude = s.v == 1 ? 4 : 1e-3, .data = f},
                     [=](Buffers& b) -> AnyOp {
                       LogProbBackward op;
                       op.logits = in_place ? b.inout(f, {s.t, s.v}, l, spread) : b.in(f, {s.t, s.v}, l, spread);
                       op.targets = b.ints({s.t}, random_targets(b, s.t, s.v));
                       const auto logits = read_values(op.logits);
                       std::vector<double> lse;
                       for (int64_t t = 0; t < s.t; ++t) {
                         double sum = 0;
                         for (int64_t v = 0; v < s.v; ++v) sum += std::exp(logits[t * s.v + v] / temperature);
                         lse.push_back(std::log(sum));
                       }
                       op.lse = b.values(DType::f32, {s.t}, lse);
                       op.dlogp = b.in(DType::f32, {s.t}, l);
                       op.dlogits = in_place ? op.logits : b.out(f, {s.t, s.v}, l);
                       op.temperature = temperature;
                       return op;
                     }});
}

void add_sample(std::vector<OpCase>& cases, DType f, LogitShape s, int top_k, float top_p, double spread) {
  const double magnitude = 8 * spread + std::log(static_cast<double>(s.v)) + 1;
  cases.push_back(
      {fmt::format("Sample {} R={} V={} top_k={} top_p={} spread={}", dtype_name(f), s.t, s.v, top_k, top_p, spread),
       {.noise = 4, .magnitude = magnitude},
       [=](Buffers& b) -> AnyOp {
         Sample op;
         op.logits = b.in(f, {s.t, s.v}, {}, spread);
         std::vector<int64_t> keys, positions;
         std::vector<double> temperature;
         for (int64_t r = 0; r < s.t; ++r) {
           keys.push_back(static_cast<int64_t>(rng_key(b.rng().bits(), "sample case")));
           positions.push_back(static_cast<int64_t>(b.rng().below(5000)));
           temperature.push_back(r % 5 == 3 ? 0 : r % 5 == 4 ? 0.5 : r % 5 == 2 ? 1.5 : 1);
         }
         op.keys = b.ints({s.t}, keys, DType::i64);
         op.positions = b.ints({s.t}, positions);
         op.temperature = b.values(DType::f32, {s.t}, temperature);
         op.token = b.out(DType::i32, {s.t});
         op.logp = b.out(DType::f32, {s.t});
         if (s.t != 7) op.entropy = b.out(DType::f32, {s.t});
         op.top_k = top_k;
         op.top_p = top_p;
         return op;
       }});
}

}  // namespace

void add_vocabulary_cases(std::vector<OpCase>& cases) {
  for (DType f : kFloatTypes) {
    for (const LogitShape& s : kShapes) {
      add_log_prob(cases, f, s, 1.0f, 2, false);
      add_log_prob(cases, f, s, 0.6f, 5, true);
      add_sample(cases, f, s, 0, 1.0f, 2);
      add_sample(cases, f, s, 0, 1.0f, 0.1);
      if (s.v > 100) {
        add_sample(cases, f, s, 20, 1.0f, 1);
        add_sample(cases, f, s, 0, 0.9f, 2);
        add_sample(cases, f, s, 50, 0.7f, 1);
      }
    }
    add_sample(cases, f, {7, 5}, 9, 0.5f, 1);  // top_k beyond the vocabulary
  }
  // Huge logits: nothing may overflow. A logit of -inf has probability 0 (a masked token).
  for (DType f : kFloatTypes)
    cases.push_back({fmt::format("LogProb {} of huge and masked logits", dtype_name(f)),
                     {.noise = 8, .magnitude = 1000},
                     [=](Buffers& b) -> AnyOp {
                       return LogProb{b.values(f, {2, 4}, {1000, 999, -1000, 0, -INFINITY, 1, 2, -INFINITY}),
                                      b.ints({2}, {1, 2}),
                                      b.out(DType::f32, {2}),
                                      b.out(DType::f32, {2}),
                                      b.out(DType::f32, {2}),
                                      1.0f};
                     }});
  cases.push_back({"Sample of a row with ties, masked tokens and one certain token", {}, [](Buffers& b) -> AnyOp {
                     const double off = -INFINITY;
                     return Sample{b.values(DType::f32, {3, 4}, {2, 5, 5, 1, off, off, 3, off, 1, off, 1, 1}),
                                   b.ints({3}, {1, 2, 3}, DType::i64),
                                   b.ints({3}, {0, 1, 2}),
                                   b.values(DType::f32, {3}, {0, 1, 0}),
                                   b.out(DType::i32, {3}),
                                   b.out(DType::f32, {3}),
                                   b.out(DType::f32, {3})};
                   }});
}

}  // namespace r1::test
