#include "models/training/objective.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace r1 {
namespace {

// Logits held at once, in elements: 64 MiB of f32.
constexpr int64_t kLogitElements = int64_t{1} << 24;

int64_t head_chunk_rows(const Model& model) { return std::max<int64_t>(16, kLogitElements / model.head_rows()); }

// Runs f(begin, end) over fixed row chunks; what a chunk allocates dies with it.
template <class F>
void for_head_chunks(Context& ctx, const Model& model, int64_t rows, F&& f) {
  const int64_t chunk = head_chunk_rows(model);
  for (int64_t begin = 0; begin < rows; begin += chunk) {
    const Arena::Mark mark = ctx.arena.mark();
    f(begin, std::min(rows, begin + chunk));
    ctx.arena.release(mark);
  }
}

// Gradients through the head: dlogits [n, V] f32 -> dh rows (written) and the head's weight (added).
void head_backward(Pass& p, const Model& model, const View& h, const View& dlogits, const View& dh) {
  const int head = model.params().head;
  run(p.ctx, LinearBackwardInput{dlogits, p.weight(head), dh});
  run(p.ctx, LinearBackwardWeight{dlogits, h, p.grads->param(head), View{}});
}

// Per-row inputs of a token loss, on the device.
struct RowData {
  View targets, weight, behaviour, reference, proximal, advantage;
};

template <class F>
View gather_f32(Context& ctx, const MicroBatch& m, F&& value) {
  std::vector<float> host(m.rows.size());
  for (size_t n = 0; n < host.size(); ++n)
    host[n] = value(static_cast<size_t>(m.row_sequence[n]), static_cast<size_t>(m.row_token[n]));
  return upload_f32(ctx, host);
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
  return r;
}

View slice_or_absent(const View& v, int64_t begin, int64_t end) { return v ? v.slice(begin, end) : View{}; }

void compare_rows(const MicroBatch& m, const LossPlan& plan, int64_t begin, const std::vector<float>& logp,
                  LossTotals& totals) {
  for (size_t i = 0; i < logp.size(); ++i) {
    const size_t n = static_cast<size_t>(begin) + i;
    const Sequence& s = plan.sequences[static_cast<size_t>(m.row_sequence[n])];
    const auto t = static_cast<size_t>(m.row_token[n]);
    if (s.exact.empty() || s.version.empty() || !s.exact[t] || s.version[t] != plan.compare_version) continue;
    compare_logprob(logp[i], s.behaviour_logp[t], totals);
  }
}

void token_loss(Pass& p, const Model& model, const MicroBatch& m, const LossPlan& plan, const Value& h, const View& dh,
                LossTotals& totals) {
  Context& ctx = p.ctx;
  const TrainerConfig& c = *plan.config;
  const bool grpo = c.objective == Objective::grpo, learn = static_cast<bool>(dh);
  const RowData r = upload_rows(ctx, m, plan);
  const View loss = ctx.arena.alloc(DType::f32, {1}), stats = ctx.arena.alloc(DType::f32, {6});
  run(ctx, Fill{loss, 0});
  run(ctx, Fill{stats, 0});
  for_head_chunks(ctx, model, h.view.rows(), [&](int64_t begin, int64_t end) {
    const int64_t n = end - begin;
    const View rows = h.view.slice(begin, end), targets = r.targets.slice(begin, end);
    const View logits = model.logits(p, rows);
    const View logp = ctx.arena.alloc(DType::f32, {n}), lse = ctx.arena.alloc(DType::f32, {n}),
               dlogp = ctx.arena.alloc(DType::f32, {n});
    const View entropy = grpo ? ctx.arena.alloc(DType::f32, {n}) : View{};
    const auto temperature = static_cast<float>(c.temperature);
    run(ctx, LogProb{logits, targets, logp, lse, entropy, temperature});
    if (grpo) {
      run(ctx, GrpoLoss{logp, r.behaviour.slice(begin, end), slice_or_absent(r.reference, begin, end),
                        slice_or_absent(r.proximal, begin, end), r.advantage.slice(begin, end), r.weight.slice(begin, end),
                        dlogp, loss, stats, static_cast<float>(c.clip_low), static_cast<float>(c.clip_high),
                        static_cast<float>(c.kl), static_cast<float>(c.behave_cap)});
      for (float e : download_as<float>(entropy)) totals.entropy += e;
      if (plan.compare_version >= 0) compare_rows(m, plan, begin, download_as<float>(logp), totals);
    } else {
      run(ctx, NllLoss{logp, r.weight.slice(begin, end), dlogp, loss});
    }
    if (!learn) return;
    run(ctx, LogProbBackward{logits, targets, lse, dlogp, logits, temperature});
    head_backward(p, model, rows, logits, dh.slice(begin, end));
  });
  totals.loss += download_as<float>(loss)[0];
  totals.tokens += static_cast<double>(m.rows.size());
  if (!grpo) return;
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
  pairs += o.pairs;
  pairs_right += o.pairs_right;
  gap_max = std::max(gap_max, o.gap_max);
  gap_tokens += o.gap_tokens;
}

void compare_logprob(float trainer, float sampler, LossTotals& totals) {
  ++totals.gap_tokens;
  if (std::bit_cast<uint32_t>(trainer) == std::bit_cast<uint32_t>(sampler)) return;
  const double gap = std::abs(static_cast<double>(trainer) - static_cast<double>(sampler));
  totals.gap_max = std::max(totals.gap_max, std::isnan(gap) ? std::numeric_limits<double>::infinity() : gap);
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
  for_head_chunks(lane.ctx, model, h.view.rows(), [&](int64_t begin, int64_t end) {
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
  }
  const Value h = forward_rows(p, model, input);
  const View dh = learn ? lane.tape.contribute(lane.ctx, h.id).first : View{};
  if (plan.config->objective == Objective::reward_model)
    pair_loss(p, model, m, plan, h, dh, totals);
  else
    token_loss(p, model, m, plan, h, dh, totals);
  if (learn) run_backward(p);
}

}  // namespace r1
