// Embedding, Linear, RmsNorm, Rope, SwiGlu, Add, GatherRows and their backwards.
// T: rows, K/D/F: features, N: output features.
#include <fmt/format.h>

#include <cmath>

#include "base/error.h"
#include "kernels/reference/dense.h"
#include "kernels/reference/reference_table.h"

namespace r1::reference {

namespace {

void check_index(int64_t index, int64_t size, const char* what) {
  R1_CHECK(0 <= index && index < size, fmt::format("{} {} outside [0, {})", what, index, size));
}

int64_t row_size(const View& v) { return v.rank == 3 ? v.shape[1] * v.shape[2] : v.shape[1]; }

// y[n] = x[rows[n]]
void gather(const View& x, const View& rows, const View& y, const char* what) {
  const int64_t d = row_size(x);
  const auto from = load(x);
  const auto index = load_ints(rows);
  std::vector<double> to(static_cast<size_t>(y.size()));
  for (size_t n = 0; n < index.size(); ++n) {
    check_index(index[n], x.shape[0], what);
    for (int64_t j = 0; j < d; ++j) to[n * d + j] = from[index[n] * d + j];
  }
  store(y, to);
}

// to[rows[n]] += from[n], in order of n; or = where it is not to accumulate.
void scatter_add(const View& rows, const View& from, const View& to, const char* what, bool accumulate = true) {
  const int64_t d = row_size(to);
  const auto source = load(from);
  const auto index = load_ints(rows);
  auto sum = accumulate ? load(to) : std::vector<double>(static_cast<size_t>(to.size()));
  for (size_t n = 0; n < index.size(); ++n) {
    check_index(index[n], to.shape[0], what);
    for (int64_t j = 0; j < d; ++j) sum[index[n] * d + j] += source[n * d + j];
  }
  store(to, sum);
}

}  // namespace

void embedding(Context&, const Embedding& op) { gather(op.table, op.ids, op.y, "token id"); }
void embedding_backward(Context&, const EmbeddingBackward& op) { scatter_add(op.ids, op.dy, op.dtable, "token id"); }
void gather_rows(Context&, const GatherRows& op) { gather(op.x, op.rows, op.y, "row"); }
void gather_rows_backward(Context&, const GatherRowsBackward& op) { scatter_add(op.rows, op.dy, op.dx, "row", op.accumulate); }

void linear(Context&, const Linear& op) {
  const int64_t t_n = op.x.shape[0], k_n = op.x.shape[1], n_n = op.w.shape[0];
  const auto x = load(op.x), w = load(op.w);
  const auto bias = op.bias ? load(op.bias) : std::vector<double>(n_n, 0.0);
  std::vector<double> y(t_n * n_n);
  for (int64_t t = 0; t < t_n; ++t)
    for (int64_t n = 0; n < n_n; ++n) {
      double sum = bias[n];
      for (int64_t k = 0; k < k_n; ++k) sum += x[t * k_n + k] * w[n * k_n + k];
      y[t * n_n + n] = sum;
    }
  store(op.y, y);
}

void linear_backward_input(Context&, const LinearBackwardInput& op) {
  const int64_t t_n = op.dy.shape[0], n_n = op.w.shape[0], k_n = op.w.shape[1];
  const auto dy = load(op.dy), w = load(op.w);
  auto dx = op.accumulate ? load(op.dx) : std::vector<double>(t_n * k_n, 0.0);
  for (int64_t t = 0; t < t_n; ++t)
    for (int64_t n = 0; n < n_n; ++n)
      for (int64_t k = 0; k < k_n; ++k) dx[t * k_n + k] += dy[t * n_n + n] * w[n * k_n + k];
  store(op.dx, dx);
}

void linear_backward_weight(Context&, const LinearBackwardWeight& op) {
  const int64_t t_n = op.dy.shape[0], n_n = op.dw.shape[0], k_n = op.dw.shape[1];
  const auto dy = load(op.dy), x = load(op.x);
  auto dw = load(op.dw);
  for (int64_t t = 0; t < t_n; ++t)
    for (int64_t n = 0; n < n_n; ++n)
      for (int64_t k = 0; k < k_n; ++k) dw[n * k_n + k] += dy[t * n_n + n] * x[t * k_n + k];
  store(op.dw, dw);
  if (!op.db) return;
  auto db = load(op.db);
  for (int64_t t = 0; t < t_n; ++t)
    for (int64_t n = 0; n < n_n; ++n) db[n] += dy[t * n_n + n];
  store(op.db, db);
}

void rms_norm(Context&, const RmsNorm& op) {
  const int64_t d_n = op.x.shape[op.x.rank - 1], rows = op.x.size() / d_n;
  const auto x = load(op.x), w = load(op.w);
  std::vector<double> y(x.size()), rstd(rows);
  for (int64_t r = 0; r < rows; ++r) {
    double sum = 0;
    for (int64_t d = 0; d < d_n; ++d) sum += x[r * d_n + d] * x[r * d_n + d];
    rstd[r] = 1 / std::sqrt(sum / static_cast<double>(d_n) + op.eps);
    for (int64_t d = 0; d < d_n; ++d) y[r * d_n + d] = rounded(x[r * d_n + d] * rstd[r], op.x.dtype) * w[d];
  }
  store(op.y, y);
  if (op.rstd) store(op.rstd, rstd);
}

// With n = x rstd and g = dy w:  dx = rstd (g - n mean_d(g n)),  dw = sum over rows of dy n.
void rms_norm_backward(Context&, const RmsNormBackward& op) {
  const int64_t d_n = op.x.shape[op.x.rank - 1], rows = op.x.size() / d_n;
  const auto x = load(op.x), w = load(op.w), rstd = load(op.rstd), dy = load(op.dy);
  auto dx = op.accumulate ? load(op.dx) : std::vector<double>(x.size(), 0.0);
  auto dw = load(op.dw);
  for (int64_t r = 0; r < rows; ++r) {
    double mean = 0;
    for (int64_t d = 0; d < d_n; ++d) {
      const double n = x[r * d_n + d] * rstd[r];
      mean += dy[r * d_n + d] * w[d] * n / static_cast<double>(d_n);
      dw[d] += dy[r * d_n + d] * n;
    }
    for (int64_t d = 0; d < d_n; ++d) dx[r * d_n + d] += rstd[r] * (dy[r * d_n + d] * w[d] - x[r * d_n + d] * rstd[r] * mean);
  }
  store(op.dx, dx);
  store(op.dw, dw);
}

void rope(Context&, const Rope& op) {
  const int64_t t_n = op.x.shape[0], h_n = op.x.shape[1], d_n = op.x.shape[2], half = op.table.shape[1] / 2;
  const auto positions = load_ints(op.positions);
  const auto table = load(op.table);
  auto x = load(op.x);
  for (int64_t t = 0; t < t_n; ++t) {
    check_index(positions[t], op.table.shape[0], "position");
    for (int64_t h = 0; h < h_n; ++h)
      for (int64_t i = 0; i < half; ++i) {
        const double c = table[positions[t] * 2 * half + i];
        const double s = table[positions[t] * 2 * half + half + i] * (op.inverse ? -1 : 1);
        double& a = x[(t * h_n + h) * d_n + (op.interleaved ? 2 * i : i)];
        double& b = x[(t * h_n + h) * d_n + (op.interleaved ? 2 * i + 1 : i + half)];
        const double rotated = a * c - b * s;
        b = b * c + a * s;
        a = rotated;
      }
  }
  store(op.x, x);
}

void swiglu(Context&, const SwiGlu& op) {
  const int64_t t_n = op.y.shape[0], f_n = op.y.shape[1];
  const auto gate_up = load(op.gate_up);
  std::vector<double> y(t_n * f_n);
  for (int64_t t = 0; t < t_n; ++t)
    for (int64_t f = 0; f < f_n; ++f) {
      const double g = gate_up[t * 2 * f_n + f], u = gate_up[t * 2 * f_n + f_n + f];
      y[t * f_n + f] = g / (1 + std::exp(-g)) * u;
    }
  store(op.y, y);
}

// silu'(g) = s (1 + g (1 - s)),  s = sigmoid(g).
void swiglu_backward(Context&, const SwiGluBackward& op) {
  const int64_t t_n = op.dy.shape[0], f_n = op.dy.shape[1];
  const auto gate_up = load(op.gate_up), dy = load(op.dy);
  std::vector<double> d_gate_up(t_n * 2 * f_n);
  for (int64_t t = 0; t < t_n; ++t)
    for (int64_t f = 0; f < f_n; ++f) {
      const double g = gate_up[t * 2 * f_n + f], u = gate_up[t * 2 * f_n + f_n + f];
      const double s = 1 / (1 + std::exp(-g));
      d_gate_up[t * 2 * f_n + f] = dy[t * f_n + f] * u * s * (1 + g * (1 - s));
      d_gate_up[t * 2 * f_n + f_n + f] = dy[t * f_n + f] * g * s;
    }
  store(op.dgate_up, d_gate_up);
}

void add(Context&, const Add& op) {
  auto y = load(op.a);
  const auto b = load(op.b);
  for (size_t i = 0; i < y.size(); ++i) y[i] += b[i];
  store(op.y, y);
}

}  // namespace r1::reference
