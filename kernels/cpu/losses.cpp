// Per-token losses: a few thousand numbers a step, in f64 and in order of t, on the calling thread.
#include <algorithm>
#include <cmath>

#include "kernels/cpu/kernels.h"

namespace r1::cpu {
namespace {

float* f32(const View& v) { return reinterpret_cast<float*>(v.data); }

void add_to(float& x, double value) { x = static_cast<float>(static_cast<double>(x) + value); }

}  // namespace

void grpo_loss(Context&, const GrpoLoss& op) {
  const float* const logp = f32(op.logp);
  const float* const behaviour = f32(op.behaviour);
  const float* const reference = op.reference ? f32(op.reference) : nullptr;
  const float* const proximal = op.proximal ? f32(op.proximal) : nullptr;
  const float* const advantage = f32(op.advantage);
  const float* const weight = f32(op.weight);
  float* const dlogp = f32(op.dlogp);
  double loss = 0, count = 0, clipped = 0, kl_sum = 0, gap_sum = 0, gap_max = 0, rho_sum = 0;
  for (int64_t t = 0; t < op.logp.size(); ++t) {
    if (weight[t] == 0) {
      dlogp[t] = 0;
      continue;
    }
    const double lp = logp[t], b = behaviour[t], a = advantage[t], w = weight[t];
    const double anchor = proximal ? proximal[t] : b;
    const double rho = std::exp(lp - anchor);
    const double off = proximal ? std::min(std::exp(anchor - b), static_cast<double>(op.behave_cap)) : 1.0;
    const double inside = std::clamp(rho, 1.0 - op.clip_low, 1.0 + op.clip_high);
    const bool is_clipped = inside * a < rho * a;
    double value = -off * (is_clipped ? inside * a : rho * a);
    double slope = is_clipped ? 0.0 : -off * rho * a;
    if (reference) {
      const double d = reference[t] - lp;
      const double k3 = std::expm1(d) - d;
      value += op.kl * k3;
      slope -= op.kl * std::expm1(d);
      kl_sum += k3;
    }
    loss += w * value;
    dlogp[t] = static_cast<float>(w * slope);
    count += 1;
    clipped += is_clipped ? 1 : 0;
    gap_sum += std::abs(lp - b);
    gap_max = std::max(gap_max, std::abs(lp - b));
    rho_sum += rho;
  }
  add_to(*f32(op.loss), loss);
  float* const stats = f32(op.stats);
  add_to(stats[0], count);
  add_to(stats[1], clipped);
  add_to(stats[2], kl_sum);
  add_to(stats[3], gap_sum);
  stats[4] = std::max(stats[4], static_cast<float>(gap_max));
  add_to(stats[5], rho_sum);
}

void nll_loss(Context&, const NllLoss& op) {
  const float* const logp = f32(op.logp);
  const float* const weight = f32(op.weight);
  float* const dlogp = f32(op.dlogp);
  double loss = 0;
  for (int64_t t = 0; t < op.logp.size(); ++t) {
    dlogp[t] = weight[t] == 0 ? 0.0f : -weight[t];
    if (weight[t] != 0) loss -= static_cast<double>(weight[t]) * logp[t];
  }
  add_to(*f32(op.loss), loss);
}

void pair_loss(Context&, const PairLoss& op) {
  const float* const scores = f32(op.scores);
  float* const dscores = f32(op.dscores);
  const int64_t pairs = op.scores.size() / 2;
  double loss = 0, right = 0;
  for (int64_t p = 0; p < pairs; ++p) {
    const double c = scores[2 * p], r = scores[2 * p + 1], d = c - r;
    // -log sigmoid(d) = log(1 + e^-d), without overflow for d << 0.
    const double nll = std::max(-d, 0.0) + std::log1p(std::exp(-std::abs(d)));
    const double slope = -1.0 / (1.0 + std::exp(d));
    loss += op.weight * (nll + op.l2 * (c * c + r * r) / 2);
    dscores[2 * p] = static_cast<float>(op.weight * (slope + op.l2 * c));
    dscores[2 * p + 1] = static_cast<float>(op.weight * (-slope + op.l2 * r));
    right += c > r ? 1 : 0;
  }
  add_to(*f32(op.loss), loss);
  add_to(f32(op.stats)[0], right);
  add_to(f32(op.stats)[1], static_cast<double>(pairs));
}

}  // namespace r1::cpu
