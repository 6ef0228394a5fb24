// Sixteen f32 lanes on any instruction set: one AVX-512 register, two AVX2 registers, sixteen scalars. Kernels are written in
// these alone, so that their order of arithmetic does not know the width of a register.
//
// To be included after hwy/foreach_target.h, once per target. bf16 values are uint16_t here.
// Thread rule: values.
#if defined(R1_CPU_SIMD_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef R1_CPU_SIMD_INL_H
#undef R1_CPU_SIMD_INL_H
#else
#define R1_CPU_SIMD_INL_H
#endif

#include <hwy/highway.h>

#include <cstdint>
#include <cstring>

#include "kernels/tensor.h"

HWY_BEFORE_NAMESPACE();
namespace r1::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::CappedTag<float, 16>;
using DI = hn::RebindToSigned<DF>;
using DU = hn::RebindToUnsigned<DF>;
using DH = hn::Rebind<uint16_t, DF>;  // half as wide: bf16 bits
inline constexpr int kLanes = static_cast<int>(hn::MaxLanes(DF()));
inline constexpr int kParts = 16 / kLanes;

struct F16 {  // sixteen f32
  hn::Vec<DF> v[kParts];
};
struct Mask16 {
  hn::Mask<DF> m[kParts];
};

#undef R1_PARTS
#if HWY_TARGET == HWY_SCALAR  // else GCC unrolls sixteenfold everywhere
#define R1_PARTS _Pragma("GCC unroll 1") for (int i = 0; i < kParts; ++i)
#else
#define R1_PARTS for (int i = 0; i < kParts; ++i)
#endif
// Before loops over registers: GCC keeps an array in registers only when it unrolls all loops over it. Not where it only costs
// compile time: attention_paged.cpp takes minutes with sanitizers otherwise.
#undef R1_UNROLL
#if HWY_TARGET == HWY_SCALAR || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define R1_UNROLL
#else
#define R1_UNROLL _Pragma("GCC unroll 16")
#endif

HWY_INLINE F16 set16(float x) {
  F16 r;
  R1_PARTS r.v[i] = hn::Set(DF(), x);
  return r;
}
HWY_INLINE F16 zero16() { return set16(0.0f); }

// Lane < n.
HWY_INLINE Mask16 first16(int64_t n) {
  Mask16 r;
  R1_PARTS {
    const int64_t left = n - i * kLanes;
    r.m[i] = hn::FirstN(DF(), static_cast<size_t>(left < 0 ? 0 : left > kLanes ? kLanes : left));
  }
  return r;
}

HWY_INLINE F16 load16(const float* p) {
  F16 r;
  R1_PARTS r.v[i] = hn::LoadU(DF(), p + i * kLanes);
  return r;
}
HWY_INLINE hn::Vec<DF> widen(hn::Vec<DH> h) { return hn::BitCast(DF(), hn::ShiftLeft<16>(hn::PromoteTo(DU(), h))); }
HWY_INLINE F16 load16(const uint16_t* p) {
  F16 r;
  R1_PARTS r.v[i] = widen(hn::LoadU(DH(), p + i * kLanes));
  return r;
}
#if HWY_TARGET == HWY_AVX2
// The first n bf16 (n in [1,7]): AVX2 has masks for elements of 32 bits alone.
using DPairs = hn::Repartition<int32_t, DH>;
HWY_INLINE hn::Vec<DH> load_some(const uint16_t* p, int64_t n) {
  const auto count = static_cast<size_t>(n);
  const auto pairs = hn::MaskedLoad(hn::FirstN(DPairs(), count / 2), DPairs(), reinterpret_cast<const int32_t*>(p));
  const auto some = hn::BitCast(DH(), pairs);
  if (n % 2 == 0) return some;
  const auto last = hn::IfThenZeroElse(hn::FirstN(DH(), count - 1), hn::Set(DH(), p[n - 1]));
  return hn::Or(some, hn::IfThenElseZero(hn::FirstN(DH(), count), last));
}
HWY_INLINE void store_some(uint16_t* p, hn::Vec<DH> x, int64_t n) {
  const auto pairs = hn::FirstN(DPairs(), static_cast<size_t>(n) / 2);
  hn::BlendedStore(hn::BitCast(DPairs(), x), pairs, DPairs(), reinterpret_cast<int32_t*>(p));
  if (n % 2 == 0) return;
  alignas(16) uint16_t all[8];
  hn::Store(x, DH(), all);
  p[n - 1] = all[n - 1];
}
#endif
// The first n lanes (n in [0,16]); the others are zero and their memory is not read.
template <class E>
HWY_INLINE F16 load16(const E* p, int64_t n) {
  if (n >= 16) return load16(p);
#if HWY_TARGET == HWY_AVX3
  if constexpr (sizeof(E) == 2) {
    F16 r;
    r.v[0] = widen(hn::MaskedLoad(hn::FirstN(DH(), static_cast<size_t>(n)), DH(), p));
    return r;
  } else {
    F16 r;
    r.v[0] = hn::MaskedLoad(hn::FirstN(DF(), static_cast<size_t>(n)), DF(), p);
    return r;
  }
#elif HWY_TARGET == HWY_AVX2
  F16 r = zero16();
  R1_PARTS {
    const int64_t left = n - i * kLanes;
    const E* const from = p + i * kLanes;
    if constexpr (sizeof(E) == 4) {
      if (left >= kLanes)
        r.v[i] = hn::LoadU(DF(), from);
      else if (left > 0)
        r.v[i] = hn::MaskedLoad(hn::FirstN(DF(), static_cast<size_t>(left)), DF(), from);
    } else {
      if (left >= kLanes)
        r.v[i] = widen(hn::LoadU(DH(), from));
      else if (left > 0)
        r.v[i] = widen(load_some(from, left));
    }
  }
  return r;
#endif
  E buffer[16] = {};
  std::memcpy(buffer, p, static_cast<size_t>(n) * sizeof(E));
  return load16(buffer);
}

HWY_INLINE void store16(float* p, F16 x) { R1_PARTS hn::StoreU(x.v[i], DF(), p + i * kLanes); }
// Round to nearest even; NaN stays NaN (quiet).
HWY_INLINE hn::Vec<DH> narrow(hn::Vec<DF> x) {
  const auto bits = hn::BitCast(DU(), x);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(DU(), 1));
  const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(DU(), 0x7fff)));
  const auto quiet = hn::Or(bits, hn::Set(DU(), 0x400000));
  const auto nan = hn::RebindMask(DU(), hn::IsNaN(x));
  return hn::TruncateTo(DH(), hn::ShiftRight<16>(hn::IfThenElse(nan, quiet, rounded)));
}
HWY_INLINE void store16(uint16_t* p, F16 x) { R1_PARTS hn::StoreU(narrow(x.v[i]), DH(), p + i * kLanes); }
template <class E>
HWY_INLINE void store16(E* p, F16 x, int64_t n) {
  if (n >= 16) return store16(p, x);
#if HWY_TARGET == HWY_AVX3
  if constexpr (sizeof(E) == 2) {
    hn::BlendedStore(narrow(x.v[0]), hn::FirstN(DH(), static_cast<size_t>(n)), DH(), p);
  } else {
    hn::BlendedStore(x.v[0], hn::FirstN(DF(), static_cast<size_t>(n)), DF(), p);
  }
  return;
#elif HWY_TARGET == HWY_AVX2
  R1_PARTS {
    const int64_t left = n - i * kLanes;
    E* const to = p + i * kLanes;
    if constexpr (sizeof(E) == 4) {
      if (left >= kLanes)
        hn::StoreU(x.v[i], DF(), to);
      else if (left > 0)
        hn::BlendedStore(x.v[i], hn::FirstN(DF(), static_cast<size_t>(left)), DF(), to);
    } else {
      if (left >= kLanes)
        hn::StoreU(narrow(x.v[i]), DH(), to);
      else if (left > 0)
        store_some(to, narrow(x.v[i]), left);
    }
  }
  return;
#endif
  E buffer[16];
  store16(buffer, x);
  std::memcpy(p, buffer, static_cast<size_t>(n) * sizeof(E));
}

// What x becomes when stored as E and read again.
template <class E>
HWY_INLINE F16 round_to(F16 x) {
  if constexpr (sizeof(E) == 2) R1_PARTS x.v[i] = widen(narrow(x.v[i]));
  return x;
}
HWY_INLINE float widen1(float x) { return x; }
HWY_INLINE float widen1(uint16_t x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}

HWY_INLINE float narrow1(float x, float) { return x; }
HWY_INLINE uint16_t narrow1(float x, uint16_t) { return bf16_from_f32(x); }

HWY_INLINE F16 operator+(F16 a, F16 b) {
  R1_PARTS a.v[i] = hn::Add(a.v[i], b.v[i]);
  return a;
}
HWY_INLINE F16 operator-(F16 a, F16 b) {
  R1_PARTS a.v[i] = hn::Sub(a.v[i], b.v[i]);
  return a;
}
HWY_INLINE F16 operator*(F16 a, F16 b) {
  R1_PARTS a.v[i] = hn::Mul(a.v[i], b.v[i]);
  return a;
}
HWY_INLINE F16 operator/(F16 a, F16 b) {
  R1_PARTS a.v[i] = hn::Div(a.v[i], b.v[i]);
  return a;
}
// a * b + c
HWY_INLINE F16 fma16(F16 a, F16 b, F16 c) {
  R1_PARTS c.v[i] = hn::MulAdd(a.v[i], b.v[i], c.v[i]);
  return c;
}
HWY_INLINE F16 max16(F16 a, F16 b) {
  R1_PARTS a.v[i] = hn::Max(a.v[i], b.v[i]);
  return a;
}
HWY_INLINE F16 sqrt16(F16 a) {
  R1_PARTS a.v[i] = hn::Sqrt(a.v[i]);
  return a;
}
// Lanes of the mask from a, the others from b.
HWY_INLINE F16 select16(Mask16 m, F16 a, F16 b) {
  R1_PARTS b.v[i] = hn::IfThenElse(m.m[i], a.v[i], b.v[i]);
  return b;
}

// Over the lanes, in a fixed tree.
HWY_INLINE float sum16(F16 x) {
  for (int n = kParts; n > 1; n /= 2)
    for (int i = 0; i < n / 2; ++i) x.v[i] = hn::Add(x.v[i], x.v[i + n / 2]);
  return hn::GetLane(hn::SumOfLanes(DF(), x.v[0]));
}
HWY_INLINE float max_lane16(F16 x) {
  for (int n = kParts; n > 1; n /= 2)
    for (int i = 0; i < n / 2; ++i) x.v[i] = hn::Max(x.v[i], x.v[i + n / 2]);
  return hn::GetLane(hn::MaxOfLanes(DF(), x.v[0]));
}

// e^x, within 2 ulp: x = n ln 2 + r, a polynomial of degree 6 in r (Cephes expf). Below -87: 0, so
// that no lane ever is a denormal number (each costs 150 cycles on Intel); above 88.73: inf; NaN stays.
HWY_INLINE F16 exp16(F16 x) {
  R1_PARTS {
    const DF d;
    const auto v = x.v[i];
    const auto c = hn::Min(hn::Max(v, hn::Set(d, -87.0f)), hn::Set(d, 89.0f));
    const auto n = hn::Round(hn::Mul(c, hn::Set(d, 1.44269504088896341f)));
    const auto r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4f), hn::NegMulAdd(n, hn::Set(d, 0.693359375f), c));
    auto p = hn::Set(d, 1.9875691500e-4f);
    p = hn::MulAdd(p, r, hn::Set(d, 1.3981999507e-3f));
    p = hn::MulAdd(p, r, hn::Set(d, 8.3334519073e-3f));
    p = hn::MulAdd(p, r, hn::Set(d, 4.1665795894e-2f));
    p = hn::MulAdd(p, r, hn::Set(d, 1.6666665459e-1f));
    p = hn::MulAdd(p, r, hn::Set(d, 5.0000001201e-1f));
    p = hn::MulAdd(p, hn::Mul(r, r), hn::Add(r, hn::Set(d, 1.0f)));
    // 2^n in two factors: n reaches 128.
    const auto n_int = hn::ConvertTo(DI(), n);
    const auto half = hn::ShiftRight<1>(n_int);
    const auto power = [](auto k) HWY_ATTR { return hn::BitCast(DF(), hn::ShiftLeft<23>(hn::Add(k, hn::Set(DI(), 127)))); };
    auto y = hn::Mul(hn::Mul(p, power(half)), power(hn::Sub(n_int, half)));
    y = hn::IfThenElse(hn::Lt(v, hn::Set(d, -87.0f)), hn::Zero(d), y);
    y = hn::IfThenElse(hn::Eq(v, v), y, v);
    x.v[i] = y;
  }
  return x;
}
HWY_INLINE float exp1(float x) { return hn::GetLane(exp16(set16(x)).v[0]); }

// 1 / (1 + e^-x)
HWY_INLINE F16 sigmoid16(F16 x) { return set16(1.0f) / (set16(1.0f) + exp16(zero16() - x)); }

#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2
// Rows r, r+4, ... of b as the 128-bit pieces of one register; columns [0, 4).
HWY_INLINE hn::Vec<DF> rows_by_four(const float* b, int64_t ldb) {
  const hn::Full128<float> d4;
  const hn::Full256<float> d8;
  const auto low = hn::Combine(d8, hn::LoadU(d4, b + 4 * ldb), hn::LoadU(d4, b));
#if HWY_TARGET == HWY_AVX3
  return hn::Combine(hn::Full512<float>(), hn::Combine(d8, hn::LoadU(d4, b + 12 * ldb), hn::LoadU(d4, b + 8 * ldb)), low);
#else
  return low;
#endif
}

// Sixteen rows of b, [16][ldb], columns [0, 4), as four F16. Four rows a piece, then a 4x4 transpose of each piece.
HWY_INLINE void transpose4(const float* b, int64_t ldb, float* out, int64_t out_stride) {
  const DF d;
  const hn::Repartition<double, DF> d64;
  R1_PARTS {
    const float* const rows = b + i * kLanes * ldb;
    const auto v0 = rows_by_four(rows, ldb), v1 = rows_by_four(rows + ldb, ldb), v2 = rows_by_four(rows + 2 * ldb, ldb),
               v3 = rows_by_four(rows + 3 * ldb, ldb);
    const auto t0 = hn::BitCast(d64, hn::InterleaveLower(d, v0, v1)), t1 = hn::BitCast(d64, hn::InterleaveUpper(d, v0, v1));
    const auto t2 = hn::BitCast(d64, hn::InterleaveLower(d, v2, v3)), t3 = hn::BitCast(d64, hn::InterleaveUpper(d, v2, v3));
    float* const o = out + i * kLanes;
    hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d64, t0, t2)), d, o);
    hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d64, t0, t2)), d, o + out_stride);
    hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d64, t1, t3)), d, o + 2 * out_stride);
    hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d64, t1, t3)), d, o + 3 * out_stride);
  }
}
#endif

// Up to sixteen rows of b, [rows][ldb], `cols` wide, as [cols][out_stride] of sixteen; rows beyond the last are zero.
HWY_INLINE void transpose16(const float* b, int64_t ldb, int64_t rows, int64_t cols, float* out, int64_t out_stride) {
  int64_t i = 0;
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2
  if (rows == 16)
    for (; i + 4 <= cols; i += 4) transpose4(b + i, ldb, out + i * out_stride, out_stride);
#endif
  for (; i < cols; ++i) {
    float* const o = out + i * out_stride;
    for (int64_t r = 0; r < rows; ++r) o[r] = b[r * ldb + i];
    for (int64_t r = rows; r < 16; ++r) o[r] = 0;
  }
}

template <class E>
HWY_INLINE E* data_as(const View& v) {
  return reinterpret_cast<E*>(v.data);
}

// The rows of a [T,D] or [T,H,D] view, numbered t * H + h.
template <class E>
struct Rows {
  explicit Rows(const View& v)
      : data(data_as<E>(v)),
        stride0(v.stride[0]),
        stride1(v.rank == 3 ? v.stride[1] : 0),
        heads(v.rank == 3 ? v.shape[1] : 1),
        count(v.shape[0] * heads) {}
  HWY_INLINE E* operator()(int64_t i) const {
    return heads == 1 ? data + i * stride0 : data + (i / heads) * stride0 + (i % heads) * stride1;
  }
  HWY_INLINE E* operator()(int64_t t, int64_t h) const { return data + t * stride0 + h * stride1; }
  E* data;
  int64_t stride0, stride1, heads, count;
};

}  // namespace HWY_NAMESPACE
}  // namespace r1::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
