// Fill, Copy, Axpby, SumSquares, Gemm and AdamW.
#include <cmath>

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
  for (size_t i = 0; i < master.size(); ++i) {
    const double g = grad[i] * op.grad_scale;
    m[i] = b1 * m[i] + (1 - b1) * g;
    v[i] = b2 * v[i] + (1 - b2) * g * g;
    master[i] -=
        op.lr * (m[i] / fix1 / (std::sqrt(v[i] / fix2) + op.eps)) + static_cast<double>(op.lr) * op.weight_decay * master[i];
  }
  store(op.master, master);
  store(op.m, m);
  store(op.v, v);
  if (!op.weights) return;
  store(op.weights, load(op.master));  // the master as stored, rounded once more
}

}  // namespace r1::reference
