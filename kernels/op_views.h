// The views of each op, by name: what generic code over ops (checks, the fake device, tests, benchmarks) walks.
//
// for_each_view(op, f) calls f(View&, ViewInfo) for every view of `op` in declaration order; const op gives const View&.
// Thread rule: pure functions.
#pragma once

#include <concepts>
#include <type_traits>
#include <variant>

#include "kernels/ops.h"

namespace r1 {

// What a kernel does to a view: reads it; overwrites all of it; reads and updates it. KV pages count as updated: most of their
// elements stay.
enum class Use : uint8_t { in, out, inout };

struct ViewInfo {
  const char* name;
  Use use;
  bool optional = false;
};

// "Linear", the struct's name.
template <class Op>
inline constexpr const char* kOpName = nullptr;
#define R1_OP_NAME(Struct, field) \
  template <>                     \
  inline constexpr const char* kOpName<Struct> = #Struct;
R1_OPS(R1_OP_NAME)
#undef R1_OP_NAME

#define R1_VIEWS_OF(Struct)                              \
  template <class Op, class F>                           \
  requires std::same_as<std::remove_const_t<Op>, Struct> \
  void for_each_view(Op& op, F&& f)
#define R1_IN(view) f(op.view, ViewInfo{#view, Use::in})
#define R1_OUT(view) f(op.view, ViewInfo{#view, Use::out})
#define R1_INOUT(view) f(op.view, ViewInfo{#view, Use::inout})
#define R1_OPTIONAL_IN(view) f(op.view, ViewInfo{#view, Use::in, true})
#define R1_OPTIONAL_OUT(view) f(op.view, ViewInfo{#view, Use::out, true})
#define R1_OPTIONAL_INOUT(view) f(op.view, ViewInfo{#view, Use::inout, true})
#define R1_OUT_OR_INOUT(view, updates) f(op.view, ViewInfo{#view, (updates) ? Use::inout : Use::out})

R1_VIEWS_OF(Embedding) { R1_IN(ids), R1_IN(table), R1_OUT(y); }
R1_VIEWS_OF(EmbeddingBackward) { R1_IN(ids), R1_IN(dy), R1_INOUT(dtable); }
R1_VIEWS_OF(Linear) { R1_IN(x), R1_IN(w), R1_OPTIONAL_IN(bias), R1_OUT(y); }
R1_VIEWS_OF(LinearBackwardInput) { R1_IN(dy), R1_IN(w), R1_OUT_OR_INOUT(dx, op.accumulate); }
R1_VIEWS_OF(LinearBackwardWeight) { R1_IN(dy), R1_IN(x), R1_INOUT(dw), R1_OPTIONAL_INOUT(db); }
R1_VIEWS_OF(RmsNorm) { R1_IN(x), R1_IN(w), R1_OUT(y), R1_OPTIONAL_OUT(rstd); }
R1_VIEWS_OF(RmsNormBackward) { R1_IN(x), R1_IN(w), R1_IN(rstd), R1_IN(dy), R1_OUT_OR_INOUT(dx, op.accumulate), R1_INOUT(dw); }
R1_VIEWS_OF(Rope) { R1_INOUT(x), R1_IN(positions), R1_IN(table); }
R1_VIEWS_OF(SwiGlu) { R1_IN(gate_up), R1_OUT(y); }
R1_VIEWS_OF(SwiGluBackward) { R1_IN(gate_up), R1_IN(dy), R1_OUT(dgate_up); }
R1_VIEWS_OF(Add) { R1_IN(a), R1_IN(b), R1_OUT(y); }
R1_VIEWS_OF(GatherRows) { R1_IN(x), R1_IN(rows), R1_OUT(y); }
R1_VIEWS_OF(GatherRowsBackward) { R1_IN(rows), R1_IN(dy), R1_OUT_OR_INOUT(dx, op.accumulate); }
R1_VIEWS_OF(AttentionPacked) {
  R1_IN(q), R1_IN(k), R1_IN(v), R1_OUT(o), R1_OPTIONAL_OUT(lse), R1_IN(offsets), R1_OPTIONAL_IN(query_offsets);
}
R1_VIEWS_OF(AttentionPackedBackward) {
  R1_IN(q), R1_IN(k), R1_IN(v), R1_IN(o), R1_IN(lse), R1_IN(d_o), R1_OUT(dq), R1_OUT(dk), R1_OUT(dv), R1_IN(offsets),
      R1_OPTIONAL_IN(query_offsets);
}
R1_VIEWS_OF(KvWrite) {
  R1_IN(k), R1_IN(v), R1_INOUT(k_pages), R1_INOUT(v_pages), R1_IN(page_table), R1_IN(row_seq), R1_IN(row_pos);
}
R1_VIEWS_OF(AttentionPaged) {
  R1_IN(q), R1_IN(k_pages), R1_IN(v_pages), R1_OUT(o), R1_IN(page_table), R1_IN(row_seq), R1_IN(row_pos);
}
R1_VIEWS_OF(MlaKeys) { R1_IN(kv), R1_IN(kr), R1_OUT(k); }
R1_VIEWS_OF(MlaKeysBackward) { R1_IN(dk), R1_INOUT(dkv), R1_OUT(dkr); }
R1_VIEWS_OF(MoeRoute) { R1_IN(logits), R1_OPTIONAL_IN(bias), R1_OUT(scores), R1_OUT(experts), R1_OUT(weights); }
R1_VIEWS_OF(MoeRouteBackward) { R1_IN(scores), R1_IN(experts), R1_IN(dweights), R1_OPTIONAL_IN(dscores), R1_OUT(dlogits); }
R1_VIEWS_OF(MoeBalanceLoss) { R1_IN(scores), R1_IN(offsets), R1_OUT(dscores), R1_INOUT(loss); }
R1_VIEWS_OF(MoeSort) { R1_IN(experts), R1_OUT(slots), R1_OUT(places), R1_OUT(offsets); }
R1_VIEWS_OF(MoeLoad) { R1_IN(offsets), R1_INOUT(load); }
R1_VIEWS_OF(MoeBiasUpdate) { R1_INOUT(bias), R1_IN(load); }
R1_VIEWS_OF(GroupedLinear) { R1_IN(x), R1_IN(w), R1_IN(offsets), R1_OPTIONAL_IN(slots), R1_OUT(y); }
R1_VIEWS_OF(GroupedLinearBackwardInput) { R1_IN(dy), R1_IN(w), R1_IN(offsets), R1_OUT(dx); }
R1_VIEWS_OF(GroupedLinearBackwardWeight) { R1_IN(dy), R1_IN(x), R1_IN(offsets), R1_OPTIONAL_IN(slots), R1_INOUT(dw); }
R1_VIEWS_OF(MoeCombine) { R1_IN(z), R1_IN(places), R1_OPTIONAL_IN(weights), R1_OUT_OR_INOUT(y, op.accumulate); }
R1_VIEWS_OF(MoeCombineBackward) {
  R1_IN(dy), R1_IN(z), R1_IN(places), R1_OPTIONAL_IN(weights), R1_OUT(dz), R1_OPTIONAL_OUT(dweights);
}
R1_VIEWS_OF(LogProb) { R1_IN(logits), R1_IN(targets), R1_OUT(logp), R1_OUT(lse), R1_OPTIONAL_OUT(entropy); }
R1_VIEWS_OF(LogProbBackward) { R1_IN(logits), R1_IN(targets), R1_IN(lse), R1_IN(dlogp), R1_OUT(dlogits); }
R1_VIEWS_OF(Sample) {
  R1_IN(logits), R1_IN(keys), R1_IN(positions), R1_IN(temperature), R1_OUT(token), R1_OUT(logp), R1_OPTIONAL_OUT(entropy);
}
R1_VIEWS_OF(GrpoLoss) {
  R1_IN(logp), R1_IN(behaviour), R1_OPTIONAL_IN(reference), R1_OPTIONAL_IN(proximal), R1_IN(advantage), R1_IN(weight);
  R1_OPTIONAL_IN(offsets), R1_OUT(dlogp), R1_INOUT(loss), R1_INOUT(stats);
}
R1_VIEWS_OF(NllLoss) { R1_IN(logp), R1_IN(weight), R1_OUT(dlogp), R1_INOUT(loss); }
R1_VIEWS_OF(PairLoss) { R1_IN(scores), R1_OUT(dscores), R1_INOUT(loss), R1_INOUT(stats); }
R1_VIEWS_OF(Fill) { R1_OUT(x); }
R1_VIEWS_OF(Copy) { R1_IN(src), R1_OUT(dst); }
R1_VIEWS_OF(Axpby) { R1_IN(x), R1_OUT_OR_INOUT(y, op.beta != 0); }
R1_VIEWS_OF(SumSquares) { R1_IN(x), R1_OUT_OR_INOUT(out, op.accumulate); }
R1_VIEWS_OF(Gemm) { R1_IN(a), R1_IN(b), R1_OUT_OR_INOUT(c, op.beta != 0); }
R1_VIEWS_OF(ScaleByNorm) { R1_INOUT(x), R1_IN(square); }
R1_VIEWS_OF(AdamW) {
  R1_INOUT(master), R1_IN(grad), R1_INOUT(m), R1_INOUT(v);
  f(op.weights, ViewInfo{"weights", op.ranges ? Use::inout : Use::out, true});
  R1_OPTIONAL_IN(ranges);
}
R1_VIEWS_OF(HashSpans) { R1_IN(spans), R1_IN(x), R1_OUT(hashes), R1_OPTIONAL_OUT(not_finite); }
R1_VIEWS_OF(DeltaMeasure) { R1_IN(next), R1_OPTIONAL_IN(previous), R1_OUT(codes); }
R1_VIEWS_OF(DeltaEncode) { R1_IN(next), R1_OPTIONAL_IN(previous), R1_IN(codes), R1_OUT(payload), R1_OPTIONAL_OUT(sums); }
R1_VIEWS_OF(DeltaApply) { R1_IN(codes), R1_IN(payload), R1_INOUT(values), R1_OUT(status), R1_OPTIONAL_OUT(sums); }

#undef R1_VIEWS_OF
#undef R1_IN
#undef R1_OUT
#undef R1_INOUT
#undef R1_OPTIONAL_IN
#undef R1_OPTIONAL_OUT
#undef R1_OPTIONAL_INOUT
#undef R1_OUT_OR_INOUT

// Whether `out` may be the very same view as `in` (both views of `op`).
template <class Op>
bool may_alias(const Op& op, const View* out, const View* in) {
  if constexpr (std::same_as<Op, RmsNorm>) return out == &op.y && in == &op.x;
  if constexpr (std::same_as<Op, RmsNormBackward>) return out == &op.dx && in == &op.dy && !op.accumulate;
  if constexpr (std::same_as<Op, Add>) return out == &op.y && (in == &op.a || in == &op.b);
  if constexpr (std::same_as<Op, LogProbBackward>) return out == &op.dlogits && in == &op.logits;
  return false;
}

// Any op as a value, and its dispatch.
#define R1_LIST_OP(Struct, field) , Struct
template <class Ignored, class... Ops>
using DropFirst = std::variant<Ops...>;
using AnyOp = DropFirst<void R1_OPS(R1_LIST_OP)>;
#undef R1_LIST_OP

inline const char* op_name(const AnyOp& any) {
  return std::visit([](const auto& op) { return kOpName<std::remove_cvref_t<decltype(op)>>; }, any);
}
inline void run(Context& ctx, const AnyOp& any) {
  std::visit([&](const auto& op) { run(ctx, op); }, any);
}

}  // namespace r1
