// Per-token losses: a few thousand numbers a step, in f64 and in order of t, on the calling thread.
#include <algorithm>
#include <cmath>

#include "kernels/cpu/kernels.h"

namespace r1::cpu {
namespace {

float* f32(const View& v) { return reinterpret_cast<float*>(v.data); }

void add_to(float& x, double value) { x = static_cast<float>(static_cast<double>(x) + value); }

// NaN when either is.
double larger(double a, double b) { return a > b || std::isnan(a) ? a : b; }

double importance_weight(const GrpoLoss& op, double w) {
  const double cap = op.behave_cap;
  return w > cap ? op.behave_mask ? 0.0 : cap : w;  // a NaN stays
}

// P_t and what it has of d/d(log rho): for cispo, of d/d(logp).
struct PolicyTerm {
  double value, slope;
  bool clipped;
};

PolicyTerm policy_term(const GrpoLoss& op, double rho, double off, double a, double lp) {
  const double inside = std::clamp(rho, 1.0 - op.clip_low, 1.0 + op.clip_high);
  if (op.cispo) return {-off * inside * a * lp, -off * inside * a, inside != rho};
  const bool clipped = inside * a < rho * a;
  return {-off * (clipped ? inside * a : rho * a), clipped ? 0.0 : -off * rho * a, clipped};
}

}  // namespace

void grpo_loss(Context&, const GrpoLoss& op) {
  const float* const logp = f32(op.logp);
  const float* const behaviour = f32(op.behaviour);
  const float* const reference = op.reference ? f32(op.reference) : nullptr;
  const float* const proximal = op.proximal ? f32(op.proximal) : nullptr;
  const float* const advantage = f32(op.advantage);
  const float* const weight = f32(op.weight);
  const auto* const offsets = op.offsets ? reinterpret_cast<const int32_t*>(op.offsets.data) : nullptr;
  float* const dlogp = f32(op.dlogp);
  double loss = 0, count = 0, clipped = 0, kl_sum = 0, gap_sum = 0, gap_max = 0, rho_sum = 0;
  // Rows that share a ratio: a sequence, or one token.
  const int64_t spans = offsets ? op.offsets.size() - 1 : op.logp.size();
  for (int64_t s = 0; s < spans; ++s) {
    const int64_t begin = offsets ? offsets[s] : s, end = offsets ? offsets[s + 1] : s + 1;
    double tokens = 0, log_rho = 0, log_off = 0;
    for (int64_t t = begin; t < end; ++t) {
      if (weight[t] == 0) continue;
      const double anchor = proximal ? proximal[t] : behaviour[t];
      tokens += 1;
      log_rho += logp[t] - anchor;
      log_off += anchor - behaviour[t];
    }
    if (tokens == 0) {
      std::fill(dlogp + begin, dlogp + end, 0.0f);
      continue;
    }
    const double rho = std::exp(log_rho / tokens);
    const double off = proximal ? importance_weight(op, std::exp(log_off / tokens)) : 1.0;
    double pull = 0;  // d(policy terms of the span) / d(log rho)
    if (offsets)
      for (int64_t t = begin; t < end; ++t)
        if (weight[t] != 0) pull += weight[t] * policy_term(op, rho, off, advantage[t], logp[t]).slope;
    for (int64_t t = begin; t < end; ++t) {
      if (weight[t] == 0) {
        dlogp[t] = 0;
        continue;
      }
      const double lp = logp[t], w = weight[t];
      const PolicyTerm term = policy_term(op, rho, off, advantage[t], lp);
      double value = term.value, slope = offsets ? 0.0 : term.slope;
      if (reference) {
        const double d = reference[t] - lp;
        const double k3 = std::expm1(d) - d;
        value += op.kl * k3;
        slope -= op.kl * std::expm1(d);
        kl_sum += k3;
      }
      loss += w * value;
      dlogp[t] = static_cast<float>(offsets ? w * slope + pull / tokens : w * slope);
      const double gap = std::abs(lp - behaviour[t]);
      count += 1;
      clipped += term.clipped ? 1 : 0;
      gap_sum += gap;
      gap_max = larger(gap_max, gap);
      rho_sum += rho;
    }
  }
  add_to(*f32(op.loss), loss);
  float* const stats = f32(op.stats);
  add_to(stats[0], count);
  add_to(stats[1], clipped);
  add_to(stats[2], kl_sum);
  add_to(stats[3], gap_sum);
  stats[4] = static_cast<float>(larger(stats[4], gap_max));
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
    right += c > r ? 1 : c == r ? 0.5 : 0;
  }
  add_to(*f32(op.loss), loss);
  add_to(f32(op.stats)[0], right);
  add_to(f32(op.stats)[1], static_cast<double>(pairs));
}

}  // namespace r1::cpu
