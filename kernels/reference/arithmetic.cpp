// Fill, Copy, Axpby, SumSquares, ScaleByNorm, Gemm and AdamW.
#include <cmath>

#include "base/error.h"
#include "kernels/reference/dense.h"
#include "kernels/reference/reference_table.h"

namespace r1::reference {

void fill(Context&, const Fill& op) { store(op.x, std::vector<double>(static_cast<size_t>(op.x.size()), op.value)); }

void copy(Context&, const Copy& op) {
  // Integers do not all fit in f64; equal types move as they are.
  if (op.src.dtype != op.dst.dtype) return store(op.dst, load(op.src));
  const View &s = op.src, &d = op.dst;
  const auto item = static_cast<int64_t>(dtype_size(s.dtype));
  std::array<int64_t, View::kMaxRank> index{};
  for (int64_t i = 0; i < s.size(); ++i) {
    int64_t from = 0, to = 0;
    for (int k = 0; k < s.rank; ++k) from += index[k] * s.stride[k], to += index[k] * d.stride[k];
    for (int64_t b = 0; b < item; ++b) d.data[to * item + b] = s.data[from * item + b];
    for (int k = s.rank - 1; k >= 0 && ++index[k] == s.shape[k]; --k) index[k] = 0;
  }
}

void axpby(Context&, const Axpby& op) {
  const auto x = load(op.x);
  // y is not read when beta is 0: it may be uninitialised.
  auto y = op.beta != 0 ? load(op.y) : std::vector<double>(x.size(), 0.0);
  for (size_t i = 0; i < x.size(); ++i) y[i] = static_cast<double>(op.alpha) * x[i] + static_cast<double>(op.beta) * y[i];
  store(op.y, y);
}

void sum_squares(Context&, const SumSquares& op) {
  double sum = op.accumulate ? load(op.out)[0] : 0;
  for (double x : load(op.x)) sum += x * x;
  store(op.out, {sum});
}

void scale_by_norm(Context&, const ScaleByNorm& op) {
  auto x = load(op.x);
  for (double& e : x) e /= std::sqrt(load(op.square)[0]) + static_cast<double>(op.floor);
  store(op.x, x);
}

void gemm(Context&, const Gemm& op) {
  const int64_t m_n = op.c.shape[0], n_n = op.c.shape[1], k_n = op.a.shape[op.trans_a ? 0 : 1];
  const auto a = load(op.a), b = load(op.b);
  auto c = op.beta != 0 ? load(op.c) : std::vector<double>(static_cast<size_t>(m_n * n_n), 0.0);
  for (int64_t m = 0; m < m_n; ++m)
    for (int64_t n = 0; n < n_n; ++n) {
      double sum = 0;
      for (int64_t k = 0; k < k_n; ++k)
        sum += (op.trans_a ? a[k * m_n + m] : a[m * k_n + k]) * (op.trans_b ? b[n * k_n + k] : b[k * n_n + n]);
      c[m * n_n + n] = op.alpha * sum + op.beta * c[m * n_n + n];
    }
  store(op.c, c);
}

void adam_w(Context&, const AdamW& op) {
  auto master = load(op.master), m = load(op.m), v = load(op.v);
  const auto grad = load(op.grad);
  const double b1 = op.beta1, b2 = op.beta2;
  const double fix1 = 1 - std::pow(b1, static_cast<double>(op.step)), fix2 = 1 - std::pow(b2, static_cast<double>(op.step));
  // Per element: 0 left alone, 1 without decay, 2 with.
  std::vector<int> kind(master.size(), op.ranges ? 0 : 2);
  const std::vector<int64_t> ranges = op.ranges ? load_ints(op.ranges) : std::vector<int64_t>();
  for (size_t r = 0; r < ranges.size(); r += 3) {
    R1_CHECK((r == 0 ? 0 : ranges[r - 2]) <= ranges[r] && ranges[r] <= ranges[r + 1] && ranges[r + 1] <= op.master.size(),
             "ranges that do not rise");
    for (int64_t i = ranges[r]; i < ranges[r + 1]; ++i) kind[static_cast<size_t>(i)] = ranges[r + 2] != 0 ? 2 : 1;
  }
  for (size_t i = 0; i < master.size(); ++i) {
    if (kind[i] == 0) continue;
    const double g = grad[i] * op.grad_scale;
    m[i] = b1 * m[i] + (1 - b1) * g;
    v[i] = b2 * v[i] + (1 - b2) * g * g;
    const double decay = kind[i] == 2 ? op.weight_decay : 0;
    master[i] -= op.lr * (m[i] / fix1 / (std::sqrt(v[i] / fix2) + op.eps)) + static_cast<double>(op.lr) * decay * master[i];
  }
  store(op.master, master);
  store(op.m, m);
  store(op.v, v);
  if (!op.weights) return;
  auto weights = load(op.weights);
  const auto stored = load(op.master);
  for (size_t i = 0; i < stored.size(); ++i)
    if (kind[i] != 0) weights[i] = stored[i];  // rounded once more
  store(op.weights, weights);
}

}  // namespace r1::reference
