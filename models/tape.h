// Autograd: a tape of nodes in execution order; backward is a loop from its end. Not a graph: no broadcasting, no rewriting, no
// second derivatives, no knowledge of architectures (models/model.h).
//
// A node names what it saves. The functions that record and run nodes stand side by side in models/blocks*.cpp.
// Memory: activations and gradients of activations live in the pass's arena; a gradient's buffer is used again as soon as its
// last reader has run. Gradients of parameters are f32 and accumulate (class Gradients). Thread rule: a Tape, a Gradients and
// the Context they are used with belong to one thread at a time.
#pragma once

#include <functional>
#include <utility>
#include <variant>
#include <vector>

#include "kernels/device.h"
#include "kernels/ops.h"
#include "models/weights.h"

namespace r1 {

// An activation and its place on the tape (id -1: not on a tape, no gradient).
struct Value {
  View view;
  int32_t id = -1;
};

// f32 gradients of all parameters in one allocation, in the segments of WeightSet. Of a segment that is not trained the slot of
// a selection bias has no gradient: backward adds to it how many tokens went to each expert (whole numbers).
class Gradients {
 public:
  explicit Gradients(const WeightSet& like) : set_(like.device(), like.config(), DType::f32) {}
  const View& param(int i) const { return set_.param(static_cast<size_t>(i)); }
  const View& flat() const { return set_.flat(); }
  const std::vector<WeightSegment>& segments() const { return set_.segments(); }
  WeightSet::Place place(size_t param) const { return set_.place(param); }
  void zero(Context& ctx) { run(ctx, Fill{set_.flat(), 0}); }

 private:
  WeightSet set_;
};

// Causal attention inside each of S packed sequences (training, scoring). Where sequences share rows of the pass (a prompt of
// several completions) each has keys and values of all its rows, A in all, and queries of those alone that are its own.
struct PackedAttention {
  View offsets;         // [S+1] i32 of keys
  int64_t longest = 0;  // rows of the longest sequence; 0: not known
  View seen;            // [A] i32: of each key the row of the pass; absent: they are the same
  View own;             // [S+1] i32: offsets of the sequences' own rows in the pass, their last ones; absent as `seen`
};

// What each node saves. T: tokens, D: hidden. Parameters are indices into WeightSet::specs(); -1: absent.
struct EmbeddingNode {
  View ids;
  int32_t y;
  int table;
};
struct LinearNode {
  View x;
  int32_t x_id, y;
  int weight, bias;
};
struct RmsNormNode {
  View x, rstd;
  int32_t x_id, y;
  int weight;
};
// Per-head norms of q and k (qwen3), rotary embedding, packed causal attention.
struct AttentionNode {
  View qkv;             // [T, (Hq+2Hk)*D]; q and k columns rotated in place when there is no per-head norm
  View qk;              // [T, Hq+Hk, D] normed and rotated; absent without per-head norm
  View rstd_q, rstd_k;  // [T, Hq], [T, Hk] f32; absent without per-head norm
  View o, lse;          // [T, Hq*D], [T, Hq] f32
  PackedAttention packed;
  View positions, rope_table;
  int32_t qkv_id, y;
  int q_norm, k_norm;
  int64_t heads, kv_heads, head_dim;
};
struct SwiGluNode {
  View gate_up;
  int32_t x_id, y;
};
struct AddNode {
  int32_t a, b, y;
};
struct GatherRowsNode {
  View rows;
  int32_t x_id, y;
};
// What multi-head latent attention is made of; parameters q_a_norm, q_b: -1 without query compression.
struct LatentShape {
  int64_t heads = 0;
  MlaConfig mla;
  float scale = 1;  // on query-key products
  int q_a_norm = -1, q_b = -1, kv_a_norm = -1, kv_b = -1;
};
// H heads, P no-position, R rotated, V value features of a head, C latent, Q columns of the query part.
struct LatentNode {
  View projected;            // [T, Q+C+R]; rotated in place: the key's R columns, and without compression the queries'
  View q_normed, q_rstd;     // [T, Q], [T] f32; absent without compression
  View latent, latent_rstd;  // [T, C], [T] f32
  View q, kv, k;             // [T, H*(P+R)] rotated, [T, H*(P+V)], [T, H*(P+R)]
  View o, lse;               // [T, H*V], [T, H] f32
  PackedAttention packed;
  View positions, rope_table;
  int32_t projected_id, y;
  LatentShape shape;
};
// What a layer of routed experts is made of. gate_up, down: the stacked matrices of all experts; selection_bias: or -1.
struct ExpertsShape {
  MoeConfig moe;
  int router = -1, gate_up = -1, down = -1, selection_bias = -1;
};
// E experts, k of them per token, M = T*k places sorted by expert, F feed-forward size of an expert.
struct ExpertsNode {
  View x;                         // [T, D]
  View scores, experts, weights;  // [T, E] f32, [T, k] i32, [T, k] f32
  View slots, places, offsets;    // [M], [T, k], [E+1] i32
  View gate_up, h, z;             // [M, 2F], [M, F], [M, D]
  int32_t x_id, shared_id, y;     // shared_id -1: there are no shared experts
  ExpertsShape shape;
};
struct ConcatNode {
  int32_t a, b, y;
};
struct Pass;
// Several blocks of which only what goes in is saved: backward runs them again, on a tape of their own.
struct RecomputedNode {
  View x;
  int32_t x_id, y;
  std::function<Value(Pass&, const Value&)> blocks;
};
using Node = std::variant<EmbeddingNode, LinearNode, RmsNormNode, AttentionNode, SwiGluNode, AddNode, GatherRowsNode,
                          LatentNode, ExpertsNode, ConcatNode, RecomputedNode>;

class Tape {
 public:
  // Appends a node whose result is the next value: `node.y` is set to its id, which is returned with the view.
  template <class N>
  Value record(const View& y, N node) {
    node.y = static_cast<int32_t>(slots_.size());
    slots_.push_back({y, {}, static_cast<int32_t>(nodes_.size()), -1, false});
    const int32_t id = node.y;
    nodes_.emplace_back(std::move(node));
    return {y, id};
  }
  // A value that comes from outside of the tape and gets a gradient all the same.
  Value leaf(const View& x) {
    slots_.push_back({x, {}, -1, -1, false});
    return {x, static_cast<int32_t>(slots_.size()) - 1};
  }

  // Gradient of value `id`, complete once backward has reached its node; absent when nothing flowed into it.
  const View& gradient(int32_t id) const { return slots_[static_cast<size_t>(id)].gradient; }
  // Where to put a contribution to the gradient of `id`: a buffer like the value, and whether it must be added to what is
  // there.
  std::pair<View, bool> contribute(Context& ctx, int32_t id);
  // Hands the gradient of `y` to both terms of y = a + b without a copy where that is possible.
  void contribute_sum(Context& ctx, int32_t y, int32_t a, int32_t b);

  // Runs `visit(node)` for every node from the last to the first, skipping those whose result has no gradient.
  template <class F>
  void walk_back(F&& visit) {
    for (current_ = static_cast<int32_t>(nodes_.size()) - 1; current_ >= 0; --current_) {
      const int32_t y = std::visit([](const auto& n) { return n.y; }, nodes_[static_cast<size_t>(current_)]);
      if (!gradient(y)) continue;
      std::visit(visit, nodes_[static_cast<size_t>(current_)]);
      release(y);
    }
  }

  // Forgets everything (before the arena is reset); keeps the capacity.
  void clear();
  size_t size() const { return nodes_.size(); }

 private:
  struct Slot {
    View value, gradient;
    int32_t producer;     // index of the node that made the value
    int32_t shared_with;  // another slot that reads the same gradient buffer, or -1
    bool released;        // its producer has run backward: nobody reads the gradient any more
  };
  View take_buffer(Context& ctx, const View& like);
  void release(int32_t id);

  std::vector<Node> nodes_;
  std::vector<Slot> slots_;
  std::vector<View> free_;  // gradient buffers ready to be used again, contiguous
  int32_t current_ = -1;
};

}  // namespace r1
