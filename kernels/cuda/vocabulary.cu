// LogProb, its backward and Sample share one log-sum-exp of a row, so that the sampler's log-probabilities are the loss's bits.
//
// A block a row; thread t owns columns [8 t, 8 t + 8) of every 2048.  Legend: V: vocabulary; z = logit / temperature.
#include "kernels/cuda/device_code.h"
#include "kernels/cuda/kernels.h"

namespace r1::cuda {
namespace {

constexpr int kEach = 8, kColumns = static_cast<int>(kBlock) * kEach;

struct RowShared {
  BlockShared<float, kBlock> f32;
  BlockShared<double, kBlock> f64;
  BlockShared<int, kBlock> i32;
  int token;
};

// Calls f(v) for this thread's columns, in order.
template <class F>
__device__ void each_column(int64_t v_n, F f) {
  for (int64_t b = static_cast<int64_t>(threadIdx.x) * kEach; b < v_n; b += kColumns)
    for (int64_t v = b; v < b + kEach && v < v_n; ++v) f(v);
}

struct RowStats {
  float max;      // of z
  float log_sum;  // log sum_v exp(z[v] - max); NaN where a logit is NaN or +inf
  float entropy;
  __device__ float lse() const { return max + log_sum; }
  __device__ float logp(float z) const { return (z - max) - log_sum; }
  __device__ bool finite() const { return log_sum == log_sum; }
};

template <class E>
__device__ RowStats row_stats(const E* x, int64_t v_n, float inverse, RowShared& s) {
  float max = -infinity();
  each_column(v_n, [&](int64_t v) { max = fmaxf(max, widen(x[v]) * inverse); });
  max = block_join(max, s.f32, [](float a, float b) { return fmaxf(a, b); });
  float sum = 0, weighted = 0;
  each_column(v_n, [&](int64_t v) {
    const float d = widen(x[v]) * inverse - max, e = expf(d);
    sum += e;
    if (e > 0) weighted = fmaf(e, d, weighted);  // a logit of -inf has p z = 0
  });
  sum = block_sum(sum, s.f32);
  weighted = block_sum(weighted, s.f32);
  const float log_sum = logf(sum);
  return {max, log_sum, log_sum - weighted / sum};
}

template <class E>
__global__ void log_prob_kernel(const E* logits, const int32_t* targets, float* logp, float* lse, float* entropy, int64_t v_n,
                                float inverse) {
  R1_SHARED(RowShared, s);
  const int64_t row = blockIdx.x;
  const E* const x = logits + row * v_n;
  const RowStats stats = row_stats(x, v_n, inverse, s);
  if (threadIdx.x != 0) return;
  logp[row] = stats.logp(widen(x[targets[row]]) * inverse);
  lse[row] = stats.lse();
  if (entropy != nullptr) entropy[row] = stats.entropy;
}

template <class E>
__global__ void log_prob_backward_kernel(const E* logits, const int32_t* targets, const float* lse, const float* dlogp,
                                         E* dlogits, int64_t v_n, float inverse) {
  const int64_t row = blockIdx.x, v = static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x;
  if (v >= v_n) return;
  const float p = expf(widen(logits[row * v_n + v]) * inverse - lse[row]);
  dlogits[row * v_n + v] = narrow<E>(dlogp[row] * ((v == targets[row] ? 1.0f : 0.0f) - p) * inverse);
}

// ---- sampling
// ---------------------------------------------------------------------------------------------------------------------

// Word 0 of philox4x32-10 of {position, 0, 0, 0} (base/rng.h) as a number in [0, 1).
__device__ inline float uniform(uint32_t position, uint64_t key) {
  uint32_t c0 = position, c1 = 0, c2 = 0, c3 = 0, k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint32_t h0 = __umulhi(0xD2511F53u, c0), l0 = 0xD2511F53u * c0, h1 = __umulhi(0xCD9E8D57u, c2), l1 = 0xCD9E8D57u * c2;
    c0 = h1 ^ c1 ^ k0;
    c1 = l1;
    c2 = h0 ^ c3 ^ k1;
    c3 = l0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return static_cast<float>(c0 >> 8) * 0x1p-24f;
}

// Larger for what comes first by (logit descending, index ascending); all of a row differ.
__device__ inline uint64_t rank_key(float logit, int64_t v) {
  const uint32_t bits = __float_as_uint(logit + 0.0f);  // -0 is 0
  const uint32_t ordered = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
  return static_cast<uint64_t>(ordered) << 32 | (0xffffffffu - static_cast<uint32_t>(v));
}

// A row and what of it may be drawn: keys from `least` on.
template <class E>
struct Support {
  const E* x;
  int64_t v_n;
  float inverse, max;
  uint64_t least;

  __device__ double mass(int64_t v, uint64_t from) const {
    const float logit = widen(x[v]);
    return rank_key(logit, v) >= from ? static_cast<double>(expf(logit * inverse - max)) : 0.0;
  }
  __device__ double mass_from(uint64_t from, RowShared& s) const {
    double sum = 0;
    each_column(v_n, [&](int64_t v) { sum += mass(v, from); });
    return block_sum(sum, s.f64);
  }
  __device__ int count_from(uint64_t from, RowShared& s) const {
    int n = 0;
    each_column(v_n, [&](int64_t v) { n += rank_key(widen(x[v]), v) >= from ? 1 : 0; });
    return block_sum(n, s.i32);
  }
};

// The largest key of one of v_n tokens for which holds(key): it holds for 0 and for all below one that holds.
template <class F>
__device__ uint64_t largest_key(int64_t v_n, F holds) {
  uint64_t key = 0;
  const auto search = [&](int from, int to) {
    for (int bit = from; bit >= to; --bit)
      if (holds(key | uint64_t{1} << bit)) key |= uint64_t{1} << bit;
  };
  search(63, 32);
  // Of all tokens the upper bits of the second word are ones.
  const int bits = 32 - __clz(static_cast<int>(v_n - 1));
  key |= 0xffffffffull >> bits << bits;
  search(bits - 1, 0);
  return key;
}

template <class E>
__device__ void truncate(Support<E>& support, int top_k, float top_p, RowShared& s) {
  if (top_k > 0 && top_k < support.v_n)
    support.least = largest_key(support.v_n, [&](uint64_t key) { return support.count_from(key, s) >= top_k; });
  if (top_p >= 1) return;
  // The first has a mass of 1: at least it stays.
  const double share = static_cast<double>(top_p) * support.mass_from(support.least, s), wanted = share > 1 ? share : 1;
  const uint64_t all = support.least;
  support.least = largest_key(support.v_n, [&](uint64_t key) { return support.mass_from(key > all ? key : all, s) >= wanted; });
  if (support.least < all) support.least = all;
}

// The first v whose running sum of masses, by ascending index, exceeds u times their total.
template <class E>
__device__ int draw(const Support<E>& support, float u, RowShared& s) {
  const auto sum_of = [&](int64_t b) {
    double sum = 0;
    for (int64_t v = b; v < b + kEach && v < support.v_n; ++v) sum += support.mass(v, support.least);
    return sum;
  };
  const auto add = [](double a, double b) { return a + b; };
  double total = 0;
  for (int64_t b0 = 0; b0 < support.v_n; b0 += kColumns)
    total += block_scan(sum_of(b0 + static_cast<int64_t>(threadIdx.x) * kEach), 0.0, s.f64, add).all;
  const double wanted = static_cast<double>(u) * total;
  if (threadIdx.x == 0) s.token = static_cast<int>(support.v_n);
  __syncthreads();
  double before = 0;
  int last = 0;  // of this thread's columns with p > 0
  for (int64_t b0 = 0; b0 < support.v_n; b0 += kColumns) {
    const int64_t b = b0 + static_cast<int64_t>(threadIdx.x) * kEach;
    const auto scanned = block_scan(sum_of(b), 0.0, s.f64, add);
    double walked = before + scanned.before;
    for (int64_t v = b; v < b + kEach && v < support.v_n; ++v) {
      const double m = support.mass(v, support.least);
      if (!(m > 0)) continue;
      last = static_cast<int>(v);
      walked += m;
      if (walked > wanted) {
        atomicMin(&s.token, static_cast<int>(v));
        break;
      }
    }
    before += scanned.all;
    __syncthreads();
    if (s.token < support.v_n) return s.token;
  }
  // Rounding left the sum at or below what was wanted.
  return block_join(last, s.i32, [](int a, int b) { return a > b ? a : b; });
}

template <class E>
__device__ int arg_max(const E* x, int64_t v_n, float max, RowShared& s) {
  int best = static_cast<int>(v_n);
  each_column(v_n, [&](int64_t v) {
    if (best == v_n && widen(x[v]) == max) best = static_cast<int>(v);
  });
  return block_join(best, s.i32, [](int a, int b) { return a < b ? a : b; });
}

struct SampleArguments {
  const int64_t* keys;
  const int32_t* positions;
  const float* temperature;
  int32_t* token;
  float *logp, *entropy;
  int64_t v_n;
  int top_k;
  float top_p;
};

template <class E>
__global__ void sample_kernel(const E* logits, const SampleArguments a) {
  R1_SHARED(RowShared, s);
  const int64_t row = blockIdx.x;
  const E* const x = logits + row * a.v_n;
  const bool greedy = a.temperature[row] == 0;
  const float inverse = greedy ? 1.0f : 1.0f / a.temperature[row];
  const RowStats stats = row_stats(x, a.v_n, inverse, s);
  int token = 0;
  if (stats.finite() && greedy) {
    token = arg_max(x, a.v_n, stats.max, s);
  } else if (stats.finite()) {
    Support<E> support{x, a.v_n, inverse, stats.max, 0};
    truncate(support, a.top_k, a.top_p, s);
    token = draw(support, uniform(static_cast<uint32_t>(a.positions[row]), static_cast<uint64_t>(a.keys[row])), s);
  }
  if (threadIdx.x != 0) return;
  a.token[row] = token;
  a.logp[row] = stats.logp(widen(x[token]) * inverse);
  if (a.entropy != nullptr) a.entropy[row] = stats.entropy;
}

}  // namespace

void log_prob(Context& ctx, const LogProb& op) {
  with_float(op.logits, [&](auto e) {
    using E = decltype(e);
    launch(ctx, "log_prob", log_prob_kernel<E>, static_cast<unsigned>(op.logits.shape[0]), kBlock, 0, data<const E>(op.logits),
           data<const int32_t>(op.targets), data<float>(op.logp), data<float>(op.lse), data<float>(op.entropy),
           op.logits.shape[1], 1.0f / op.temperature);
  });
}

void log_prob_backward(Context& ctx, const LogProbBackward& op) {
  const int64_t t = op.logits.shape[0], v = op.logits.shape[1];
  with_float(op.logits, [&](auto e) {
    using E = decltype(e);
    launch(ctx, "log_prob_backward", log_prob_backward_kernel<E>, dim3(static_cast<unsigned>(t), blocks_for(v)), kBlock, 0,
           data<const E>(op.logits), data<const int32_t>(op.targets), data<const float>(op.lse), data<const float>(op.dlogp),
           data<E>(op.dlogits), v, 1.0f / op.temperature);
  });
}

void sample(Context& ctx, const Sample& op) {
  const SampleArguments a{data<const int64_t>(op.keys),
                          data<const int32_t>(op.positions),
                          data<const float>(op.temperature),
                          data<int32_t>(op.token),
                          data<float>(op.logp),
                          data<float>(op.entropy),
                          op.logits.shape[1],
                          op.top_k,
                          op.top_p};
  with_float(op.logits, [&](auto e) {
    using E = decltype(e);
    launch(ctx, "sample", sample_kernel<E>, static_cast<unsigned>(op.logits.shape[0]), kBlock, 0, data<const E>(op.logits), a);
  });
}

}  // namespace r1::cuda
