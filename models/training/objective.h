// One micro-batch through model, loss and back: the objectives' formulas meet the model here. Not the loop over micro-batches
// and no optimizer (trainer_engine.cpp).
//
// The head is run in row chunks, forward and backward together, so that logits of a large vocabulary never exist all at once.
// Thread rule: a Lane belongs to one thread at a time.
#pragma once

#include <span>
#include <vector>

#include "models/training/lane.h"
#include "models/training/logprob_gap.h"
#include "models/training/trainer_engine.h"

namespace r1 {

// What the loss of one optimizer step needs to know beside the sequences. Borrowed.
struct LossPlan {
  const TrainerConfig* config = nullptr;
  std::span<const Sequence> sequences;
  std::vector<float> sequence_weight;            // [sequences] factor of every counted token (normaliser)
  std::span<const std::vector<float>> proximal;  // per sequence, per token; empty unless decoupled
  float mtp_weight = 0;                          // of every token that the MTP module predicts; 0: it is not trained
  float balance_weight = 0;                      // of every sequence's balance loss (models with experts); 0: off
  int64_t compare_version = -1;                  // P2: compare tokens of this version that are exact; -1: none
  std::span<const int64_t> numbers;              // of each sequence in its batch
};

// Sums of one or several micro-batches, in doubles; added in a fixed order.
struct LossTotals {
  double loss = 0, entropy = 0, tokens = 0;
  double clipped = 0, kl = 0, ratio = 0;               // grpo, sums over tokens
  double pairs = 0, pairs_right = 0;                   // reward_model
  double mtp_loss = 0, mtp_right = 0, mtp_tokens = 0;  // weighted loss of the MTP module, tokens guessed right, tokens
  double balance = 0;                                  // balance loss, weighted
  LogprobGap gap;
  void add(const LossTotals& other);
};

// The training forward pass up to the rows of the head, [N, D].
Value forward_rows(Pass& pass, const Model& model, const PackedInput& input);

// log softmax(logits / temperature)[target] of every head row, in order.
std::vector<float> forward_logprobs(Lane&, const Model&, const WeightSet&, const MicroBatch&, double temperature);
// The scalar head of every head row.
std::vector<float> forward_scores(Lane&, const Model&, const WeightSet&, const MicroBatch&);

// Loss of a micro-batch and, when `learn`, its gradients added to the lane's. Adds to `totals`.
void run_loss(Lane&, const Model&, const WeightSet&, const MicroBatch&, const LossPlan&, bool learn, LossTotals& totals);

// How many sequences a packed micro-batch may be cut for, and which rows its head needs.
PackRules pack_rules(const TrainerConfig&, int64_t lanes);

}  // namespace r1
