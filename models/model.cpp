#include "models/model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace r1 {

namespace {

// Llama 3: long wavelengths divided by the factor, short ones kept, a blend between.
double llama3_frequency(const ModelConfig& c, double f) {
  const double wavelength = 2 * std::numbers::pi / f, context = c.rope_original_context;
  if (wavelength > context / c.rope_low) return f / c.rope_factor;
  if (wavelength < context / c.rope_high) return f;
  const double s = (context / wavelength - c.rope_low) / (c.rope_high - c.rope_low);
  return (1 - s) * f / c.rope_factor + s * f;
}

// YaRN: pairs that turn more than beta_fast times over the original context keep their frequency, those that turn less than
// beta_slow times have it divided by the factor, a linear ramp over pair indices between.
class YarnRamp {
 public:
  explicit YarnRamp(const ModelConfig& c) : factor_(c.yarn.factor) {
    const auto d = static_cast<double>(c.rotary_dim());
    const auto pair_of_turns = [&](double turns) {
      return d * std::log(c.yarn.original_context / (turns * 2 * std::numbers::pi)) / (2 * std::log(c.rope_theta));
    };
    low_ = std::max(std::floor(pair_of_turns(c.yarn.beta_fast)), 0.0);
    high_ = std::min(std::ceil(pair_of_turns(c.yarn.beta_slow)), d - 1);
    if (low_ == high_) high_ += 0.001;  // as Hugging Face: no division by zero
  }
  double frequency(int64_t pair, double f) const {
    const double ramp = std::clamp((static_cast<double>(pair) - low_) / (high_ - low_), 0.0, 1.0);
    return f / factor_ * ramp + f * (1 - ramp);
  }

 private:
  double factor_, low_, high_;
};

std::vector<double> rope_frequencies(const ModelConfig& c) {
  const YarnRamp yarn(c);
  std::vector<double> out(static_cast<size_t>(c.rotary_dim() / 2));
  for (size_t i = 0; i < out.size(); ++i) {
    const double f = std::pow(c.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(c.rotary_dim()));
    out[i] = c.rope_factor > 0 ? llama3_frequency(c, f) : c.yarn.factor > 0 ? yarn.frequency(static_cast<int64_t>(i), f) : f;
  }
  return out;
}

}  // namespace

std::vector<float> rope_table(const ModelConfig& c) {
  const std::vector<double> frequency = rope_frequencies(c);
  const int64_t d = c.rotary_dim(), half = d / 2;
  const double scale = c.yarn.table_scale();
  std::vector<float> table(static_cast<size_t>(c.max_positions * d));
  parallel_tasks(c.max_positions, [&](int64_t p) {
    float* row = table.data() + p * d;
    for (int64_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(p) * frequency[static_cast<size_t>(i)];
      row[i] = static_cast<float>(scale * std::cos(angle));
      row[half + i] = static_cast<float>(scale * std::sin(angle));
    }
  });
  return table;
}

Model::Model(Device& device, const ModelConfig& config)
    : config_(config),
      params_(param_layout(config)),
      rope_table_(device, DType::f32, {config.max_positions, config.rotary_dim()}) {
  upload(rope_table_, rope_table(config));
  device.finish();
}

Value Model::mixer(Pass& p, const Value& normed, const View& positions, int64_t index) const {
  const LayerParams& w = params_.layers[static_cast<size_t>(index)];
  if (config_.is_mla()) {
    const LatentShape shape{config_.heads, config_.mla, static_cast<float>(config_.attention_scale()), w.q_a_norm, w.q_b,
                            w.kv_a_norm,   w.kv_b};
    return latent_attention(p, linear(p, normed, w.qa_kva), positions, rope_table_, shape, index);
  }
  const AttentionShape shape{config_.heads, config_.kv_heads, config_.head_dim, config_.rms_eps, w.q_norm, w.k_norm};
  return attention(p, linear(p, normed, w.qkv, w.qkv_bias), positions, rope_table_, shape, index);
}

Value Model::attend(Pass& p, const Value& x, const View& positions, int64_t index) const {
  const LayerParams& w = params_.layers[static_cast<size_t>(index)];
  const Value mixed = mixer(p, rms_norm(p, x, w.input_norm, config_.rms_eps), positions, index);
  return residual_add(p, x, linear(p, mixed, w.o, w.o_bias));
}

Value Model::dense_feed_forward(Pass& p, const Value& normed, const LayerParams& w) const {
  return linear(p, swiglu(p, linear(p, normed, w.gate_up, w.gate_up_bias)), w.down, w.down_bias);
}

Value Model::routed_feed_forward(Pass& p, const Value& normed, const Value& shared, const LayerParams& w) const {
  return experts(p, normed, shared, {config_.moe, w.router, w.expert_gate_up, w.expert_down, w.selection_bias});
}

Value Model::layer(Pass& p, const Value& x, const View& positions, int64_t index) const {
  if (!p.shards.empty()) {
    layer_in_shards(p, x.view, positions, index);
    return x;
  }
  if (p.tape && p.recompute)
    return recomputed(p, x, [this, positions, index](Pass& q, const Value& v) { return layer(q, v, positions, index); });
  const LayerParams& w = params_.layers[static_cast<size_t>(index)];
  const Value middle = attend(p, x, positions, index);
  const Value normed = rms_norm(p, middle, w.post_norm, config_.rms_eps);
  Value y;
  if (w.gate_up >= 0) y = dense_feed_forward(p, normed, w);
  if (w.router >= 0) y = routed_feed_forward(p, normed, y, w);
  return residual_add(p, middle, y);
}

void Model::layer_in_shards(Pass& p, const View& x, const View& positions, int64_t index) const {
  const LayerParams& w = params_.layers[static_cast<size_t>(index)];
  const auto& all = std::get<PagedAttention>(p.attention);
  const bool routed = w.router >= 0;
  // What the shards leave for the experts.
  const View normed = routed ? p.ctx.arena.alloc(x.dtype, {x.rows(), x.shape[1]}) : View{};
  const View dense = routed && w.gate_up >= 0 ? p.ctx.arena.alloc(x.dtype, {x.rows(), x.shape[1]}) : View{};
  device_tasks(*p.ctx.device, static_cast<int64_t>(p.shards.size()), [&](int64_t i) {
    const RowShard& s = p.shards[static_cast<size_t>(i)];
    const auto mine = [&](const View& v) { return v.slice(s.begin, s.end); };
    const AttentionContext attention = PagedAttention{all.layers, all.page_table, mine(all.row_seq), mine(all.row_pos)};
    Pass part{*s.ctx, p.weights, attention};
    const Arena::Mark mark = part.ctx.arena.mark();
    if (!routed) {
      layer(part, {mine(x)}, mine(positions), index);
    } else {
      const Value norm = rms_norm(part, attend(part, {mine(x)}, mine(positions), index), w.post_norm, config_.rms_eps);
      run(part.ctx, Copy{norm.view, mine(normed)});
      if (dense) run(part.ctx, Copy{dense_feed_forward(part, norm, w).view, mine(dense)});
    }
    part.ctx.arena.release(mark);
  });
  if (routed) residual_add(p, {x}, routed_feed_forward(p, {normed}, {dense}, w));
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

Value Model::mtp_rows(Pass& p, const Value& h, const View& next_ids, const View& positions) const {
  const MtpParams& w = params_.mtp;
  R1_CHECK(config_.has_mtp(), "the model has no MTP module");
  const float eps = config_.rms_eps;
  const Value next = rms_norm(p, embedding(p, next_ids, params_.embedding), w.embedding_norm, eps);
  const Value joined = concat_columns(p, next, rms_norm(p, h, w.hidden_norm, eps));
  const Value y = layer(p, linear(p, joined, w.project), positions, config_.layers);
  return rms_norm(p, y, w.final_norm, eps);
}

View Model::logits(Pass& p, const View& final_rows) const {
  const View y = p.ctx.arena.alloc(DType::f32, {final_rows.rows(), head_rows()});
  run(p.ctx, Linear{final_rows, p.weight(params_.head).slice(0, head_rows()), View{}, y});
  return y;
}

}  // namespace r1
