// What is held is what was published, whichever way it came, or what was held before.
#include "actors/weight_receiver.h"

#include <gtest/gtest.h>

#include "tests/models/generation/random_models.h"

namespace r1 {
namespace {

struct WeightReceiverTest : ::testing::Test {
  Device& device = open_device("cpu");
  ModelConfig config = testing::random_model_config(Architecture::qwen2);
  WeightReceiver receiver{device};

  // Versions that differ in a few values, so that a delta is shorter than the whole.
  std::shared_ptr<WeightSet> weights(int version) {
    auto set = testing::random_weights(device, config, DType::f32, 1);
    Context ctx(device);
    run(ctx, Fill{set->param(0).slice(0, 1), static_cast<float>(version)});
    return set;
  }

  // As inside a process.
  static WeightsMessage message(const std::shared_ptr<const WeightSet>& weights, int64_t version) {
    WeightsMessage m;
    m.version = version;
    m.hash = weights->hash();
    m.weights = weights;
    return m;
  }
  // As from another one; `before`: null for a whole set.
  WeightsMessage message(const WeightSet* before, int64_t from, const std::shared_ptr<const WeightSet>& next, int64_t to) {
    WeightsMessage m;
    m.version = to;
    m.delta = encode_delta(before, from, *next, to);
    m.hash = m.delta.hash;
    m.config = std::make_shared<ModelConfig>(config);
    m.dtype = next->dtype();
    return m;
  }
  std::string refusal(const WeightsMessage& m) {
    try {
      receiver.take(m);
    } catch (const Error& e) {
      return e.message();
    }
    return "";
  }
};

TEST_F(WeightReceiverTest, a_whole_version_a_delta_and_the_set_itself_all_come_to_what_was_published) {
  const auto first = weights(1), second = weights(2), fourth = weights(4);
  EXPECT_EQ(receiver.version(), -1);
  EXPECT_EQ(receiver.take(message(nullptr, -1, first, 1))->hash(), first->hash());
  const WeightsMessage delta = message(first.get(), 1, second, 2);
  ASSERT_FALSE(delta.delta.full()) << "the test is vacuous";
  EXPECT_EQ(receiver.take(delta)->hash(), second->hash());
  EXPECT_EQ(receiver.take(message(fourth, 4)), fourth);
  EXPECT_EQ(receiver.version(), 4);
  EXPECT_EQ(receiver.take(message(first.get(), 3, fourth, 4)), fourth) << "the version that is held, again";
}

TEST_F(WeightReceiverTest, on_every_way_weights_with_another_hash_than_the_published_one_are_refused_and_nothing_changes) {
  const auto first = weights(1), second = weights(2);
  receiver.hold(first, 1);
  for (WeightsMessage m : {message(nullptr, -1, second, 2), message(first.get(), 1, second, 2), message(second, 8),
                           message(nullptr, -1, first, 1)}) {
    SCOPED_TRACE("from " + std::to_string(m.delta.from) + " to " + std::to_string(m.version));
    m.hash.lo ^= 1;
    m.delta.hash.lo ^= 1;
    EXPECT_NE(refusal(m).find("weights of version " + std::to_string(m.version) + " hash to"), std::string::npos) << refusal(m);
    EXPECT_EQ(receiver.held(), first);
    EXPECT_EQ(receiver.version(), 1);
  }
}

TEST_F(WeightReceiverTest, a_delta_to_what_is_not_held_is_refused) {
  const auto first = weights(1), second = weights(2);
  EXPECT_EQ(refusal(message(first.get(), 7, second, 8)),
            "version 8 of the weights is the difference to version 7, and version -1 is held");
}

}  // namespace
}  // namespace r1
