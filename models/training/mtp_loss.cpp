#include "models/training/mtp_loss.h"

#include <algorithm>

#include "base/error.h"
#include "models/training/head_chunks.h"

namespace r1 {
namespace {

// Per row the token after the next, and its weight: 0 behind the last token.
struct Shifted {
  std::vector<int32_t> targets;
  std::vector<float> weights;
};

Shifted shift(const MicroBatch& m, const LossPlan& plan) {
  Shifted out;
  for (size_t n = 0; n < m.rows.size(); ++n) {
    const std::vector<int32_t>& tokens = plan.sequences[static_cast<size_t>(m.row_sequence[n])].tokens;
    const auto at = static_cast<size_t>(m.row_token[n]) + 1;
    const bool known = at < tokens.size();
    out.targets.push_back(known ? tokens[at] : 0);
    out.weights.push_back(known ? plan.mtp_weight : 0);
  }
  return out;
}

// The most likely token of each row.
View best_tokens(Context& ctx, const View& logits) {
  const int64_t n = logits.rows();
  const View keys = ctx.arena.alloc(DType::i64, {n}), positions = ctx.arena.alloc(DType::i32, {n}),
             temperature = ctx.arena.alloc(DType::f32, {n}), token = ctx.arena.alloc(DType::i32, {n}),
             logp = ctx.arena.alloc(DType::f32, {n});
  run(ctx, Fill{keys, 0});
  run(ctx, Fill{positions, 0});
  run(ctx, Fill{temperature, 0});
  run(ctx, Sample{logits, keys, positions, temperature, token, logp, View{}});
  return token;
}

}  // namespace

int64_t mtp_tokens(const Sequence& s) { return std::max<int64_t>(static_cast<int64_t>(s.tokens.size()) - 2, 0); }

void mtp_loss(Pass& p, const Model& model, const MicroBatch& m, const PackedInput& input, const LossPlan& plan, const Value& h,
              LossTotals& totals) {
  R1_CHECK(m.all_rows, "the module attends to every row");
  Context& ctx = p.ctx;
  const Shifted next_but_one = shift(m, plan);
  const View next = upload_i32(ctx, m.targets), targets = upload_i32(ctx, next_but_one.targets),
             weights = upload_f32(ctx, next_but_one.weights);
  const Value rows = model.mtp_rows(p, h, next, input.positions);
  const View d_rows = p.tape ? p.tape->contribute(ctx, rows.id).first : View{};
  const View loss = ctx.arena.alloc(DType::f32, {1});
  run(ctx, Fill{loss, 0});
  for_head_chunks(ctx, head_chunk_rows(model, plan.config->logit_elements), rows.view.rows(), [&](int64_t begin, int64_t end) {
    const int64_t n = end - begin;
    const View part = rows.view.slice(begin, end), wanted = targets.slice(begin, end), logits = model.logits(p, part);
    const View logp = ctx.arena.alloc(DType::f32, {n}), lse = ctx.arena.alloc(DType::f32, {n}),
               dlogp = ctx.arena.alloc(DType::f32, {n});
    const std::vector<int32_t> best = download_as<int32_t>(best_tokens(ctx, logits));
    for (size_t i = 0; i < best.size(); ++i) {
      const size_t row = static_cast<size_t>(begin) + i;
      if (next_but_one.weights[row] == 0) continue;
      ++totals.mtp_tokens;
      totals.mtp_right += best[i] == next_but_one.targets[row];
    }
    run(ctx, LogProb{logits, wanted, logp, lse, View{}});
    run(ctx, NllLoss{logp, weights.slice(begin, end), dlogp, loss});
    if (!p.tape) return;
    run(ctx, LogProbBackward{logits, wanted, lse, dlogp, logits});
    head_backward(p, model, part, logits, d_rows.slice(begin, end));
  });
  totals.mtp_loss += download_as<float>(loss)[0];
}

}  // namespace r1
