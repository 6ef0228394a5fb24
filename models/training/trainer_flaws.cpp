#include "models/training/trainer_flaws.h"

#include <fmt/format.h>

namespace r1 {
namespace {

constexpr int64_t kMostParts = int64_t{1} << 20;   // times the sequences of a batch is a number still
constexpr int64_t kMostTokens = int64_t{1} << 40;  // as plus the tokens of a batch
constexpr int64_t kMostRanks = 1024;               // each costs memory before it is there

bool within(int64_t x, int64_t least, int64_t most) { return x >= least && x <= most; }

}  // namespace

std::string flaw_of(const TrainerConfig& c) {
  if (c.optimizer != "adamw" && c.optimizer != "muon") return fmt::format("no optimizer '{}'", c.optimizer);
  if (c.precision != DType::f32 && c.precision != DType::bf16) return fmt::format("weights of {}", dtype_name(c.precision));
  if (!within(c.ranks, 1, kMostRanks)) return fmt::format("{} ranks", c.ranks);
  if (!within(c.inner_epochs, 1, c.objective == Objective::grpo ? kMostParts : 1)) return "inner epochs are of grpo";
  if (!within(c.mini_batches, 1, kMostParts) || !within(c.micro_batch_tokens, 1, kMostTokens))
    return fmt::format("{} mini-batches, micro-batches of {} tokens", c.mini_batches, c.micro_batch_tokens);
  if (!within(c.logit_elements, 1, kMostTokens)) return fmt::format("{} logits at once", c.logit_elements);
  if (c.warmup_steps < 0) return fmt::format("{} steps of warm-up", c.warmup_steps);
  if (!(c.temperature > 0)) return fmt::format("temperature={}", c.temperature);
  if (c.loss_mean == LossMean::constant && c.longest_completion < 1) return "a constant mean needs the longest completion";
  if (c.ratio != Ratio::token && (c.clip != Clip::ppo || c.loss_mean != LossMean::sequence))
    return "a ratio per sequence goes with the clipped form and the mean per sequence";
  if (c.mtp && (c.objective != Objective::pretrain || !(c.mtp_weight > 0)))
    return "the MTP module is trained in pre-training, with a weight";
  return "";
}

std::string flaw_of(const TrainerConfig& config, const ModelConfig& model) {
  if (model.scalar_head && config.objective != Objective::reward_model) return "a scalar head is trained by reward_model only";
  if (config.mtp && !model.has_mtp()) return "the model has no MTP module";
  return flaw_of(config);
}

std::string flaw_of_change(const TrainerConfig& now, const TrainerConfig& next) {
  const bool same = next.objective == now.objective && next.optimizer == now.optimizer && next.precision == now.precision &&
                    next.mtp == now.mtp && next.mini_batches == now.mini_batches && next.inner_epochs == now.inner_epochs &&
                    next.ranks == now.ranks;
  return same ? flaw_of(next) : "another kind of training";
}

std::string flaw_of(const TrainBatch& batch, const TrainerConfig& config, const ModelConfig& model) {
  const bool grpo = config.objective == Objective::grpo;
  if (config.objective == Objective::reward_model && batch.sequences.size() % 2 != 0) return "a preference batch holds pairs";
  if (batch.silent_sequences < 0 || batch.silent_tokens < 0)
    return fmt::format("{} silent sequences, {} silent tokens", batch.silent_sequences, batch.silent_tokens);
  for (const Sequence& s : batch.sequences) {
    const size_t n = s.tokens.size();
    if (static_cast<int64_t>(n) > model.max_positions) return fmt::format("{} tokens, {} positions", n, model.max_positions);
    if (!s.trainable.empty() && s.trainable.size() != n) return "one trainable flag per token";
    if (n == 0 && config.objective == Objective::reward_model) return "an empty answer has no score";
    for (size_t i = 0; i < n; ++i) {
      const bool learned = grpo && !s.trainable.empty() && s.trainable[i] != 0;
      if (!within(s.tokens[i], 0, (learned ? model.sampled_ids() : model.vocab_size) - 1))
        return fmt::format("token {} of {}", s.tokens[i], learned ? model.sampled_ids() : model.vocab_size);
    }
    if (!grpo || n == 0) continue;
    if (s.behaviour_logp.size() != n)
      return fmt::format("{} behaviour log-probabilities for {} tokens", s.behaviour_logp.size(), n);
    if (s.reference_logp.empty() ? config.kl != 0 : s.reference_logp.size() != n)
      return "a KL term needs reference log-probabilities";
    if (s.reference_logp.empty() != batch.sequences[0].reference_logp.empty())
      return "all sequences have a reference or none has";
    for (const size_t size : {s.version.size(), s.exact.size()})
      if (size != 0 && size != n) return "a version and a mark of what is exact for every token";
  }
  return "";
}

}  // namespace r1
