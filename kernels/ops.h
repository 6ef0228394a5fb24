// The list of ops: what every device must be able to do. Each is a struct of arguments and a free function run(context, op)
// which checks shapes, types and devices (CHECK: a wrong shape is a bug) and calls the device's kernel.
//
// Conventions. T: rows (tokens of all sequences, packed). D: features. f: f32 or bf16 ("float types"); where several views say
// f they have the same type. Gradients of activations have the activations' type, gradients of parameters are f32 and
// ACCUMULATED (dw += ...); arithmetic is f32 (reference: f64). An optional view is absent when default-constructed. Outputs
// never alias inputs unless stated (then as the very same view). Empty inputs (T = 0) are legal and do nothing: run() does not
// call the kernel then. "Rows may be strided": stride[0] is free; for [T,H,D] views stride[1] too (a head of MLA is a column
// range of a wider head). The last dimension is always dense. Where nothing is said a view is contiguous. Data need only be
// aligned to its element size.
//
// Exactness (docs/architecture.md section 6): results do not depend on the number of threads; every output row of a forward op depends, bit
// by bit, only on that row's inputs - not on how many rows there are, nor on their order, nor on the page layout.
#pragma once

#include <cstdint>

#include "kernels/device.h"
#include "kernels/tensor.h"

namespace r1 {

// Positions of a KV page. Keys are attended in blocks of one or several pages (the device's choice), from position 0 on.
inline constexpr int64_t kKeyBlock = 16;

// ---- parameters in, activations out -------------------------------------------------------------------------------

// y[t] = table[ids[t]].  ids: [T] i32 in [0,V); table: [V,D] f; y: [T,D] f.
struct Embedding {
  View ids, table, y;
};
// dtable[ids[t]] += dy[t], in order of t.  dy: [T,D] f; dtable: [V,D] f32.
struct EmbeddingBackward {
  View ids, dy, dtable;
};

// y = x w^T + bias.  x: [T,K] f, rows may be strided; w: [N,K] f contiguous (stored [out, in]); bias: [N] f, optional;
// y: [T,N] of x's type, or f32 when x is bf16 (logits). Rows of y may be strided.
struct Linear {
  View x, w, bias, y;
};
// dx = dy w   (accumulate: dx += dy w).  dy: [T,N] f or f32; w: [N,K] f; dx: [T,K] f. Rows of dy and dx may be strided.
struct LinearBackwardInput {
  View dy, w, dx;
  bool accumulate = false;
};
// dw += dy^T x, db[n] += sum_t dy[t,n].  dy: [T,N] f or f32; x: [T,K] f; dw: [N,K] f32; db: [N] f32, optional.
// The cut of T into tiles is fixed, so bits do not depend on threads. Rows of dy and x may be strided.
struct LinearBackwardWeight {
  View dy, x, dw, db;
};

// y = x * rstd * w over the last dimension, rstd = 1/sqrt(mean(x^2)+eps).  x, y: [T,D] or [T,H,D] f (strided rows are fine; y
// may alias x); w: [D] f; rstd: [T] or [T,H] f32, optional (kept for backward).  Source: Zhang & Sennrich 2019, eq. 4. x*rstd
// is rounded to f before the product with w (as Hugging Face does).
struct RmsNorm {
  View x, w, y, rstd;
  float eps = 1e-6f;
};
// dx (accumulate: +=), dw[d] += sum over rows.  dw: [D] f32.  dy may alias dx when accumulate is false. Rows of x, dy, dx may
// be strided.
struct RmsNormBackward {
  View x, w, rstd, dy, dx, dw;
  bool accumulate = false;
};

// Rotary embedding in place on the first R of the D features of each head: x: [T,H,D] f, rows may be strided; positions: [T]
// i32; table: [P, R] f32 holds cos(angle_i) for i < R/2, then sin(angle_i).  interleaved: pairs (2i, 2i+1), else (i, i+R/2).
// inverse: rotates back (this is the backward).  Source: Su et al. 2021; layouts: docs/recipe.md section 9.
struct Rope {
  View x, positions, table;
  bool interleaved = false, inverse = false;
};

// y = silu(gate) * up.  gate_up: [T,2F] f, gate first; y: [T,F] f.  Source: Shazeer 2020.
struct SwiGlu {
  View gate_up, y;
};
struct SwiGluBackward {
  View gate_up, dy, dgate_up;
};

// y = a + b.  All [T,D] f; y may alias a or b.
struct Add {
  View a, b, y;
};

// y[n] = x[rows[n]].  x: [T,D] or [T,H,D] f, rows may be strided; rows: [N] i32; y: [N,D] or [N,H,D] f.
struct GatherRows {
  View x, rows, y;
};
// dx[rows[n]] += dy[n] in order of n (rows may repeat), in f32 and rounded once.  dy: [N,D] or [N,H,D] f; dx: [T,D] or [T,H,D]
// f, rows may be strided. Not to accumulate is to overwrite: rows that are not named become zero.
struct GatherRowsBackward {
  View rows, dy, dx;
  bool accumulate = true;
};

// ---- attention ------------------------------------------------------------------------------------------------------

// Causal attention inside each of S packed sequences; query head h uses key head h / (Hq/Hk).
// q: [Q,Hq,D], k: [T,Hk,D], v: [T,Hk,Dv], o: [Q,Hq,Dv], all f, rows may be strided; offsets: [S+1] i32, offsets[0]=0,
// offsets[S]=T; lse: [Q,Hq] f32, optional.  query_offsets: [S+1] i32, optional: the queries are those of each sequence's last
// rows, query_offsets[s+1] - query_offsets[s] of them (none to all), from query_offsets[0]=0 to query_offsets[S]=Q; absent: of
// all rows, Q = T.  Per row: keys in blocks of whole pages from position 0, online softmax in f32
// (running max, sum, accumulator), the same arithmetic for AttentionPaged.  Source: Dao et al. 2022, algorithm 1.
struct AttentionPacked {
  View q, k, v, o, lse, offsets;
  float scale = 1;
  View query_offsets = {};
};
// dq, dk, dv are overwritten.  d_o: [Q,Hq,Dv]. Rows may be strided.  dk, dv sum over the query heads of a group in fixed order.
// longest: no sequence has more rows, which the host may know and a device may need memory by; 0: it does not.
struct AttentionPackedBackward {
  View q, k, v, o, lse, d_o, dq, dk, dv, offsets;
  float scale = 1;
  int64_t longest = 0;
  View query_offsets = {};
};

// KV pages of one layer: k_pages: [P,Hk,D,kKeyBlock] f (keys transposed inside a page), v_pages: [P,Hk,kKeyBlock,Dv] f.
// Row r belongs to sequence row_seq[r] (i32) and stands at position row_pos[r] (i32): it lives in page
// page_table[row_seq[r], row_pos[r] / kKeyBlock].  page_table: [S,M] i32.
// Rows of k, v, q, o may be strided.
struct KvWrite {
  View k, v, k_pages, v_pages, page_table, row_seq, row_pos;
};  // k: [R,Hk,D] f, v: [R,Hk,Dv] f
// Row r attends to positions 0..row_pos[r] of its sequence, all of which are in the pages (its own included).
struct AttentionPaged {
  View q, k_pages, v_pages, o, page_table, row_seq, row_pos;
  float scale = 1;
};  // q: [R,Hq,D], o: [R,Hq,Dv]

// Keys of all heads from the expanded latent and the one rotary key:  k[t,h,:] = [ kv[t,h,0:P] | kr[t,:] ].
// kv: [T,H,P+V] (P = no-position part, V = value part, left alone), kr: [T,R], k: [T,H,P+R]; all f; rows of all may be strided.
// Source: DeepSeek-V2 (2405.04434) eq. 9-19; docs/recipe.md section 8.
struct MlaKeys {
  View kv, kr, k;
};
// dkv[t,h,0:P] = dk[t,h,0:P];  dkr[t] = sum over h, in order, in f32, of dk[t,h,P:].  Columns P.. of dkv are left alone.
struct MlaKeysBackward {
  View dk, dkv, dkr;
};

// ---- mixture of experts (DeepSeekMoE, docs/recipe.md section 10) -----------------------------------------------------------------------
// scores = sigmoid(logits) (softmax: over the row). z = scores + bias. Selection: groups of E/groups neighbours, a group's
// score is the sum of its two largest z (softmax without bias: the largest); the `top_groups` best groups stay (ties: lower
// index), of their experts the k with the largest z (ties: lower index), in that order. weights[t,j] = scale * s_j / (sum_j s_j
// + 1e-20) when normalize, else scale * s_j. logits: [T,E] f32; bias: [E] f32, optional; scores: [T,E] f32; experts: [T,k] i32;
// weights: [T,k] f32.
struct MoeRoute {
  View logits, bias, scores, experts, weights;
  int groups = 1, top_groups = 1;
  bool softmax = false, normalize = true;
  float scale = 1;
};
// dlogits from dweights [T,k] through normalisation and sigmoid / softmax, plus dscores [T,E] f32 (optional: further gradient
// of the scores). Selection has no gradient. dlogits: [T,E] f32, overwritten.
struct MoeRouteBackward {
  View scores, experts, dweights, dscores, dlogits;
  bool softmax = false, normalize = true;
  float scale = 1;
};
// Sequence-wise balance loss, V3 eq. 17-20: per sequence s of T_s rows  L_s = weight * sum_i f_i P_i,
// f_i = E/(k T_s) * #{t : s_it among the k largest scores of t, no bias; ties: lower index},  P_i = mean_t s_it / sum_j s_jt.
// loss: [1] f32 += sum_s L_s;  dscores: [T,E] f32 overwritten (f_i is a constant).  scores: [T,E]; offsets: [S+1] i32.
struct MoeBalanceLoss {
  View scores, offsets, dscores, loss;
  int k = 1;
  float weight = 0;
};
// Deterministic counting sort of the assignments a = t*k + j by (expert, a):
// slots: [M] i32: slots[n] = assignment at place n;  places: [T,k] i32: its inverse;  offsets: [E+1] i32: expert e has places
// [offsets[e], offsets[e+1]).
struct MoeSort {
  View experts, slots, places, offsets;
};
// load[e] += offsets[e+1] - offsets[e].  load: [E] f32 (whole numbers, exact below 2^24).
struct MoeLoad {
  View offsets, load;
};
// bias[e] += rate * sign(mean(load) - load[e]);  sign(0) = 0.  bias, load: [E] f32. Source: V3 2.1.2; docs/recipe.md section 10.
struct MoeBiasUpdate {
  View bias, load;
  float rate = 0;
};
// y[n] = x[row(n)] w[e]^T for the places n of expert e.  row(n) = slots[n] / copies, or n without slots.
// x: [T,K] (slots) or [M,K], f, rows may be strided; w: [E,N,K] f contiguous; offsets: [E+1] i32; slots: [M] i32, optional; y:
// [M,N] f. Every row has the bits that Linear gives it with that expert's weights, whatever its neighbours.
struct GroupedLinear {
  View x, w, offsets, slots, y;
  int copies = 1;
};
// dx[n] = dy[n] w[e].  dy: [M,N]; dx: [M,K] f, overwritten.
struct GroupedLinearBackwardInput {
  View dy, w, offsets, dx;
};
// dw[e] += sum over places n of e, on a fixed grid, dy[n]^T x[row(n)].  dw: [E,N,K] f32.
struct GroupedLinearBackwardWeight {
  View dy, x, offsets, slots, dw;
  int copies = 1;
};
// y[t] (accumulate: += ) sum_j weights[t,j] z[places[t,j]], in order of j, in f32, rounded once.  z: [Z,D] f; places: [T,k];
// weights: [T,k] f32, optional (1); y: [T,D] f.
struct MoeCombine {
  View z, places, weights, y;
  bool accumulate = false;
};
// dz[places[t,j]] = weights[t,j] dy[t];  dweights[t,j] = dy[t] . z[places[t,j]] (f32, fixed order).
struct MoeCombineBackward {
  View dy, z, places, weights, dz, dweights;
};

// ---- vocabulary: sampler and loss share one log-sum-exp, in fixed vocabulary blocks from column 0 ----------------------

// z = logits / temperature; lse[t] = log sum_v exp z[t,v]; logp[t] = z[t,targets[t]] - lse[t]; entropy[t] = lse - sum p z.
// A row with a NaN or +inf among its logits has logp, lse and entropy NaN: nothing hides it. -inf is a token of no probability.
// logits: [T,V] f32 or bf16; targets: [T] i32; logp, lse: [T] f32; entropy: [T] f32, optional.
struct LogProb {
  View logits, targets, logp, lse, entropy;
  float temperature = 1;
};
// dlogits[t,v] = dlogp[t] * ([v == targets[t]] - exp(z[t,v] - lse[t])) / temperature.  dlogits may alias logits (same type).
struct LogProbBackward {
  View logits, targets, lse, dlogp, dlogits;
  float temperature = 1;
};

// One token per row. u = unit_float(philox4x32({position,0,0,0}, key)[0]); the token is the first v with sum_{w<=v} p[w] > u, p
// over the rows' top_k / top_p support.  logits: [R,V]; keys: [R] i64 (low word = key[0]); positions: [R] i32; token: [R] i32;
// logp: [R] f32 = log softmax(logits/temperature) over the WHOLE vocabulary (LogProb's bits); entropy: [R] f32, optional.
// temperature: [R] f32; 0 = greedy (argmax, lowest index on ties; logp and entropy at temperature 1). top_k: 0 = off; top_p: 1
// = off. Support: order the vocabulary by (logit descending, index ascending); keep the first top_k; renormalise over these;
// keep the shortest prefix whose probability reaches top_p. Then renormalise again and walk the support by ascending index;
// when rounding leaves sum <= u at the end, the last v of the support with p > 0. A row with a NaN or +inf among its logits:
// token 0, whose logp is NaN.
struct Sample {
  View logits, keys, positions, temperature, token, logp, entropy;
  int top_k = 0;
  float top_p = 1;
};

// ---- losses: what they need of autograd is dlogp -----------------------------------------------------------------------

// Clipped policy gradient with k3 KL per token (docs/recipe.md section 4).  All [T] f32; reference, proximal optional.
//   anchor = proximal if present else behaviour;  rho = exp(logp - anchor);
//   w = exp(proximal - behaviour);  off = 1 without proximal, else w <= behave_cap ? w : behave_mask ? 0 : behave_cap
//   (decoupled form: an importance weight, no gradient; capped it is TIS, masked MIS: Yao et al. 2025, Liu et al. 2025)
//   P_t = -off * min(rho A, clip(rho) A),  clip(rho) = clamp(rho, 1-clip_low, 1+clip_high)
//   cispo: P_t = -off * sg(clip(rho)) * A * logp, sg = no gradient through it   (MiniMax-M1, arXiv 2506.13585, eqs. 4, 5)
//   L_t = weight * ( P_t + kl * (exp(r - logp) - (r - logp) - 1) )
// offsets: [S+1] i32, optional, from 0 to T: the rows are S sequences, and the exponents of rho and w are their means over the
// tokens with weight != 0 of the token's sequence (GSPO, arXiv 2507.18071, eqs. 5-7): dlogp then crosses tokens. Not with
// cispo. weight holds mask and normaliser (0 for tokens that do not count: dlogp = 0 there, whatever the other inputs hold).
// loss: [1] f32 += sum L_t;  dlogp = dL/dlogp.
// stats: [6] f32 += over tokens with weight != 0: count, clipped count (without gradient; cispo: rho outside the clip), sum k3
// KL (0 without reference), sum |logp - behaviour|, max of |logp - behaviour| (max, not sum), sum rho.
struct GrpoLoss {
  View logp, behaviour, reference, proximal, advantage, weight, offsets, dlogp, loss, stats;
  float clip_low = 0.2f, clip_high = 0.2f, kl = 0, behave_cap = 5;
  bool behave_mask = false, cispo = false;
};
// L = -sum_t weight[t] logp[t] over weight != 0; dlogp = -weight.  loss: [1] f32 +=.
struct NllLoss {
  View logp, weight, dlogp, loss;
};
// Bradley-Terry on scores of P pairs: L = sum_p weight * ( -log sigmoid(c - r) + l2 * (c^2 + r^2) / 2 ), c = scores[2p], r =
// scores[2p+1]. scores, dscores: [2P] or [2P,1], f32; stats: [2] f32 += (pairs with c > r, those with
// c = r as half a one; P).  Source: docs/recipe.md section 6; Bradley & Terry 1952.
struct PairLoss {
  View scores, dscores, loss, stats;
  float l2 = 0, weight = 1;
};

// ---- plain arithmetic and optimizers (no gradient) -----------------------------------------------------------------------

struct Fill {
  View x;
  float value = 0;
};  // any shape and type, contiguous
struct Copy {
  View src, dst;
};  // same shape; any type, or f32 <-> bf16; both may be strided
struct Axpby {
  View x, y;
  float alpha = 1, beta = 1;
};  // y = alpha x + beta y, f32, contiguous, same size
// out[0] (+)= sum x^2 in fixed blocks, f32.  x: contiguous f32.
struct SumSquares {
  View x, out;
  bool accumulate = false;
};
// c = alpha op(a) op(b) + beta c, all f32 matrices, rows may be strided; op = transpose where asked. For optimizers, not for
// layers.
struct Gemm {
  View a, b, c;
  bool trans_a = false, trans_b = false;
  float alpha = 1, beta = 0;
};
// x *= 1 / (sqrt(square[0]) + floor).  x: contiguous f32; square: [1] f32.
struct ScaleByNorm {
  View x, square;
  float floor = 0;
};
// AdamW (Loshchilov & Hutter 2019, algorithm 2) on flat f32 arrays; g = grad * grad_scale; bias correction with `step` >= 1;
// decay is lr * weight_decay * master.  weights: same size, f or absent: receives the new master, rounded.
// ranges: [R,3] i64, optional: (begin, end, 1 with decay or 0 without), rising and disjoint; elements in none are left alone.
struct AdamW {
  View master, grad, m, v, weights, ranges;
  float lr = 1e-3f, beta1 = 0.9f, beta2 = 0.95f, eps = 1e-8f, weight_decay = 0, grad_scale = 1;
  int64_t step = 1;
};

// ---- weight versions: flat arrays as the bytes that a host would see (no gradient) -----------------------------------------------

// Per span of x the hash of its bytes (base/hash.h) as (high, low) word, and the first value that is NaN or infinite, counted
// from the span's begin, or -1.  spans: [C,2] i64, 0 <= begin <= end <= n; x: [n] f; hashes: [C,2] i64; not_finite: [C] i64,
// optional.
struct HashSpans {
  View spans, x, hashes, not_finite;
};
// How each chunk of kDeltaChunk values of next - previous is coded best (kernels/delta_format.h): codes[c] = (mode, bytes).
// next: [n] f; previous: like next, optional (all raw); codes: [ceil(n / kDeltaChunk), 2] i32.
struct DeltaMeasure {
  View next, previous, codes;
};
// The chunks as `codes` says, one behind the other, and the change sum of each, where the values are those from place `first`
// on.  codes: DeltaMeasure's of the same values; payload: [(sum of bytes + 3) / 4] i32; bytes behind the last chunk are 0; sums:
// [chunks, 2] i64, the two words; optional; 0 without `previous`.
struct DeltaEncode {
  View next, previous, codes, payload, sums;
  int64_t first = 0;
};
// The other way: values (of the previous version; any where all chunks are raw) become the next ones. codes and payload may
// hold anything: status[c] is a DeltaStatus; values of a chunk that is not `ok` may be old ones or new ones, and its sum is 0.
// values: [n] f; codes, payload: as above; status: [chunks] i32; sums: as above, of what the values were and are; optional.
struct DeltaApply {
  View codes, payload, values, status, sums;
  int64_t first = 0;
};

// ---- the list -------------------------------------------------------------------------------------------------------------

#define R1_OPS(X)                                                                                                              \
  X(Embedding, embedding)                                                                                                      \
  X(EmbeddingBackward, embedding_backward)                                                                                     \
  X(Linear, linear)                                                                                                            \
  X(LinearBackwardInput, linear_backward_input) X(LinearBackwardWeight, linear_backward_weight) X(RmsNorm, rms_norm)           \
      X(RmsNormBackward, rms_norm_backward) X(Rope, rope) X(SwiGlu, swiglu) X(SwiGluBackward, swiglu_backward) X(Add, add)     \
          X(GatherRows, gather_rows) X(GatherRowsBackward, gather_rows_backward) X(AttentionPacked, attention_packed)          \
              X(AttentionPackedBackward, attention_packed_backward) X(KvWrite, kv_write) X(MlaKeys, mla_keys)                  \
                  X(MlaKeysBackward, mla_keys_backward) X(MoeRoute, moe_route) X(MoeRouteBackward, moe_route_backward)         \
                      X(MoeBalanceLoss, moe_balance_loss) X(MoeSort, moe_sort) X(MoeLoad, moe_load)                            \
                          X(MoeBiasUpdate, moe_bias_update) X(GroupedLinear, grouped_linear)                                   \
                              X(GroupedLinearBackwardInput, grouped_linear_backward_input)                                     \
                                  X(GroupedLinearBackwardWeight, grouped_linear_backward_weight) X(MoeCombine, moe_combine)    \
                                      X(MoeCombineBackward, moe_combine_backward) X(AttentionPaged, attention_paged)           \
                                          X(LogProb, log_prob) X(LogProbBackward, log_prob_backward) X(Sample, sample)         \
                                              X(GrpoLoss, grpo_loss) X(NllLoss, nll_loss) X(PairLoss, pair_loss) X(Fill, fill) \
                                                  X(Copy, copy) X(Axpby, axpby) X(SumSquares, sum_squares) X(Gemm, gemm)       \
                                                      X(ScaleByNorm, scale_by_norm) X(AdamW, adam_w)                           \
                                                          X(HashSpans, hash_spans) X(DeltaMeasure, delta_measure)              \
                                                              X(DeltaEncode, delta_encode) X(DeltaApply, delta_apply)

#define R1_DECLARE_RUN(Struct, field) void run(Context&, const Struct&);
R1_OPS(R1_DECLARE_RUN)
#undef R1_DECLARE_RUN

// A device's kernels. Every entry is set (a test walks the list).
struct OpTable {
#define R1_DECLARE_ENTRY(Struct, field) void (*field)(Context&, const Struct&) = nullptr;
  R1_OPS(R1_DECLARE_ENTRY)
#undef R1_DECLARE_ENTRY
};

}  // namespace r1
