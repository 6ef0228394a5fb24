#include "models/model.h"

#include <fmt/format.h>

#include <cmath>
#include <numbers>

#include "base/error.h"

namespace r1 {

std::vector<float> rope_table(const ModelConfig& c) {
  const int64_t half = c.head_dim / 2;
  std::vector<double> frequency(static_cast<size_t>(half));
  for (int64_t i = 0; i < half; ++i) {
    double f = std::pow(c.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(c.head_dim));
    if (c.rope_factor > 0) {
      const double wavelength = 2 * std::numbers::pi / f, context = c.rope_original_context;
      if (wavelength > context / c.rope_low) {
        f /= c.rope_factor;
      } else if (wavelength >= context / c.rope_high) {
        const double s = (context / wavelength - c.rope_low) / (c.rope_high - c.rope_low);
        f = (1 - s) * f / c.rope_factor + s * f;
      }
    }
    frequency[static_cast<size_t>(i)] = f;
  }
  std::vector<float> table(static_cast<size_t>(c.max_positions * c.head_dim));
  parallel_tasks(c.max_positions, [&](int64_t p) {
    float* row = table.data() + p * c.head_dim;
    for (int64_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(p) * frequency[static_cast<size_t>(i)];
      row[i] = static_cast<float>(std::cos(angle));
      row[half + i] = static_cast<float>(std::sin(angle));
    }
  });
  return table;
}

Model::Model(Device& device, const ModelConfig& config)
    : config_(config), params_(param_layout(config)), rope_table_(device, DType::f32, {config.max_positions, config.head_dim}) {
  upload(rope_table_, rope_table(config));
}

Value Model::layer(Pass& p, const Value& x, const View& positions, int64_t index) const {
  const LayerParams& w = params_.layers[static_cast<size_t>(index)];
  const AttentionShape shape{config_.heads, config_.kv_heads, config_.head_dim, config_.rms_eps, w.q_norm, w.k_norm};
  const Value qkv = linear(p, rms_norm(p, x, w.input_norm, config_.rms_eps), w.qkv, w.qkv_bias);
  const Value mixed = attention(p, qkv, positions, rope_table_, shape, index);
  const Value middle = residual_add(p, x, linear(p, mixed, w.o, w.o_bias));
  const Value gate_up = linear(p, rms_norm(p, middle, w.post_norm, config_.rms_eps), w.gate_up, w.gate_up_bias);
  return residual_add(p, middle, linear(p, swiglu(p, gate_up), w.down, w.down_bias));
}

Value Model::trunk(Pass& p, const View& ids, const View& positions) const {
  Value x = embedding(p, ids, params_.embedding);
  for (int64_t l = 0; l < config_.layers; ++l) {
    const Arena::Mark mark = p.ctx.arena.mark();
    x = layer(p, x, positions, l);
    if (!p.tape) p.ctx.arena.release(mark);  // the residual stream was updated in place, below the mark
  }
  return x;
}

Value Model::final_rows(Pass& p, const Value& x, const View& rows) const {
  return rms_norm(p, rows ? gather_rows(p, x, rows) : x, params_.final_norm, config_.rms_eps);
}

View Model::logits(Pass& p, const View& final_rows) const {
  const View y = p.ctx.arena.alloc(DType::f32, {final_rows.rows(), head_rows()});
  run(p.ctx, Linear{final_rows, p.weight(params_.head), View{}, y});
  return y;
}

}  // namespace r1
