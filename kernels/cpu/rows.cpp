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
  const int64_t row = y.size() / y.shape[0], last = y.shape[y.rank - 1];
  // A row of heads is one piece where they lie side by side.
  const int64_t piece = source.rank == 3 && source.stride[1] == last ? row : last;
  const auto bytes = static_cast<size_t>(piece * element);
  for_rows(context, y.shape[0], 64, 10 + 0.02 * static_cast<double>(row * element), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const std::byte* from = source.data + index[i] * source.stride[0] * element;
      std::byte* to = y.data + i * row * element;
      for (int64_t done = 0; done < row; done += piece, to += bytes, from += source.stride[1] * element)
        std::memcpy(to, from, bytes);
    }
  });
}

// In order of the rows for every column: columns may be cut, rows may not.
template <class B>
void add_to_table(Context& context, const EmbeddingBackward& op) {
  constexpr int64_t kColumns = 256;
  const int32_t* const index = data_as<const int32_t>(op.ids);
  const Rows<float> to(op.dtable);
  const Rows<const B> from(op.dy);
  const double ns_per_column = 0.1 * static_cast<double>(from.count);
  for_rows(context, op.dy.shape[1], kColumns, ns_per_column, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t i = 0; i < from.count; ++i) add_to(to(index[i]) + begin, from(i) + begin, end - begin);
  });
}

// The same, with sums of some columns of all rows of dx beside it.
template <class E>
void add_to_rows(Context& context, const GatherRowsBackward& op) {
  constexpr int64_t kSums = 1 << 18;
  const int32_t* const index = data_as<const int32_t>(op.rows);
  const Rows<E> to(op.dx);
  const Rows<const E> from(op.dy);
  const int64_t rows = op.dx.shape[0], named = op.rows.shape[0], last = op.dx.shape[op.dx.rank - 1];
  const int64_t width = std::clamp<int64_t>(kSums / rows / 16 * 16, 16, 256), parts = (last + width - 1) / width;
  const auto ns = static_cast<int64_t>(0.1 * static_cast<double>((named + 2 * rows) * std::min(last, width)));
  for_tiles(context, to.heads * parts, ns, [&](int64_t tile) HWY_ATTR {
    const int64_t head = tile / parts, begin = tile % parts * width, count = std::min(width, last - begin);
    float* const sums = scratch<float>(ScratchSlot::sums, rows * width);
    for (int64_t t = 0; t < rows; ++t)
      for (int64_t i = 0; i < count; i += 16)
        store16(sums + t * width + i, op.accumulate ? load16(to(t, head) + begin + i, count - i) : zero16());
    for (int64_t n = 0; n < named; ++n) {
      float* const sum = sums + index[n] * width;
      const E* const dy = from(n, head) + begin;
      for (int64_t i = 0; i < count; i += 16) store16(sum + i, load16(sum + i) + load16(dy + i, count - i));
    }
    for (int64_t t = 0; t < rows; ++t)
      for (int64_t i = 0; i < count; i += 16) store16(to(t, head) + begin + i, load16(sums + t * width + i), count - i);
  });
}

void embedding(Context& context, const Embedding& op) { copy_indexed(context, op.table, op.ids, op.y); }

void embedding_backward(Context& context, const EmbeddingBackward& op) {
  op.dy.dtype == DType::f32 ? add_to_table<float>(context, op) : add_to_table<uint16_t>(context, op);
}

void gather_rows(Context& context, const GatherRows& op) { copy_indexed(context, op.x, op.rows, op.y); }

void gather_rows_backward(Context& context, const GatherRowsBackward& op) {
  op.dy.dtype == DType::f32 ? add_to_rows<float>(context, op) : add_to_rows<uint16_t>(context, op);
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
