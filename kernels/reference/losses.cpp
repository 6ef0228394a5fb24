#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/reference/dense.h"
#include "kernels/reference/reference_table.h"

namespace r1::reference {

void grpo_loss(Context&, const GrpoLoss& op) {
  const auto logp = load(op.logp), behaviour = load(op.behaviour), advantage = load(op.advantage), weight = load(op.weight);
  const auto reference = op.reference ? load(op.reference) : std::vector<double>();
  const auto proximal = op.proximal ? load(op.proximal) : std::vector<double>();
  const size_t rows = logp.size();
  std::vector<double> log_rho(rows, 0.0), log_off(rows, 0.0), policy_slope(rows, 0.0), dlogp(rows, 0.0);
  auto loss = load(op.loss), stats = load(op.stats);
  for (size_t t = 0; t < rows; ++t) {
    if (weight[t] == 0) continue;
    log_rho[t] = logp[t] - (op.proximal ? proximal[t] : behaviour[t]);
    if (op.proximal) log_off[t] = proximal[t] - behaviour[t];
  }
  // What a token's value becomes: the mean over its sequence.
  const auto sequence_means = [&](std::vector<double>& x) {
    const auto offsets = load_ints(op.offsets);
    R1_CHECK(offsets.front() == 0 && offsets.back() == static_cast<int64_t>(rows),
             fmt::format("offsets run from {} to {} of {} rows", offsets.front(), offsets.back(), rows));
    for (size_t s = 0; s + 1 < offsets.size(); ++s) {
      double sum = 0, n = 0;
      const auto begin = static_cast<size_t>(offsets[s]), end = static_cast<size_t>(offsets[s + 1]);
      for (size_t t = begin; t < end; ++t)
        if (weight[t] != 0) sum += x[t], n += 1;
      for (size_t t = begin; t < end; ++t) x[t] = weight[t] != 0 ? sum / n : 0;
    }
  };
  if (op.offsets) sequence_means(log_rho), sequence_means(log_off);
  for (size_t t = 0; t < rows; ++t) {
    if (weight[t] == 0) continue;
    const double rho = std::exp(log_rho[t]), a = advantage[t], w = std::exp(log_off[t]);
    double off = 1;
    if (op.proximal) off = w > op.behave_cap ? op.behave_mask ? 0 : op.behave_cap : w;
    const double clip = std::clamp(rho, 1.0 - op.clip_low, 1.0 + op.clip_high);
    const double free = rho * a, held = clip * a;
    const bool clipped = op.cispo ? clip != rho : held < free;
    double k3 = 0;
    if (op.reference) {
      const double gap = reference[t] - logp[t];
      k3 = std::exp(gap) - gap - 1;
      dlogp[t] = weight[t] * op.kl * (1 - std::exp(gap));
    }
    const double policy = op.cispo ? held * logp[t] : std::min(free, held);
    policy_slope[t] = -weight[t] * off * (op.cispo ? held : clipped ? 0 : free);
    loss[0] += weight[t] * (-off * policy + op.kl * k3);
    stats[0] += 1;
    stats[1] += clipped;
    stats[2] += k3;
    stats[3] += std::abs(logp[t] - behaviour[t]);
    const double apart = std::abs(logp[t] - behaviour[t]);
    if (apart > stats[4] || std::isnan(apart)) stats[4] = apart;
    stats[5] += rho;
  }
  // A mean passes each token an equal share of its sequence's gradient: the mean again.
  if (op.offsets) sequence_means(policy_slope);
  for (size_t t = 0; t < rows; ++t) dlogp[t] += policy_slope[t];
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
    stats[0] += c > r ? 1 : c == r ? 0.5 : 0;
    stats[1] += 1;
  }
  store(op.dscores, dscores);
  store(op.loss, loss);
  store(op.stats, stats);
}

}  // namespace r1::reference
