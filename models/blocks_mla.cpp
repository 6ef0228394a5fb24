// Multi-head latent attention in its expanded form: keys and values of all heads are made from the latent, in training and in
// generation alike, so that both do the same arithmetic. Source: DeepSeek-V2 (2405.04434) eq. 9-19; docs/recipe.md section 8.
#include "base/error.h"
#include "models/blocks.h"
#include "models/packed_attention.h"

namespace r1 {
namespace {

// Both latents are normed with this constant, whatever rms_norm_eps says (docs/recipe.md section 8).
constexpr float kLatentEps = 1e-6f;

// The columns of the fused projection [T, Q + C + R].
struct Parts {
  View q, latent, rotary_key;
};
Parts split(const View& projected, const LatentShape& s) {
  const int64_t columns = projected.shape[1], key = columns - s.mla.rope_dim, latent = key - s.mla.kv_rank;
  return {projected.columns(0, latent), projected.columns(latent, key), projected.columns(key, columns)};
}

View rotary(const View& q_THD, const MlaConfig& m) { return q_THD.columns(m.nope_dim, m.nope_dim + m.rope_dim); }
View values(const View& kv_THD, const MlaConfig& m) { return kv_THD.columns(m.nope_dim, m.nope_dim + m.v_dim); }

}  // namespace

Value latent_attention(Pass& p, const Value& projected, const View& positions, const View& rope_table, const LatentShape& s,
                       int64_t layer) {
  Arena& arena = p.ctx.arena;
  const MlaConfig& m = s.mla;
  const int64_t rows = projected.view.rows(), qk = m.nope_dim + m.rope_dim;
  const DType dtype = projected.view.dtype;
  const Parts x = split(projected.view, s);
  LatentNode node{};
  node.q = x.q;
  if (s.q_b >= 0) {
    node.q_normed = arena.alloc(dtype, {rows, m.q_rank});
    node.q = arena.alloc(dtype, {rows, s.heads * qk});
    if (p.tape) node.q_rstd = arena.alloc(DType::f32, {rows});
    run(p.ctx, RmsNorm{x.q, p.weight(s.q_a_norm), node.q_normed, node.q_rstd, kLatentEps});
    run(p.ctx, Linear{node.q_normed, p.weight(s.q_b), View{}, node.q});
  }
  node.latent = arena.alloc(dtype, {rows, m.kv_rank});
  node.kv = arena.alloc(dtype, {rows, s.heads * (m.nope_dim + m.v_dim)});
  node.k = arena.alloc(dtype, {rows, s.heads * qk});
  if (p.tape) node.latent_rstd = arena.alloc(DType::f32, {rows});
  run(p.ctx, RmsNorm{x.latent, p.weight(s.kv_a_norm), node.latent, node.latent_rstd, kLatentEps});
  run(p.ctx, Linear{node.latent, p.weight(s.kv_b), View{}, node.kv});
  const View q = node.q.heads(s.heads), k = node.k.heads(s.heads), kv = node.kv.heads(s.heads), v = values(kv, m);
  run(p.ctx, Rope{rotary(q, m), positions, rope_table, m.rope_interleaved});
  run(p.ctx, Rope{x.rotary_key.heads(1), positions, rope_table, m.rope_interleaved});
  run(p.ctx, MlaKeys{kv, x.rotary_key, k});

  const View o = arena.alloc(dtype, {rows, s.heads * m.v_dim});
  if (const auto* paged = std::get_if<PagedAttention>(&p.attention)) {
    R1_CHECK(!p.tape, "paged attention has no backward");
    const KvLayer& pages = paged->layers[static_cast<size_t>(layer)];
    run(p.ctx, KvWrite{k, v, pages.k_pages, pages.v_pages, paged->page_table, paged->row_seq, paged->row_pos});
    run(p.ctx, AttentionPaged{q, pages.k_pages, pages.v_pages, o.heads(s.heads), paged->page_table, paged->row_seq,
                              paged->row_pos, s.scale});
    return {o};
  }
  node.packed = std::get<PackedAttention>(p.attention);
  if (p.tape) node.lse = arena.alloc(DType::f32, {rows, s.heads});
  packed_attention(p.ctx, node.packed, {q, k, v, o.heads(s.heads), node.lse, {}, s.scale});
  if (!p.tape) return {o};
  node.projected = projected.view;
  node.projected_id = projected.id;
  node.o = o;
  node.positions = positions;
  node.rope_table = rope_table;
  node.shape = s;
  return p.tape->record(o, node);
}

void backward(Pass& p, const LatentNode& n) {
  const LatentShape& s = n.shape;
  const MlaConfig& m = s.mla;
  const auto [d_projected, accumulate] = p.tape->contribute(p.ctx, n.projected_id);
  R1_CHECK(!accumulate, "the projection has one reader");
  Arena& arena = p.ctx.arena;
  const Arena::Mark mark = arena.mark();
  const auto like = [&](const View& v) { return arena.alloc(v.dtype, {v.shape[0], v.shape[1]}); };
  const Parts x = split(n.projected, s), dx = split(d_projected, s);
  const bool compressed = s.q_b >= 0;
  const View dq_flat = compressed ? like(n.q) : dx.q, dk = like(n.k).heads(s.heads), dkv_flat = like(n.kv);
  const View dq = dq_flat.heads(s.heads), dkv = dkv_flat.heads(s.heads);
  packed_attention_backward(p.ctx, n.packed,
                            {n.q.heads(s.heads),
                             n.k.heads(s.heads),
                             values(n.kv.heads(s.heads), m),
                             n.o.heads(s.heads),
                             n.lse,
                             p.tape->gradient(n.y).heads(s.heads),
                             dq,
                             dk,
                             values(dkv, m),
                             {},
                             s.scale});
  run(p.ctx, Rope{rotary(dq, m), n.positions, n.rope_table, m.rope_interleaved, true});
  run(p.ctx, MlaKeysBackward{dk, dkv, dx.rotary_key});
  run(p.ctx, Rope{dx.rotary_key.heads(1), n.positions, n.rope_table, m.rope_interleaved, true});

  const auto through = [&](const View& dy, const View& normed, int weight, const View& before, const View& rstd, int norm,
                           const View& d_before) {
    const View d_normed = like(normed);
    run(p.ctx, LinearBackwardWeight{dy, normed, p.grads->param(weight), View{}});
    run(p.ctx, LinearBackwardInput{dy, p.weight(weight), d_normed});
    run(p.ctx, RmsNormBackward{before, p.weight(norm), rstd, d_normed, d_before, p.grads->param(norm)});
  };
  through(dkv_flat, n.latent, s.kv_b, x.latent, n.latent_rstd, s.kv_a_norm, dx.latent);
  if (compressed) through(dq_flat, n.q_normed, s.q_b, x.q, n.q_rstd, s.q_a_norm, dx.q);
  arena.release(mark);
}

}  // namespace r1
