// Per-token losses: a few thousand numbers a step, in f64, by one block: a fixed share of the tokens for each thread, then a
// fixed tree.
#include "kernels/cuda/device_code.h"
#include "kernels/cuda/kernels.h"

namespace r1::cuda {
namespace {

constexpr int kWarps = kBlock / 32;
using SumShared = BlockShared<double, kBlock>;

__device__ inline void add_to(float& x, double value) { x = static_cast<float>(static_cast<double>(x) + value); }
// NaN when either is.
__device__ inline double larger_or_nan(double a, double b) { return a > b || a != a ? a : b; }

struct Grpo {
  const float *logp, *behaviour, *reference, *proximal, *advantage, *weight;
  const int32_t* offsets;
  float *dlogp, *loss, *stats;
  int64_t rows, spans;
  double clip_low, clip_high, kl, behave_cap;
  bool behave_mask, cispo;
};
// Without sequences a span is so many tokens, each with a ratio of its own.
constexpr int64_t kSpan = 1024;

struct PolicyTerm {
  double value, slope;  // P_t, and its d/d(log rho); for cispo its d/d(logp)
  bool clipped;
};
__device__ inline PolicyTerm policy_term(const Grpo& g, double rho, double off, double a, double lp) {
  const double low = 1.0 - g.clip_low, high = 1.0 + g.clip_high, inside = rho < low ? low : high < rho ? high : rho;
  if (g.cispo) return {-off * inside * a * lp, -off * inside * a, inside != rho};
  const bool clipped = inside * a < rho * a;
  return {-off * (clipped ? inside * a : rho * a), clipped ? 0.0 : -off * rho * a, clipped};
}

// rho and off from their logarithms.
struct Ratios {
  double rho, off;
};
__device__ inline Ratios ratios(const Grpo& g, double log_rho, double log_off) {
  double off = 1;
  if (g.proximal != nullptr) {
    off = exp(log_off);
    if (off > g.behave_cap) off = g.behave_mask ? 0.0 : g.behave_cap;  // a NaN stays
  }
  return {exp(log_rho), off};
}

struct Totals {
  double loss, count, clipped, kl, gap, gap_max, rho;
};

// A warp a span.
__global__ void grpo_kernel(const Grpo g) {
  R1_SHARED(SumShared, shared);
  const int lane = threadIdx.x % 32;
  Totals all{};
  for (int64_t s = threadIdx.x / 32; s < g.spans; s += kWarps) {
    const bool sequences = g.offsets != nullptr;
    const int64_t begin = sequences ? g.offsets[s] : s * kSpan;
    const int64_t end = sequences ? g.offsets[s + 1] : begin + kSpan < g.rows ? begin + kSpan : g.rows;
    const auto log_rho = [&](int64_t t) {
      return static_cast<double>(g.logp[t]) - static_cast<double>(g.proximal != nullptr ? g.proximal[t] : g.behaviour[t]);
    };
    const auto log_off = [&](int64_t t) {
      return g.proximal != nullptr ? static_cast<double>(g.proximal[t]) - static_cast<double>(g.behaviour[t]) : 0.0;
    };
    double tokens = 0, rho_mean = 0, off_mean = 0, pull = 0;
    if (sequences) {
      for (int64_t t = begin + lane; t < end; t += 32) {
        if (g.weight[t] == 0) continue;
        tokens += 1;
        rho_mean += log_rho(t);
        off_mean += log_off(t);
      }
      tokens = warp_sum(tokens);
      rho_mean = warp_sum(rho_mean) / tokens;
      off_mean = warp_sum(off_mean) / tokens;
      const Ratios r = ratios(g, rho_mean, off_mean);
      for (int64_t t = begin + lane; t < end; t += 32)
        if (g.weight[t] != 0) pull += g.weight[t] * policy_term(g, r.rho, r.off, g.advantage[t], g.logp[t]).slope;
      // A mean passes each token an equal share of its sequence's gradient.
      pull = warp_sum(pull) / tokens;
    }
    for (int64_t t = begin + lane; t < end; t += 32) {
      if (g.weight[t] == 0) {
        g.dlogp[t] = 0;
        continue;
      }
      const double lp = g.logp[t], w = g.weight[t];
      const Ratios r = sequences ? ratios(g, rho_mean, off_mean) : ratios(g, log_rho(t), log_off(t));
      const PolicyTerm term = policy_term(g, r.rho, r.off, g.advantage[t], lp);
      double value = term.value, slope = sequences ? pull : w * term.slope;
      if (g.reference != nullptr) {
        const double d = g.reference[t] - lp, e = expm1(d);
        value += g.kl * (e - d);
        slope -= w * g.kl * e;
        all.kl += e - d;
      }
      g.dlogp[t] = static_cast<float>(slope);
      all.loss += w * value;
      all.count += 1;
      all.clipped += term.clipped ? 1 : 0;
      const double apart = fabs(lp - static_cast<double>(g.behaviour[t]));
      all.gap += apart;
      all.gap_max = larger_or_nan(apart, all.gap_max);
      all.rho += r.rho;
    }
  }
  const double loss = block_sum(all.loss, shared), count = block_sum(all.count, shared),
               clipped = block_sum(all.clipped, shared), kl = block_sum(all.kl, shared), gap = block_sum(all.gap, shared),
               rho = block_sum(all.rho, shared),
               gap_max = block_join(all.gap_max, shared, [](double a, double b) { return larger_or_nan(a, b); });
  if (threadIdx.x != 0) return;
  add_to(g.loss[0], loss);
  add_to(g.stats[0], count);
  add_to(g.stats[1], clipped);
  add_to(g.stats[2], kl);
  add_to(g.stats[3], gap);
  if (count > 0) g.stats[4] = static_cast<float>(larger_or_nan(gap_max, g.stats[4]));
  add_to(g.stats[5], rho);
}

__global__ void nll_kernel(const float* logp, const float* weight, float* dlogp, float* loss, int64_t n) {
  R1_SHARED(SumShared, shared);
  double sum = 0;
  for (int64_t t = threadIdx.x; t < n; t += kBlock) {
    const bool counts = weight[t] != 0;
    if (counts) sum -= static_cast<double>(weight[t]) * static_cast<double>(logp[t]);
    dlogp[t] = counts ? -weight[t] : 0;
  }
  sum = block_sum(sum, shared);
  if (threadIdx.x == 0) add_to(loss[0], sum);
}

// d/dc -log sigmoid(c - r) = -sigmoid(r - c).
__global__ void pair_kernel(const float* scores, float* dscores, float* loss, float* stats, int64_t pairs, double l2,
                            double weight) {
  R1_SHARED(SumShared, shared);
  double sum = 0, right = 0;
  for (int64_t p = threadIdx.x; p < pairs; p += kBlock) {
    const double c = scores[2 * p], r = scores[2 * p + 1], gap = c - r, miss = 1 / (1 + exp(gap));
    const double softplus = (gap < 0 ? -gap : gap > 0 ? 0.0 : gap) + log1p(exp(-fabs(gap)));  // -log sigmoid(gap)
    sum += weight * (softplus + l2 * (c * c + r * r) / 2);
    dscores[2 * p] = static_cast<float>(weight * (-miss + l2 * c));
    dscores[2 * p + 1] = static_cast<float>(weight * (miss + l2 * r));
    right += c > r ? 1 : c == r ? 0.5 : 0;
  }
  sum = block_sum(sum, shared);
  right = block_sum(right, shared);
  if (threadIdx.x != 0) return;
  add_to(loss[0], sum);
  add_to(stats[0], right);
  add_to(stats[1], static_cast<double>(pairs));
}

}  // namespace

void grpo_loss(Context& ctx, const GrpoLoss& op) {
  const int64_t n = op.logp.size();
  const Grpo g{data<const float>(op.logp),
               data<const float>(op.behaviour),
               data<const float>(op.reference),
               data<const float>(op.proximal),
               data<const float>(op.advantage),
               data<const float>(op.weight),
               data<const int32_t>(op.offsets),
               data<float>(op.dlogp),
               data<float>(op.loss),
               data<float>(op.stats),
               n,
               op.offsets ? op.offsets.shape[0] - 1 : (n + kSpan - 1) / kSpan,
               op.clip_low,
               op.clip_high,
               op.kl,
               op.behave_cap,
               op.behave_mask,
               op.cispo};
  launch(ctx, "grpo_loss", grpo_kernel, 1, kBlock, 0, g);
}

void nll_loss(Context& ctx, const NllLoss& op) {
  launch(ctx, "nll_loss", nll_kernel, 1, kBlock, 0, data<const float>(op.logp), data<const float>(op.weight),
         data<float>(op.dlogp), data<float>(op.loss), op.logp.size());
}

void pair_loss(Context& ctx, const PairLoss& op) {
  launch(ctx, "pair_loss", pair_kernel, 1, kBlock, 0, data<const float>(op.scores), data<float>(op.dscores),
         data<float>(op.loss), data<float>(op.stats), op.scores.size() / 2, op.l2, op.weight);
}

}  // namespace r1::cuda
