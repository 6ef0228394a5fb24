#include "tools/bench/register_loops.h"

#include <immintrin.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "kernels/cpu/bf16-inl.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/tiles.h"
#include "kernels/device.h"
#include "tools/bench/ceilings.h"

namespace r1::bench {
namespace {

// Enough independent sums to hide the latency of an instruction. Each runs its loop `times` times and returns its FLOPs.
constexpr int kSums = 12;

__attribute__((target("avx2,fma"))) double loop_avx2(int64_t times) {
  __m256 s[kSums];
  for (__m256& x : s) x = _mm256_setzero_ps();
  const __m256 a = _mm256_set1_ps(0.5f), b = _mm256_set1_ps(0.25f);
  for (int64_t i = 0; i < times; ++i)
#pragma GCC unroll 12
    for (int j = 0; j < kSums; ++j) s[j] = _mm256_fmadd_ps(a, b, s[j]);
  for (__m256& x : s) asm volatile("" ::"x"(x));
  return 2.0 * 8 * kSums * static_cast<double>(times);
}

__attribute__((target("avx512f"))) double loop_avx512(int64_t times) {
  __m512 s[kSums];
  for (__m512& x : s) x = _mm512_setzero_ps();
  const __m512 a = _mm512_set1_ps(0.5f), b = _mm512_set1_ps(0.25f);
  for (int64_t i = 0; i < times; ++i)
#pragma GCC unroll 12
    for (int j = 0; j < kSums; ++j) s[j] = _mm512_fmadd_ps(a, b, s[j]);
  for (__m512& x : s) asm volatile("" ::"v"(x));
  return 2.0 * 16 * kSums * static_cast<double>(times);
}

R1_BF16_TARGET double loop_avx512_bf16(int64_t times) {
  __m512 s[kSums];
  for (__m512& x : s) x = _mm512_setzero_ps();
  const cpu::Pairs a = _mm512_set1_epi32(0x3f003f00), b = _mm512_set1_epi32(0x3e803e80);
  for (int64_t i = 0; i < times; ++i)
#pragma GCC unroll 12
    for (int j = 0; j < kSums; ++j) s[j] = cpu::dot(s[j], a, b);
  for (__m512& x : s) asm volatile("" ::"v"(x));
  return 2.0 * 32 * kSums * static_cast<double>(times);
}

double loop_amx(int64_t times) {
  cpu::HardwareTiles tiles;
  const auto zero = [&]<int... T>(std::integer_sequence<int, T...>) { (tiles.zero<T>(), ...); };
  zero(std::make_integer_sequence<int, 8>());
  for (int64_t i = 0; i < times; ++i) {
    tiles.dot<0, 4, 6>();
    tiles.dot<1, 4, 7>();
    tiles.dot<2, 5, 6>();
    tiles.dot<3, 5, 7>();
  }
  return 2.0 * 16 * 16 * 32 * 4 * static_cast<double>(times);
}

double run_loop(DType type, int64_t times) {
  const cpu::Isa isa = cpu::isa();
  const bool bf16 = type == DType::bf16;
  if (bf16 && (isa == cpu::Isa::amx || isa == cpu::Isa::amx_onednn)) return loop_amx(times / 4);
  if (bf16 && isa >= cpu::Isa::avx512_bf16) return loop_avx512_bf16(times);
  if (isa >= cpu::Isa::avx512) return loop_avx512(times);
  return isa == cpu::Isa::avx2 ? loop_avx2(times) : 0;
}

}  // namespace

double register_flops(DType type, int threads) {
  constexpr int kRepetitions = 5;
  constexpr int64_t kTimes = 4'000'000;  // ten milliseconds: the other threads wake up late
  double best = 0;
  for (int r = 0; r < kRepetitions; ++r) {
    std::vector<double> flops(static_cast<size_t>(threads));
    const double ns =
        time_ns([&] { parallel_tasks(threads, [&](int64_t t) { flops[static_cast<size_t>(t)] = run_loop(type, kTimes); }); });
    double all = 0;
    for (const double f : flops) all += f;
    best = std::max(best, all / ns * 1e9);
  }
  return best;
}

}  // namespace r1::bench
