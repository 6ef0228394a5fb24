// The building blocks of decoder-only transformers: each a forward function that runs ops and, when a tape is there, records
// what its backward needs; and that backward. Knows no architecture: which block follows which is models/model.cpp.
//
// Legend: T tokens (rows) of the pass, D hidden, Hq / Hk query / key heads, d head size, F feed-forward size.
// Thread rule: a Pass belongs to one thread at a time.
#pragma once

#include <span>
#include <variant>

#include "kernels/device.h"
#include "models/tape.h"
#include "models/weights.h"

namespace r1 {

// Causal attention inside each of S packed sequences (training, scoring).
struct PackedAttention {
  View offsets;  // [S+1] i32
};
// KV pages of one layer (layouts: KvWrite in kernels/ops.h).
struct KvLayer {
  View k_pages, v_pages;
};
// Rows belong to sequences whose keys and values live in pages (generation); new keys and values are written first.
struct PagedAttention {
  std::span<const KvLayer> layers;
  View page_table;  // [S, M] i32
  View row_seq;     // [T] i32
  View row_pos;     // [T] i32
};
using AttentionContext = std::variant<PackedAttention, PagedAttention>;

// One run of a model over some rows. Everything is borrowed and must outlive the pass.
struct Pass {
  Context& ctx;
  const WeightSet& weights;  // their dtype is the dtype of the activations
  const AttentionContext& attention;
  Tape* tape = nullptr;        // null: nothing is saved and blocks work in place (sampling, scoring)
  Gradients* grads = nullptr;  // where backward adds gradients of parameters; may be null when tape is

  // The one place where a block takes hold of a parameter (the seam for sharding hooks).
  const View& weight(int param) const { return weights.param(static_cast<size_t>(param)); }
  // Absent parameters give an absent view.
  View optional_weight(int param) const { return param < 0 ? View{} : weight(param); }
  View optional_grad(int param) const { return param < 0 ? View{} : grads->param(param); }
};

// y[t] = table[ids[t]].  ids: [T] i32; result [T, D].
Value embedding(Pass&, const View& ids, int table);
// y = x w^T + bias.  x: [T, K]; result [T, N] in x's dtype.
Value linear(Pass&, const Value& x, int weight, int bias = -1);
// Root-mean-square norm over the last dimension; result like x.
Value rms_norm(Pass&, const Value& x, int weight, float eps);
// x: [T, 2F], gate first; result [T, F].
Value swiglu(Pass&, const Value& gate_up);
// a + b, [T, D]. Both are consumed: the result lives in b's memory on a tape, in a's otherwise. So nobody may have saved b
// (true of the result of linear).
Value residual_add(Pass&, const Value& a, const Value& b);
// y[n] = x[rows[n]].  rows: [N] i32, all different when on a tape.
Value gather_rows(Pass&, const Value& x, const View& rows);

struct AttentionShape {
  int64_t heads, kv_heads, head_dim;
  float rms_eps;
  int q_norm = -1, k_norm = -1;  // parameters of the per-head norms before rotation (qwen3), or -1
};
// qkv: [T, (Hq+2Hk)*d], consumed (rotated in place); positions: [T] i32; rope_table: [P, d] f32; result [T, Hq*d].
// A pass with a tape needs PackedAttention.  Scale d^-1/2; GQA: query head h uses key head h / (Hq/Hk).
Value attention(Pass&, const Value& qkv, const View& positions, const View& rope_table, const AttentionShape&, int64_t layer);

// Backward of all nodes on the pass's tape, from the last to the first. Seed the results' gradients first (Tape::contribute).
void run_backward(Pass&);

void backward(Pass&, const EmbeddingNode&);
void backward(Pass&, const LinearNode&);
void backward(Pass&, const RmsNormNode&);
void backward(Pass&, const AttentionNode&);
void backward(Pass&, const SwiGluNode&);
void backward(Pass&, const AddNode&);
void backward(Pass&, const GatherRowsNode&);

}  // namespace r1
