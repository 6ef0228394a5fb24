// What the checks of ops share: shapes, types, strides, overlap. Included by op_checks*.cpp alone.
// Thread rule: pure functions.
#pragma once

#include <initializer_list>
#include <string>

#include "base/error.h"
#include "kernels/op_views.h"

namespace r1 {

template <class Op>
std::string describe(const Op& op) {
  std::string s = kOpName<Op>;
  for_each_view(op, [&](const View& v, ViewInfo info) { s += std::string(" ") + info.name + "=" + v.str(); });
  return s;
}

template <class Op>
[[noreturn, gnu::cold, gnu::noinline]] void broken(const char* file, int line, const char* condition, const Op& op,
                                                   const char* view = "") {
  check_failed(file, line, condition, (*view ? std::string("at ") + view + " of " : std::string()) + describe(op));
}

#define REQUIRE(condition)                        \
  do {                                            \
    if (!(condition)) [[unlikely]]                \
      broken(__FILE__, __LINE__, #condition, op); \
  } while (0)
#define REQUIRE_VIEW(condition)                              \
  do {                                                       \
    if (!(condition)) [[unlikely]]                           \
      broken(__FILE__, __LINE__, #condition, op, info.name); \
  } while (0)

inline bool is(const View& v, DType dtype, std::initializer_list<int64_t> shape) {
  if (v.dtype != dtype || v.rank != static_cast<int>(shape.size())) return false;
  int i = 0;
  for (int64_t n : shape)
    if (v.shape[i++] != n) return false;
  return true;
}
inline bool dense(const View& v, DType dtype, std::initializer_list<int64_t> shape) {
  return is(v, dtype, shape) && v.contiguous();
}
inline bool absent_or_dense(const View& v, DType dtype, std::initializer_list<int64_t> shape) {
  return !v || dense(v, dtype, shape);
}
inline bool is_float(const View& v) { return v.dtype == DType::f32 || v.dtype == DType::bf16; }
inline bool dense_float(const View& v, int rank) { return is_float(v) && v.rank == rank && v.contiguous(); }
// "f or f32"
inline bool is_or_f32(const View& v, DType f) { return v.dtype == f || v.dtype == DType::f32; }
inline bool same_shape(const View& a, const View& b) {
  if (a.rank != b.rank) return false;
  for (int i = 0; i < a.rank; ++i)
    if (a.shape[i] != b.shape[i]) return false;
  return true;
}

inline bool same_view(const View& a, const View& b) {
  if (a.data != b.data || a.dtype != b.dtype || a.rank != b.rank) return false;
  for (int i = 0; i < a.rank; ++i)
    if (a.shape[i] != b.shape[i] || (a.shape[i] > 1 && a.stride[i] != b.stride[i])) return false;
  return true;
}

// Exact for contiguous views. Strided ones may interleave (columns of one buffer), so there only equal starts are seen.
inline bool overlap(const View& a, const View& b) {
  if (a.size() == 0 || b.size() == 0) return false;
  if (!a.contiguous() || !b.contiguous()) return a.data == b.data;
  const int64_t a_bytes = a.size() * static_cast<int64_t>(dtype_size(a.dtype));
  const int64_t b_bytes = b.size() * static_cast<int64_t>(dtype_size(b.dtype));
  return a.data < b.data + b_bytes && b.data < a.data + a_bytes;
}

// What holds for every op.
template <class Op>
void check_views(const Context& ctx, const Op& op) {
  for_each_view(op, [&](const View& v, ViewInfo info) {
    if (!v) {
      REQUIRE_VIEW(info.optional);
      return;
    }
    REQUIRE_VIEW(v.device == ctx.device);
    REQUIRE_VIEW(v.data != nullptr || v.size() == 0);
    REQUIRE_VIEW(v.rank > 0 && (v.stride[v.rank - 1] == 1 || v.shape[v.rank - 1] <= 1));
    if (info.use == Use::in) return;
    const View* written = &v;
    for_each_view(op, [&](const View& other, ViewInfo) {
      if (&other == written || !other || !overlap(*written, other)) return;
      REQUIRE_VIEW((may_alias(op, written, &other) || may_alias(op, &other, written)) && same_view(*written, other));
    });
  });
}

}  // namespace r1
