#include "models/training/objective.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "models/training/head_chunks.h"
#include "models/training/mtp_loss.h"

namespace r1 {
namespace {

// Per-row inputs of a token loss, on the device.
struct RowData {
  View targets, weight, behaviour, reference, proximal, advantage;
  View offsets;  // of the sequences in the rows, when they share a ratio
};

template <class F>
View gather_f32(Context& ctx, const MicroBatch& m, F&& value) {
  std::vector<float> host(m.rows.size());
  for (size_t n = 0; n < host.size(); ++n)
    host[n] = value(static_cast<size_t>(m.row_sequence[n]), static_cast<size_t>(m.row_token[n]));
  return upload_f32(ctx, host);
}

std::vector<int32_t> sequence_offsets(const MicroBatch& m) {
  std::vector<int32_t> offsets = {0};
  for (size_t n = 1; n <= m.rows.size(); ++n)
    if (n == m.rows.size() || m.row_sequence[n] != m.row_sequence[n - 1]) offsets.push_back(static_cast<int32_t>(n));
  return offsets;
}

RowData upload_rows(Context& ctx, const MicroBatch& m, const LossPlan& plan) {
  RowData r;
  const auto& seq = plan.sequences;
  r.targets = upload_i32(ctx, m.targets);
  r.weight = gather_f32(ctx, m, [&](size_t s, size_t) { return plan.sequence_weight[s]; });
  if (plan.config->objective != Objective::grpo) return r;
  r.behaviour = gather_f32(ctx, m, [&](size_t s, size_t t) { return seq[s].behaviour_logp[t]; });
  r.advantage = gather_f32(ctx, m, [&](size_t s, size_t) { return seq[s].advantage; });
  if (!seq[static_cast<size_t>(m.row_sequence[0])].reference_logp.empty())
    r.reference = gather_f32(ctx, m, [&](size_t s, size_t t) { return seq[s].reference_logp[t]; });
  if (!plan.proximal.empty()) r.proximal = gather_f32(ctx, m, [&](size_t s, size_t t) { return plan.proximal[s][t]; });
  if (plan.config->ratio == Ratio::sequence) r.offsets = upload_i32(ctx, sequence_offsets(m));
  return r;
}

View slice_or_absent(const View& v, int64_t begin, int64_t end) { return v ? v.slice(begin, end) : View{}; }

void compare_rows(const MicroBatch& m, const LossPlan& plan, const std::vector<float>& logp, LossTotals& totals) {
  for (size_t n = 0; n < logp.size(); ++n) {
    const Sequence& s = plan.sequences[static_cast<size_t>(m.row_sequence[n])];
    const auto t = static_cast<size_t>(m.row_token[n]);
    if (s.exact.empty() || s.version.empty() || !s.exact[t] || s.version[t] != plan.compare_version) continue;
    totals.gap.compare(logp[n], s.behaviour_logp[t], plan.numbers[static_cast<size_t>(m.row_sequence[n])], m.row_token[n]);
  }
}

// The policy loss of rows [begin, end): all tokens of their sequences when these share a ratio.
GrpoLoss policy_loss(const TrainerConfig& c, const RowData& r, int64_t begin, int64_t end, const View& logp, const View& dlogp,
                     const View& loss, const View& stats) {
  GrpoLoss op;
  op.logp = logp.slice(begin, end);
  op.behaviour = r.behaviour.slice(begin, end);
  op.reference = slice_or_absent(r.reference, begin, end);
  op.proximal = slice_or_absent(r.proximal, begin, end);
  op.advantage = r.advantage.slice(begin, end);
  op.weight = r.weight.slice(begin, end);
  op.offsets = r.offsets;
  op.dlogp = dlogp.slice(begin, end);
  op.loss = loss;
  op.stats = stats;
  op.clip_low = static_cast<float>(c.clip_low);
  op.clip_high = static_cast<float>(c.clip_high);
  op.kl = static_cast<float>(c.kl);
  op.behave_cap = static_cast<float>(c.behave_cap);
  op.behave_mask = c.behave_mask;
  op.cispo = c.clip == Clip::cispo;
  return op;
}

void token_loss(Pass& p, const Model& model, const MicroBatch& m, const LossPlan& plan, const Value& h, const View& dh,
                LossTotals& totals) {
  Context& ctx = p.ctx;
  const TrainerConfig& c = *plan.config;
  const bool grpo = c.objective == Objective::grpo, learn = static_cast<bool>(dh);
  const auto temperature = static_cast<float>(c.temperature);
  const int64_t rows = h.view.rows(), chunk = head_chunk_rows(model, c.logit_elements);
  const RowData r = upload_rows(ctx, m, plan);
  const View loss = ctx.arena.alloc(DType::f32, {1}), stats = ctx.arena.alloc(DType::f32, {6});
  const View logp = ctx.arena.alloc(DType::f32, {rows}), lse = ctx.arena.alloc(DType::f32, {rows}),
             dlogp = ctx.arena.alloc(DType::f32, {rows});
  const View entropy = grpo ? ctx.arena.alloc(DType::f32, {rows}) : View{};
  run(ctx, Fill{loss, 0});
  run(ctx, Fill{stats, 0});

  const auto forward = [&](int64_t begin, int64_t end) {
    const View logits = model.logits(p, h.view.slice(begin, end));
    run(ctx, LogProb{logits, r.targets.slice(begin, end), logp.slice(begin, end), lse.slice(begin, end),
                     slice_or_absent(entropy, begin, end), temperature});
    return logits;
  };
  const auto add_loss = [&](int64_t begin, int64_t end) {
    if (grpo)
      run(ctx, policy_loss(c, r, begin, end, logp, dlogp, loss, stats));
    else
      run(ctx, NllLoss{logp.slice(begin, end), r.weight.slice(begin, end), dlogp.slice(begin, end), loss});
  };
  const auto backward = [&](int64_t begin, int64_t end, const View& logits) {
    run(ctx, LogProbBackward{logits, r.targets.slice(begin, end), lse.slice(begin, end), dlogp.slice(begin, end), logits,
                             temperature});
    head_backward(p, model, h.view.slice(begin, end), logits, dh.slice(begin, end));
  };
  if (!r.offsets || rows <= chunk) {
    for_head_chunks(ctx, chunk, rows, [&](int64_t begin, int64_t end) {
      const View logits = forward(begin, end);
      add_loss(begin, end);
      if (learn) backward(begin, end, logits);
    });
  } else {
    // No token's gradient is known before all tokens of its sequence have been seen: the logits are computed twice.
    for_head_chunks(ctx, chunk, rows, [&](int64_t begin, int64_t end) { forward(begin, end); });
    add_loss(0, rows);
    if (learn)
      for_head_chunks(ctx, chunk, rows,
                      [&](int64_t begin, int64_t end) { backward(begin, end, model.logits(p, h.view.slice(begin, end))); });
  }

  totals.loss += download_as<float>(loss)[0];
  totals.tokens += static_cast<double>(m.rows.size());
  if (!grpo) return;
  for (float e : download_as<float>(entropy)) totals.entropy += e;
  if (plan.compare_version >= 0) compare_rows(m, plan, download_as<float>(logp), totals);
  const std::vector<float> sums = download_as<float>(stats);
  totals.clipped += sums[1];
  totals.kl += sums[2];
  totals.ratio += sums[5];
}

void pair_loss(Pass& p, const Model& model, const MicroBatch& m, const LossPlan& plan, const Value& h, const View& dh,
               LossTotals& totals) {
  Context& ctx = p.ctx;
  R1_CHECK(m.rows.size() % 2 == 0, fmt::format("{} rows are not pairs", m.rows.size()));
  const View scores = model.logits(p, h.view);
  const View dscores = ctx.arena.alloc(DType::f32, {h.view.rows(), 1});
  const View loss = ctx.arena.alloc(DType::f32, {1}), stats = ctx.arena.alloc(DType::f32, {2});
  run(ctx, Fill{loss, 0});
  run(ctx, Fill{stats, 0});
  run(ctx, PairLoss{scores, dscores, loss, stats, static_cast<float>(plan.config->score_l2), plan.sequence_weight[0]});
  if (dh) head_backward(p, model, h.view, dscores, dh);
  const std::vector<float> counts = download_as<float>(stats);
  totals.loss += download_as<float>(loss)[0];
  totals.pairs_right += counts[0];
  totals.pairs += counts[1];
  totals.tokens += static_cast<double>(m.ids.size());
}

}  // namespace

void LossTotals::add(const LossTotals& o) {
  loss += o.loss;
  entropy += o.entropy;
  tokens += o.tokens;
  clipped += o.clipped;
  kl += o.kl;
  ratio += o.ratio;
  balance += o.balance;
  mtp_loss += o.mtp_loss;
  mtp_right += o.mtp_right;
  mtp_tokens += o.mtp_tokens;
  pairs += o.pairs;
  pairs_right += o.pairs_right;
  gap.add(o.gap);
}

PackRules pack_rules(const TrainerConfig& c, int64_t lanes) {
  PackRules r;
  r.budget = c.micro_batch_tokens;
  r.spread = lanes;
  switch (c.objective) {
    case Objective::pretrain:
      r.head_rows = HeadRows::every_token;
      break;
    case Objective::sft:
    case Objective::grpo:
      r.head_rows = HeadRows::trainable;
      break;
    case Objective::reward_model:
      r.head_rows = HeadRows::last_token;
      r.group = 2;
      break;
  }
  return r;
}

Value forward_rows(Pass& p, const Model& model, const PackedInput& input) {
  return model.final_rows(p, model.trunk(p, input.ids, input.positions), input.rows);
}

std::vector<float> forward_logprobs(Lane& lane, const Model& model, const WeightSet& weights, const MicroBatch& m,
                                    double temperature) {
  const PackedInput input = upload_pack(lane.ctx, m);
  Pass p{lane.ctx, weights, input.attention};
  const Value h = forward_rows(p, model, input);
  const View targets = upload_i32(lane.ctx, m.targets);
  const View logp = lane.ctx.arena.alloc(DType::f32, {h.view.rows()}), lse = lane.ctx.arena.alloc(DType::f32, {h.view.rows()});
  for_head_chunks(lane.ctx, head_chunk_rows(model, kLogitElements), h.view.rows(), [&](int64_t begin, int64_t end) {
    const View logits = model.logits(p, h.view.slice(begin, end));
    run(lane.ctx, LogProb{logits, targets.slice(begin, end), logp.slice(begin, end), lse.slice(begin, end), View{},
                          static_cast<float>(temperature)});
  });
  return download_as<float>(logp);
}

std::vector<float> forward_scores(Lane& lane, const Model& model, const WeightSet& weights, const MicroBatch& m) {
  const PackedInput input = upload_pack(lane.ctx, m);
  Pass p{lane.ctx, weights, input.attention};
  return download_as<float>(model.logits(p, forward_rows(p, model, input).view));
}

void run_loss(Lane& lane, const Model& model, const WeightSet& weights, const MicroBatch& m, const LossPlan& plan, bool learn,
              LossTotals& totals) {
  const PackedInput input = upload_pack(lane.ctx, m);
  Pass p{lane.ctx, weights, input.attention};
  if (learn) {
    p.tape = &lane.tape;
    p.grads = &Lanes::ready_gradients(lane, weights);
    if (model.config().moe.experts > 0 && plan.balance_weight != 0) {
      p.balance_weight = plan.balance_weight;
      p.balance_loss = lane.ctx.arena.alloc(DType::f32, {1});
      run(lane.ctx, Fill{p.balance_loss, 0});
    }
  }
  const Value h = forward_rows(p, model, input);
  const View dh = learn ? lane.tape.contribute(lane.ctx, h.id).first : View{};
  if (plan.config->objective == Objective::reward_model)
    pair_loss(p, model, m, plan, h, dh, totals);
  else
    token_loss(p, model, m, plan, h, dh, totals);
  if (plan.mtp_weight != 0) mtp_loss(p, model, m, input, plan, h, totals);
  if (learn) run_backward(p);
  if (p.balance_loss) totals.balance += download_as<float>(p.balance_loss)[0];
}

}  // namespace r1
