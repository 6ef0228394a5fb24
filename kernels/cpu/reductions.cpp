#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/reductions.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/simd-inl.h"
#include "kernels/cpu/threads.h"

HWY_BEFORE_NAMESPACE();
namespace r1::cpu {
namespace HWY_NAMESPACE {

void sum_squares(Context& context, const SumSquares& op) {
  constexpr int64_t kBlock = 1 << 14;
  const float* const x = data_as<const float>(op.x);
  const int64_t size = op.x.size(), blocks = (size + kBlock - 1) / kBlock;
  const auto mark = context.arena.mark();
  float* const partial = data_as<float>(context.arena.alloc(DType::f32, {blocks}));
  for_rows(context, size, kBlock, 0.1, [&](int64_t begin, int64_t end) HWY_ATTR {
    F16 s[4] = {zero16(), zero16(), zero16(), zero16()};
    int64_t i = begin;
    for (; i + 64 <= end; i += 64)
      for (int j = 0; j < 4; ++j) {
        const F16 a = load16(x + i + 16 * j);
        s[j] = fma16(a, a, s[j]);
      }
    for (; i < end; i += 16) {
      const F16 a = load16(x + i, end - i);
      s[0] = fma16(a, a, s[0]);
    }
    partial[begin / kBlock] = sum16((s[0] + s[1]) + (s[2] + s[3]));
  });
  double total = op.accumulate ? static_cast<double>(*data_as<const float>(op.out)) : 0.0;
  for (int64_t i = 0; i < blocks; ++i) total += static_cast<double>(partial[i]);
  *data_as<float>(op.out) = static_cast<float>(total);
  context.arena.release(mark);
}

template <class E>
void column_sums_of(Context& context, const View& dy_view, const View& db_view) {
  const Rows<const E> dy(dy_view);
  float* const db = data_as<float>(db_view);
  const double ns_per_column = 0.1 * static_cast<double>(dy.count);
  for_rows(context, dy_view.shape[1], 64, ns_per_column, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t n0 = begin; n0 < end; n0 += 16) {
      F16 s = load16(db + n0, end - n0);
      for (int64_t t = 0; t < dy.count; ++t) s = s + load16(dy(t) + n0, end - n0);
      store16(db + n0, s, end - n0);
    }
  });
}

void column_sums(Context& context, const View& dy, const View& db) {
  dy.dtype == DType::f32 ? column_sums_of<float>(context, dy, db) : column_sums_of<uint16_t>(context, dy, db);
}

}  // namespace HWY_NAMESPACE
}  // namespace r1::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace r1::cpu {
HWY_EXPORT(sum_squares);
void sum_squares(Context& context, const SumSquares& op) { HWY_DYNAMIC_DISPATCH(sum_squares)(context, op); }
HWY_EXPORT(column_sums);
void add_column_sums(Context& context, const View& dy, const View& db) { HWY_DYNAMIC_DISPATCH(column_sums)(context, dy, db); }
}  // namespace r1::cpu
#endif
