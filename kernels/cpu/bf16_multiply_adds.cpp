// bf16 matmul by f32 multiply-adds: the bits of vdpbf16ps where that is two of them, the odd element of a pair first. CPUs
// whose bf16 instruction is a makeshift, as they have AMX (which a virtual machine may hide), are twice as fast this way.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/bf16_matmul-inl.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/threads.h"
#include "kernels/cpu/tiles.h"

namespace r1::cpu {
namespace {

// Depth of a block: 48 columns of it are 48 KiB, as in bf16_matmul.cpp.
constexpr int64_t kDepth = 256, kPairs = kDepth / 2;
// A row of a is [odd elements | even ones]; what is behind them keeps rows apart in the first-level cache.
constexpr int64_t kWideRow = kDepth + 16;

// Depths [0, k) of rows of a as f32.
R1_BF16_TARGET void widen_rows(const uint16_t* a, int64_t lda, int64_t rows, int64_t k, float* wide) {
  for (int64_t r = 0; r < rows; ++r, a += lda, wide += kWideRow) {
    for (int64_t i = 0; i < k; i += 32) {
      const auto rest = k - i >= 32 ? ~__mmask32{0} : static_cast<__mmask32>((1u << (k - i)) - 1);
      const Pairs pairs = _mm512_maskz_loadu_epi16(rest, a + i);
      _mm512_store_ps(wide + i / 2, odd_of(pairs));
      _mm512_store_ps(wide + kPairs + i / 2, even_of(pairs));
    }
  }
}

// Columns [n0, n0 + n) and depths [k0, k0 + k) of b as f32 [pair][odd, even][parts * 16], what is missing zero.
R1_BF16_TARGET void pack(const Bf16Matmul& x, int64_t n0, int64_t n, int64_t k0, int64_t k, int64_t parts, float* panel) {
  const auto row = [&](int64_t pair, int64_t part) { return panel + (2 * pair * parts + part) * 16; };
  const auto put = [&](int64_t pair, int64_t part, Pairs columns) R1_BF16_TARGET {
    float* const to = row(pair, part);
    _mm512_store_ps(to, odd_of(columns));
    _mm512_store_ps(to + parts * 16, even_of(columns));
  };
  if (!x.trans_b) {
    for (int64_t i = 0; i < (k + 1) / 2; ++i) {
      const uint16_t* const even = x.b + (k0 + 2 * i) * x.ldb + n0;
      const uint16_t* const odd = 2 * i + 1 < k ? even + x.ldb : nullptr;
      for (int64_t part = 0; part < parts; ++part) {
        const __mmask16 columns = first(n - part * 16);
        float* const to = row(i, part);
        _mm512_store_ps(to, odd ? widen(_mm256_maskz_loadu_epi16(columns, odd + part * 16)) : _mm512_setzero_ps());
        _mm512_store_ps(to + parts * 16, widen(_mm256_maskz_loadu_epi16(columns, even + part * 16)));
      }
    }
    return;
  }
  for (int64_t part = 0; part < parts; ++part) {
    const uint16_t* const b = x.b + (n0 + part * 16) * x.ldb + k0;
    const int64_t columns = std::min<int64_t>(n - part * 16, 16);
    for (int64_t i = 0; i < k; i += 32) {
      const auto put_here = [&](int64_t pair, Pairs c) R1_BF16_TARGET { put(i / 2 + pair, part, c); };
      if (columns == 16 && i + 32 <= k) {
        transpose(b + i, x.ldb, put_here);
        continue;
      }
      alignas(64) uint16_t edge[16 * 32] = {};
      for (int64_t c = 0; c < columns; ++c)
        std::memcpy(edge + c * 32, b + c * x.ldb + i, static_cast<size_t>(std::min<int64_t>(k - i, 32)) * sizeof(uint16_t));
      transpose(edge, 32, put_here);
    }
  }
}

// The chains of M rows and P parts go on over pairs of depth, from zero if this `begins` them.
struct Step {
  const float* a;  // wide rows
  const float* panel;
  int64_t pairs;
  bool begins;
  float* sums;  // [M][P * 16]
  Ahead ahead;
};
// Not inlined: nothing of it may be moved out of the mode that its caller sets.
template <int M, int P>
[[gnu::noinline]] R1_BF16_TARGET void go_on(const Step& step) {
  __m512 s[M][P];
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) s[m][p] = step.begins ? _mm512_setzero_ps() : _mm512_load_ps(step.sums + (m * P + p) * 16);
  const float* const a = step.a;
  const float* panel = step.panel;
  for (int64_t i = 0; i < step.pairs; ++i, panel += 2 * P * 16) {
    fetch(step.ahead, i);
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      __m512 b[P];
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) b[p] = _mm512_load_ps(panel + (half * P + p) * 16);
#pragma GCC unroll 16
      for (int m = 0; m < M; ++m) {
        const __m512 am = _mm512_set1_ps(a[m * kWideRow + half * kPairs + i]);
#pragma GCC unroll 4
        for (int p = 0; p < P; ++p) s[m][p] = _mm512_fmadd_ps(am, b[p], s[m][p]);
      }
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) _mm512_store_ps(step.sums + (m * P + p) * 16, s[m][p]);
}

// The sums of so many rows and parts, in their place. One register, or eight, at a time: small code, as 36 shapes would be
// large.
R1_BF16_TARGET void finish_sums(const Bf16Matmul& x, const Place& place, int64_t rows, int64_t parts, const float* sums) {
  const bool by_instruction = has_bf16_pairs(isa());
  constexpr int64_t kTogether = 8;
  for (int64_t p = 0; p < parts; ++p) {
    const float* const part = sums + p * 16;
    const auto at = [&](int64_t m) { return Place{place.row + m, place.n0 + p * 16, place.n - p * 16}; };
    if (!x.c_transposed) {
      for (int64_t m = 0; m < rows; ++m) {
        __m512 s[1][1] = {{_mm512_load_ps(part + m * parts * 16)}};
        finish_rows(x, at(m), by_instruction, s);
      }
      continue;
    }
    for (int64_t m = 0; m < rows; m += kTogether) {
      __m512 s[kTogether][1];
      for (int64_t i = 0; i < kTogether; ++i)
        s[i][0] = m + i < rows ? _mm512_load_ps(part + (m + i) * parts * 16) : _mm512_setzero_ps();
      finish_columns<0>(x, at(m), rows - m, by_instruction, s);
    }
  }
}

// f<M, P>() for a call of so many rows and parts.
template <int P, int M = static_cast<int>(micro_limit(P)), class F>
void with_rows(int64_t rows, F&& f) {
  if constexpr (M > 1) {
    if (rows < M) return with_rows<P, M - 1>(rows, f);
  }
  f.template operator()<M, P>();
}
template <class F>
void with_shape(int64_t rows, int64_t parts, F&& f) {
  parts == 3 ? with_rows<3>(rows, f) : parts == 2 ? with_rows<2>(rows, f) : with_rows<1>(rows, f);
}

}  // namespace

void bf16_matmul_by_multiply_adds(const Bf16Matmul& x) {
  if (x.m == 0 || x.n == 0 || x.k == 0) return;
  const int64_t all_parts = (x.n + 15) / 16, panels = (all_parts + kMicroParts - 1) / kMicroParts;
  const int64_t limit = micro_limit((all_parts + panels - 1) / panels);
  // Weights that are the rows are widened a call at a time, on the way from memory, and meet all panels of the few rows; else
  // the rows are widened once and meet one panel of the weights after the other.
  const bool few = x.c_transposed;
  const int64_t row_block = few ? x.m : std::min(kRowBlock, x.m), wide_rows = few ? limit : row_block;
  const int64_t panel_size = kDepth * kPanel, panels_held = few ? panels : 1;
  float* const panel =
      scratch<float>(ScratchSlot::matmul, panel_size * panels_held + wide_rows * kWideRow + row_block * all_parts * 16);
  float* const wide = panel + panel_size * panels_held;
  float* const all_sums = wide + wide_rows * kWideRow;

  struct Panel {
    int64_t index, part, parts, n;
  };
  const auto for_panels = [&](auto&& f) {
    for (int64_t p = 0; p < panels; ++p) {
      const int64_t part = all_parts * p / panels, parts = all_parts * (p + 1) / panels - part;
      f(Panel{p, part, parts, std::min(parts * 16, x.n - part * 16)});
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
      for (int64_t call = 0, m = m0, rows = 0; call < calls; ++call, m += rows) {
        rows = (m1 - m) / (calls - call);
        f(Call{call, m, rows, all_sums + (m - m0) * all_parts * 16});
      }
    };
    for (int64_t k0 = 0; k0 < x.k; k0 += kDepth) {
      const NoDenormals as_the_instruction;
      const int64_t k = std::min(kDepth, x.k - k0);
      const auto compute = [&](const Call& call, const Panel& p, const float* a, const float* columns, const Ahead& ahead) {
        const Step step{a, columns, (k + 1) / 2, k0 == 0, call.sums + p.part * call.rows * 16, ahead};
        with_shape(call.rows, p.parts, [&]<int M, int P>() { go_on<M, P>(step); });
      };
      if (few) {
        for_panels([&](const Panel& p) { pack(x, p.part * 16, p.n, k0, k, p.parts, panel + p.index * panel_size); });
        for_calls([&](const Call& call) {
          const uint16_t* const a = x.a + call.m * x.lda + k0;
          widen_rows(a, x.lda, call.rows, k, wide);
          for_panels([&](const Panel& p) {
            const Ahead after{a + call.rows * x.lda, x.lda, p.index == 0 ? 1 : 0};
            compute(call, p, wide, panel + p.index * panel_size, after);
          });
        });
        continue;
      }
      widen_rows(x.a + m0 * x.lda + k0, x.lda, m1 - m0, k, wide);
      for_panels([&](const Panel& p) {
        pack(x, p.part * 16, p.n, k0, k, p.parts, panel);
        const int64_t after = (p.part + p.parts) * 16;
        const uint16_t* const next = x.b + (after < x.n ? after * x.ldb + k0 : k0 + k);
        for_calls([&](const Call& call) {
          const Ahead ahead = x.trans_b ? share_of_next_panel(next, x.ldb, call.index, calls) : Ahead{};
          compute(call, p, wide + (call.m - m0) * kWideRow, panel, ahead);
        });
      });
    }
    for_calls([&](const Call& call) {
      for_panels([&](const Panel& p) {
        finish_sums(x, {call.m, p.part * 16, p.n}, call.rows, p.parts, call.sums + p.part * call.rows * 16);
      });
    });
  }
}

}  // namespace r1::cpu
