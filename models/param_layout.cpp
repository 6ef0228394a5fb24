#include "models/param_layout.h"

#include <cmath>
#include <string>

namespace r1 {
namespace {

struct Builder {
  std::vector<ParamSpec> specs;

  // One published tensor.
  int add(std::string name, std::vector<int64_t> shape, ParamRole role, double init_std) {
    const int64_t rows = shape[0];
    specs.push_back({name, std::move(shape), role, init_std, {{name, 0, rows}}});
    return static_cast<int>(specs.size()) - 1;
  }
  // Several published tensors stacked by rows.
  int add_fused(std::string name, int64_t columns, ParamRole role, double init_std, std::vector<ParamPart> parts) {
    int64_t rows = 0;
    for (ParamPart& p : parts) {
      p.row_begin = rows;
      rows += p.rows;
    }
    std::vector<int64_t> shape = columns > 0 ? std::vector<int64_t>{rows, columns} : std::vector<int64_t>{rows};
    specs.push_back({std::move(name), std::move(shape), role, init_std, std::move(parts)});
    return static_cast<int>(specs.size()) - 1;
  }
};

}  // namespace

ParamLayout param_layout(const ModelConfig& c) {
  const bool qwen2 = c.architecture == Architecture::qwen2;
  const bool qwen3 = c.architecture == Architecture::qwen3;
  const bool qkv_bias = qwen2 || c.attention_bias;
  const bool o_bias = !qwen2 && c.attention_bias;
  const int64_t d = c.hidden, q_rows = c.heads * c.head_dim, kv_rows = c.kv_heads * c.head_dim;
  const auto fan_in = [](int64_t k) { return 1 / std::sqrt(static_cast<double>(k)); };
  const double residual = 1 / std::sqrt(2.0 * static_cast<double>(c.layers));

  Builder b;
  ParamLayout out;
  out.embedding = b.add("model.embed_tokens.weight", {c.vocab_size, d}, ParamRole::embedding, 0.1);
  for (int64_t l = 0; l < c.layers; ++l) {
    const std::string p = "model.layers." + std::to_string(l) + ".", a = p + "self_attn.", m = p + "mlp.";
    LayerParams& at = out.layers.emplace_back();
    at.input_norm = b.add(p + "input_layernorm.weight", {d}, ParamRole::norm, 0);
    at.qkv =
        b.add_fused(a + "qkv_proj.weight", d, ParamRole::matrix, fan_in(d),
                    {{a + "q_proj.weight", 0, q_rows}, {a + "k_proj.weight", 0, kv_rows}, {a + "v_proj.weight", 0, kv_rows}});
    if (qkv_bias)
      at.qkv_bias =
          b.add_fused(a + "qkv_proj.bias", 0, ParamRole::bias, 0,
                      {{a + "q_proj.bias", 0, q_rows}, {a + "k_proj.bias", 0, kv_rows}, {a + "v_proj.bias", 0, kv_rows}});
    if (qwen3) {
      at.q_norm = b.add(a + "q_norm.weight", {c.head_dim}, ParamRole::norm, 0);
      at.k_norm = b.add(a + "k_norm.weight", {c.head_dim}, ParamRole::norm, 0);
    }
    at.o = b.add(a + "o_proj.weight", {d, q_rows}, ParamRole::matrix, fan_in(q_rows) * residual);
    if (o_bias) at.o_bias = b.add(a + "o_proj.bias", {d}, ParamRole::bias, 0);
    at.post_norm = b.add(p + "post_attention_layernorm.weight", {d}, ParamRole::norm, 0);
    at.gate_up = b.add_fused(m + "gate_up_proj.weight", d, ParamRole::matrix, fan_in(d),
                             {{m + "gate_proj.weight", 0, c.ffn}, {m + "up_proj.weight", 0, c.ffn}});
    if (c.mlp_bias)
      at.gate_up_bias = b.add_fused(m + "gate_up_proj.bias", 0, ParamRole::bias, 0,
                                    {{m + "gate_proj.bias", 0, c.ffn}, {m + "up_proj.bias", 0, c.ffn}});
    at.down = b.add(m + "down_proj.weight", {d, c.ffn}, ParamRole::matrix, fan_in(c.ffn) * residual);
    if (c.mlp_bias) at.down_bias = b.add(m + "down_proj.bias", {d}, ParamRole::bias, 0);
  }
  out.final_norm = b.add("model.norm.weight", {d}, ParamRole::norm, 0);
  if (c.scalar_head)
    out.head = b.add("score.weight", {1, d}, ParamRole::head, 0);
  else
    out.head = c.tied_head ? out.embedding : b.add("lm_head.weight", {c.vocab_size, d}, ParamRole::head, 0.02);
  out.specs = std::move(b.specs);
  return out;
}

std::vector<ParamSpec> param_specs(const ModelConfig& config) { return param_layout(config).specs; }

int64_t ModelConfig::parameter_count() const {
  int64_t total = 0;
  for (const ParamSpec& s : param_specs(*this)) {
    int64_t n = 1;
    for (int64_t d : s.shape) n *= d;
    total += n;
  }
  return total;
}

}  // namespace r1
