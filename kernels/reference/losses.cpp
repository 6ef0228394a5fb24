#include <algorithm>
#include <cmath>

#include "kernels/reference/dense.h"
#include "kernels/reference/reference_table.h"

namespace r1::reference {

void grpo_loss(Context&, const GrpoLoss& op) {
  const auto logp = load(op.logp), behaviour = load(op.behaviour), advantage = load(op.advantage), weight = load(op.weight);
  const auto reference = op.reference ? load(op.reference) : std::vector<double>();
  const auto proximal = op.proximal ? load(op.proximal) : std::vector<double>();
  std::vector<double> dlogp(logp.size(), 0.0);
  auto loss = load(op.loss), stats = load(op.stats);
  for (size_t t = 0; t < logp.size(); ++t) {
    if (weight[t] == 0) continue;
    const double anchor = op.proximal ? proximal[t] : behaviour[t];
    const double off = op.proximal ? std::min(std::exp(proximal[t] - behaviour[t]), static_cast<double>(op.behave_cap)) : 1.0;
    const double rho = std::exp(logp[t] - anchor), a = advantage[t];
    const double free = rho * a;
    const double held = std::clamp(rho, 1.0 - op.clip_low, 1.0 + op.clip_high) * a;
    const bool clipped = held < free;
    double k3 = 0, dk3 = 0;
    if (op.reference) {
      const double gap = reference[t] - logp[t];
      k3 = std::exp(gap) - gap - 1;
      dk3 = 1 - std::exp(gap);
    }
    loss[0] += weight[t] * (-off * std::min(free, held) + op.kl * k3);
    dlogp[t] = weight[t] * (-off * (clipped ? 0 : free) + op.kl * dk3);
    stats[0] += 1;
    stats[1] += clipped;
    stats[2] += k3;
    stats[3] += std::abs(logp[t] - behaviour[t]);
    stats[4] = std::max(stats[4], std::abs(logp[t] - behaviour[t]));
    stats[5] += rho;
  }
  store(op.dlogp, dlogp);
  store(op.loss, loss);
  store(op.stats, stats);
}

void nll_loss(Context&, const NllLoss& op) {
  const auto logp = load(op.logp), weight = load(op.weight);
  std::vector<double> dlogp(logp.size(), 0.0);
  auto loss = load(op.loss);
  for (size_t t = 0; t < logp.size(); ++t) {
    if (weight[t] == 0) continue;
    loss[0] -= weight[t] * logp[t];
    dlogp[t] = -weight[t];
  }
  store(op.dlogp, dlogp);
  store(op.loss, loss);
}

// d/dc -log sigmoid(c - r) = -sigmoid(r - c).
void pair_loss(Context&, const PairLoss& op) {
  const auto scores = load(op.scores);
  std::vector<double> dscores(scores.size());
  auto loss = load(op.loss), stats = load(op.stats);
  for (size_t p = 0; 2 * p < scores.size(); ++p) {
    const double c = scores[2 * p], r = scores[2 * p + 1], gap = c - r;
    const double softplus = std::max(-gap, 0.0) + std::log1p(std::exp(-std::abs(gap)));  // -log sigmoid(gap)
    const double miss = 1 / (1 + std::exp(gap));
    loss[0] += op.weight * (softplus + op.l2 * (c * c + r * r) / 2);
    dscores[2 * p] = op.weight * (-miss + op.l2 * c);
    dscores[2 * p + 1] = op.weight * (miss + op.l2 * r);
    stats[0] += c > r;
    stats[1] += 1;
  }
  store(op.dscores, dscores);
  store(op.loss, loss);
  store(op.stats, stats);
}

}  // namespace r1::reference
