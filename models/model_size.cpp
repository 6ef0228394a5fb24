// How large the model of a config is, by arithmetic alone (models/param_layout.cpp makes the same parameters one by one).
#include "models/model_config.h"

namespace r1 {
namespace {

struct Counter {
  ModelSize size;

  void matrix(int64_t rows, int64_t columns, int64_t tensors = 1) {
    size.parameters += static_cast<double>(rows) * static_cast<double>(columns);
    size.tensors += static_cast<double>(tensors);
  }
  void vector(int64_t n, int64_t tensors = 1) { matrix(n, 1, tensors); }
};

void attention(const ModelConfig& c, Counter& n) {
  const bool qwen2 = c.architecture == Architecture::qwen2;
  const int64_t q = c.heads * c.head_dim, qkv = q + 2 * c.kv_heads * c.head_dim;
  n.matrix(qkv, c.hidden, 3);
  if (qwen2 || c.attention_bias) n.vector(qkv, 3);
  if (c.architecture == Architecture::qwen3) n.vector(2 * c.head_dim, 2);
  n.matrix(c.hidden, q);
  if (!qwen2 && c.attention_bias) n.vector(c.hidden);
}

void latent_attention(const ModelConfig& c, Counter& n) {
  const MlaConfig& m = c.mla;
  const int64_t q = c.heads * c.qk_head_dim();
  n.matrix((m.q_rank > 0 ? m.q_rank : q) + m.kv_rank + m.rope_dim, c.hidden, 2);
  if (m.q_rank > 0) {
    n.vector(m.q_rank);
    n.matrix(q, m.q_rank);
  }
  n.vector(m.kv_rank);
  n.matrix(c.heads * (m.nope_dim + m.v_dim), m.kv_rank);
  n.matrix(c.hidden, c.heads * m.v_dim);
}

void feed_forward(const ModelConfig& c, int64_t ffn, Counter& n) {
  n.matrix(2 * ffn, c.hidden, 2);
  n.matrix(c.hidden, ffn);
  if (!c.mlp_bias) return;
  n.vector(2 * ffn, 2);
  n.vector(c.hidden);
}

void layer(const ModelConfig& c, int64_t l, Counter& n) {
  n.vector(2 * c.hidden, 2);
  if (c.is_mla())
    latent_attention(c, n);
  else
    attention(c, n);
  if (!c.is_moe_layer(l)) return feed_forward(c, c.ffn, n);
  const MoeConfig& e = c.moe;
  n.matrix(e.experts, c.hidden);
  n.matrix(3 * e.experts * e.ffn, c.hidden, 3 * e.experts);
  if (e.shared > 0) feed_forward(c, e.shared * e.ffn, n);
  if (e.selection_bias) n.vector(e.experts);
}

}  // namespace

ModelSize ModelConfig::size() const {
  Counter n;
  n.matrix(vocab_size, hidden);
  n.vector(hidden);
  if (scalar_head)
    n.vector(hidden);
  else if (!tied_head)
    n.matrix(vocab_size, hidden);
  for (int64_t l = 0; l < layers; ++l) layer(*this, l, n);
  if (has_mtp()) {
    n.vector(3 * hidden, 3);
    n.matrix(hidden, 2 * hidden);
    layer(*this, layers, n);
  }
  return n.size;
}

}  // namespace r1
