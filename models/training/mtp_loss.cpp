#include "models/training/mtp_loss.h"

#include <algorithm>

#include "base/error.h"
#include "models/training/head_chunks.h"

namespace r1 {
namespace {

// token: the most likely token of each row.
void best_tokens(Context& ctx, const View& logits, const View& token) {
  const int64_t n = logits.rows();
  const View keys = ctx.arena.alloc(DType::i64, {n}), positions = ctx.arena.alloc(DType::i32, {n}),
             temperature = ctx.arena.alloc(DType::f32, {n}), logp = ctx.arena.alloc(DType::f32, {n});
  run(ctx, Fill{keys, 0});
  run(ctx, Fill{positions, 0});
  run(ctx, Fill{temperature, 0});
  run(ctx, Sample{logits, keys, positions, temperature, token, logp, View{}});
}

}  // namespace

int64_t mtp_tokens(const Sequence& s) { return std::max<int64_t>(static_cast<int64_t>(s.tokens.size()) - 2, 0); }

MtpTargets mtp_targets(const MicroBatch& m, const LossPlan& plan) {
  R1_CHECK(m.all_rows, "the module attends to every row");
  MtpTargets out;
  for (size_t n = 0; n < m.rows.size(); ++n) {
    const std::vector<int32_t>& tokens = plan.sequences[static_cast<size_t>(m.row_sequence[n])].tokens;
    const auto at = static_cast<size_t>(m.row_token[n]) + 1;
    const bool known = at < tokens.size();
    out.targets.push_back(known ? tokens[at] : 0);
    out.weights.push_back(known ? plan.mtp_weight : 0);
  }
  return out;
}

void mtp_loss(Pass& p, const Model& model, const PackedInput& input, const LossPlan& plan, const Value& h, const MtpRows& r) {
  Context& ctx = p.ctx;
  const Value rows = model.mtp_rows(p, h, r.next, input.positions);
  const View d_rows = p.tape ? p.tape->contribute(ctx, rows.id).first : View{};
  for_head_chunks(ctx, head_chunk_rows(model, plan.config->logit_elements), rows.view.rows(), [&](int64_t begin, int64_t end) {
    const int64_t n = end - begin;
    const View part = rows.view.slice(begin, end), wanted = r.targets.slice(begin, end), logits = model.logits(p, part);
    const View logp = ctx.arena.alloc(DType::f32, {n}), lse = ctx.arena.alloc(DType::f32, {n}),
               dlogp = ctx.arena.alloc(DType::f32, {n});
    best_tokens(ctx, logits, r.best.slice(begin, end));
    run(ctx, LogProb{logits, wanted, logp, lse, View{}});
    run(ctx, NllLoss{logp, r.weights.slice(begin, end), dlogp, r.loss});
    if (!p.tape) return;
    run(ctx, LogProbBackward{logits, wanted, lse, dlogp, logits});
    head_backward(p, model, part, logits, d_rows.slice(begin, end));
  });
}

}  // namespace r1
