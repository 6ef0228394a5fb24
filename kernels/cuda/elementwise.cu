// Ops of which every element stands alone: Rope, SwiGlu, Add, MlaKeys, Fill, Copy, Axpby, ScaleByNorm, AdamW; a thread an
// element, unless it says otherwise.
#include <cmath>

#include "kernels/cuda/device_code.h"
#include "kernels/cuda/kernels.h"

namespace r1::cuda {
namespace {

// ---- layers
// ---------------------------------------------------------------------------------------------------------------------

// A thread a pair of features.
template <class E>
__global__ void rope_kernel(Heads<E> x, const int32_t* positions, const float* table, int64_t rows, int64_t heads, int64_t half,
                            bool interleaved, bool inverse) {
  const int64_t at = global_index();
  if (at >= rows * heads * half) return;
  const int64_t i = at % half, h = at / half % heads, t = at / half / heads;
  const float* const angle = table + positions[t] * 2 * half;
  const float c = angle[i], s = inverse ? -angle[half + i] : angle[half + i];
  E* const v = x.at(t, h);
  E& a = v[interleaved ? 2 * i : i];
  E& b = v[interleaved ? 2 * i + 1 : i + half];
  const float fa = widen(a), fb = widen(b);
  a = narrow<E>(fa * c - fb * s);
  b = narrow<E>(fb * c + fa * s);
}

__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// A thread eight features of a row; `parts` of them make a row.
template <class E>
__global__ void swiglu_kernel(const E* gate_up, E* y, int64_t rows, int64_t f, int64_t parts, bool vectors) {
  const int64_t at = global_index(), row = at / parts, c = at % parts * 8, left = f - c;
  if (row >= rows) return;
  const E* const in = gate_up + row * 2 * f + c;
  const Eight<E> gate = load_eight(in, left, vectors), up = load_eight(in + f, left, vectors);
  Eight<E> out;
  R1_UNROLL for (int e = 0; e < 8; ++e) {
    const float g = widen(gate.e[e]), u = widen(up.e[e]);
    out.e[e] = narrow<E>(g * sigmoid(g) * u);
  }
  store_eight(y + row * f + c, out, left, vectors);
}

template <class E>
__global__ void swiglu_backward_kernel(const E* gate_up, const E* dy, E* dgate_up, int64_t rows, int64_t f, int64_t parts,
                                       bool vectors) {
  const int64_t at = global_index(), row = at / parts, c = at % parts * 8, left = f - c;
  if (row >= rows) return;
  const int64_t first = row * 2 * f + c;
  const Eight<E> gate = load_eight(gate_up + first, left, vectors), up = load_eight(gate_up + first + f, left, vectors),
                 dout = load_eight(dy + row * f + c, left, vectors);
  Eight<E> dgate, dup;
  R1_UNROLL for (int e = 0; e < 8; ++e) {
    const float g = widen(gate.e[e]), u = widen(up.e[e]), d = widen(dout.e[e]), s = sigmoid(g);
    dgate.e[e] = narrow<E>(d * u * s * (1.0f + g * (1.0f - s)));
    dup.e[e] = narrow<E>(d * g * s);
  }
  store_eight(dgate_up + first, dgate, left, vectors);
  store_eight(dgate_up + first + f, dup, left, vectors);
}

// A thread eight elements.
template <class E>
__global__ void add_kernel(const E* a, const E* b, E* y, int64_t n, bool vectors) {
  const int64_t at = global_index() * 8, left = n - at;
  if (left <= 0) return;
  Eight<E> x = load_eight(a + at, left, vectors);
  const Eight<E> other = load_eight(b + at, left, vectors);
  R1_UNROLL for (int e = 0; e < 8; ++e) x.e[e] = narrow<E>(widen(x.e[e]) + widen(other.e[e]));
  store_eight(y + at, x, left, vectors);
}

template <class E>
__global__ void mla_keys_kernel(Heads<const E> kv, Rows<const E> kr, Heads<E> k, int64_t rows, int64_t heads, int64_t plain,
                                int64_t rotary) {
  const int64_t at = global_index(), d = plain + rotary;
  if (at >= rows * heads * d) return;
  const int64_t i = at % d, h = at / d % heads, t = at / d / heads;
  k.at(t, h)[i] = i < plain ? kv.at(t, h)[i] : kr.at(t)[i - plain];
}

// A thread a feature of a row, all heads in order.
template <class E>
__global__ void mla_keys_backward_kernel(Heads<const E> dk, Heads<E> dkv, Rows<E> dkr, int64_t rows, int64_t heads,
                                         int64_t plain, int64_t rotary) {
  const int64_t at = global_index(), d = plain + rotary;
  if (at >= rows * d) return;
  const int64_t i = at % d, t = at / d;
  if (i < plain) {
    for (int64_t h = 0; h < heads; ++h) dkv.at(t, h)[i] = dk.at(t, h)[i];
    return;
  }
  float sum = 0;
  for (int64_t h = 0; h < heads; ++h) sum += widen(dk.at(t, h)[i]);
  dkr.at(t)[i - plain] = narrow<E>(sum);
}

// ---- plain arithmetic
// -------------------------------------------------------------------------------------------------------------

template <class E>
__global__ void fill_kernel(E* x, E value, int64_t n) {
  const int64_t at = global_index();
  if (at < n) x[at] = value;
}

// Of any view: element number `at` in row-major order.
struct Strided {
  int64_t shape[View::kMaxRank], stride[View::kMaxRank];
  int rank;
  __device__ int64_t offset(int64_t at) const {
    int64_t sum = 0;
    for (int d = rank; d-- > 0; at /= shape[d]) sum += at % shape[d] * stride[d];
    return sum;
  }
};
Strided strided(const View& v) {
  Strided s{};
  s.rank = v.rank;
  for (int d = 0; d < v.rank; ++d) {
    s.shape[d] = v.shape[static_cast<size_t>(d)];
    s.stride[d] = v.stride[static_cast<size_t>(d)];
  }
  return s;
}

template <class From, class To>
__global__ void copy_kernel(const From* src, Strided from, To* dst, Strided to, int64_t n) {
  const int64_t at = global_index();
  if (at >= n) return;
  if constexpr (std::is_same_v<From, To>)
    dst[to.offset(at)] = src[from.offset(at)];
  else
    dst[to.offset(at)] = narrow<To>(widen(src[from.offset(at)]));
}

__global__ void axpby_kernel(const float* x, float* y, float alpha, float beta, int64_t n) {
  const int64_t at = global_index();
  if (at < n) y[at] = beta != 0 ? alpha * x[at] + beta * y[at] : alpha * x[at];
}

__global__ void scale_by_norm_kernel(float* x, const float* square, float floor, int64_t n) {
  const int64_t at = global_index();
  if (at < n) x[at] *= 1.0f / (sqrtf(square[0]) + floor);
}

// ---- AdamW
// ------------------------------------------------------------------------------------------------------------------------

struct AdamNumbers {
  float lr, beta1, beta2, eps, decay, grad_scale, correction1, correction2;
};

// The last range that begins at or before `at`, or null.
__device__ inline const int64_t* range_of(const int64_t* ranges, int64_t n, int64_t at) {
  int64_t low = 0, high = n;  // ranges below `low` begin at or before it
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (ranges[3 * middle] <= at)
      low = middle + 1;
    else
      high = middle;
  }
  return low > 0 ? ranges + 3 * (low - 1) : nullptr;
}

template <class E>
__global__ void adam_w_kernel(float* master, const float* grad, float* m, float* v, E* weights, const int64_t* ranges,
                              int64_t ranges_n, int64_t n, AdamNumbers a) {
  const int64_t at = global_index();
  if (at >= n) return;
  float decay = a.decay;
  if (ranges != nullptr) {
    const int64_t* const r = range_of(ranges, ranges_n, at);
    if (r == nullptr || at >= r[1]) return;
    if (r[2] == 0) decay = 0;
  }
  const float g = grad[at] * a.grad_scale;
  const float mean = m[at] = a.beta1 * m[at] + (1.0f - a.beta1) * g;
  const float square = v[at] = a.beta2 * v[at] + (1.0f - a.beta2) * g * g;
  const float old = master[at];
  const float next = old - a.lr * (mean * a.correction1 / (sqrtf(square * a.correction2) + a.eps) + decay * old);
  master[at] = next;
  if (weights != nullptr) weights[at] = narrow<E>(next);
}

// Calls f of an unsigned integer as wide as an element.
template <class F>
void with_bits(DType t, F&& f) {
  switch (dtype_size(t)) {
    case 2:
      return f(uint16_t{});
    case 4:
      return f(uint32_t{});
    default:
      return f(uint64_t{});
  }
}

}  // namespace

void rope(Context& ctx, const Rope& op) {
  const int64_t t = op.x.shape[0], h = op.x.shape[1], half = op.table.shape[1] / 2;
  with_float(op.x, [&](auto e) {
    using E = decltype(e);
    launch(ctx, "rope", rope_kernel<E>, blocks_for(t * h * half), kBlock, 0, heads_of<E>(op.x),
           data<const int32_t>(op.positions), data<const float>(op.table), t, h, half, op.interleaved, op.inverse);
  });
}

void swiglu(Context& ctx, const SwiGlu& op) {
  const int64_t rows = op.y.shape[0], f = op.y.shape[1], parts = (f + 7) / 8;
  const bool aligned = vectors(op.gate_up) && vectors(op.y);
  with_float(op.y, [&](auto e) {
    using E = decltype(e);
    launch(ctx, "swiglu", swiglu_kernel<E>, blocks_for(rows * parts), kBlock, 0, data<const E>(op.gate_up), data<E>(op.y), rows,
           f, parts, aligned);
  });
}

void swiglu_backward(Context& ctx, const SwiGluBackward& op) {
  const int64_t rows = op.dy.shape[0], f = op.dy.shape[1], parts = (f + 7) / 8;
  const bool aligned = vectors(op.gate_up) && vectors(op.dy) && vectors(op.dgate_up);
  with_float(op.dy, [&](auto e) {
    using E = decltype(e);
    launch(ctx, "swiglu_backward", swiglu_backward_kernel<E>, blocks_for(rows * parts), kBlock, 0, data<const E>(op.gate_up),
           data<const E>(op.dy), data<E>(op.dgate_up), rows, f, parts, aligned);
  });
}

void add(Context& ctx, const Add& op) {
  const int64_t n = op.y.size();
  const auto aligned = [](const View& v) { return reinterpret_cast<uintptr_t>(v.data) % 16 == 0; };
  const bool all = aligned(op.a) && aligned(op.b) && aligned(op.y);
  with_float(op.y, [&](auto e) {
    using E = decltype(e);
    launch(ctx, "add", add_kernel<E>, blocks_for(n, 8 * int64_t{kBlock}), kBlock, 0, data<const E>(op.a), data<const E>(op.b),
           data<E>(op.y), n, all);
  });
}

void mla_keys(Context& ctx, const MlaKeys& op) {
  const int64_t t = op.k.shape[0], h = op.k.shape[1], rotary = op.kr.shape[1], plain = op.k.shape[2] - rotary;
  with_float(op.k, [&](auto e) {
    using E = decltype(e);
    launch(ctx, "mla_keys", mla_keys_kernel<E>, blocks_for(op.k.size()), kBlock, 0, heads_of<const E>(op.kv),
           rows_of<const E>(op.kr), heads_of<E>(op.k), t, h, plain, rotary);
  });
}

void mla_keys_backward(Context& ctx, const MlaKeysBackward& op) {
  const int64_t t = op.dk.shape[0], h = op.dk.shape[1], d = op.dk.shape[2], rotary = op.dkr.shape[1];
  with_float(op.dk, [&](auto e) {
    using E = decltype(e);
    launch(ctx, "mla_keys_backward", mla_keys_backward_kernel<E>, blocks_for(t * d), kBlock, 0, heads_of<const E>(op.dk),
           heads_of<E>(op.dkv), rows_of<E>(op.dkr), t, h, d - rotary, rotary);
  });
}

void fill(Context& ctx, const Fill& op) {
  const int64_t n = op.x.size();
  const auto go = [&](auto value) {
    using E = decltype(value);
    launch(ctx, "fill", fill_kernel<E>, blocks_for(n), kBlock, 0, data<E>(op.x), value, n);
  };
  switch (op.x.dtype) {
    case DType::f32:
      return go(op.value);
    case DType::bf16:
      return go(bf16_from_f32(op.value));
    case DType::i32:
      return go(static_cast<int32_t>(op.value));
    case DType::i64:
      return go(static_cast<int64_t>(op.value));
  }
}

void copy(Context& ctx, const Copy& op) {
  const int64_t n = op.src.size();
  const auto go = [&](auto from, auto to) {
    using From = decltype(from);
    using To = decltype(to);
    launch(ctx, "copy", copy_kernel<From, To>, blocks_for(n), kBlock, 0, data<const From>(op.src), strided(op.src),
           data<To>(op.dst), strided(op.dst), n);
  };
  if (op.src.dtype == op.dst.dtype) return with_bits(op.src.dtype, [&](auto b) { go(b, b); });
  op.src.dtype == DType::f32 ? go(float{}, bf16{}) : go(bf16{}, float{});
}

void axpby(Context& ctx, const Axpby& op) {
  const int64_t n = op.x.size();
  launch(ctx, "axpby", axpby_kernel, blocks_for(n), kBlock, 0, data<const float>(op.x), data<float>(op.y), op.alpha, op.beta,
         n);
}

void scale_by_norm(Context& ctx, const ScaleByNorm& op) {
  const int64_t n = op.x.size();
  launch(ctx, "scale_by_norm", scale_by_norm_kernel, blocks_for(n), kBlock, 0, data<float>(op.x), data<const float>(op.square),
         op.floor, n);
}

void adam_w(Context& ctx, const AdamW& op) {
  const auto correction = [&](float beta) {
    return static_cast<float>(1 / (1 - std::pow(static_cast<double>(beta), static_cast<double>(op.step))));
  };
  const AdamNumbers numbers{
      op.lr, op.beta1, op.beta2, op.eps, op.weight_decay, op.grad_scale, correction(op.beta1), correction(op.beta2)};
  const int64_t n = op.master.size();
  const auto go = [&](auto e) {
    using E = decltype(e);
    launch(ctx, "adam_w", adam_w_kernel<E>, blocks_for(n), kBlock, 0, data<float>(op.master), data<const float>(op.grad),
           data<float>(op.m), data<float>(op.v), data<E>(op.weights), data<const int64_t>(op.ranges),
           op.ranges ? op.ranges.shape[0] : 0, n, numbers);
  };
  op.weights&& op.weights.dtype == DType::bf16 ? go(bf16{}) : go(float{});
}

}  // namespace r1::cuda
