// Log-probabilities and sampling over the vocabulary. T/R: rows, V: vocabulary.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/rng.h"
#include "kernels/reference/dense.h"
#include "kernels/reference/reference_table.h"

namespace r1::reference {

namespace {

struct RowStats {
  double lse, entropy;
};

// Of z = logits / temperature over the whole row.
RowStats row_stats(const double* logits, int64_t v_n, double temperature) {
  double top = logits[0] / temperature;
  for (int64_t v = 0; v < v_n; ++v) top = std::max(top, logits[v] / temperature);
  double sum = 0;
  for (int64_t v = 0; v < v_n; ++v) sum += std::exp(logits[v] / temperature - top);
  const double lse = top + std::log(sum);
  double mean = 0;
  for (int64_t v = 0; v < v_n; ++v) {
    const double z = logits[v] / temperature, p = std::exp(z - lse);
    if (p > 0) mean += p * z;  // a logit of -inf has p z = 0
  }
  return {lse, lse - mean};
}

// The token at u of row `logits` under top_k and top_p, as ops.h defines the support.
int64_t pick(const double* logits, int64_t v_n, double temperature, int64_t top_k, double top_p, double u) {
  std::vector<int64_t> order(v_n);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return logits[a] > logits[b]; });
  if (temperature == 0) return order[0];
  if (top_k > 0 && top_k < v_n) order.resize(top_k);
  const double top = logits[order[0]] / temperature;
  const auto mass = [&](int64_t v) { return std::exp(logits[v] / temperature - top); };
  double total = 0;
  for (int64_t v : order) total += mass(v);
  if (top_p < 1) {
    size_t kept = 0;
    double sum = 0;
    while (kept < order.size() && sum < top_p * total) sum += mass(order[kept++]);
    order.resize(std::max<size_t>(kept, 1));
    total = 0;
    for (int64_t v : order) total += mass(v);
  }
  std::sort(order.begin(), order.end());
  double sum = 0;
  int64_t last = order[0];
  for (int64_t v : order) {
    sum += mass(v);
    if (mass(v) > 0) last = v;
    if (sum > u * total) return v;
  }
  return last;
}

}  // namespace

void log_prob(Context&, const LogProb& op) {
  const int64_t t_n = op.logits.shape[0], v_n = op.logits.shape[1];
  const auto logits = load(op.logits);
  const auto targets = load_ints(op.targets);
  std::vector<double> logp(t_n), lse(t_n), entropy(t_n);
  for (int64_t t = 0; t < t_n; ++t) {
    R1_CHECK(0 <= targets[t] && targets[t] < v_n, fmt::format("target {} of {}", targets[t], v_n));
    const RowStats stats = row_stats(&logits[t * v_n], v_n, op.temperature);
    logp[t] = logits[t * v_n + targets[t]] / op.temperature - stats.lse;
    lse[t] = stats.lse;
    entropy[t] = stats.entropy;
  }
  store(op.logp, logp);
  store(op.lse, lse);
  if (op.entropy) store(op.entropy, entropy);
}

void log_prob_backward(Context&, const LogProbBackward& op) {
  const int64_t t_n = op.logits.shape[0], v_n = op.logits.shape[1];
  const auto logits = load(op.logits), lse = load(op.lse), dlogp = load(op.dlogp);
  const auto targets = load_ints(op.targets);
  std::vector<double> dlogits(t_n * v_n);
  for (int64_t t = 0; t < t_n; ++t) {
    R1_CHECK(0 <= targets[t] && targets[t] < v_n, fmt::format("target {} of {}", targets[t], v_n));
    for (int64_t v = 0; v < v_n; ++v) {
      const double p = std::exp(logits[t * v_n + v] / op.temperature - lse[t]);
      dlogits[t * v_n + v] = dlogp[t] * ((v == targets[t] ? 1 : 0) - p) / op.temperature;
    }
  }
  store(op.dlogits, dlogits);
}

void sample(Context&, const Sample& op) {
  const int64_t r_n = op.logits.shape[0], v_n = op.logits.shape[1];
  const auto logits = load(op.logits), temperature = load(op.temperature);
  const auto keys = load_ints(op.keys), positions = load_ints(op.positions);
  std::vector<double> token(r_n), logp(r_n), entropy(r_n);
  for (int64_t r = 0; r < r_n; ++r) {
    const double* row = &logits[r * v_n];
    const auto key = static_cast<uint64_t>(keys[r]);
    const float u = unit_float(philox4x32({static_cast<uint32_t>(positions[r]), 0, 0, 0},
                                          {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)})[0]);
    const double at = temperature[r] == 0 ? 1 : temperature[r];
    const RowStats stats = row_stats(row, v_n, at);
    const int64_t v = std::isnan(stats.lse) ? 0 : pick(row, v_n, temperature[r], op.top_k, op.top_p, u);
    token[r] = static_cast<double>(v);
    logp[r] = row[v] / at - stats.lse;
    entropy[r] = stats.entropy;
  }
  store(op.token, token);
  store(op.logp, logp);
  if (op.entropy) store(op.entropy, entropy);
}

}  // namespace r1::reference
