// What a trainer's engine is told and what it says of a batch. Plain data; the engine is models/training/trainer_engine.h.
// Thread rule: values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/tensor.h"
#include "models/training/logprob_gap.h"

namespace r1 {

enum class Objective { pretrain, sft, grpo, reward_model };
// grpo: per token over the mini-batch; per sequence (1/|o_i|), then mean; sum / (sequences * longest completion) (Dr.GRPO)
enum class LossMean { token, sequence, constant };
enum class Ratio { token, sequence };  // grpo: of a token's probabilities, or their geometric mean over its sequence (GSPO)
enum class Clip { ppo, cispo };  // grpo: min of plain and clipped term, or clipped importance weight times log-probability
enum class Schedule { constant, cosine, linear };  // after warm-up, down to lr_end * lr at total_steps

// Logits held at once: 64 MiB of f32. The head runs in chunks of rows.
inline constexpr int64_t kLogitElements = int64_t{1} << 24;

struct TrainerConfig {
  Objective objective = Objective::sft;
  // optimizer
  std::string optimizer = "adamw";  // "adamw" or "muon" (matrices by Muon, the rest by AdamW)
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.95, eps = 1e-8, weight_decay = 0, clip_norm = 1;
  double muon_lr = 0.02, muon_momentum = 0.95, muon_weight_decay = 0.1;
  Schedule schedule = Schedule::constant;
  double lr_end = 0;                          // share of lr at the end of the schedule
  int64_t warmup_steps = 0, total_steps = 0;  // optimizer steps
  // batches
  int64_t mini_batches = 1;  // optimizer steps a batch and inner epoch
  int64_t inner_epochs = 1;  // grpo: passes over a batch (mu of arXiv 2402.03300, algorithm 1)
  // grpo, several mini-batches: they are cut from the batch in a random order, another one each version and inner epoch, that
  // is a function of `shuffle_key`; else in the order of the batch.
  bool shuffle = false;
  uint64_t shuffle_key = 0;
  int64_t micro_batch_tokens = 1024;
  bool recompute = false;  // activations of a layer are computed again in the backward pass instead of kept; the same bits
  // Engines that share every mini-batch's micro-batches, and the optimizer (models/training/ranked_learner.h).
  int64_t ranks = 1;
  int64_t logit_elements = kLogitElements;
  double temperature = 1;  // of the sampler whose log-probabilities are compared
  // grpo
  double clip_low = 0.2, clip_high = 0.2, kl = 0;
  LossMean loss_mean = LossMean::sequence;
  int64_t longest_completion = 0;  // tokens; LossMean::constant needs it
  Ratio ratio = Ratio::token;      // sequence: with Clip::ppo and LossMean::sequence only
  Clip clip = Clip::ppo;
  bool decoupled = false;    // proximal log-probabilities computed at the start of the batch (stale data)
  double behave_cap = 5;     // decoupled: the largest importance weight exp(proximal - behaviour)
  bool behave_mask = false;  // decoupled: larger weights become 0 instead of behave_cap
  // reward_model
  double score_l2 = 0;
  // models with experts (docs/recipe.md section 10)
  double bias_update_rate = 0.001;  // step of the selection bias towards balance after each optimizer step; 0: off
  double balance_loss = 1e-4;       // coefficient alpha of the sequence-wise balance loss; 0: off
  // pretrain: the multi-token prediction module is trained too, its loss times mtp_weight (docs/recipe.md section 11)
  bool mtp = false;
  double mtp_weight = 0.3;
  DType precision = DType::f32;  // of weights and activations in forward and backward
};

struct TrainStats {
  double loss = 0, grad_norm = 0, lr = 0;
  int64_t tokens = 0, trained_tokens = 0, optimizer_steps = 0;  // tokens: each once, whatever inner_epochs
  int64_t micro_batches = 0;  // of the optimizer step that had the most; fewer than ranks leave some idle
  // grpo
  double kl = 0, clip_fraction = 0, ratio_mean = 0, entropy = 0;
  // P2: over tokens of the batch whose version is `version()` and exact, in the forward pass before the first optimizer step
  // (with mini_batches > 1: the tokens of the first one, whose forward pass that is; when decoupled: all).
  // LogprobGap::sequence is the number in the batch.
  LogprobGap logprob_gap;
  // reward_model
  double pair_accuracy = 0;
  // Models with experts and a selection bias: per layer with experts the share of its assignments that each expert got, over
  // the optimizer steps of the batch (empty without a step; the MTP module's layer is last and only there when it is trained);
  // max - min of the selection bias, maximum over layers; the balance loss, mean over the steps (not part of `loss`).
  std::vector<std::vector<double>> expert_load;
  double expert_bias_spread = 0, balance_loss = 0;
  // mtp: mean loss (without mtp_weight; not part of `loss`) and how often the module's best guess is the token after the next.
  double mtp_loss = 0, mtp_accuracy = 0;
};

}  // namespace r1
