#include "models/training/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/models/tiny.h"

namespace r1::test {
namespace {

using Matrix = std::vector<double>;  // row-major

Matrix product(const Matrix& a, const Matrix& b, size_t n, size_t k, size_t m) {
  Matrix c(n * m, 0);
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j < m; ++j)
      for (size_t l = 0; l < k; ++l) c[i * m + j] += a[i * k + l] * b[l * m + j];
  return c;
}
Matrix transposed(const Matrix& a, size_t n, size_t m) {
  Matrix t(a.size());
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j < m; ++j) t[j * n + i] = a[i * m + j];
  return t;
}

// Five Newton-Schulz steps as published: the matrix is transposed to have fewer rows than columns.
Matrix orthogonalised(Matrix g, size_t n, size_t m) {
  const bool tall = n > m;
  if (tall) g = transposed(g, n, m), std::swap(n, m);
  double norm = 0;
  for (double x : g) norm += x * x;
  for (double& x : g) x /= std::sqrt(norm);
  for (int step = 0; step < 5; ++step) {
    const Matrix a = product(g, transposed(g, n, m), n, m, n), aa = product(a, a, n, n, n);
    Matrix b(a.size());
    for (size_t i = 0; i < a.size(); ++i) b[i] = -4.7750 * a[i] + 2.0315 * aa[i];
    const Matrix bg = product(b, g, n, n, m);
    for (size_t i = 0; i < g.size(); ++i) g[i] = 3.4445 * g[i] + bg[i];
  }
  return tall ? transposed(g, n, m) : g;
}

struct Naive {
  const TrainerConfig& c;
  std::vector<Matrix> w, m, v;
  int64_t step = 0;

  void apply(const std::vector<ParamSpec>& specs, const std::vector<Matrix>& g, double factor, double scale) {
    ++step;
    for (size_t p = 0; p < specs.size(); ++p) {
      const ParamSpec& s = specs[p];
      if (s.mtp && !c.mtp) continue;
      if (s.role == ParamRole::selection_bias) {
        balance(w[p], g[p]);
        continue;
      }
      if (c.optimizer == "muon" && s.role == ParamRole::matrix) {
        muon(p, s, g[p], factor, scale);
        continue;
      }
      const bool decay = s.role != ParamRole::norm && s.role != ParamRole::bias;
      for (size_t i = 0; i < w[p].size(); ++i) {
        const double x = g[p][i] * scale;
        m[p][i] = c.beta1 * m[p][i] + (1 - c.beta1) * x;
        v[p][i] = c.beta2 * v[p][i] + (1 - c.beta2) * x * x;
        const double mh = m[p][i] / (1 - std::pow(c.beta1, step)), vh = v[p][i] / (1 - std::pow(c.beta2, step));
        w[p][i] -= c.lr * factor * (mh / (std::sqrt(vh) + c.eps) + (decay ? c.weight_decay : 0) * w[p][i]);
      }
    }
  }
  void balance(Matrix& bias, const Matrix& load) const {
    double mean = 0;
    for (double x : load) mean += x / static_cast<double>(load.size());
    for (size_t i = 0; i < bias.size(); ++i)
      bias[i] += load[i] < mean ? c.bias_update_rate : load[i] > mean ? -c.bias_update_rate : 0;
  }
  void muon(size_t p, const ParamSpec& s, const Matrix& g, double factor, double scale) {
    const auto cols = static_cast<size_t>(s.shape[1]);
    for (const ParamPart& part : s.parts) {
      const auto rows = static_cast<size_t>(part.rows), begin = static_cast<size_t>(part.row_begin) * cols;
      Matrix u(rows * cols);
      for (size_t i = 0; i < u.size(); ++i) {
        const double x = g[begin + i] * scale;
        m[p][begin + i] = c.muon_momentum * m[p][begin + i] + x;
        u[i] = x + c.muon_momentum * m[p][begin + i];
      }
      u = orthogonalised(u, rows, cols);
      const double lr = c.muon_lr * factor,
                   shape = std::sqrt(std::max(1.0, static_cast<double>(rows) / static_cast<double>(cols)));
      for (size_t i = 0; i < u.size(); ++i)
        w[p][begin + i] = w[p][begin + i] * (1 - lr * c.muon_weight_decay) - lr * shape * u[i];
    }
  }
};

std::vector<Matrix> as_doubles(const WeightSet& w) {
  std::vector<Matrix> out;
  for (size_t i = 0; i < w.specs().size(); ++i) {
    const std::vector<float> host = download_as<float>(w.param(i));
    out.emplace_back(host.begin(), host.end());
  }
  return out;
}

void check_against_naive(Device& device, Architecture architecture, const std::string& name, DType precision,
                         bool side_by_side) {
  SCOPED_TRACE(device.name() + " " + name);
  ModelConfig config = tiny_config(architecture);
  if (config.is_mla())
    config.mtp_layers = 1;
  else
    config.attention_bias = true;
  TrainerConfig c;
  c.optimizer = name;
  c.lr = 0.01;
  c.weight_decay = 0.1;
  const auto masters = random_weights(device, config, 1);
  WeightSet weights = precision == DType::f32 ? *masters : WeightSet(device, config, precision);
  Optimizer optimizer(*masters, c, side_by_side);
  const std::vector<Matrix> start = as_doubles(*masters);
  Naive naive{c, start, {}, {}};
  for (const Matrix& w : naive.w) naive.m.emplace_back(w.size(), 0), naive.v.emplace_back(w.size(), 0);

  Gradients grads(*masters);
  Context ctx(device);
  if (precision != DType::f32) copy_weights(ctx, *masters, weights);  // an untrained MTP module is never written
  grads.zero(ctx);
  Rng rng(4, name);
  for (int step = 0; step < 4; ++step) {
    std::vector<Matrix> g;
    for (size_t i = 0; i < naive.w.size(); ++i) {
      std::vector<float> host(naive.w[i].size());
      for (float& x : host) x = static_cast<float>(rng.normal());
      upload(grads.param(static_cast<int>(i)), host);
      g.emplace_back(host.begin(), host.end());
    }
    const double factor = 1 - 0.2 * step, scale = 0.5 + 0.1 * step;
    optimizer.step(masters_in(*masters, optimizer.shard()), grads, weights, factor, scale);
    naive.apply(masters->specs(), g, factor, scale);
  }
  EXPECT_EQ(optimizer.steps(), 4);
  const std::vector<Matrix> got = as_doubles(*masters);
  for (size_t i = 0; i < got.size(); ++i) {
    double worst = 0, error = 0, update = 0;
    for (size_t k = 0; k < got[i].size(); ++k) {
      const double off = got[i][k] - naive.w[i][k], moved = naive.w[i][k] - start[i][k];
      worst = std::max(worst, std::abs(off));
      error += off * off;
      update += moved * moved;
    }
    EXPECT_TRUE(std::isfinite(error)) << masters->specs()[i].name;
    // Updates are about 0.04 (AdamW) and 0.08 (Muon) in all; f32 keeps 1e-6 of weights near 1, Newton-Schulz magnifies 1e-7 a
    // little, and 2^-9 of operands in bf16 to a fiftieth of the update.
    if (name == "muon" && precision == DType::bf16 && masters->specs()[i].role == ParamRole::matrix)
      EXPECT_LE(std::sqrt(error), 0.05 * std::sqrt(update)) << masters->specs()[i].name;
    else
      EXPECT_LE(worst, 2e-5) << masters->specs()[i].name;
  }
  if (precision == DType::bf16) {
    WeightSet rounded(device, config, DType::bf16);
    copy_weights(ctx, *masters, rounded);
    EXPECT_EQ(weights.hash(), rounded.hash()) << "weights are the masters, rounded";
  }
}

TEST(Optimizer, AdamWIsWhatANaiveImplementationInDoublesSays) {
  for (Architecture a : {Architecture::qwen3, Architecture::deepseek_v3}) {
    check_against_naive(open_device("reference"), a, "adamw", DType::f32, true);
    check_against_naive(open_device("cpu"), a, "adamw", DType::bf16, true);
  }
}

TEST(Optimizer, MuonIsWhatANaiveImplementationInDoublesSays) {
  for (Architecture a : {Architecture::qwen3, Architecture::deepseek_v3}) {
    check_against_naive(open_device("reference"), a, "muon", DType::f32, false);
    check_against_naive(open_device("reference"), a, "muon", DType::bf16, false);
    check_against_naive(open_device("cpu"), a, "muon", DType::f32, true);
    check_against_naive(open_device("cpu"), a, "muon", DType::bf16, true);
  }
}

TEST(Optimizer, WalkingMatricesSideBySideOrOneByOneGivesTheSameBits) {
  Device& device = open_device("cpu");
  TrainerConfig c;
  c.optimizer = "muon";
  Hash128 hashes[2];
  for (int side = 0; side < 2; ++side) {
    const auto masters = random_weights(device, tiny_config(Architecture::llama), 1);
    Optimizer optimizer(*masters, c, side == 1);
    Gradients grads(*masters);
    upload(grads.flat(), download_as<float>(random_weights(device, tiny_config(Architecture::llama), 2)->flat()));
    optimizer.step(masters_in(*masters, optimizer.shard()), grads, *masters, 1, 1);
    hashes[side] = masters->hash();
  }
  EXPECT_EQ(hashes[0], hashes[1]);
}

TEST(Schedule, WarmsUpAndFollowsItsCurveToTheEnd) {
  TrainerConfig c;
  c.warmup_steps = 4;
  c.total_steps = 24;
  c.lr_end = 0.1;
  EXPECT_DOUBLE_EQ(schedule_factor(c, 0), 0.25);
  EXPECT_DOUBLE_EQ(schedule_factor(c, 3), 1);
  EXPECT_DOUBLE_EQ(schedule_factor(c, 20), 1);
  c.schedule = Schedule::cosine;
  EXPECT_DOUBLE_EQ(schedule_factor(c, 4), 1);
  EXPECT_DOUBLE_EQ(schedule_factor(c, 14), 0.55);
  EXPECT_DOUBLE_EQ(schedule_factor(c, 24), 0.1);
  EXPECT_DOUBLE_EQ(schedule_factor(c, 99), 0.1);
  c.schedule = Schedule::linear;
  EXPECT_DOUBLE_EQ(schedule_factor(c, 9), 0.775);
}

}  // namespace
}  // namespace r1::test
