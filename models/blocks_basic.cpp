#include "base/error.h"
#include "models/blocks.h"

namespace r1 {

Value embedding(Pass& p, const View& ids, int table) {
  const View& w = p.weight(table);
  const View y = p.ctx.arena.alloc(w.dtype, {ids.rows(), w.shape[1]});
  run(p.ctx, Embedding{ids, w, y});
  if (!p.tape) return {y};
  return p.tape->record(y, EmbeddingNode{ids, -1, table});
}

void backward(Pass& p, const EmbeddingNode& n) {
  run(p.ctx, EmbeddingBackward{n.ids, p.tape->gradient(n.y), p.grads->param(n.table)});
}

Value linear(Pass& p, const Value& x, int weight, int bias) {
  const View& w = p.weight(weight);
  const View y = p.ctx.arena.alloc(x.view.dtype, {x.view.rows(), w.shape[0]});
  run(p.ctx, Linear{x.view, w, p.optional_weight(bias), y});
  if (!p.tape) return {y};
  return p.tape->record(y, LinearNode{x.view, x.id, -1, weight, bias});
}

void backward(Pass& p, const LinearNode& n) {
  const View dy = p.tape->gradient(n.y);
  run(p.ctx, LinearBackwardWeight{dy, n.x, p.grads->param(n.weight), p.optional_grad(n.bias)});
  if (n.x_id < 0) return;
  const auto [dx, accumulate] = p.tape->contribute(p.ctx, n.x_id);
  run(p.ctx, LinearBackwardInput{dy, p.weight(n.weight), dx, accumulate});
}

Value rms_norm(Pass& p, const Value& x, int weight, float eps) {
  const View y = p.ctx.arena.alloc(x.view.dtype, x.view.shape.data(), x.view.rank);
  const View rstd = p.tape ? p.ctx.arena.alloc(DType::f32, x.view.shape.data(), x.view.rank - 1) : View{};
  run(p.ctx, RmsNorm{x.view, p.weight(weight), y, rstd, eps});
  if (!p.tape) return {y};
  return p.tape->record(y, RmsNormNode{x.view, rstd, x.id, -1, weight});
}

void backward(Pass& p, const RmsNormNode& n) {
  const View dy = p.tape->gradient(n.y);
  const auto [dx, accumulate] = p.tape->contribute(p.ctx, n.x_id);
  run(p.ctx, RmsNormBackward{n.x, p.weight(n.weight), n.rstd, dy, dx, p.grads->param(n.weight), accumulate});
}

Value swiglu(Pass& p, const Value& gate_up) {
  const View& x = gate_up.view;
  const View y = p.ctx.arena.alloc(x.dtype, {x.rows(), x.shape[1] / 2});
  run(p.ctx, SwiGlu{x, y});
  if (!p.tape) return {y};
  return p.tape->record(y, SwiGluNode{x, gate_up.id, -1});
}

void backward(Pass& p, const SwiGluNode& n) {
  const auto [dx, accumulate] = p.tape->contribute(p.ctx, n.x_id);
  R1_CHECK(!accumulate, "gate_up has one reader");
  run(p.ctx, SwiGluBackward{n.gate_up, p.tape->gradient(n.y), dx});
}

Value residual_add(Pass& p, const Value& a, const Value& b) {
  const View& y = p.tape ? b.view : a.view;
  run(p.ctx, Add{a.view, b.view, y});
  if (!p.tape) return {y};
  return p.tape->record(y, AddNode{a.id, b.id, -1});
}

void backward(Pass& p, const AddNode& n) { p.tape->contribute_sum(p.ctx, n.y, n.a, n.b); }

Value gather_rows(Pass& p, const Value& x, const View& rows) {
  const View y = p.ctx.arena.alloc(x.view.dtype, {rows.rows(), x.view.shape[1]});
  run(p.ctx, GatherRows{x.view, rows, y});
  if (!p.tape) return {y};
  return p.tape->record(y, GatherRowsNode{rows, x.id, -1});
}

void backward(Pass& p, const GatherRowsNode& n) {
  const auto [dx, accumulate] = p.tape->contribute(p.ctx, n.x_id);
  if (!accumulate) run(p.ctx, Fill{dx, 0});
  run(p.ctx, GatherRowsBackward{n.rows, p.tape->gradient(n.y), dx});
}

Value concat_columns(Pass& p, const Value& a, const Value& b) {
  const int64_t left = a.view.shape[1], columns = left + b.view.shape[1];
  const View y = p.ctx.arena.alloc(a.view.dtype, {a.view.rows(), columns});
  run(p.ctx, Copy{a.view, y.columns(0, left)});
  run(p.ctx, Copy{b.view, y.columns(left, columns)});
  if (!p.tape) return {y};
  return p.tape->record(y, ConcatNode{a.id, b.id, -1});
}

void backward(Pass& p, const ConcatNode& n) {
  const View dy = p.tape->gradient(n.y);
  int64_t begin = 0;
  for (int32_t id : {n.a, n.b}) {
    const auto [dx, accumulate] = p.tape->contribute(p.ctx, id);
    R1_CHECK(!accumulate, "a concatenated value has one reader");
    run(p.ctx, Copy{dy.columns(begin, begin + dx.shape[1]), dx});
    begin += dx.shape[1];
  }
}

Value recomputed(Pass& p, const Value& x, std::function<Value(Pass&, const Value&)> blocks) {
  Arena& arena = p.ctx.arena;
  const View y = arena.alloc(x.view.dtype, x.view.shape.data(), x.view.rank);
  run(p.ctx, Copy{x.view, y});
  const Arena::Mark mark = arena.mark();
  Pass forward = p;
  forward.tape = nullptr;
  const Value in_place = blocks(forward, {y});
  R1_CHECK(in_place.view.data == y.data, "recomputed blocks end in a residual sum");
  arena.release(mark);
  return p.tape->record(y, RecomputedNode{x.view, x.id, -1, std::move(blocks)});
}

void backward(Pass& p, const RecomputedNode& n) {
  const auto [dx, accumulate] = p.tape->contribute(p.ctx, n.x_id);
  R1_CHECK(!accumulate, "what goes into a layer has one reader");
  Arena& arena = p.ctx.arena;
  const Arena::Mark mark = arena.mark();
  Tape tape;
  Pass again = p;
  again.tape = &tape;
  again.recompute = false;
  const Value x = tape.leaf(n.x), y = n.blocks(again, x);
  run(p.ctx, Copy{p.tape->gradient(n.y), tape.contribute(p.ctx, y.id).first});
  run_backward(again);
  run(p.ctx, Copy{tape.gradient(x.id), dx});
  arena.release(mark);
}

void run_backward(Pass& p) {
  R1_CHECK(p.tape && p.grads, "backward needs a tape and gradients");
  p.tape->walk_back([&p](const auto& node) { backward(p, node); });
}

}  // namespace r1
