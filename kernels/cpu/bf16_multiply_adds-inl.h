// bf16 matmul by f32 multiply-adds over the registers V of one instruction set (bf16_multiply_adds.cpp,
// bf16_multiply_adds_avx2.cpp): of each pair of depth the odd element first, then the even one. The chain of an element does
// not know how wide registers are, so every set has the same bits.
//
// V: registers F of kLanes f32 and P of as many bf16 pairs; up to kParts registers of b a row; limit(parts): rows of a call, as
// many as have their sums in registers. For a file that defines R1_PRODUCT_TARGET, the set as an attribute, before it includes
// this, and for callers that have the set. Thread rule: pure functions on the calling thread.
#pragma once

#include <algorithm>
#include <cstring>

#include "kernels/cpu/bf16_matmul.h"
#include "kernels/cpu/bf16_panels.h"
#include "kernels/cpu/threads.h"
#include "kernels/cpu/tiles.h"

namespace r1::cpu {

// Depth of a block: 48 columns of it are 48 KiB, as in bf16_matmul.cpp, 16 a third of that.
inline constexpr int64_t kDepth = 256, kPairs = kDepth / 2;
// A row of a is [odd elements | even ones]; what is behind them keeps rows apart in the first-level cache.
inline constexpr int64_t kWideRow = kDepth + 16;

// Depths [0, k) of rows of a as f32.
template <class V>
R1_PRODUCT_TARGET void widen_rows(const uint16_t* a, int64_t lda, int64_t rows, int64_t k, float* wide) {
  for (int64_t r = 0; r < rows; ++r, a += lda, wide += kWideRow) {
    for (int64_t i = 0; i < k; i += 2 * V::kLanes) {
      const typename V::P pairs = V::pairs(a + i, k - i);
      V::store(wide + i / 2, V::odd_of(pairs));
      V::store(wide + kPairs + i / 2, V::even_of(pairs));
    }
  }
}

// Columns [n0, n0 + n) and depths [k0, k0 + k) of b as f32 [pair][odd, even][parts * kLanes], what is missing zero.
template <class V>
R1_PRODUCT_TARGET void pack(const Bf16Matmul& x, int64_t n0, int64_t n, int64_t k0, int64_t k, int64_t parts, float* panel) {
  constexpr int64_t kLanes = V::kLanes, kStep = 2 * kLanes;
  const auto row = [&](int64_t pair, int64_t part) { return panel + (2 * pair * parts + part) * kLanes; };
  const auto put = [&](int64_t pair, int64_t part, typename V::P columns) R1_PRODUCT_TARGET {
    float* const to = row(pair, part);
    V::store(to, V::odd_of(columns));
    V::store(to + parts * kLanes, V::even_of(columns));
  };
  if (!x.trans_b) {
    for (int64_t i = 0; i < (k + 1) / 2; ++i) {
      const uint16_t* const even = x.b + (k0 + 2 * i) * x.ldb + n0;
      const uint16_t* const odd = 2 * i + 1 < k ? even + x.ldb : nullptr;
      for (int64_t part = 0; part < parts; ++part) {
        const int64_t columns = n - part * kLanes;
        float* const to = row(i, part);
        V::store(to, odd ? V::widened(odd + part * kLanes, columns) : V::zero());
        V::store(to + parts * kLanes, V::widened(even + part * kLanes, columns));
      }
    }
    return;
  }
  for (int64_t part = 0; part < parts; ++part) {
    const uint16_t* const b = x.b + (n0 + part * kLanes) * x.ldb + k0;
    const int64_t columns = std::min<int64_t>(n - part * kLanes, kLanes);
    for (int64_t i = 0; i < k; i += kStep) {
      const auto put_here = [&](int64_t pair, typename V::P c) R1_PRODUCT_TARGET { put(i / 2 + pair, part, c); };
      if (columns == kLanes && i + kStep <= k) {
        V::transpose(b + i, x.ldb, put_here);
        continue;
      }
      alignas(64) uint16_t edge[kLanes * kStep] = {};
      for (int64_t c = 0; c < columns; ++c)
        std::memcpy(edge + c * kStep, b + c * x.ldb + i,
                    static_cast<size_t>(std::min<int64_t>(k - i, kStep)) * sizeof(uint16_t));
      V::transpose(edge, kStep, put_here);
    }
  }
}

// The chains of M rows and P parts go on over pairs of depth, from zero if this `begins` them.
struct Step {
  const float* a;  // wide rows
  const float* panel;
  int64_t pairs;
  bool begins;
  float* sums;  // [M][P * kLanes]
  Ahead ahead;
};
// Not inlined: nothing of it may be moved out of the mode that its caller sets.
template <class V, int M, int P>
[[gnu::noinline]] R1_PRODUCT_TARGET void go_on(const Step& step) {
  using F = typename V::F;
  constexpr int kLanes = V::kLanes;
  F s[M][P];
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) s[m][p] = step.begins ? V::zero() : V::load(step.sums + (m * P + p) * kLanes);
  const float* const a = step.a;
  const float* panel = step.panel;
  for (int64_t i = 0; i < step.pairs; ++i, panel += 2 * P * kLanes) {
    fetch<kLanes>(step.ahead, i);
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      F b[P];
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) b[p] = V::load(panel + (half * P + p) * kLanes);
#pragma GCC unroll 16
      for (int m = 0; m < M; ++m) {
        const F am = V::set(a[m * kWideRow + half * kPairs + i]);
#pragma GCC unroll 4
        for (int p = 0; p < P; ++p) s[m][p] = V::multiply_add(am, b[p], s[m][p]);
      }
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) V::store(step.sums + (m * P + p) * kLanes, s[m][p]);
}

// f<M, P>() for a call of so many rows and parts.
template <class V, int P, int M = static_cast<int>(V::limit(P)), class F>
void with_rows(int64_t rows, F&& f) {
  if constexpr (M > 1) {
    if (rows < M) return with_rows<V, P, M - 1>(rows, f);
  }
  f.template operator()<M, P>();
}
template <class V, class F>
void with_shape(int64_t rows, int64_t parts, F&& f) {
  if constexpr (V::kParts == 3) {
    if (parts == 3) return with_rows<V, 3>(rows, f);
  }
  parts == 2 ? with_rows<V, 2>(rows, f) : with_rows<V, 1>(rows, f);
}

template <class V>
void multiply_adds(const Bf16Matmul& x) {
  if (x.m == 0 || x.n == 0 || x.k == 0) return;
  constexpr int64_t kLanes = V::kLanes;
  const int64_t all_parts = (x.n + kLanes - 1) / kLanes, panels = (all_parts + V::kParts - 1) / V::kParts;
  const int64_t limit = V::limit((all_parts + panels - 1) / panels);
  // Weights that are the rows are widened a call at a time, on the way from memory, and meet all panels of the few rows; else
  // the rows are widened once and meet one panel of the weights after the other.
  const bool few = x.c_transposed;
  const int64_t row_block = few ? x.m : std::min(kRowBlock, x.m), wide_rows = few ? limit : row_block;
  const int64_t panel_size = kDepth * V::kParts * kLanes, panels_held = few ? panels : 1;
  float* const panel =
      scratch<float>(ScratchSlot::matmul, panel_size * panels_held + wide_rows * kWideRow + row_block * all_parts * kLanes);
  float* const wide = panel + panel_size * panels_held;
  float* const all_sums = wide + wide_rows * kWideRow;

  struct Panel {
    int64_t index, part, parts, n;
  };
  const auto for_panels = [&](auto&& f) {
    for (int64_t p = 0; p < panels; ++p) {
      const int64_t part = all_parts * p / panels, parts = all_parts * (p + 1) / panels - part;
      f(Panel{p, part, parts, std::min(parts * kLanes, x.n - part * kLanes)});
    }
  };
  for (int64_t m0 = 0; m0 < x.m; m0 += row_block) {
    const int64_t m1 = std::min(m0 + row_block, x.m), calls = (m1 - m0 + limit - 1) / limit;
    struct Call {
      int64_t index, m, rows;
      float* sums;  // of all panels
    };
    // Of about equal height: a call of few rows takes as long as one of several.
    const auto for_calls = [&](auto&& f) {
      const int64_t least = (m1 - m0) / calls, higher = (m1 - m0) % calls;
      for (int64_t call = 0, m = m0, rows = 0; call < calls; ++call, m += rows) {
        rows = least + (call >= calls - higher ? 1 : 0);
        f(Call{call, m, rows, all_sums + (m - m0) * all_parts * kLanes});
      }
    };
    for (int64_t k0 = 0; k0 < x.k; k0 += kDepth) {
      const NoDenormals as_the_instruction;
      const int64_t k = std::min(kDepth, x.k - k0);
      const auto compute = [&](const Call& call, const Panel& p, const float* a, const float* columns, const Ahead& ahead) {
        const Step step{a, columns, (k + 1) / 2, k0 == 0, call.sums + p.part * call.rows * kLanes, ahead};
        with_shape<V>(call.rows, p.parts, [&]<int M, int P>() { go_on<V, M, P>(step); });
      };
      if (few) {
        for_panels([&](const Panel& p) { pack<V>(x, p.part * kLanes, p.n, k0, k, p.parts, panel + p.index * panel_size); });
        for_calls([&](const Call& call) {
          const uint16_t* const a = x.a + call.m * x.lda + k0;
          widen_rows<V>(a, x.lda, call.rows, k, wide);
          for_panels([&](const Panel& p) {
            const Ahead after{a + call.rows * x.lda, x.lda, p.index == 0 ? 1 : 0};
            compute(call, p, wide, panel + p.index * panel_size, after);
          });
        });
        continue;
      }
      widen_rows<V>(x.a + m0 * x.lda + k0, x.lda, m1 - m0, k, wide);
      for_panels([&](const Panel& p) {
        pack<V>(x, p.part * kLanes, p.n, k0, k, p.parts, panel);
        const int64_t after = (p.part + p.parts) * kLanes;
        const uint16_t* const next = x.b + (after < x.n ? after * x.ldb + k0 : k0 + k);
        for_calls([&](const Call& call) {
          const Ahead ahead = x.trans_b ? share_of_next_panel<V::kLanes, V::kParts>(next, x.ldb, call.index, calls) : Ahead{};
          compute(call, p, wide + (call.m - m0) * kWideRow, panel, ahead);
        });
      });
    }
    for_calls([&](const Call& call) {
      for_panels([&](const Panel& p) {
        V::finish(x, Place{call.m, p.part * kLanes, p.n}, call.rows, p.parts, call.sums + p.part * call.rows * kLanes);
      });
    });
  }
}

}  // namespace r1::cpu
