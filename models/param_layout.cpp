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

// Adds the parameters of one layer after the other.
class LayoutBuilder {
 public:
  explicit LayoutBuilder(const ModelConfig& config) : c(config) {}

  ParamLayout build() {
    out.embedding = b.add("model.embed_tokens.weight", {c.vocab_size, c.hidden}, ParamRole::embedding, 0.1);
    for (int64_t l = 0; l < c.layers; ++l) layer(l);
    out.final_norm = b.add("model.norm.weight", {c.hidden}, ParamRole::norm, 0);
    if (c.scalar_head)
      out.head = b.add("score.weight", {1, c.hidden}, ParamRole::head, 0);
    else
      out.head = c.tied_head ? out.embedding : b.add("lm_head.weight", {c.vocab_size, c.hidden}, ParamRole::head, 0.02);
    if (c.has_mtp()) mtp();
    for (size_t l = 0; l < out.layers.size(); ++l) selection_bias(static_cast<int64_t>(l));
    out.specs = std::move(b.specs);
    return std::move(out);
  }

 private:
  static double fan_in(int64_t k) { return 1 / std::sqrt(static_cast<double>(k)); }
  // Projections back into the residual stream start smaller.
  double residual(int64_t k) const { return fan_in(k) / std::sqrt(2.0 * static_cast<double>(c.layers)); }
  static std::string prefix(int64_t l) { return "model.layers." + std::to_string(l) + "."; }

  void layer(int64_t l) {
    const std::string p = prefix(l);
    LayerParams& at = out.layers.emplace_back();
    at.input_norm = b.add(p + "input_layernorm.weight", {c.hidden}, ParamRole::norm, 0);
    if (c.is_mla())
      latent_attention(at, p + "self_attn.");
    else
      attention(at, p + "self_attn.");
    at.post_norm = b.add(p + "post_attention_layernorm.weight", {c.hidden}, ParamRole::norm, 0);
    if (!c.is_moe_layer(l)) return feed_forward(at, p + "mlp.", c.ffn);
    experts(at, p + "mlp.");
    if (c.moe.shared > 0) feed_forward(at, p + "mlp.shared_experts.", c.moe.shared * c.moe.ffn);
  }

  void attention(LayerParams& at, const std::string& a) {
    const bool qwen2 = c.architecture == Architecture::qwen2;
    const int64_t q_rows = c.heads * c.head_dim, kv_rows = c.kv_heads * c.head_dim;
    at.qkv =
        b.add_fused(a + "qkv_proj.weight", c.hidden, ParamRole::matrix, fan_in(c.hidden),
                    {{a + "q_proj.weight", 0, q_rows}, {a + "k_proj.weight", 0, kv_rows}, {a + "v_proj.weight", 0, kv_rows}});
    if (qwen2 || c.attention_bias)
      at.qkv_bias =
          b.add_fused(a + "qkv_proj.bias", 0, ParamRole::bias, 0,
                      {{a + "q_proj.bias", 0, q_rows}, {a + "k_proj.bias", 0, kv_rows}, {a + "v_proj.bias", 0, kv_rows}});
    if (c.architecture == Architecture::qwen3) {
      at.q_norm = b.add(a + "q_norm.weight", {c.head_dim}, ParamRole::norm, 0);
      at.k_norm = b.add(a + "k_norm.weight", {c.head_dim}, ParamRole::norm, 0);
    }
    at.o = b.add(a + "o_proj.weight", {c.hidden, q_rows}, ParamRole::matrix, residual(q_rows));
    if (!qwen2 && c.attention_bias) at.o_bias = b.add(a + "o_proj.bias", {c.hidden}, ParamRole::bias, 0);
  }

  void latent_attention(LayerParams& at, const std::string& a) {
    const MlaConfig& m = c.mla;
    const int64_t q_rows = c.heads * c.qk_head_dim(), kv_rows = c.heads * (m.nope_dim + m.v_dim);
    const bool compressed = m.q_rank > 0;
    at.qa_kva = b.add_fused(a + (compressed ? "q_a_kv_a_proj.weight" : "q_kv_a_proj.weight"), c.hidden, ParamRole::matrix,
                            fan_in(c.hidden),
                            {{a + (compressed ? "q_a_proj.weight" : "q_proj.weight"), 0, compressed ? m.q_rank : q_rows},
                             {a + "kv_a_proj_with_mqa.weight", 0, m.kv_rank + m.rope_dim}});
    if (compressed) {
      at.q_a_norm = b.add(a + "q_a_layernorm.weight", {m.q_rank}, ParamRole::norm, 0);
      at.q_b = b.add(a + "q_b_proj.weight", {q_rows, m.q_rank}, ParamRole::matrix, fan_in(m.q_rank));
    }
    at.kv_a_norm = b.add(a + "kv_a_layernorm.weight", {m.kv_rank}, ParamRole::norm, 0);
    at.kv_b = b.add(a + "kv_b_proj.weight", {kv_rows, m.kv_rank}, ParamRole::matrix, fan_in(m.kv_rank));
    const int64_t mixed = c.heads * m.v_dim;
    at.o = b.add(a + "o_proj.weight", {c.hidden, mixed}, ParamRole::matrix, residual(mixed));
  }

  void feed_forward(LayerParams& at, const std::string& m, int64_t ffn) {
    at.gate_up = b.add_fused(m + "gate_up_proj.weight", c.hidden, ParamRole::matrix, fan_in(c.hidden),
                             {{m + "gate_proj.weight", 0, ffn}, {m + "up_proj.weight", 0, ffn}});
    if (c.mlp_bias)
      at.gate_up_bias = b.add_fused(m + "gate_up_proj.bias", 0, ParamRole::bias, 0,
                                    {{m + "gate_proj.bias", 0, ffn}, {m + "up_proj.bias", 0, ffn}});
    at.down = b.add(m + "down_proj.weight", {c.hidden, ffn}, ParamRole::matrix, residual(ffn));
    if (c.mlp_bias) at.down_bias = b.add(m + "down_proj.bias", {c.hidden}, ParamRole::bias, 0);
  }

  void experts(LayerParams& at, const std::string& m) {
    const MoeConfig& e = c.moe;
    at.router = b.add(m + "gate.weight", {e.experts, c.hidden}, ParamRole::router, fan_in(c.hidden));
    std::vector<ParamPart> gate_up, down;
    for (int64_t i = 0; i < e.experts; ++i) {
      const std::string x = m + "experts." + std::to_string(i) + ".";
      gate_up.push_back({x + "gate_proj.weight", 0, e.ffn});
      gate_up.push_back({x + "up_proj.weight", 0, e.ffn});
      down.push_back({x + "down_proj.weight", 0, c.hidden});
    }
    at.expert_gate_up =
        b.add_fused(m + "experts.gate_up_proj.weight", c.hidden, ParamRole::matrix, fan_in(c.hidden), std::move(gate_up));
    at.expert_down = b.add_fused(m + "experts.down_proj.weight", e.ffn, ParamRole::matrix, residual(e.ffn), std::move(down));
    for (int i : {at.expert_gate_up, at.expert_down}) b.specs[static_cast<size_t>(i)].experts = e.experts;
  }

  void selection_bias(int64_t l) {
    if (!c.is_moe_layer(l) || !c.moe.selection_bias) return;
    out.layers[static_cast<size_t>(l)].selection_bias =
        b.add(prefix(l) + "mlp.gate.e_score_correction_bias", {c.moe.experts}, ParamRole::selection_bias, 0);
    b.specs.back().mtp = l >= c.layers;
  }

  void mtp() {
    const std::string p = prefix(c.layers);
    const size_t first = b.specs.size();
    out.mtp.embedding_norm = b.add(p + "enorm.weight", {c.hidden}, ParamRole::norm, 0);
    out.mtp.hidden_norm = b.add(p + "hnorm.weight", {c.hidden}, ParamRole::norm, 0);
    out.mtp.project = b.add(p + "eh_proj.weight", {c.hidden, 2 * c.hidden}, ParamRole::matrix, fan_in(2 * c.hidden));
    layer(c.layers);
    out.mtp.final_norm = b.add(p + "shared_head.norm.weight", {c.hidden}, ParamRole::norm, 0);
    for (size_t i = first; i < b.specs.size(); ++i) b.specs[i].mtp = true;
  }

  const ModelConfig& c;
  Builder b;
  ParamLayout out;
};

int64_t element_count(const ParamSpec& s) {
  int64_t n = 1;
  for (int64_t d : s.shape) n *= d;
  return n;
}

}  // namespace

ParamLayout param_layout(const ModelConfig& config) { return LayoutBuilder(config).build(); }

std::vector<ParamSpec> param_specs(const ModelConfig& config) { return param_layout(config).specs; }

int64_t ModelConfig::parameter_count() const {
  int64_t total = 0;
  for (const ParamSpec& s : param_specs(*this)) total += element_count(s);
  return total;
}

int64_t ModelConfig::active_parameter_count() const {
  int64_t total = 0;
  for (const ParamSpec& s : param_specs(*this)) {
    if (s.mtp || (s.role == ParamRole::embedding && !(tied_head && !scalar_head))) continue;
    total += s.experts > 0 ? element_count(s) / s.experts * moe.per_token : element_count(s);
  }
  return total;
}

}  // namespace r1
