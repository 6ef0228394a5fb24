#include "tools/bench/ceilings.h"

#include <algorithm>
#include <cstring>

#include "base/clock.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/threads.h"
#include "kernels/ops.h"
#include "kernels/plugin.h"
#include "tools/bench/register_loops.h"

namespace r1::bench {
namespace {

constexpr int kRepetitions = 3;
constexpr size_t kBigBytes = size_t{192} << 20;  // beyond the last-level cache of one socket's share
constexpr size_t kQuickBytes = size_t{4} << 20;

}  // namespace

int64_t monotonic_ns() { return SystemClock().now_ns(); }

Ceilings best_of(const Ceilings& a, const Ceilings& b) {
  return {std::max(a.bf16_flops, b.bf16_flops), std::max(a.f32_flops, b.f32_flops),
          std::max(a.bf16_register_flops, b.bf16_register_flops), std::max(a.f32_register_flops, b.f32_register_flops),
          std::max(a.read_bytes, b.read_bytes)};
}

bool is_card(const Device& device) { return device.name().rfind("gpu:", 0) == 0; }
int counted_cores(const Device& device) { return is_card(device) ? 1 : cpu::thread_limit(); }

CeilingMeter::CeilingMeter(Device& device, bool quick)
    : device_(device),
      card_(is_card(device)),
      threads_(cpu::thread_limit()),
      sizes_(quick ? std::vector<int32_t>{128} : std::vector<int32_t>{512, 1024, 1536}),
      big_(card_ ? device : open_device("cpu"), DType::i64,
           {static_cast<int64_t>((quick ? kQuickBytes : kBigBytes) / sizeof(uint64_t))}),
      sums_(static_cast<size_t>(threads_)) {
  if (card_) return;
  for (std::vector<Tensor>* all : {&a_, &b_, &c_})
    for (int64_t t = 0; t < threads_; ++t) {
      all->emplace_back(open_device("cpu"), DType::f32, std::initializer_list<int64_t>{sizes_.back(), sizes_.back()});
      std::memset(all->back().view().data, 0, all->back().bytes());
    }
  std::memset(big_.view().data, 1, big_.bytes());  // else every page would be the one page of zeros
}

double CeilingMeter::matmul_flops(DType type) {
  double best = 0;
  for (const int32_t n : sizes_)
    for (const bool transposed : {false, true}) {
      const cpu::MatmulShape shape{
          .m = n, .n = n, .k = n, .lda = n, .ldb = n, .ldc = n, .in = type, .out = DType::f32, .trans_b = transposed};
      const double work = 2.0 * n * n * n * static_cast<double>(threads_);
      for (int r = 0; r <= kRepetitions; ++r) {  // the first one makes the primitive
        const double ns = time_ns([&] {
          parallel_tasks(threads_, [&](int64_t t) {
            const auto i = static_cast<size_t>(t);
            cpu::matmul(shape, a_[i].view().data, b_[i].view().data, nullptr, c_[i].view().data);
          });
        });
        best = std::max(best, work / ns * 1e9);
      }
    }
  return best;
}

double CeilingMeter::read_bytes() {
  double best = 0;
  for (int r = 0; r < kRepetitions; ++r)
    best = std::max(best, static_cast<double>(big_.bytes()) / time_ns([&] { flush_caches(); }) * 1e9);
  return best;
}

void CeilingMeter::flush_caches() {
  if (card_) {
    Context ctx(device_);
    View values = big_.view();
    values.dtype = DType::f32;
    values.shape[0] *= 2;
    run(ctx, Fill{values, 1});
    device_.finish();
    return;
  }
  constexpr size_t kSums = 8;
  parallel_tasks(threads_, [&](int64_t t) {
    const size_t each = big_.bytes() / sizeof(uint64_t) / static_cast<size_t>(threads_) / kSums * kSums;
    const uint64_t* const p = reinterpret_cast<const uint64_t*>(big_.view().data) + static_cast<size_t>(t) * each;
    uint64_t s[kSums] = {};
    for (size_t i = 0; i < each; i += kSums)
      for (size_t j = 0; j < kSums; ++j) s[j] += p[i + j];
    for (size_t j = 1; j < kSums; ++j) s[0] += s[j];
    sums_[static_cast<size_t>(t)] = s[0];
  });
}

Ceilings CeilingMeter::measure() {
  if (card_) {
    const CardCeilings c = card_ceilings(device_);
    why_missing_ = c.why;
    Ceilings of_card;
    of_card.bf16_flops = c.bf16_flops;
    of_card.f32_flops = c.f32_flops;
    of_card.read_bytes = c.copy_bytes;
    return of_card;
  }
  Ceilings c;
  c.f32_flops = matmul_flops(DType::f32);
  // f32 multiply-adds compute bf16 products too (kernels/cpu/bf16_matmul.h).
  c.bf16_flops = c.f32_flops;
  if (cpu::has_bf16_pairs(cpu::isa())) c.bf16_flops = std::max(c.bf16_flops, matmul_flops(DType::bf16));
  c.f32_register_flops = register_flops(DType::f32, static_cast<int>(threads_));
  c.bf16_register_flops = std::max(register_flops(DType::bf16, static_cast<int>(threads_)), c.f32_register_flops);
  c.read_bytes = read_bytes();
  return c;
}

}  // namespace r1::bench
