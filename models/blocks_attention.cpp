#include <cmath>

#include "base/error.h"
#include "models/blocks.h"
#include "models/packed_attention.h"

namespace r1 {
namespace {

// The columns of a fused projection [T, (Hq+2Hk)*d] as heads. qk: queries and keys together, [T, Hq+Hk, d].
struct Split {
  View q, k, v, qk;
};
Split split_qkv(const View& qkv, int64_t heads, int64_t kv_heads, int64_t d) {
  const int64_t q_end = heads * d, k_end = q_end + kv_heads * d;
  return {qkv.columns(0, q_end).heads(heads), qkv.columns(q_end, k_end).heads(kv_heads),
          qkv.columns(k_end, k_end + kv_heads * d).heads(kv_heads), qkv.columns(0, k_end).heads(heads + kv_heads)};
}

}  // namespace

Value attention(Pass& p, const Value& qkv, const View& positions, const View& rope_table, const AttentionShape& s,
                int64_t layer) {
  Arena& arena = p.ctx.arena;
  const int64_t rows = qkv.view.rows(), d = s.head_dim;
  const float scale = static_cast<float>(1 / std::sqrt(static_cast<double>(d)));
  Split x = split_qkv(qkv.view, s.heads, s.kv_heads, d);
  AttentionNode node{};
  if (s.q_norm >= 0) {
    View q = x.q, k = x.k;
    if (p.tape) {
      // Backward of the norm needs its input, so the result goes elsewhere.
      const View flat = arena.alloc(qkv.view.dtype, {rows, (s.heads + s.kv_heads) * d});
      q = flat.columns(0, s.heads * d).heads(s.heads);
      k = flat.columns(s.heads * d, (s.heads + s.kv_heads) * d).heads(s.kv_heads);
      node.qk = flat.heads(s.heads + s.kv_heads);
      node.rstd_q = arena.alloc(DType::f32, {rows, s.heads});
      node.rstd_k = arena.alloc(DType::f32, {rows, s.kv_heads});
      x.qk = node.qk;
    }
    run(p.ctx, RmsNorm{x.q, p.weight(s.q_norm), q, node.rstd_q, s.rms_eps});
    run(p.ctx, RmsNorm{x.k, p.weight(s.k_norm), k, node.rstd_k, s.rms_eps});
    x.q = q;
    x.k = k;
  }
  run(p.ctx, Rope{x.qk, positions, rope_table});

  const View o = arena.alloc(qkv.view.dtype, {rows, s.heads * d});
  if (const auto* paged = std::get_if<PagedAttention>(&p.attention)) {
    R1_CHECK(!p.tape, "paged attention has no backward");
    const KvLayer& kv = paged->layers[static_cast<size_t>(layer)];
    run(p.ctx, KvWrite{x.k, x.v, kv.k_pages, kv.v_pages, paged->page_table, paged->row_seq, paged->row_pos});
    run(p.ctx, AttentionPaged{x.q, kv.k_pages, kv.v_pages, o.heads(s.heads), paged->page_table, paged->row_seq, paged->row_pos,
                              scale});
    return {o};
  }
  node.packed = std::get<PackedAttention>(p.attention);
  if (p.tape) node.lse = arena.alloc(DType::f32, {rows, s.heads});
  packed_attention(p.ctx, node.packed, {x.q, x.k, x.v, o.heads(s.heads), node.lse, {}, scale});
  if (!p.tape) return {o};
  node.qkv = qkv.view;
  node.o = o;
  node.positions = positions;
  node.rope_table = rope_table;
  node.qkv_id = qkv.id;
  node.q_norm = s.q_norm;
  node.k_norm = s.k_norm;
  node.heads = s.heads;
  node.kv_heads = s.kv_heads;
  node.head_dim = d;
  return p.tape->record(o, node);
}

void backward(Pass& p, const AttentionNode& n) {
  const auto [dqkv, accumulate] = p.tape->contribute(p.ctx, n.qkv_id);
  R1_CHECK(!accumulate, "qkv has one reader");
  const Split x = split_qkv(n.qkv, n.heads, n.kv_heads, n.head_dim);
  const Split dx = split_qkv(dqkv, n.heads, n.kv_heads, n.head_dim);
  const bool normed = n.q_norm >= 0;
  View q = x.q, k = x.k;
  if (normed) {
    const View flat = n.qk.reshape({n.qk.shape[0], n.qk.shape[1] * n.qk.shape[2]});
    q = flat.columns(0, n.heads * n.head_dim).heads(n.heads);
    k = flat.columns(n.heads * n.head_dim, flat.shape[1]).heads(n.kv_heads);
  }
  const float scale = static_cast<float>(1 / std::sqrt(static_cast<double>(n.head_dim)));
  const View d_o = p.tape->gradient(n.y).heads(n.heads);
  packed_attention_backward(p.ctx, n.packed, {q, k, x.v, n.o.heads(n.heads), n.lse, d_o, dx.q, dx.k, dx.v, {}, scale});
  run(p.ctx, Rope{dx.qk, n.positions, n.rope_table, false, true});
  if (!normed) return;
  run(p.ctx, RmsNormBackward{x.q, p.weight(n.q_norm), n.rstd_q, dx.q, dx.q, p.grads->param(n.q_norm)});
  run(p.ctx, RmsNormBackward{x.k, p.weight(n.k_norm), n.rstd_k, dx.k, dx.k, p.grads->param(n.k_norm)});
}

}  // namespace r1
