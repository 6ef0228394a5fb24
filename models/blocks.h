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

// Rows [begin, end) of a paged pass that may be computed on their own: whole sequences, with a context that is not parallel.
struct RowShard {
  Context* ctx;
  int64_t begin, end;
};

// One run of a model over some rows. Everything is borrowed and must outlive the pass.
struct Pass {
  Context& ctx;
  const WeightSet& weights;  // their dtype is the dtype of the activations
  const AttentionContext& attention;
  Tape* tape = nullptr;        // null: nothing is saved and blocks work in place (sampling, scoring)
  Gradients* grads = nullptr;  // where backward adds gradients of parameters; may be null when tape is
  // With a tape: of each layer what goes in is saved alone, and the rest is computed again on the way back. The same bits.
  bool recompute = false;
  // Models with experts: factor on every sequence's balance loss (docs/recipe.md section 10), whose gradient backward adds; 0:
  // none. Its value is added to balance_loss, [1] f32.
  float balance_weight = 0;
  View balance_loss;
  // All rows of the pass, cut in order (generation); empty: they stay together.
  std::span<const RowShard> shards{};

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

// [a | b], rows side by side.  a: [T, A], b: [T, B]; result [T, A+B]. Both are read once when on a tape.
Value concat_columns(Pass&, const Value& a, const Value& b);

struct AttentionShape {
  int64_t heads, kv_heads, head_dim;
  float rms_eps;
  int q_norm = -1, k_norm = -1;  // parameters of the per-head norms before rotation (qwen3), or -1
};
// qkv: [T, (Hq+2Hk)*d], consumed (rotated in place); positions: [T] i32; rope_table: [P, d] f32; result [T, Hq*d].
// A pass with a tape needs PackedAttention.  Scale d^-1/2; GQA: query head h uses key head h / (Hq/Hk).
Value attention(Pass&, const Value& qkv, const View& positions, const View& rope_table, const AttentionShape&, int64_t layer);

// projected: [T, Q+C+R] (LayerParams::qa_kva), consumed (rotated in place); positions: [T] i32; rope_table: [P, R] f32; result
// [T, H*V]. A pass with a tape needs PackedAttention.
Value latent_attention(Pass&, const Value& projected, const View& positions, const View& rope_table, const LatentShape&,
                       int64_t layer);

// Routed experts' output added to that of the shared ones.  x: [T, D]; shared: [T, D], consumed (the result lives in its
// memory), or a Value without a view; result [T, D]. Backward also adds how many tokens went to each expert to the gradient
// slot of the selection bias.
Value experts(Pass&, const Value& x, const Value& shared, const ExpertsShape&);

// y = blocks(x), of which x alone is saved; backward runs the blocks again.  x: [T, D]; result [T, D]. The blocks end in a
// residual_add on what they are given (without a tape it works in place), and what they read beside x lives as long as the
// tape.
Value recomputed(Pass&, const Value& x, std::function<Value(Pass&, const Value&)> blocks);

// Backward of all nodes on the pass's tape, from the last to the first. Seed the results' gradients first (Tape::contribute).
void run_backward(Pass&);

void backward(Pass&, const EmbeddingNode&);
void backward(Pass&, const LinearNode&);
void backward(Pass&, const RmsNormNode&);
void backward(Pass&, const AttentionNode&);
void backward(Pass&, const SwiGluNode&);
void backward(Pass&, const AddNode&);
void backward(Pass&, const GatherRowsNode&);
void backward(Pass&, const LatentNode&);
void backward(Pass&, const ExpertsNode&);
void backward(Pass&, const ConcatNode&);
void backward(Pass&, const RecomputedNode&);

}  // namespace r1
