// How often training and generation call a device: launches and copies cost microseconds each on one that runs beside the host,
// and a download waits for all that was queued. Counted on models as deep as real ones.
#include <gtest/gtest.h>

#include <string>

#include "models/generation/generator_engine.h"
#include "models/training/scoring_engine.h"
#include "tests/kernels/counting_device.h"
#include "tests/models/tiny.h"

namespace r1::test {
namespace {

constexpr int64_t kLayers = 28;

ModelConfig deep(Architecture a) {
  ModelConfig c = tiny_config(a);
  c.layers = kLayers;
  return c;
}

// Sequences that fill `micro_batches` micro-batches of `tokens`, with everything that any objective asks of them.
TrainBatch batch_of(int64_t micro_batches, int64_t tokens, int64_t vocab) {
  Rng rng(1, "calls");
  TrainBatch b;
  for (int64_t i = 0; i < 2 * micro_batches; ++i) {
    Sequence s = random_sequence(rng, tokens / 2, vocab, 3);
    s.advantage = i % 2 ? 1.0f : -1.0f;
    s.behaviour_logp.assign(s.tokens.size(), -2.9f);
    s.reference_logp = s.behaviour_logp;
    s.version.assign(s.tokens.size(), 0);
    s.exact = s.trainable;
    b.sequences.push_back(std::move(s));
  }
  return b;
}

struct Calls {
  DeviceCounts step;         // one train() of one micro-batch
  DeviceCounts micro_batch;  // what one more adds
};

DeviceCounts difference(const DeviceCounts& more, const DeviceCounts& less) {
  DeviceCounts d = more;
  d.ops -= less.ops, d.uploads -= less.uploads, d.downloads -= less.downloads, d.allocations -= less.allocations;
  for (const auto& [op, n] : less.by_op) d.by_op[op] -= n;
  return d;
}

Calls calls_of(const TrainerConfig& base, const ModelConfig& model) {
  constexpr int64_t kTokens = 32;
  CountingDevice device(open_device("cpu"), false);
  TrainerConfig c = base;
  c.micro_batch_tokens = kTokens;
  TrainerEngine engine(device, c, *random_weights(device, model, 3));
  engine.train(batch_of(2, kTokens, model.vocab_size));  // arenas have grown
  device.take();
  Calls calls;
  engine.train(batch_of(1, kTokens, model.vocab_size));
  calls.step = device.take();
  engine.train(batch_of(2, kTokens, model.vocab_size));
  calls.micro_batch = difference(device.take(), calls.step);
  return calls;
}

// Everything that is not forward and backward.
int64_t optimizer_ops(const Calls& c) { return c.step.ops - c.micro_batch.ops; }

// At most this many of each.
constexpr int64_t kMicroBatchDownloads = 1, kMicroBatchUploads = 1, kStepDownloads = 3, kOptimizerOps = 200, kDecodeCopies = 3,
                  kDraftCopies = 5;

class DeviceCalls : public ::testing::TestWithParam<Architecture> {};

TEST_P(DeviceCalls, of_a_micro_batch_and_of_an_optimizer_step_are_few) {
  for (const auto& [name, objective] : {std::pair{"pretrain", Objective::pretrain},
                                        {"sft", Objective::sft},
                                        {"grpo", Objective::grpo},
                                        {"reward_model", Objective::reward_model}}) {
    TrainerConfig c;
    c.objective = objective;
    c.precision = DType::bf16;
    if (objective == Objective::grpo) c.kl = 0.01;
    const Calls calls = calls_of(c, deep(GetParam()));
    EXPECT_GT(calls.micro_batch.ops, 20 * kLayers) << name;
    EXPECT_LE(calls.micro_batch.downloads, kMicroBatchDownloads) << name;
    EXPECT_LE(calls.micro_batch.uploads, kMicroBatchUploads) << name;
    EXPECT_LE(calls.step.downloads - calls.micro_batch.downloads, kStepDownloads) << name;
    EXPECT_LE(optimizer_ops(calls), kOptimizerOps) << name;
  }
}

TEST_P(DeviceCalls, of_attentions_backward_say_how_long_the_longest_sequence_is) {
  TrainerConfig c;
  c.objective = Objective::sft;
  const DeviceCounts n = calls_of(c, deep(GetParam())).step;
  constexpr int64_t kRows = 15;  // the last of a sequence's 16 tokens predicts nothing
  EXPECT_EQ(n.of("AttentionPackedBackward"), kLayers);
  EXPECT_EQ(n.longest, kLayers * kRows);
}

TEST_P(DeviceCalls, of_a_trainer_that_recomputes_run_every_layer_twice) {
  TrainerConfig c;
  c.objective = Objective::sft;
  for (const bool recompute : {false, true}) {
    c.recompute = recompute;
    const Calls calls = calls_of(c, deep(GetParam()));
    EXPECT_EQ(calls.micro_batch.of("AttentionPacked"), recompute ? 2 * kLayers : kLayers);
    EXPECT_EQ(calls.micro_batch.of("AttentionPackedBackward"), kLayers);
    EXPECT_LE(calls.micro_batch.downloads, kMicroBatchDownloads);
    EXPECT_LE(calls.micro_batch.uploads, kMicroBatchUploads);
    EXPECT_LE(optimizer_ops(calls), kOptimizerOps);
  }
}

// Each layer gathers the keys and the values of every sequence; then there are the head's rows.
TEST_P(DeviceCalls, of_trainers_references_and_reward_models_share_the_prompt_of_a_group) {
  const auto gathered = [](ModelConfig model, auto&& use) {
    CountingDevice device(open_device("cpu"), false);
    device.take();
    use(device, random_weights(device, model, 3), grouped_batch(4, 2, 4, model.vocab_size));
    return device.take().of("GatherRows");
  };
  const ModelConfig model = deep(GetParam());
  EXPECT_EQ(gathered(model, [](Device& d, auto w, const TrainBatch& b) { ScoringEngine(d, w).logprobs(b.sequences, 1); }),
            2 * kLayers + 1);
  const auto trained = [&](Objective objective) {
    return gathered(model, [&](Device& d, auto w, TrainBatch b) {
      TrainerConfig c;
      c.objective = objective;
      if (objective == Objective::grpo) add_scores(b, Rng(1, "scores"));
      TrainerEngine(d, c, *w).train(b);
    });
  };
  // Backward gathers keys and values again, and for the balance loss every layer of experts its scores.
  const int64_t balanced = model.moe.experts > 0 ? kLayers - model.moe.first_dense : 0, learned = 4 * kLayers + 1 + balanced;
  EXPECT_EQ(trained(Objective::grpo), learned);
  EXPECT_EQ(trained(Objective::sft), learned);
  EXPECT_EQ(trained(Objective::reward_model), learned);
  EXPECT_EQ(trained(Objective::pretrain), 0) << "every row of every sequence predicts";
  ModelConfig judge = model;
  judge.scalar_head = true;
  const auto scored = [](Device& d, auto w, const TrainBatch& b) {
    std::vector<std::vector<int32_t>> texts;
    for (const Sequence& s : b.sequences) texts.push_back(s.tokens);
    ScoringEngine(d, w).scores(texts);
  };
  EXPECT_EQ(gathered(judge, scored), 2 * kLayers + 1);
}

TEST_P(DeviceCalls, of_a_decode_step_are_few_and_none_allocates) {
  for (const bool draft : {false, true}) {
    ModelConfig model = deep(GetParam());
    if (draft && GetParam() != Architecture::deepseek_v3) continue;
    if (draft) model.mtp_layers = 1;
    CountingDevice device(open_device("cpu"), false);
    GeneratorConfig c;
    c.draft = draft;
    GeneratorEngine engine(device, c, random_weights(device, model, 3), 0);
    for (uint64_t i = 0; i < 8; ++i) {
      GenRequest r;
      r.id = r.rng_key = i;
      r.prompt = {1, 2, 3};
      r.samples = 4;
      r.max_new_tokens = 50;
      engine.submit(r);
    }
    for (int i = 0; i < 4; ++i) engine.step();
    device.take();
    for (int i = 0; i < 16; ++i) {
      engine.step();
      const DeviceCounts n = device.take();
      EXPECT_LE(n.copies(), draft ? kDraftCopies : kDecodeCopies) << "draft " << draft << ", step " << i;
      EXPECT_EQ(n.allocations, 0) << "draft " << draft << ", step " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, DeviceCalls,
                         ::testing::Values(Architecture::qwen2, Architecture::qwen3, Architecture::deepseek_v3),
                         [](const auto& info) {
                           return std::string(info.param == Architecture::qwen2   ? "qwen2"
                                              : info.param == Architecture::qwen3 ? "qwen3"
                                                                                  : "deepseek_v3");
                         });

}  // namespace
}  // namespace r1::test
