#include "kernels/cpu/bf16_matmul.h"

#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "base/error.h"
#include "kernels/cpu/bf16_matmul-inl.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/threads.h"
#include "kernels/cpu/tile_packing.h"
#include "kernels/cpu/tiles.h"

namespace r1::cpu {
namespace {

// 256 pairs x 48 columns are 48 KiB, which the second-level cache delivers at 8 bytes a cycle; half of it is 3 to 5 percent
// slower, because of the sums that come and go.
constexpr int64_t kDepthBlock = 512;

// Up to so many rows by pairs in any case.
constexpr int64_t kRowsOfPairs = 4;
// Of a weight product's chain.
constexpr int64_t kTokens = 256;

// Whether there are so few rows of a that b, which comes from memory, is what takes the time. It comes a third faster if a
// panel stays in the first-level cache, and if packing asks for the next one: sixteen streams are more than the hardware
// follows. With more rows there is time to ask for it meanwhile (Block::ahead).
bool waits_for_b(const Bf16Matmul& x) { return x.trans_b && !x.c_transposed && x.m <= 12; }

// Columns [n0, n0 + n) and depths [k0, k0 + k) of b as pairs [k/2 rounded up to 16][parts * 16], what is missing zero.
R1_BF16_TARGET void panel_of_columns(const Bf16Matmul& x, int64_t n0, int64_t n, int64_t k0, int64_t k, int64_t parts,
                                     uint32_t* panel) {
  const bool ahead = waits_for_b(x);
  for (int64_t part = 0; part < parts; ++part) {
    const uint16_t* const b = x.b + (n0 + part * 16) * x.ldb + k0;
    const int64_t columns = std::min<int64_t>(n - part * 16, 16);
    for (int64_t i = 0; i < k; i += 32) {
      for (int64_t c = 0; c < 16 && ahead; ++c)
        _mm_prefetch(reinterpret_cast<const char*>(b + (c + kPanel) * x.ldb + i), _MM_HINT_T1);
      uint32_t* const out = panel + (i / 2 * parts + part) * 16;
      if (columns == 16 && i + 32 <= k) {
        transpose(b + i, x.ldb, out, parts * 16);
        continue;
      }
      alignas(64) uint16_t edge[16 * 32] = {};
      for (int64_t c = 0; c < columns; ++c)
        std::memcpy(edge + c * 32, b + c * x.ldb + i, static_cast<size_t>(std::min<int64_t>(k - i, 32)) * sizeof(uint16_t));
      transpose(edge, 32, out, parts * 16);
    }
  }
}

R1_BF16_TARGET void panel_of_rows(const Bf16Matmul& x, int64_t n0, int64_t n, int64_t k0, int64_t k, int64_t parts,
                                  uint32_t* panel) {
  for (int64_t i = 0; i < (k + 1) / 2; ++i) {
    const uint16_t* const even = x.b + (k0 + 2 * i) * x.ldb + n0;
    const bool whole = 2 * i + 1 < k;
    for (int64_t part = 0; part < parts; ++part) {
      const __mmask16 columns = first(n - part * 16);
      const __m256i low = _mm256_maskz_loadu_epi16(columns, even + part * 16);
      const __m256i high = whole ? _mm256_maskz_loadu_epi16(columns, even + x.ldb + part * 16) : _mm256_setzero_si256();
      const Pairs both = _mm512_or_si512(_mm512_cvtepu16_epi32(low), _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
      _mm512_store_si512(panel + (i * parts + part) * 16, both);
    }
  }
}

// One block of depth for M rows and one panel.
struct Block {
  const uint16_t* a;
  const uint32_t* panel;
  int64_t k;
  float* sums;  // [M][P * 16]: the sums so far (in, unless first; out, unless last)
  bool first, last;
  Place place;
  Ahead ahead;
};

template <int M, int P>
R1_BF16_TARGET void micro(const Bf16Matmul& x, const Block& block) {
  __m512 s[M][P];
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) s[m][p] = block.first ? _mm512_setzero_ps() : _mm512_load_ps(block.sums + (m * P + p) * 16);
  // Four rows share a base and three distances, which the compiler would else keep for every row, and spill.
  constexpr int kBases = (M + 3) / 4;
  const char* base[kBases];
#pragma GCC unroll 4
  for (int g = 0; g < kBases; ++g) base[g] = reinterpret_cast<const char*>(block.a + 4 * g * x.lda);
  int64_t step = 2 * x.lda, step3 = 3 * step;
  asm("" : "+r"(step), "+r"(step3));
  const auto pair = [&](int m) R1_BF16_TARGET {
    int32_t both;
    std::memcpy(&both, base[m / 4] + (m % 4 == 0 ? 0 : m % 4 == 1 ? step : m % 4 == 2 ? 2 * step : step3), sizeof both);
    return _mm512_set1_epi32(both);
  };
  const int64_t pairs = block.k / 2;
  const uint32_t* panel = block.panel;
  for (int64_t i = 0; i < pairs; ++i, panel += P * 16) {
    fetch<16>(block.ahead, i);
    Pairs b[P];
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) b[p] = _mm512_load_si512(panel + p * 16);
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      const Pairs am = pair(m);
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) s[m][p] = dot(s[m][p], b[p], am);
    }
#pragma GCC unroll 4
    for (int g = 0; g < kBases; ++g) base[g] += sizeof(int32_t);
  }
  if (block.k % 2 != 0) {  // the second of the last pair is zero
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p)
        s[m][p] = dot(s[m][p], _mm512_load_si512(panel + p * 16), _mm512_set1_epi32(block.a[m * x.lda + block.k - 1]));
  }
  if (block.last) return finish(x, block.place, true, s);
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) _mm512_store_ps(block.sums + (m * P + p) * 16, s[m][p]);
}

template <int P, int M = static_cast<int>(micro_limit(P))>
void micro_rows(int64_t rows, const Bf16Matmul& x, const Block& block) {
  if constexpr (M > 1) {
    if (rows < M) return micro_rows<P, M - 1>(rows, x, block);
  }
  micro<M, P>(x, block);
}

template <bool kPairs>
R1_BF16_TARGET double ns_per_pair() {
  constexpr int kChains = 12, kSteps = 500;
  double best = 1e9;
  for (int turn = 0; turn < 8; ++turn) {
    __m512 s[kChains];
    for (__m512& x : s) {
      x = _mm512_setzero_ps();
      asm volatile("" : "+v"(x));  // chains that the compiler knew to be equal would be one
    }
    Pairs one = _mm512_set1_epi32(0x3f803f80);
    asm volatile("" : "+v"(one));
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < kSteps; ++i) {
#pragma GCC unroll 12
      for (int c = 0; c < kChains; ++c) {
        if constexpr (kPairs)
          s[c] = dot(s[c], one, one);
        else
          s[c] = _mm512_fmadd_ps((__m512)one, (__m512)one, _mm512_fmadd_ps((__m512)one, (__m512)one, s[c]));
      }
    }
    for (__m512& x : s) asm volatile("" : "+v"(x));
    best = std::min(best, std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin).count());
  }
  return best / (kChains * kSteps);
}

// CPUs with AMX, which a virtual machine may hide, have a slow vdpbf16ps: a Xeon of 2023 takes two cycles for it, and one for
// the two multiply-adds. A look of 50 us, for no bit depends on the answer.
bool multiply_adds_are_faster() {
  static const bool faster = chain_is_two_multiply_adds() && ns_per_pair<false>() * 1.25 < ns_per_pair<true>();
  return faster;
}

// The columns of t rows as rows `ld` apart, `ld` with room for whole tiles.
void turn_by_tiles(const uint16_t* from, int64_t ld_from, int64_t t, int64_t columns, uint16_t* to, int64_t ld) {
  auto* const tiles = scratch<std::byte>(ScratchSlot::b, tile_steps(kTokens) * kTileBytes);
  for (int64_t n0 = 0; n0 < columns; n0 += kTileRows) {
    pack_plain(from + n0, ld_from, columns - n0, t, tiles);
    for (int64_t step = 0; step < tile_steps(t); ++step)
      turn_tile(tiles + step * kTileBytes, to + n0 * ld + step * kTileStep, ld / 2);
  }
}
// By SSE2, which every CPU has: eight of each at a time.
void turn_by_eights(const uint16_t* from, int64_t ld_from, int64_t t, int64_t columns, uint16_t* to, int64_t ld) {
  const int64_t whole_t = t / 8 * 8, whole_columns = columns / 8 * 8;
  for (int64_t n = 0; n < whole_columns; n += 8)
    for (int64_t i = 0; i < whole_t; i += 8) {
      __m128i r[8], s[8];
      for (int j = 0; j < 8; ++j) r[j] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + (i + j) * ld_from + n));
      // Three times neighbours are mixed: elements, then pairs, then fours of them.
      for (int j = 0; j < 4; ++j) {
        s[2 * j] = _mm_unpacklo_epi16(r[j], r[j + 4]);
        s[2 * j + 1] = _mm_unpackhi_epi16(r[j], r[j + 4]);
      }
      for (int j = 0; j < 4; ++j) {
        r[2 * j] = _mm_unpacklo_epi16(s[j], s[j + 4]);
        r[2 * j + 1] = _mm_unpackhi_epi16(s[j], s[j + 4]);
      }
      for (int j = 0; j < 4; ++j) {
        s[2 * j] = _mm_unpacklo_epi16(r[j], r[j + 4]);
        s[2 * j + 1] = _mm_unpackhi_epi16(r[j], r[j + 4]);
      }
      for (int j = 0; j < 8; ++j) _mm_storeu_si128(reinterpret_cast<__m128i*>(to + (n + j) * ld + i), s[j]);
    }
  for (int64_t n = 0; n < columns; ++n)
    for (int64_t i = n < whole_columns ? whole_t : 0; i < t; ++i) to[n * ld + i] = from[i * ld_from + n];
}

}  // namespace

R1_BF16_TARGET bool chain_is_two_multiply_adds() {
  const NoDenormals mode;  // which the instruction has by itself
  for (uint64_t seed = 0; seed < 4; ++seed) {
    const TileOperands x = random_tile_operands(seed, true);
    for (int64_t m = 0; m < kTileRows; ++m)
      for (int64_t k = 0; k < kTileRows; ++k) {
        const __m512 sum = _mm512_loadu_ps(x.c[m]);
        const Pairs a = _mm512_loadu_si512(x.a[m]), b = _mm512_loadu_si512(x.b[k]);
        const __m512 chain = _mm512_fmadd_ps(even_of(a), even_of(b), _mm512_fmadd_ps(odd_of(a), odd_of(b), sum));
        if (_mm512_cmpneq_epi32_mask((Pairs)dot(sum, a, b), (Pairs)chain) != 0) return false;
      }
  }
  return true;
}

void bf16_matmul_by_pairs(const Bf16Matmul& x) {
  uint32_t* const panel = scratch<uint32_t>(ScratchSlot::matmul, (kDepthBlock / 2 + kRowBlock) * kPanel);
  float* const sums = reinterpret_cast<float*>(panel + kDepthBlock / 2 * kPanel);
  const int64_t depth_block = waits_for_b(x) ? kDepthBlock / 2 : kDepthBlock;
  const int64_t all_parts = (x.n + 15) / 16, panels = (all_parts + kMicroParts - 1) / kMicroParts;
  // One panel that needs no sums kept is packed once for all rows.
  const int64_t row_block = panels == 1 && x.k <= depth_block ? std::max<int64_t>(x.m, 1) : kRowBlock;
  for (int64_t m0 = 0; m0 < x.m; m0 += row_block) {
    const int64_t m1 = std::min(m0 + row_block, x.m);
    for (int64_t p = 0, n0 = 0, n = 0; p < panels; ++p, n0 += n) {
      const int64_t parts = all_parts * (p + 1) / panels - all_parts * p / panels;
      n = std::min(parts * 16, x.n - n0);
      for (int64_t k0 = 0; k0 < x.k; k0 += depth_block) {
        const int64_t k = std::min(depth_block, x.k - k0);
        (x.trans_b ? panel_of_columns : panel_of_rows)(x, n0, n, k0, k, parts, panel);
        // Calls of about equal height: one of few rows takes as long as one of several.
        const int64_t calls = (m1 - m0 + micro_limit(parts) - 1) / micro_limit(parts);
        for (int64_t call = 0, m = m0; call < calls; ++call) {
          const int64_t rows = (m1 - m) / (calls - call);
          Block block{.a = x.a + m * x.lda + k0,
                      .panel = panel,
                      .k = k,
                      .sums = sums + (m - m0) * parts * 16,
                      .first = k0 == 0,
                      .last = k0 + k == x.k,
                      .place = {m, n0, n},
                      .ahead = {}};
          m += rows;
          if (x.c_transposed && n0 == 0)  // the rows of a come from memory: those after these
            block.ahead = {block.a + rows * x.lda, x.lda, 1};
          else if (!x.c_transposed && x.trans_b)  // b does
            block.ahead = share_of_next_panel<16, kMicroParts>(x.b + (k0 + k < x.k ? n0 * x.ldb + k0 + k : (n0 + n) * x.ldb),
                                                               x.ldb, call, calls);
          if (parts == 3) {
            micro_rows<3>(rows, x, block);
          } else if (parts == 2) {
            micro_rows<2>(rows, x, block);
          } else {
            micro_rows<1>(rows, x, block);
          }
        }
      }
    }
  }
}

void bf16_matmul(const Bf16Matmul& x) {
  if (isa() == Isa::avx2) {
    R1_CHECK(!x.c_transposed, "weights are no rows on AVX2");
    return bf16_matmul_on_avx2(x);
  }
  // Of the fewest rows memory takes the time, and pairs are half as many bytes to bring into order.
  if (has_bf16_pairs(isa()) && (!multiply_adds_are_faster() || (waits_for_b(x) && x.m <= kRowsOfPairs)))
    bf16_matmul_by_pairs(x);
  else
    bf16_matmul_by_multiply_adds(x);
}

void bf16_weight_product(const Bf16WeightProduct& x) {
  // dy with rows and columns exchanged; rows a little apart, not all in one set of the cache.
  constexpr int64_t kLd = kTokens + 32;
  auto* const rows = scratch<uint16_t>(ScratchSlot::a, (x.n + kTileRows) * kLd);
  for (int64_t t0 = 0; t0 < x.t; t0 += kTokens) {
    const int64_t t = std::min(kTokens, x.t - t0);
    (isa() == Isa::avx2 ? turn_by_eights : turn_by_tiles)(x.dy + t0 * x.ld_dy, x.ld_dy, t, x.n, rows, kLd);
    bf16_matmul({.a = rows,
                 .lda = kLd,
                 .b = x.x + t0 * x.ld_x,
                 .ldb = x.ld_x,
                 .trans_b = false,
                 .bias = nullptr,
                 .c = x.dw,
                 .c_type = DType::f32,
                 .ldc = x.ld_dw,
                 .m = x.n,
                 .n = x.k,
                 .k = t,
                 .accumulate = true});
  }
}

}  // namespace r1::cpu
