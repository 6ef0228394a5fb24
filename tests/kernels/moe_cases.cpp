// Cases of latent attention's keys and of mixtures of experts.
#include <fmt/format.h>

#include <cmath>
#include <numeric>

#include "tests/kernels/op_cases.h"

namespace r1::test {

namespace {

using Ints = std::vector<int64_t>;

// T tokens, E experts, k experts of a token.
struct Sizes {
  int64_t t, e, k;
};

// k different experts a token; `crowded`: only the first k of them ever.
Ints random_experts(Rng& rng, const Sizes& s, bool crowded) {
  Ints chosen;
  for (int64_t t = 0; t < s.t; ++t) {
    Ints all(static_cast<size_t>(crowded ? s.k : s.e));
    std::iota(all.begin(), all.end(), int64_t{0});
    rng.shuffle(all);
    chosen.insert(chosen.end(), all.begin(), all.begin() + s.k);
  }
  return chosen;
}

struct Sorted {
  Ints slots, places, offsets{0};
};
Sorted sort_assignments(const Ints& experts, int64_t e_n) {
  Sorted s;
  s.places.resize(experts.size());
  for (int64_t e = 0; e < e_n; ++e) {
    for (size_t a = 0; a < experts.size(); ++a) {
      if (experts[a] != e) continue;
      s.places[a] = static_cast<int64_t>(s.slots.size());
      s.slots.push_back(static_cast<int64_t>(a));
    }
    s.offsets.push_back(static_cast<int64_t>(s.slots.size()));
  }
  return s;
}

const Sizes kMoeSizes[] = {{1, 4, 2}, {7, 8, 2}, {33, 8, 3}, {65, 5, 1}, {100, 16, 4}, {257, 6, 6}, {0, 8, 2}};

void add_routing(std::vector<OpCase>& cases) {
  struct Routing {
    Sizes s;
    int groups, top_groups;
    bool softmax, normalize, bias, ties = false;
  };
  const Routing routings[] = {
      {{1, 8, 2}, 1, 1, false, true, false},         {{7, 8, 2}, 1, 1, false, true, true},
      {{33, 16, 4}, 4, 2, false, true, true},        {{65, 256, 8}, 8, 4, false, true, true},
      {{20, 12, 3}, 3, 1, false, false, true},       {{31, 6, 6}, 1, 1, false, true, true},
      {{40, 8, 2}, 1, 1, true, false, false},        {{40, 16, 3}, 4, 2, true, false, false},
      {{0, 8, 2}, 1, 1, false, true, true},          {{65, 9, 1}, 9, 5, false, true, true},
      {{129, 33, 5}, 1, 1, false, false, true},      {{70, 40, 6}, 1, 1, false, true, false, true},
      {{70, 48, 5}, 6, 3, false, true, false, true}, {{50, 20, 4}, 5, 2, true, true, false, true},
  };
  for (const Routing& r : routings) {
    const std::string name =
        fmt::format("T={} E={} k={} groups={}/{}{}{}{}{}", r.s.t, r.s.e, r.s.k, r.top_groups, r.groups,
                    r.softmax ? " softmax" : "", r.normalize ? "" : " raw", r.bias ? " bias" : "", r.ties ? " ties" : "");
    cases.push_back({"MoeRoute " + name, {.reduction = r.s.e, .magnitude = 2.5}, [=](Buffers& b) -> AnyOp {
                       MoeRoute op;
                       std::vector<double> logits(static_cast<size_t>(r.s.t * r.s.e));
                       for (double& x : logits) x = r.ties ? static_cast<double>(b.rng().below(3)) : b.rng().normal();
                       op.logits = b.values(DType::f32, {r.s.t, r.s.e}, logits);
                       if (r.bias) op.bias = b.in(DType::f32, {r.s.e}, {.offset = 1}, 0.1);
                       op.scores = b.out(DType::f32, {r.s.t, r.s.e});
                       op.experts = b.out(DType::i32, {r.s.t, r.s.k});
                       op.weights = b.out(DType::f32, {r.s.t, r.s.k});
                       op.groups = r.groups;
                       op.top_groups = r.top_groups;
                       op.softmax = r.softmax;
                       op.normalize = r.normalize;
                       op.scale = 2.5f;
                       return op;
                     }});
    cases.push_back({"MoeRouteBackward " + name, {.reduction = r.s.e, .noise = 16, .magnitude = 4}, [=](Buffers& b) -> AnyOp {
                       std::vector<double> scores(static_cast<size_t>(r.s.t * r.s.e));
                       for (double& x : scores) x = 0.1 + 0.8 * b.rng().uniform();
                       MoeRouteBackward op;
                       op.scores = b.values(DType::f32, {r.s.t, r.s.e}, scores);
                       op.experts = b.ints({r.s.t, r.s.k}, random_experts(b.rng(), r.s, false));
                       op.dweights = b.in(DType::f32, {r.s.t, r.s.k});
                       if (r.bias) op.dscores = b.in(DType::f32, {r.s.t, r.s.e});
                       op.dlogits = b.out(DType::f32, {r.s.t, r.s.e});
                       op.softmax = r.softmax;
                       op.normalize = r.normalize;
                       op.scale = 2.5f;
                       return op;
                     }});
  }
  const std::vector<Ints> lengths = {{1}, {5, 3}, {0, 7, 0, 20}, {64, 1, 33}, {257}, {40, 40, 40, 40, 40, 40}};
  for (size_t i = 0; i < lengths.size(); ++i) {
    const int64_t e = i % 2 ? 8 : 17, k = i % 3 + 1;
    Ints offsets{0};
    for (int64_t n : lengths[i]) offsets.push_back(offsets.back() + n);
    const int64_t t = offsets.back();
    cases.push_back({fmt::format("MoeBalanceLoss T={} S={} E={} k={}", t, lengths[i].size(), e, k),
                     {.reduction = t * e, .magnitude = 1},
                     [=](Buffers& b) -> AnyOp {
                       std::vector<double> scores(static_cast<size_t>(t * e));
                       for (double& x : scores) x = 0.05 + 0.9 * b.rng().uniform();
                       MoeBalanceLoss op;
                       op.scores = b.values(DType::f32, {t, e}, scores);
                       op.offsets = b.ints({static_cast<int64_t>(offsets.size())}, offsets);
                       op.dscores = b.out(DType::f32, {t, e});
                       op.loss = b.inout(DType::f32, {1});
                       op.k = static_cast<int>(k);
                       op.weight = 0.5f;
                       return op;
                     }});
  }
}

void add_sorting(std::vector<OpCase>& cases) {
  for (const Sizes& s : kMoeSizes) {
    const std::string name = fmt::format("T={} E={} k={}", s.t, s.e, s.k);
    for (const bool crowded : {false, true}) {
      cases.push_back({"MoeSort " + name + (crowded ? " crowded" : ""), {}, [=](Buffers& b) -> AnyOp {
                         return MoeSort{b.ints({s.t, s.k}, random_experts(b.rng(), s, crowded)), b.out(DType::i32, {s.t * s.k}),
                                        b.out(DType::i32, {s.t, s.k}), b.out(DType::i32, {s.e + 1})};
                       }});
    }
    cases.push_back({"MoeLoad " + name, {}, [=](Buffers& b) -> AnyOp {
                       const Sorted sorted = sort_assignments(random_experts(b.rng(), s, false), s.e);
                       return MoeLoad{b.ints({s.e + 1}, sorted.offsets),
                                      b.inout_values(DType::f32, {s.e}, std::vector<double>(static_cast<size_t>(s.e), 3))};
                     }});
    cases.push_back(
        {"MoeBiasUpdate " + name, {.reduction = 2, .magnitude = 1}, [=](Buffers& b) -> AnyOp {
           std::vector<double> load(static_cast<size_t>(s.e));
           for (double& x : load) x = static_cast<double>(b.rng().below(5));
           return MoeBiasUpdate{b.inout(DType::f32, {s.e}, {.offset = 1}, 0.1), b.values(DType::f32, {s.e}, load), 0.25f};
         }});
  }
}

// K, N: depth and width of an expert's matrix.
void add_grouped(std::vector<OpCase>& cases, DType f, const Sizes& s, int64_t k_n, int64_t n_n, bool slots, bool crowded) {
  const int64_t m = s.t * s.k;
  const std::string name = fmt::format("{} T={} E={} k={} K={} N={}{}{}", dtype_name(f), s.t, s.e, s.k, k_n, n_n,
                                       slots ? " slots" : "", crowded ? " crowded" : "");
  const int64_t rows = slots ? s.t : m;
  const Layout wide{.offset = 1, .gap = slots ? 5 : 3};
  cases.push_back({"GroupedLinear " + name, {.reduction = k_n, .magnitude = 1, .data = f}, [=](Buffers& b) -> AnyOp {
                     const Sorted sorted = sort_assignments(random_experts(b.rng(), s, crowded), s.e);
                     GroupedLinear op;
                     op.x = b.in(f, {rows, k_n}, wide);
                     op.w = b.in(f, {s.e, n_n, k_n}, {}, 1 / std::sqrt(static_cast<double>(k_n)));
                     op.offsets = b.ints({s.e + 1}, sorted.offsets);
                     if (slots) op.slots = b.ints({m}, sorted.slots);
                     op.y = b.out(f, {m, n_n});
                     op.copies = static_cast<int>(slots ? s.k : 1);
                     return op;
                   }});
  cases.push_back(
      {"GroupedLinearBackwardWeight " + name, {.reduction = m, .magnitude = 1, .data = f}, [=](Buffers& b) -> AnyOp {
         const Sorted sorted = sort_assignments(random_experts(b.rng(), s, crowded), s.e);
         GroupedLinearBackwardWeight op;
         op.dy = b.in(f, {m, n_n});
         op.x = b.in(f, {rows, k_n}, wide);
         op.offsets = b.ints({s.e + 1}, sorted.offsets);
         if (slots) op.slots = b.ints({m}, sorted.slots);
         op.dw = b.inout(DType::f32, {s.e, n_n, k_n});
         op.copies = static_cast<int>(slots ? s.k : 1);
         return op;
       }});
  if (slots) return;
  cases.push_back(
      {"GroupedLinearBackwardInput " + name, {.reduction = n_n, .magnitude = 1, .data = f}, [=](Buffers& b) -> AnyOp {
         const Sorted sorted = sort_assignments(random_experts(b.rng(), s, crowded), s.e);
         return GroupedLinearBackwardInput{b.in(f, {m, n_n}),
                                           b.in(f, {s.e, n_n, k_n}, {}, 1 / std::sqrt(static_cast<double>(n_n))),
                                           b.ints({s.e + 1}, sorted.offsets), b.out(f, {m, k_n})};
       }});
}

void add_combining(std::vector<OpCase>& cases, DType f, const Sizes& s, int64_t d, bool weighted) {
  const int64_t m = s.t * s.k;
  const std::string name =
      fmt::format("{} T={} E={} k={} D={}{}", dtype_name(f), s.t, s.e, s.k, d, weighted ? " weighted" : "");
  const auto places = [s](Buffers& b) {
    return b.ints({s.t, s.k}, sort_assignments(random_experts(b.rng(), s, false), s.e).places);
  };
  for (const bool accumulate : {false, true})
    cases.push_back({"MoeCombine " + name + (accumulate ? " accumulate" : ""),
                     {.reduction = s.k + 1, .magnitude = 2, .data = f},
                     [=](Buffers& b) -> AnyOp {
                       MoeCombine op;
                       op.z = b.in(f, {m, d});
                       op.places = places(b);
                       if (weighted) op.weights = b.in(DType::f32, {s.t, s.k});
                       op.y = accumulate ? b.inout(f, {s.t, d}) : b.out(f, {s.t, d});
                       op.accumulate = accumulate;
                       return op;
                     }});
  cases.push_back({"MoeCombineBackward " + name, {.reduction = d, .magnitude = 2, .data = f}, [=](Buffers& b) -> AnyOp {
                     MoeCombineBackward op;
                     op.dy = b.in(f, {s.t, d});
                     op.z = b.in(f, {m, d});
                     op.places = places(b);
                     if (weighted) op.weights = b.in(DType::f32, {s.t, s.k});
                     op.dz = b.out(f, {m, d});
                     if (weighted) op.dweights = b.out(DType::f32, {s.t, s.k});
                     return op;
                   }});
}

void add_mla_keys(std::vector<OpCase>& cases, DType f) {
  struct Heads {
    int64_t t, h, plain, value, rotary;
  };
  for (const Heads& x : {Heads{1, 1, 4, 4, 2}, {7, 4, 16, 24, 8}, {33, 3, 5, 7, 6}, {64, 2, 128, 128, 64}, {0, 2, 4, 4, 2}}) {
    const std::string name = fmt::format("{} T={} H={} P={} V={} R={}", dtype_name(f), x.t, x.h, x.plain, x.value, x.rotary);
    const int64_t wide = x.plain + x.value, d = x.plain + x.rotary;
    for (const Layout l : {Layout{}, Layout{.offset = 1, .gap = 5}}) {
      cases.push_back({"MlaKeys " + name + (l.gap ? " strided" : ""), {.data = f}, [=](Buffers& b) -> AnyOp {
                         return MlaKeys{b.in(f, {x.t, x.h, wide}, l), b.in(f, {x.t, x.rotary}, l), b.out(f, {x.t, x.h, d}, l)};
                       }});
      cases.push_back(
          {"MlaKeysBackward " + name + (l.gap ? " strided" : ""),
           {.reduction = x.h, .magnitude = 2, .data = f},
           [=](Buffers& b) -> AnyOp {
             return MlaKeysBackward{b.in(f, {x.t, x.h, d}, l), b.inout(f, {x.t, x.h, wide}, l), b.out(f, {x.t, x.rotary}, l)};
           }});
    }
  }
}

}  // namespace

void add_moe_cases(std::vector<OpCase>& cases) {
  add_routing(cases);
  add_sorting(cases);
  for (DType f : kFloatTypes) {
    int i = 0;
    for (const Sizes& s : kMoeSizes) {
      const int64_t k_n = i % 3 == 0 ? 96 : i % 3 == 1 ? 33 : 64, n_n = i % 2 ? 128 : 40;
      for (const bool slots : {false, true}) add_grouped(cases, f, s, k_n, n_n, slots, i % 4 == 3);
      add_combining(cases, f, s, i % 2 ? 96 : 37, i % 3 != 2);
      ++i;
    }
    add_mla_keys(cases, f);
  }
}

}  // namespace r1::test
