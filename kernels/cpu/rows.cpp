#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rows.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/simd-inl.h"
#include "kernels/cpu/threads.h"

HWY_BEFORE_NAMESPACE();
namespace r1::cpu {
namespace HWY_NAMESPACE {

// a += b, element by element.
template <class A, class B>
HWY_INLINE void add_to(A* a, const B* b, int64_t n) {
  for (int64_t i = 0; i < n; i += 16) store16(a + i, load16(a + i, n - i) + load16(b + i, n - i), n - i);
}

void copy_indexed(Context& context, const View& source, const View& indices, const View& y) {
  const int32_t* const index = data_as<const int32_t>(indices);
  const auto element = static_cast<int64_t>(dtype_size(y.dtype));
  const auto bytes = static_cast<size_t>(y.shape[1] * element);
  for_rows(context, y.shape[0], 64, 10 + 0.02 * static_cast<double>(bytes), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      std::memcpy(y.data + i * y.stride[0] * element, source.data + index[i] * source.stride[0] * element, bytes);
  });
}

// In order of the rows for every column: columns may be cut, rows may not.
template <class A, class B>
void add_indexed(Context& context, const View& destination, const View& indices, const View& source) {
  constexpr int64_t kColumns = 256;
  const int32_t* const index = data_as<const int32_t>(indices);
  const Rows<A> to(destination);
  const Rows<const B> from(source);
  const double ns_per_column = 0.1 * static_cast<double>(from.count);
  for_rows(context, source.shape[1], kColumns, ns_per_column, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t i = 0; i < from.count; ++i) add_to(to(index[i]) + begin, from(i) + begin, end - begin);
  });
}

void embedding(Context& context, const Embedding& op) { copy_indexed(context, op.table, op.ids, op.y); }

void embedding_backward(Context& context, const EmbeddingBackward& op) {
  op.dy.dtype == DType::f32 ? add_indexed<float, float>(context, op.dtable, op.ids, op.dy)
                            : add_indexed<float, uint16_t>(context, op.dtable, op.ids, op.dy);
}

void gather_rows(Context& context, const GatherRows& op) { copy_indexed(context, op.x, op.rows, op.y); }

void gather_rows_backward(Context& context, const GatherRowsBackward& op) {
  op.dy.dtype == DType::f32 ? add_indexed<float, float>(context, op.dx, op.rows, op.dy)
                            : add_indexed<uint16_t, uint16_t>(context, op.dx, op.rows, op.dy);
}

template <class E>
void add_rows(Context& context, const Add& op) {
  const Rows<const E> a(op.a), b(op.b);
  const Rows<E> y(op.y);
  const int64_t D = op.y.shape[op.y.rank - 1];
  for_rows(context, y.count, 64, 0.1 * static_cast<double>(D), [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t t = begin; t < end; ++t) {
      const E* const at = a(t);
      const E* const bt = b(t);
      E* const yt = y(t);
      for (int64_t i = 0; i < D; i += 16) store16(yt + i, load16(at + i, D - i) + load16(bt + i, D - i), D - i);
    }
  });
}

void add(Context& context, const Add& op) {
  op.y.dtype == DType::f32 ? add_rows<float>(context, op) : add_rows<uint16_t>(context, op);
}

}  // namespace HWY_NAMESPACE
}  // namespace r1::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace r1::cpu {
HWY_EXPORT(embedding);
HWY_EXPORT(embedding_backward);
HWY_EXPORT(gather_rows);
HWY_EXPORT(gather_rows_backward);
HWY_EXPORT(add);
void embedding(Context& context, const Embedding& op) { HWY_DYNAMIC_DISPATCH(embedding)(context, op); }
void embedding_backward(Context& context, const EmbeddingBackward& op) {
  HWY_DYNAMIC_DISPATCH(embedding_backward)(context, op);
}
void gather_rows(Context& context, const GatherRows& op) { HWY_DYNAMIC_DISPATCH(gather_rows)(context, op); }
void gather_rows_backward(Context& context, const GatherRowsBackward& op) {
  HWY_DYNAMIC_DISPATCH(gather_rows_backward)(context, op);
}
void add(Context& context, const Add& op) { HWY_DYNAMIC_DISPATCH(add)(context, op); }
}  // namespace r1::cpu
#endif
