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

// Per-row inputs of a token loss: on their way to the device, and there.
template <class T>
struct RowInputs {
  T targets, weight, behaviour, reference, proximal, advantage;
  T offsets;                   // of the sequences in the rows, when they share a ratio
  T mtp_targets, mtp_weights;  // when the MTP module is trained
};
using RowSlots = RowInputs<Staging::Slot>;
using RowData = RowInputs<View>;

template <class F>
Staging::Slot gather_f32(Staging& staging, const MicroBatch& m, F&& value) {
  std::vector<float> host(m.rows.size());
  for (size_t n = 0; n < host.size(); ++n)
    host[n] = value(static_cast<size_t>(m.row_sequence[n]), static_cast<size_t>(m.row_token[n]));
  return staging.add(host);
}

std::vector<int32_t> sequence_offsets(const MicroBatch& m) {
  std::vector<int32_t> offsets = {0};
  for (size_t n = 1; n <= m.rows.size(); ++n)
    if (n == m.rows.size() || m.row_sequence[n] != m.row_sequence[n - 1]) offsets.push_back(static_cast<int32_t>(n));
  return offsets;
}

RowSlots add_rows(Staging& staging, const MicroBatch& m, const LossPlan& plan, const MtpTargets* mtp) {
  RowSlots r;
  const auto& seq = plan.sequences;
  if (plan.config->objective == Objective::reward_model) return r;
  r.targets = staging.add(m.targets);
  r.weight = gather_f32(staging, m, [&](size_t s, size_t) { return plan.sequence_weight[s]; });
  if (mtp != nullptr) {
    r.mtp_targets = staging.add(mtp->targets);
    r.mtp_weights = staging.add(mtp->weights);
  }
  if (plan.config->objective != Objective::grpo) return r;
  r.behaviour = gather_f32(staging, m, [&](size_t s, size_t t) { return seq[s].behaviour_logp[t]; });
  r.advantage = gather_f32(staging, m, [&](size_t s, size_t) { return seq[s].advantage; });
  if (!seq[static_cast<size_t>(m.row_sequence[0])].reference_logp.empty())
    r.reference = gather_f32(staging, m, [&](size_t s, size_t t) { return seq[s].reference_logp[t]; });
  if (!plan.proximal.empty()) r.proximal = gather_f32(staging, m, [&](size_t s, size_t t) { return plan.proximal[s][t]; });
  if (plan.config->ratio == Ratio::sequence) r.offsets = staging.add(sequence_offsets(m));
  return r;
}

RowData view_rows(const Staging& s, const RowSlots& r) {
  return {s.view(r.targets),   s.view(r.weight),  s.view(r.behaviour),   s.view(r.reference),  s.view(r.proximal),
          s.view(r.advantage), s.view(r.offsets), s.view(r.mtp_targets), s.view(r.mtp_weights)};
}

// What a micro-batch tells the host: one block, read once, when nothing is left to be issued. A read in the middle would let
// the device run dry.
class Report {
 public:
  // rows: of the head.
  Report(Context& ctx, int64_t rows, const LossPlan& plan)
      : rows_(rows),
        grpo_(plan.config->objective == Objective::grpo),
        mtp_(plan.mtp_weight != 0),
        all_(ctx.arena.alloc(DType::f32, {kSums + (grpo_ ? 2 * rows : 0) + (mtp_ ? rows : 0)})) {
    run(ctx, Fill{all_, 0});
  }

  View loss() const { return all_.slice(0, 1); }
  View balance() const { return all_.slice(1, 2); }
  View mtp_loss() const { return all_.slice(2, 3); }
  View stats(int64_t n) const { return all_.slice(3, 3 + n); }
  // Of each row; grpo.
  View logp() const { return all_.slice(kSums, kSums + rows_); }
  View entropy() const { return all_.slice(kSums + rows_, kSums + 2 * rows_); }
  // [rows] i32; mtp.
  View mtp_best() const {
    return contiguous_view(*all_.device, all_.slice(all_.size() - rows_, all_.size()).data, DType::i32, &rows_, 1);
  }

  void read(const MicroBatch& m, const LossPlan& plan, const MtpTargets& mtp, LossTotals& totals) const;

 private:
  static constexpr int64_t kSums = 16;
  int64_t rows_;
  bool grpo_, mtp_;
  View all_;
};

View slice_or_absent(const View& v, int64_t begin, int64_t end) { return v ? v.slice(begin, end) : View{}; }

void compare_rows(const MicroBatch& m, const LossPlan& plan, std::span<const float> logp, LossTotals& totals) {
  for (size_t n = 0; n < logp.size(); ++n) {
    const Sequence& s = plan.sequences[static_cast<size_t>(m.row_sequence[n])];
    const auto t = static_cast<size_t>(m.row_token[n]);
    if (s.exact.empty() || s.version.empty() || !s.exact[t] || s.version[t] != plan.compare_version) continue;
    totals.gap.compare(logp[n], s.behaviour_logp[t], plan.numbers[static_cast<size_t>(m.row_sequence[n])], m.row_token[n]);
  }
}

void Report::read(const MicroBatch& m, const LossPlan& plan, const MtpTargets& mtp, LossTotals& totals) const {
  const std::vector<float> host = download_as<float>(all_);
  const auto n = static_cast<size_t>(rows_);
  const float* const stats = host.data() + 3;
  totals.loss += host[0];
  totals.balance += host[1];
  totals.mtp_loss += host[2];
  if (plan.config->objective == Objective::reward_model) {
    totals.pairs_right += stats[0];
    totals.pairs += stats[1];
    totals.tokens += static_cast<double>(m.offsets.back());
    return;
  }
  totals.tokens += static_cast<double>(m.rows.size());
  const std::span<const float> rows = std::span(host).subspan(static_cast<size_t>(kSums));
  if (grpo_) {
    for (float e : rows.subspan(n, n)) totals.entropy += e;
    if (plan.compare_version >= 0) compare_rows(m, plan, rows.first(n), totals);
    totals.clipped += stats[1];
    totals.kl += stats[2];
    totals.ratio += stats[5];
  }
  for (size_t i = 0; mtp_ && i < n; ++i) {
    if (mtp.weights[i] == 0) continue;
    ++totals.mtp_tokens;
    totals.mtp_right += std::bit_cast<int32_t>(rows.last(n)[i]) == mtp.targets[i];
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

void token_loss(Pass& p, const Model& model, const RowData& r, const LossPlan& plan, const Value& h, const View& dh,
                const Report& report) {
  Context& ctx = p.ctx;
  const TrainerConfig& c = *plan.config;
  const bool grpo = c.objective == Objective::grpo, learn = static_cast<bool>(dh);
  const auto temperature = static_cast<float>(c.temperature);
  const int64_t rows = h.view.rows(), chunk = head_chunk_rows(model, c.logit_elements);
  const View loss = report.loss(), stats = report.stats(6);
  const View logp = grpo ? report.logp() : ctx.arena.alloc(DType::f32, {rows}), entropy = grpo ? report.entropy() : View{};
  const View lse = ctx.arena.alloc(DType::f32, {rows}), dlogp = ctx.arena.alloc(DType::f32, {rows});

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
}

void pair_loss(Pass& p, const Model& model, const LossPlan& plan, const Value& h, const View& dh, const Report& report) {
  Context& ctx = p.ctx;
  R1_CHECK(h.view.rows() % 2 == 0, fmt::format("{} rows are not pairs", h.view.rows()));
  const View scores = model.logits(p, h.view);
  const View dscores = ctx.arena.alloc(DType::f32, {h.view.rows(), 1});
  run(ctx, PairLoss{scores, dscores, report.loss(), report.stats(2), static_cast<float>(plan.config->score_l2),
                    plan.sequence_weight[0]});
  if (dh) head_backward(p, model, h.view, dscores, dh);
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
  r.spread = lanes * static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(c.ranks)));
  r.share_prompts = c.objective != Objective::pretrain;
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
  lane.staging.clear();
  const PackedSlots packed = add_pack(lane.staging, m);
  const Staging::Slot target_slot = lane.staging.add(m.targets);
  lane.staging.send(lane.ctx.arena);
  const PackedInput input = view_pack(lane.staging, packed);
  const View targets = lane.staging.view(target_slot);
  Pass p{lane.ctx, weights, input.attention};
  const Value h = forward_rows(p, model, input);
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
  Staging& staging = lane.staging;
  staging.clear();
  const PackedSlots packed = add_pack(staging, m);
  const MtpTargets mtp = plan.mtp_weight != 0 ? mtp_targets(m, plan) : MtpTargets{};
  const RowSlots slots = add_rows(staging, m, plan, plan.mtp_weight != 0 ? &mtp : nullptr);
  staging.send(lane.ctx.arena);
  const PackedInput input = view_pack(staging, packed);
  const RowData rows = view_rows(staging, slots);
  const Report report(lane.ctx, static_cast<int64_t>(m.rows.size()), plan);

  Pass p{lane.ctx, weights, input.attention};
  if (learn) {
    p.tape = &lane.tape;
    p.grads = &Lanes::ready_gradients(lane, weights);
    p.recompute = plan.config->recompute;
    if (model.config().moe.experts > 0 && plan.balance_weight != 0) {
      p.balance_weight = plan.balance_weight;
      p.balance_loss = report.balance();
    }
  }
  const Value h = forward_rows(p, model, input);
  const View dh = learn ? lane.tape.contribute(lane.ctx, h.id).first : View{};
  if (plan.config->objective == Objective::reward_model)
    pair_loss(p, model, plan, h, dh, report);
  else
    token_loss(p, model, rows, plan, h, dh, report);
  if (plan.mtp_weight != 0)
    mtp_loss(p, model, input, plan, h,
             {rows.targets, rows.mtp_targets, rows.mtp_weights, report.mtp_loss(), report.mtp_best()});
  if (learn) run_backward(p);
  report.read(m, plan, mtp, totals);
}

}  // namespace r1
