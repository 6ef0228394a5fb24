// Latent attention's keys and mixtures of experts. T: tokens, E: experts, k: experts of a token, M = T*k assignments.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "kernels/reference/dense.h"
#include "kernels/reference/reference_table.h"

namespace r1::reference {

namespace {

using Doubles = std::vector<double>;

// Indices of the k largest values, largest first; ties: lower index; NaN counts as the smallest.
std::vector<int64_t> largest(const Doubles& values, int64_t k) {
  std::vector<int64_t> order(values.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  const auto key = [&](int64_t i) { return std::isnan(values[i]) ? -std::numeric_limits<double>::infinity() : values[i]; };
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return key(a) > key(b); });
  order.resize(static_cast<size_t>(k));
  return order;
}

void apply_scoring(Doubles& row, bool softmax) {
  if (!softmax) {
    for (double& x : row) x = 1 / (1 + std::exp(-x));
    return;
  }
  const double max = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (double& x : row) sum += x = std::exp(x - max);
  for (double& x : row) x /= sum;
}

std::vector<int64_t> select(const MoeRoute& op, const Doubles& z) {
  const auto experts = static_cast<int64_t>(z.size()), size = experts / op.groups;
  Doubles group_score;
  for (int g = 0; g < op.groups; ++g) {
    const Doubles part(z.begin() + g * size, z.begin() + (g + 1) * size);
    const int64_t summed = std::min<int64_t>(op.softmax && !op.bias ? 1 : 2, size);
    double score = 0;
    for (int64_t i : largest(part, summed)) score += part[i];
    group_score.push_back(score);
  }
  std::vector<bool> kept(static_cast<size_t>(op.groups), false);
  for (int64_t g : largest(group_score, op.top_groups)) kept[g] = true;
  Doubles masked = z;
  for (int64_t i = 0; i < experts; ++i)
    if (!kept[i / size]) masked[i] = -INFINITY;
  return largest(masked, op.experts.shape[1]);
}

int64_t expert_of(const std::vector<int64_t>& offsets, int64_t place) {
  int64_t e = 0;
  while (offsets[e + 1] <= place) ++e;
  return e;
}

std::vector<int64_t> checked_offsets(const View& view, int64_t end) {
  const auto offsets = load_ints(view);
  R1_CHECK(offsets.front() == 0 && offsets.back() == end, fmt::format("offsets end at {}, rows at {}", offsets.back(), end));
  R1_CHECK(std::is_sorted(offsets.begin(), offsets.end()), "offsets fall");
  return offsets;
}

int64_t row_of(const std::vector<int64_t>& slots, int64_t place, int copies) {
  return slots.empty() ? place : slots[place] / copies;
}

}  // namespace

void mla_keys(Context&, const MlaKeys& op) {
  const int64_t t_n = op.k.shape[0], h_n = op.k.shape[1], d = op.k.shape[2], r = op.kr.shape[1], p = d - r,
                wide = op.kv.shape[2];
  const auto kv = load(op.kv), kr = load(op.kr);
  Doubles k(static_cast<size_t>(t_n * h_n * d));
  for (int64_t t = 0; t < t_n; ++t)
    for (int64_t h = 0; h < h_n; ++h)
      for (int64_t i = 0; i < d; ++i) k[(t * h_n + h) * d + i] = i < p ? kv[(t * h_n + h) * wide + i] : kr[t * r + i - p];
  store(op.k, k);
}

void mla_keys_backward(Context&, const MlaKeysBackward& op) {
  const int64_t t_n = op.dk.shape[0], h_n = op.dk.shape[1], d = op.dk.shape[2], r = op.dkr.shape[1], p = d - r,
                wide = op.dkv.shape[2];
  const auto dk = load(op.dk);
  auto dkv = load(op.dkv);
  Doubles dkr(static_cast<size_t>(t_n * r), 0.0);
  for (int64_t t = 0; t < t_n; ++t)
    for (int64_t h = 0; h < h_n; ++h)
      for (int64_t i = 0; i < d; ++i) {
        const double x = dk[(t * h_n + h) * d + i];
        if (i < p)
          dkv[(t * h_n + h) * wide + i] = x;
        else
          dkr[t * r + i - p] += x;
      }
  store(op.dkv, dkv);
  store(op.dkr, dkr);
}

void moe_route(Context&, const MoeRoute& op) {
  const int64_t t_n = op.logits.shape[0], e_n = op.logits.shape[1], k_n = op.experts.shape[1];
  auto scores = load(op.logits);
  const auto bias = op.bias ? load(op.bias) : Doubles(e_n, 0.0);
  Doubles experts(static_cast<size_t>(t_n * k_n)), weights(experts.size());
  for (int64_t t = 0; t < t_n; ++t) {
    Doubles row(scores.begin() + t * e_n, scores.begin() + (t + 1) * e_n);
    apply_scoring(row, op.softmax);
    std::copy(row.begin(), row.end(), scores.begin() + t * e_n);
    Doubles z = row;
    for (int64_t e = 0; e < e_n; ++e) z[e] += bias[e];
    const auto chosen = select(op, z);
    double sum = 0;
    for (int64_t e : chosen) sum += row[e];
    for (int64_t j = 0; j < k_n; ++j) {
      experts[t * k_n + j] = static_cast<double>(chosen[j]);
      weights[t * k_n + j] = op.scale * (op.normalize ? row[chosen[j]] / (sum + 1e-20) : row[chosen[j]]);
    }
  }
  store(op.scores, scores);
  store(op.experts, experts);
  store(op.weights, weights);
}

// With u_j = s_j / S, S = sum s + 1e-20:  ds_j = scale (dw_j - sum_i dw_i u_i) / S.  sigmoid: dx = ds s (1 - s);
// softmax: dx = s (ds - sum ds s).
void moe_route_backward(Context&, const MoeRouteBackward& op) {
  const int64_t t_n = op.scores.shape[0], e_n = op.scores.shape[1], k_n = op.experts.shape[1];
  const auto scores = load(op.scores), dweights = load(op.dweights);
  const auto experts = load_ints(op.experts);
  auto ds = op.dscores ? load(op.dscores) : Doubles(scores.size(), 0.0);
  Doubles dlogits(scores.size());
  for (int64_t t = 0; t < t_n; ++t) {
    const double* const s = scores.data() + t * e_n;
    double* const d = ds.data() + t * e_n;
    double sum = 1e-20, mixed = 0;
    for (int64_t j = 0; j < k_n; ++j) sum += s[experts[t * k_n + j]];
    for (int64_t j = 0; j < k_n; ++j) mixed += dweights[t * k_n + j] * s[experts[t * k_n + j]] / sum;
    for (int64_t j = 0; j < k_n; ++j) {
      const double dw = dweights[t * k_n + j];
      d[experts[t * k_n + j]] += op.scale * (op.normalize ? (dw - mixed) / sum : dw);
    }
    double inner = 0;
    for (int64_t e = 0; e < e_n; ++e) inner += d[e] * s[e];
    for (int64_t e = 0; e < e_n; ++e) dlogits[t * e_n + e] = op.softmax ? s[e] * (d[e] - inner) : d[e] * s[e] * (1 - s[e]);
  }
  store(op.dlogits, dlogits);
}

// With q = s / S, S = sum_j s_j:  dL/ds_e = c/T_s (f_e - sum_j f_j q_j) / S.
void moe_balance_loss(Context&, const MoeBalanceLoss& op) {
  const int64_t e_n = op.scores.shape[1];
  const auto scores = load(op.scores);
  const auto offsets = checked_offsets(op.offsets, op.scores.shape[0]);
  auto loss = load(op.loss);
  Doubles dscores(scores.size(), 0.0);
  for (size_t s = 0; s + 1 < offsets.size(); ++s) {
    const int64_t begin = offsets[s], end = offsets[s + 1], rows = end - begin;
    Doubles f(e_n, 0.0);
    for (int64_t t = begin; t < end; ++t)
      for (int64_t e : largest(Doubles(scores.begin() + t * e_n, scores.begin() + (t + 1) * e_n), op.k))
        f[e] += static_cast<double>(e_n) / static_cast<double>(op.k * rows);
    for (int64_t t = begin; t < end; ++t) {
      const double* const row = scores.data() + t * e_n;
      const double sum = std::accumulate(row, row + e_n, 0.0);
      double mixed = 0;
      for (int64_t e = 0; e < e_n; ++e) mixed += f[e] * row[e] / sum;
      loss[0] += op.weight * mixed / static_cast<double>(rows);
      for (int64_t e = 0; e < e_n; ++e) dscores[t * e_n + e] = op.weight / static_cast<double>(rows) * (f[e] - mixed) / sum;
    }
  }
  store(op.dscores, dscores);
  store(op.loss, loss);
}

void moe_sort(Context&, const MoeSort& op) {
  const auto experts = load_ints(op.experts);
  const int64_t e_n = op.offsets.shape[0] - 1;
  Doubles slots, places(experts.size()), offsets{0};
  for (int64_t e = 0; e < e_n; ++e) {
    for (size_t a = 0; a < experts.size(); ++a) {
      R1_CHECK(0 <= experts[a] && experts[a] < e_n, fmt::format("expert {} outside [0, {})", experts[a], e_n));
      if (experts[a] != e) continue;
      places[a] = static_cast<double>(slots.size());
      slots.push_back(static_cast<double>(a));
    }
    offsets.push_back(static_cast<double>(slots.size()));
  }
  store(op.slots, slots);
  store(op.places, places);
  store(op.offsets, offsets);
}

void moe_load(Context&, const MoeLoad& op) {
  const auto offsets = load_ints(op.offsets);
  auto counts = load(op.load);
  for (size_t e = 0; e < counts.size(); ++e) counts[e] += static_cast<double>(offsets[e + 1] - offsets[e]);
  store(op.load, counts);
}

void moe_bias_update(Context&, const MoeBiasUpdate& op) {
  const auto counts = load(op.load);
  auto bias = load(op.bias);
  const double mean = std::accumulate(counts.begin(), counts.end(), 0.0) / static_cast<double>(counts.size());
  for (size_t e = 0; e < bias.size(); ++e) bias[e] += op.rate * ((mean > counts[e]) - (mean < counts[e]));
  store(op.bias, bias);
}

void grouped_linear(Context&, const GroupedLinear& op) {
  const int64_t n_n = op.w.shape[1], k_n = op.w.shape[2], m_n = op.y.shape[0];
  const auto x = load(op.x), w = load(op.w);
  const auto offsets = checked_offsets(op.offsets, m_n), slots = op.slots ? load_ints(op.slots) : std::vector<int64_t>();
  Doubles y(static_cast<size_t>(m_n * n_n), 0.0);
  for (int64_t m = 0; m < m_n; ++m) {
    const int64_t e = expert_of(offsets, m), row = row_of(slots, m, op.copies);
    for (int64_t n = 0; n < n_n; ++n)
      for (int64_t k = 0; k < k_n; ++k) y[m * n_n + n] += x[row * k_n + k] * w[(e * n_n + n) * k_n + k];
  }
  store(op.y, y);
}

void grouped_linear_backward_input(Context&, const GroupedLinearBackwardInput& op) {
  const int64_t n_n = op.w.shape[1], k_n = op.w.shape[2], m_n = op.dy.shape[0];
  const auto dy = load(op.dy), w = load(op.w);
  const auto offsets = checked_offsets(op.offsets, m_n);
  Doubles dx(static_cast<size_t>(m_n * k_n), 0.0);
  for (int64_t m = 0; m < m_n; ++m) {
    const int64_t e = expert_of(offsets, m);
    for (int64_t n = 0; n < n_n; ++n)
      for (int64_t k = 0; k < k_n; ++k) dx[m * k_n + k] += dy[m * n_n + n] * w[(e * n_n + n) * k_n + k];
  }
  store(op.dx, dx);
}

void grouped_linear_backward_weight(Context&, const GroupedLinearBackwardWeight& op) {
  const int64_t n_n = op.dw.shape[1], k_n = op.dw.shape[2], m_n = op.dy.shape[0];
  const auto dy = load(op.dy), x = load(op.x);
  const auto offsets = checked_offsets(op.offsets, m_n), slots = op.slots ? load_ints(op.slots) : std::vector<int64_t>();
  auto dw = load(op.dw);
  for (int64_t m = 0; m < m_n; ++m) {
    const int64_t e = expert_of(offsets, m), row = row_of(slots, m, op.copies);
    for (int64_t n = 0; n < n_n; ++n)
      for (int64_t k = 0; k < k_n; ++k) dw[(e * n_n + n) * k_n + k] += dy[m * n_n + n] * x[row * k_n + k];
  }
  store(op.dw, dw);
}

void moe_combine(Context&, const MoeCombine& op) {
  const int64_t t_n = op.places.shape[0], k_n = op.places.shape[1], d_n = op.y.shape[1];
  const auto z = load(op.z);
  const auto places = load_ints(op.places);
  const auto weights = op.weights ? load(op.weights) : Doubles(places.size(), 1.0);
  auto y = op.accumulate ? load(op.y) : Doubles(static_cast<size_t>(t_n * d_n), 0.0);
  for (int64_t t = 0; t < t_n; ++t)
    for (int64_t j = 0; j < k_n; ++j)
      for (int64_t d = 0; d < d_n; ++d) y[t * d_n + d] += weights[t * k_n + j] * z[places[t * k_n + j] * d_n + d];
  store(op.y, y);
}

void moe_combine_backward(Context&, const MoeCombineBackward& op) {
  const int64_t t_n = op.places.shape[0], k_n = op.places.shape[1], d_n = op.dy.shape[1];
  const auto dy = load(op.dy), z = load(op.z);
  const auto places = load_ints(op.places);
  const auto weights = op.weights ? load(op.weights) : Doubles(places.size(), 1.0);
  Doubles dz(z.size()), dweights(places.size(), 0.0);
  for (int64_t t = 0; t < t_n; ++t)
    for (int64_t j = 0; j < k_n; ++j)
      for (int64_t d = 0; d < d_n; ++d) {
        const int64_t at = places[t * k_n + j] * d_n + d;
        dz[at] = weights[t * k_n + j] * dy[t * d_n + d];
        dweights[t * k_n + j] += dy[t * d_n + d] * z[at];
      }
  store(op.dz, dz);
  if (op.dweights) store(op.dweights, dweights);
}

}  // namespace r1::reference
