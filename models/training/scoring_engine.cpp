#include "models/training/scoring_engine.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "models/training/objective.h"

namespace r1 {

struct ScoringEngine::Impl {
  std::shared_ptr<const WeightSet> weights;
  Model model;
  Lanes lanes;
  int64_t budget;

  PackRules rules(HeadRows rows) const {
    PackRules r;
    r.head_rows = rows;
    r.budget = budget;
    r.spread = lanes.size();
    r.share_prompts = true;
    return r;
  }
};

ScoringEngine::ScoringEngine(Device& device, std::shared_ptr<const WeightSet> weights, int64_t micro_batch_tokens)
    : impl_(std::make_unique<Impl>(
          Impl{weights, Model(device, weights->config()), Lanes(device, weights->config()), micro_batch_tokens})) {
  R1_CHECK(micro_batch_tokens >= 1, fmt::format("{}", micro_batch_tokens));
}
ScoringEngine::~ScoringEngine() = default;

void ScoringEngine::set_weights(std::shared_ptr<const WeightSet> weights) {
  R1_CHECK(weights->flat().size() == impl_->weights->flat().size(), "weights of the same model");
  impl_->weights = std::move(weights);
}

std::vector<std::vector<float>> ScoringEngine::logprobs(const std::vector<Sequence>& sequences, double temperature) {
  Impl& e = *impl_;
  R1_CHECK(!e.model.config().scalar_head, "a reward model has no vocabulary");
  std::vector<std::vector<float>> out(sequences.size());
  for (size_t i = 0; i < sequences.size(); ++i) {
    R1_CHECK(static_cast<int64_t>(sequences[i].tokens.size()) <= e.model.config().max_positions,
             "sequence longer than max_positions");
    out[i].resize(sequences[i].tokens.size(), 0);
  }
  const bool some = std::ranges::none_of(sequences, [](const Sequence& s) { return s.trainable.empty(); });
  const std::vector<MicroBatch> packs = pack(sequences, e.rules(some ? HeadRows::trainable : HeadRows::every_token));
  e.lanes.for_each(static_cast<int64_t>(packs.size()), [&](Lane& lane, int64_t i) {
    const MicroBatch& m = packs[static_cast<size_t>(i)];
    const std::vector<float> logp = forward_logprobs(lane, e.model, *e.weights, m, temperature);
    for (size_t n = 0; n < logp.size(); ++n)
      out[static_cast<size_t>(m.row_sequence[n])][static_cast<size_t>(m.row_token[n])] = logp[n];
  });
  return out;
}

std::vector<float> ScoringEngine::scores(const std::vector<std::vector<int32_t>>& sequences) {
  Impl& e = *impl_;
  R1_CHECK(e.model.config().scalar_head, "only a reward model gives scores");
  std::vector<float> out(sequences.size(), 0);
  for (const auto& s : sequences)
    R1_CHECK(!s.empty() && static_cast<int64_t>(s.size()) <= e.model.config().max_positions,
             fmt::format("{} tokens", s.size()));
  const std::vector<MicroBatch> packs = pack_tokens(sequences, e.rules(HeadRows::last_token));
  e.lanes.for_each(static_cast<int64_t>(packs.size()), [&](Lane& lane, int64_t i) {
    const MicroBatch& m = packs[static_cast<size_t>(i)];
    const std::vector<float> scores = forward_scores(lane, e.model, *e.weights, m);
    for (size_t n = 0; n < scores.size(); ++n) out[static_cast<size_t>(m.row_sequence[n])] = scores[n];
  });
  return out;
}

}  // namespace r1
