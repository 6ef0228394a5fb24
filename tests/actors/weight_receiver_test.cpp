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
    if (!m.weights && !m.delta.full() && m.version == 2) continue;  // the test below
    EXPECT_NE(refusal(m).find("weights of version " + std::to_string(m.version) + " hash to"), std::string::npos) << refusal(m);
    EXPECT_EQ(receiver.held(), first);
    EXPECT_EQ(receiver.version(), 1);
  }
}

TEST_F(WeightReceiverTest, a_difference_that_moves_what_is_held_otherwise_is_refused_and_nothing_changes) {
  const auto first = weights(1), second = weights(2);
  receiver.take(message(nullptr, -1, first, 1));
  WeightsMessage m = message(first.get(), 1, second, 2);
  m.delta.change.a ^= 1;
  EXPECT_NE(refusal(m).find("from version 1 to 2 does not change the weights that are held as it changed the sender's"),
            std::string::npos)
      << refusal(m);
  EXPECT_EQ(receiver.version(), 1);
  EXPECT_EQ(receiver.held()->hash(), first->hash());
  EXPECT_EQ(receiver.take(message(first.get(), 1, second, 2))->hash(), second->hash()) << "as it was sent";
}

TEST_F(WeightReceiverTest, differences_alternate_between_two_sets_unless_somebody_still_reads_the_older_one) {
  std::vector<std::shared_ptr<WeightSet>> sent;
  for (int v = 0; v < 6; ++v) sent.push_back(weights(v + 1));
  receiver.take(message(nullptr, -1, sent[0], 0));
  std::vector<const WeightSet*> places;
  std::shared_ptr<const WeightSet> read;
  for (int v = 1; v < 6; ++v) {
    EXPECT_EQ(receiver.take(message(sent[v - 1].get(), v - 1, sent[v], v))->hash(), sent[v]->hash()) << v;
    places.push_back(receiver.held().get());
    if (v == 3) read = receiver.held();
    EXPECT_TRUE(receiver.unverified());
  }
  EXPECT_EQ(places[0], places[2]);
  EXPECT_NE(places[0], places[1]);
  EXPECT_NE(places[4], places[2]) << "the reader's";
  EXPECT_EQ(read->hash(), sent[3]->hash());
  receiver.verify();
  EXPECT_FALSE(receiver.unverified());
}

TEST_F(WeightReceiverTest, what_was_compared_by_its_changes_is_compared_as_a_whole_when_asked_and_after_sixteen_versions) {
  const auto first = weights(1), second = weights(2);
  receiver.take(message(nullptr, -1, first, 1));
  WeightsMessage m = message(first.get(), 1, second, 2);
  m.hash.lo ^= 1;
  receiver.take(m);
  EXPECT_THROW(receiver.verify(), Error);

  WeightReceiver other(device);
  other.take(message(nullptr, -1, first, 1));
  auto held = first;
  int taken = 0;
  try {
    for (int v = 2; v < 40; ++v, ++taken) {
      const auto next = weights(v);
      WeightsMessage n = message(held.get(), v - 1, next, v);
      n.hash.lo ^= 1;
      other.take(n);
      held = next;
    }
  } catch (const Error&) {
  }
  EXPECT_EQ(taken, WeightReceiver::kUnverified);
}

TEST_F(WeightReceiverTest, what_cannot_be_used_is_refused_with_what_follows_until_a_whole_version_comes) {
  const auto first = weights(1), second = weights(2), third = weights(3), fourth = weights(4);
  EXPECT_TRUE(receiver.accept(message(nullptr, -1, first, 1)));
  WeightsMessage damaged = message(first.get(), 1, second, 2);
  damaged.delta.change.a ^= 1;
  EXPECT_FALSE(receiver.accept(damaged));
  EXPECT_TRUE(receiver.refused());
  EXPECT_EQ(receiver.held()->hash(), first->hash()) << "what is held stays in use";
  EXPECT_FALSE(receiver.accept(message(second.get(), 2, third, 3)));
  EXPECT_TRUE(receiver.accept(message(nullptr, -1, third, 3)));
  EXPECT_FALSE(receiver.refused());
  EXPECT_EQ(receiver.held()->hash(), third->hash());
  // It changes what is held as it should, and the whole is something else.
  WeightsMessage other = message(third.get(), 3, fourth, 4);
  other.hash.lo ^= 1;
  EXPECT_FALSE(receiver.accept(other, /*whole=*/true));
  EXPECT_TRUE(receiver.accept(message(nullptr, -1, fourth, 4), /*whole=*/true)) << "the same version, as a whole";
  EXPECT_EQ(receiver.held()->hash(), fourth->hash());
  other = message(nullptr, -1, first, 5);
  other.hash.lo ^= 1;
  other.delta.hash.lo ^= 1;
  EXPECT_THROW(receiver.accept(other), Error) << "a whole version that is wrong comes of no link";
}

TEST_F(WeightReceiverTest, taken_in_place_differences_go_to_one_set) {
  std::vector<std::shared_ptr<WeightSet>> sent;
  for (int v = 0; v < 5; ++v) sent.push_back(weights(v + 1));
  receiver.take_in_place();
  receiver.hold(sent[0], 0);  // somebody else's, which stays as it is
  EXPECT_EQ(receiver.take(message(sent[0].get(), 0, sent[1], 1))->hash(), sent[1]->hash());
  EXPECT_EQ(sent[0]->hash(), weights(1)->hash());
  const std::shared_ptr<const WeightSet> engine = receiver.held();
  for (int v = 2; v < 5; ++v) {
    EXPECT_EQ(receiver.take(message(sent[v - 1].get(), v - 1, sent[v], v)), engine);
    EXPECT_EQ(engine->hash(), sent[v]->hash()) << v;
    EXPECT_EQ(receiver.version(), v);
    receiver.catch_up();
  }
  EXPECT_TRUE(receiver.usable() && receiver.unverified());
  receiver.verify();
}

TEST_F(WeightReceiverTest, what_was_begun_in_place_and_is_not_what_was_published_is_not_usable_until_a_whole_version_comes) {
  const auto first = weights(1), second = weights(2), third = weights(3);
  receiver.take_in_place();
  WeightsMessage moved = message(first.get(), 1, second, 2), cut = moved;
  moved.delta.change.a ^= 1;
  cut.delta.frames.back().pop_back();
  for (const WeightsMessage& damaged : {moved, cut}) {
    EXPECT_TRUE(receiver.accept(message(nullptr, -1, first, 1)));
    EXPECT_TRUE(receiver.usable());
    EXPECT_FALSE(receiver.accept(damaged));
    EXPECT_FALSE(receiver.usable());
    EXPECT_EQ(receiver.version(), -1);
    EXPECT_FALSE(receiver.accept(message(second.get(), 2, third, 3)));
    EXPECT_FALSE(receiver.usable());
    EXPECT_TRUE(receiver.accept(message(nullptr, -1, third, 3)));
    EXPECT_TRUE(receiver.usable());
    EXPECT_EQ(receiver.held()->hash(), third->hash());
  }
}

TEST_F(WeightReceiverTest, what_turns_out_to_be_no_version_is_refused_and_is_not_usable) {
  for (const bool in_place : {false, true}) {
    WeightReceiver other(device);
    if (in_place) other.take_in_place();
    const auto first = weights(1), second = weights(2), third = weights(3);
    other.take(message(nullptr, -1, first, 1));
    EXPECT_TRUE(other.stands());
    WeightsMessage m = message(first.get(), 1, second, 2);
    m.hash.lo ^= 1;
    EXPECT_TRUE(other.accept(m));
    EXPECT_TRUE(other.usable()) << "nobody knows";
    EXPECT_FALSE(other.stands());
    EXPECT_TRUE(other.refused());
    EXPECT_FALSE(other.usable());
    EXPECT_FALSE(other.accept(message(second.get(), 2, third, 3)));
    EXPECT_TRUE(other.accept(message(nullptr, -1, second, 2))) << "the same version, as a whole";
    EXPECT_TRUE(other.usable() && other.stands());
    EXPECT_EQ(other.held()->hash(), second->hash());
  }
}

TEST_F(WeightReceiverTest, a_delta_to_what_is_not_held_is_refused) {
  const auto first = weights(1), second = weights(2);
  EXPECT_EQ(refusal(message(first.get(), 7, second, 8)),
            "version 8 of the weights is the difference to version 7, and version -1 is held");
}

TEST_F(WeightReceiverTest, what_is_held_can_be_given_on_as_the_version_it_is_and_nothing_else_can) {
  const auto first = weights(1), second = weights(2);
  EXPECT_EQ(receiver.published(), nullptr) << "nothing is held";
  receiver.hold(first, 0);
  EXPECT_EQ(receiver.published(), nullptr) << "weights that nobody published";
  receiver.take(message(nullptr, -1, first, 1));
  receiver.take(message(first.get(), 1, second, 2));
  ASSERT_TRUE(receiver.unverified());
  const auto kept = receiver.published();
  ASSERT_NE(kept, nullptr);
  EXPECT_EQ(kept->content(), message(second, 2).content());
  WeightReceiver next(device);
  EXPECT_EQ(next.take(*kept)->hash(), second->hash());
  ASSERT_NE(next.published(), nullptr) << "and again";
  EXPECT_EQ(next.published()->content(), kept->content());
  // What its changes vouch for, and its hash does not.
  WeightReceiver wrong(device);
  wrong.take(message(nullptr, -1, first, 1));
  WeightsMessage other = message(first.get(), 1, second, 2);
  other.hash.lo ^= 1;
  wrong.take(other);
  EXPECT_EQ(wrong.published(), nullptr);
  // Memory that changed while the link was down.
  Context ctx(device);
  run(ctx, Fill{const_cast<WeightSet&>(*kept->weights).param(0).slice(0, 1), 9.0f});
  WeightReceiver another(device);
  EXPECT_THROW(another.take(*kept), Error);
}

}  // namespace
}  // namespace r1
