// Mixture of experts: router, grouped matmuls over rows sorted by expert, combination. All sizes that depend on the routing
// stay on the device. Source: DeepSeekMoE / V3 eq. 12-20; docs/recipe.md section 10.
#include "base/error.h"
#include "models/blocks.h"
#include "models/packed_attention.h"

namespace r1 {
namespace {

// A parameter [E * N, K] as one matrix per expert.
View stacked(const View& w, int64_t experts) { return w.reshape({experts, w.shape[0] / experts, w.shape[1]}); }

}  // namespace

Value experts(Pass& p, const Value& x, const Value& shared, const ExpertsShape& s) {
  Arena& arena = p.ctx.arena;
  const MoeConfig& m = s.moe;
  const int64_t rows = x.view.rows(), places = rows * m.per_token, hidden = x.view.shape[1];
  const DType dtype = x.view.dtype;
  ExpertsNode n{};
  const View logits = arena.alloc(DType::f32, {rows, m.experts});
  n.scores = arena.alloc(DType::f32, {rows, m.experts});
  n.experts = arena.alloc(DType::i32, {rows, m.per_token});
  n.weights = arena.alloc(DType::f32, {rows, m.per_token});
  run(p.ctx, Linear{x.view, p.weight(s.router), View{}, logits});
  run(p.ctx, MoeRoute{logits, p.optional_weight(s.selection_bias), n.scores, n.experts, n.weights, static_cast<int>(m.groups),
                      static_cast<int>(m.top_groups), m.softmax, m.normalize, static_cast<float>(m.scale)});
  n.slots = arena.alloc(DType::i32, {places});
  n.places = arena.alloc(DType::i32, {rows, m.per_token});
  n.offsets = arena.alloc(DType::i32, {m.experts + 1});
  run(p.ctx, MoeSort{n.experts, n.slots, n.places, n.offsets});
  n.gate_up = arena.alloc(dtype, {places, 2 * m.ffn});
  n.h = arena.alloc(dtype, {places, m.ffn});
  n.z = arena.alloc(dtype, {places, hidden});
  const int copies = static_cast<int>(m.per_token);
  run(p.ctx, GroupedLinear{x.view, stacked(p.weight(s.gate_up), m.experts), n.offsets, n.slots, n.gate_up, copies});
  run(p.ctx, SwiGlu{n.gate_up, n.h});
  run(p.ctx, GroupedLinear{n.h, stacked(p.weight(s.down), m.experts), n.offsets, View{}, n.z});
  const bool accumulate = static_cast<bool>(shared.view);
  const View y = accumulate ? shared.view : arena.alloc(dtype, {rows, hidden});
  run(p.ctx, MoeCombine{n.z, n.places, n.weights, y, accumulate});
  if (!p.tape) return {y};
  n.x = x.view;
  n.x_id = x.id;
  n.shared_id = shared.id;
  n.shape = s;
  return p.tape->record(y, n);
}

void backward(Pass& p, const ExpertsNode& n) {
  const MoeConfig& m = n.shape.moe;
  const int copies = static_cast<int>(m.per_token);
  const View dy = p.tape->gradient(n.y);
  if (n.shared_id >= 0) {
    const auto [d_shared, accumulate] = p.tape->contribute(p.ctx, n.shared_id);
    R1_CHECK(!accumulate, "the shared experts have one reader");
    run(p.ctx, Copy{dy, d_shared});
  }
  const auto [dx, accumulate] = p.tape->contribute(p.ctx, n.x_id);
  Arena& arena = p.ctx.arena;
  const Arena::Mark mark = arena.mark();
  const auto like = [&](const View& v) { return arena.alloc(v.dtype, {v.shape[0], v.shape[1]}); };

  const View dz = like(n.z), dweights = like(n.weights), dh = like(n.h), d_gate_up = like(n.gate_up);
  const View w_down = stacked(p.weight(n.shape.down), m.experts), w_gate_up = stacked(p.weight(n.shape.gate_up), m.experts);
  run(p.ctx, MoeCombineBackward{dy, n.z, n.places, n.weights, dz, dweights});
  run(p.ctx, GroupedLinearBackwardWeight{dz, n.h, n.offsets, View{}, stacked(p.grads->param(n.shape.down), m.experts)});
  run(p.ctx, GroupedLinearBackwardInput{dz, w_down, n.offsets, dh});
  run(p.ctx, SwiGluBackward{n.gate_up, dh, d_gate_up});
  run(p.ctx, GroupedLinearBackwardWeight{d_gate_up, n.x, n.offsets, n.slots,
                                         stacked(p.grads->param(n.shape.gate_up), m.experts), copies});
  const View d_rows = arena.alloc(dx.dtype, {d_gate_up.shape[0], dx.shape[1]});
  run(p.ctx, GroupedLinearBackwardInput{d_gate_up, w_gate_up, n.offsets, d_rows});
  run(p.ctx, MoeCombine{d_rows, n.places, View{}, dx, accumulate});

  View dscores;
  if (p.balance_weight != 0) {
    const auto& packed = std::get<PackedAttention>(p.attention);
    dscores = like(n.scores);
    // The loss is of sequences, each of them whole.
    const View scores = as_seen(p.ctx, packed, n.scores), d = like_seen(p.ctx, packed, dscores);
    run(p.ctx, MoeBalanceLoss{scores, packed.offsets, d, p.balance_loss, static_cast<int>(m.per_token), p.balance_weight});
    sum_seen(p.ctx, packed, d, dscores);
  }
  const View dlogits = like(n.scores);
  run(p.ctx,
      MoeRouteBackward{n.scores, n.experts, dweights, dscores, dlogits, m.softmax, m.normalize, static_cast<float>(m.scale)});
  run(p.ctx, LinearBackwardWeight{dlogits, n.x, p.grads->param(n.shape.router), View{}});
  run(p.ctx, LinearBackwardInput{dlogits, p.weight(n.shape.router), dx, true});
  arena.release(mark);
  if (n.shape.selection_bias >= 0) run(p.ctx, MoeLoad{n.offsets, p.grads->param(n.shape.selection_bias)});
}

}  // namespace r1
