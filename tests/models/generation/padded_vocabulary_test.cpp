// A vocabulary that is padded beyond the tokenizer's ids, whose rows want to be sampled: sampler, reference and GRPO loss are
// to the bit those of the model without the padding; each of the three by itself, so that a mask left out of one is seen.
#include <gtest/gtest.h>

#include "tests/models/generation/generation_helpers.h"

namespace r1::testing {
namespace {

// The model of `narrow` with `padding` further rows in embedding and head, made so that they get large logits.
std::shared_ptr<WeightSet> padded(Device& device, const WeightSet& narrow, int64_t padding) {
  ModelConfig config = narrow.config();
  config.vocab_size += padding;
  auto wide = std::make_shared<WeightSet>(device, config, DType::f32);
  for (size_t i = 0; i < wide->specs().size(); ++i) {
    const ParamSpec& spec = wide->specs()[i];
    std::vector<float> host = download_as<float>(narrow.param(i));
    if (spec.role == ParamRole::embedding || spec.role == ParamRole::head)
      for (int64_t n = 0; n < padding * spec.shape[1]; ++n) host.push_back(3 * host[static_cast<size_t>(n)]);
    upload(wide->param(i), host);
  }
  wide->set_token_ids(narrow.config().vocab_size);
  return wide;
}

struct PaddedVocabulary : ::testing::TestWithParam<bool> {
  PaddedVocabulary() {
    ModelConfig config = random_model_config(Architecture::llama);
    config.tied_head = GetParam();
    narrow = random_weights(device, config, DType::f32, 5);
    wide = padded(device, *narrow, kPadding);
    requests = random_requests(7, 12, static_cast<int32_t>(config.vocab_size));
  }
  // Two samples of every request, as a batch of the grpo objective.
  TrainBatch batch(const Results& results) const {
    TrainBatch out;
    for (const auto& [id, r] : results)
      for (size_t s = 0; s < r.samples.size(); ++s) {
        out.sequences.push_back(r.samples[s]);
        out.sequences.back().advantage = s % 2 == 0 ? 1.f : -0.5f;
      }
    return out;
  }
  static constexpr int64_t kPadding = 13;
  Device& device = open_device("cpu");
  std::shared_ptr<WeightSet> narrow, wide;
  std::vector<GenRequest> requests;
};

TEST_P(PaddedVocabulary, is_never_sampled_and_the_samplers_log_probabilities_are_those_without_it) {
  const Results samples = generate(device, wide, {}, requests);
  for (const auto& [id, r] : samples)
    for (const Sequence& s : r.samples)
      for (const int32_t token : s.tokens) ASSERT_LT(token, narrow->config().vocab_size);
  expect_same_bits(generate(device, narrow, {}, requests), samples, "padding");
  wide->set_token_ids(wide->config().vocab_size);
  int64_t beyond = 0;
  for (const auto& [id, r] : generate(device, wide, {}, requests))
    for (const Sequence& s : r.samples)
      for (const int32_t token : s.tokens) beyond += token >= narrow->config().vocab_size;
  EXPECT_GT(beyond, 20) << "the padding would be sampled";
}

TEST_P(PaddedVocabulary, does_not_count_in_the_references_log_probabilities) {
  const Results samples = generate(device, narrow, {}, requests);
  EXPECT_GT(expect_equal_to_packed(device, {{0, wide}}, requests, samples), 100);
}

TEST_P(PaddedVocabulary, does_not_count_in_the_grpo_loss_and_gets_no_gradient_from_it) {
  const TrainBatch b = batch(generate(device, narrow, {}, requests));
  TrainerConfig config;
  config.objective = Objective::grpo;
  config.lr = 0.01;
  config.clip_norm = 0;  // a norm is summed chunk by chunk of all parameters, and the chunks differ
  TrainerEngine a(device, config, *narrow), c(device, config, *wide);
  const TrainStats x = a.train(b), y = c.train(b);
  EXPECT_EQ(x.loss, y.loss);
  EXPECT_EQ(x.entropy, y.entropy);
  const auto without = a.weights(), with = c.weights();
  for (size_t i = 0; i < without->specs().size(); ++i) {
    const std::vector<float> p = download_as<float>(without->param(i)), q = download_as<float>(with->param(i));
    EXPECT_EQ(p, std::vector<float>(q.begin(), q.begin() + static_cast<std::ptrdiff_t>(p.size()))) << without->specs()[i].name;
    const std::vector<float> before = download_as<float>(wide->param(i));
    EXPECT_TRUE(std::equal(q.begin() + static_cast<std::ptrdiff_t>(p.size()), q.end(),
                           before.begin() + static_cast<std::ptrdiff_t>(p.size())))
        << without->specs()[i].name;
  }
}

TEST_P(PaddedVocabulary, is_pushed_down_by_supervised_learning) {
  TrainBatch b = batch(generate(device, narrow, {}, requests));
  TrainerConfig config;
  config.objective = Objective::sft;
  TrainerEngine a(device, config, *narrow), c(device, config, *wide);
  EXPECT_GT(c.train(b).loss, a.train(b).loss + 0.1);
}

TEST_P(PaddedVocabulary, goes_with_the_configuration) {
  const ModelConfig read = parse_model_config(model_config_json(wide->config(), "float32"), "config.json");
  EXPECT_EQ(read.token_ids, narrow->config().vocab_size);
  EXPECT_EQ(read.sampled_ids(), narrow->config().vocab_size);
  EXPECT_EQ(narrow->config().sampled_ids(), narrow->config().vocab_size);
}

INSTANTIATE_TEST_SUITE_P(Heads, PaddedVocabulary, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "tied" : "separate"; });

}  // namespace
}  // namespace r1::testing
