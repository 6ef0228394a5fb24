#include "actors/wire.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "actors/messages.h"
#include "actors/weight_receiver.h"
#include "base/rng.h"
#include "models/weights.h"
#include "runtime/net/packet.h"
#include "runtime/nodes/node_words.h"
#include "tests/actors/expect_sequence.h"

namespace r1 {
namespace {

const PayloadCodec& codec() { return message_codec(); }

Sequence some_sequence(int n) {
  Sequence s;
  for (int i = 0; i < n; ++i) {
    s.tokens.push_back(i * 7919);
    s.trainable.push_back(i % 2 == 1);
    s.behaviour_logp.push_back(-0.25f * static_cast<float>(i));
    s.version.push_back(i / 2 - 1);
    s.exact.push_back(i % 3 == 0);
  }
  return s;
}

std::shared_ptr<const PromptMessage> some_prompt() {
  auto m = std::make_shared<PromptMessage>();
  m->draw = 57;
  m->prompt_index = int64_t{1} << 40;
  m->text = std::string("a\0b \xE5\x8A\xA0", 7);
  m->tokens = {0, 1, 151'935};
  m->facts = {{"answer", "42"}, {"kind", ""}};
  m->conversation = R"({"messages": []})";
  m->dropped = "too_long";
  return m;
}

std::shared_ptr<const ScoredMessage> some_scored() {
  auto group = std::make_shared<TrajectoriesMessage>();
  group->prompt = some_prompt();
  group->samples = {some_sequence(5), some_sequence(1), {}};
  group->finished = {1, 0, 1};
  auto m = std::make_shared<ScoredMessage>();
  m->group = group;
  m->scores.resize(3);
  m->scores[0].reward = 0.1;
  m->scores[0].parts = {{"accuracy", 1.0}, {"huge", std::numeric_limits<double>::max()}};
  m->scores[1].error = "the rule failed";
  m->scores[2].reward = -0.0;
  m->responses = {{"one", "<eos>"}, {"", ""}, {"three", ""}};
  return m;
}

Envelope through_bytes(const Envelope& envelope, const Payload* before = nullptr) {
  return decode_envelope(encode_envelope(envelope, codec(), before), codec());
}

template <class T>
std::shared_ptr<const T> through_bytes(const std::shared_ptr<const T>& m, const Payload* before = nullptr) {
  const Envelope back = through_bytes(Envelope{Envelope::Kind::payload, 3, 12, m}, before);
  EXPECT_EQ(back.kind, Envelope::Kind::payload);
  EXPECT_EQ(back.edge, 3);
  EXPECT_EQ(back.number, 12);
  auto out = std::dynamic_pointer_cast<const T>(back.payload);
  EXPECT_NE(out, nullptr);
  EXPECT_STREQ(out->kind(), m->kind());
  EXPECT_EQ(out->describe(), m->describe());
  return out;
}

void expect_equal(const PromptMessage& a, const PromptMessage& b) {
  EXPECT_EQ(a.draw, b.draw);
  EXPECT_EQ(a.prompt_index, b.prompt_index);
  EXPECT_EQ(a.text, b.text);
  EXPECT_EQ(a.tokens, b.tokens);
  EXPECT_EQ(a.facts, b.facts);
  EXPECT_EQ(a.conversation, b.conversation);
  EXPECT_EQ(a.dropped, b.dropped);
}

void expect_equal(const ScoredMessage& a, const ScoredMessage& b) {
  expect_equal(*a.group->prompt, *b.group->prompt);
  ASSERT_EQ(a.group->samples.size(), b.group->samples.size());
  for (size_t i = 0; i < a.group->samples.size(); ++i) expect_equal(a.group->samples[i], b.group->samples[i]);
  EXPECT_EQ(a.group->finished, b.group->finished);
  ASSERT_EQ(a.scores.size(), b.scores.size());
  for (size_t i = 0; i < a.scores.size(); ++i) {
    EXPECT_EQ(a.scores[i].reward, b.scores[i].reward);
    EXPECT_EQ(a.scores[i].parts, b.scores[i].parts);
    EXPECT_EQ(a.scores[i].error, b.scores[i].error);
  }
  EXPECT_EQ(a.responses, b.responses);
}

TEST(Wire, prompts_trajectories_and_scores_come_back_as_they_were) {
  expect_equal(*through_bytes<PromptMessage>(some_prompt()), *some_prompt());
  const auto scored = some_scored();
  const auto back = through_bytes<ScoredMessage>(scored);
  expect_equal(*back, *scored);
  EXPECT_TRUE(std::signbit(*back->scores[2].reward));
  EXPECT_EQ(through_bytes<TrajectoriesMessage>(scored->group)->samples.size(), 3u);
}

TEST(Wire, batches_come_back_as_they_were) {
  auto batch = std::make_shared<BatchMessage>();
  batch->version = 400;
  batch->groups.resize(2);
  batch->groups[0].scored = some_scored();
  batch->groups[0].dropped = "equal_rewards";
  batch->groups[1].scored = some_scored();
  batch->groups[1].reference_logp = {{-1.5f, -std::numeric_limits<float>::infinity()}, {}, {0.f}};
  const auto back = through_bytes<BatchMessage>(batch);
  EXPECT_EQ(back->version, 400);
  ASSERT_EQ(back->groups.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    expect_equal(*back->groups[i].scored, *batch->groups[i].scored);
    EXPECT_EQ(back->groups[i].dropped, batch->groups[i].dropped);
    EXPECT_EQ(back->groups[i].reference_logp, batch->groups[i].reference_logp);
  }
}

// 16,384 groups of 64 samples: more blobs than a packet may have frames. One group stands for all of them.
TEST(Wire, a_batch_of_a_million_samples_goes_over_a_link) {
  constexpr size_t kGroups = 16'384, kSamples = 64;
  auto group = std::make_shared<TrajectoriesMessage>();
  group->prompt = some_prompt();
  for (size_t i = 0; i < kSamples; ++i) {
    Sequence& s = group->samples.emplace_back();
    s.tokens = {1, 2, 3, 4, 5, 6, static_cast<int32_t>(i)};
    s.behaviour_logp.assign(7, -0.5f);
  }
  group->finished.assign(kSamples, 1);
  auto scored = std::make_shared<ScoredMessage>();
  scored->group = group;
  auto batch = std::make_shared<BatchMessage>();
  batch->groups.resize(kGroups);
  for (BatchMessage::Group& g : batch->groups) {
    g.scored = scored;
    g.reference_logp.assign(1, {-1.f, -2.f});
  }
  LinkPacket packet = payload_packet({Envelope::Kind::payload, 1, 1, batch}, codec(), nullptr, 0, 1);
  EXPECT_EQ(packet.frames.size(), 2u) << "full at 64 MiB";
  PacketReader reader;
  std::optional<LinkPacket> came;
  for (Piece& piece : cut_packet(std::move(packet))) came = reader.take(std::move(piece));
  ASSERT_TRUE(came);
  const Envelope envelope = packet_payload(*came, codec());
  const auto back = std::dynamic_pointer_cast<const BatchMessage>(envelope.payload);
  ASSERT_TRUE(back);
  ASSERT_EQ(back->groups.size(), kGroups);
  for (const BatchMessage::Group& g : back->groups) {
    ASSERT_EQ(g.scored->group->samples.size(), kSamples);
    for (size_t i = 0; i < kSamples; ++i) {
      ASSERT_EQ(g.scored->group->samples[i].tokens, group->samples[i].tokens);
      ASSERT_EQ(g.scored->group->samples[i].behaviour_logp, group->samples[i].behaviour_logp);
    }
    ASSERT_EQ(g.reference_logp, batch->groups[0].reference_logp);
  }
}

TEST(Wire, credits_examples_and_messages_without_a_payload_come_back_as_they_were) {
  auto credits = std::make_shared<CreditsMessage>();
  credits->spare = -3;
  credits->batch = 4;
  credits->first_draw = 50;
  credits->max_draws = 640;
  const auto c = through_bytes<CreditsMessage>(credits);
  EXPECT_EQ(c->spare, -3);
  EXPECT_EQ(c->batch, 4);
  EXPECT_EQ(c->first_draw, 50);
  EXPECT_EQ(c->max_draws, 640);

  auto metrics = std::make_shared<MetricsMessage>();
  metrics->version = 20;
  metrics->node = "test";
  metrics->metrics = {{"accuracy", 1}, {"reward", -0.0}, {"length", 17.25}};
  const auto m = through_bytes<MetricsMessage>(metrics);
  EXPECT_EQ(m->version, 20);
  EXPECT_EQ(m->node, "test");
  EXPECT_EQ(m->metrics, metrics->metrics);
  EXPECT_TRUE(std::signbit(m->metrics.at("reward")));

  auto examples = std::make_shared<ExamplesMessage>();
  examples->first = 99;
  examples->sequences = {some_sequence(3), some_sequence(2)};
  examples->last = examples->pairs = true;
  const auto e = through_bytes<ExamplesMessage>(examples);
  EXPECT_EQ(e->first, 99);
  ASSERT_EQ(e->sequences.size(), 2u);
  expect_equal(e->sequences[1], examples->sequences[1]);
  EXPECT_TRUE(e->last);
  EXPECT_TRUE(e->pairs);

  const Envelope credit = through_bytes(Envelope{Envelope::Kind::credit, 8, 3, nullptr});
  EXPECT_EQ(credit.kind, Envelope::Kind::credit);
  EXPECT_EQ(credit.edge, 8);
  EXPECT_EQ(credit.number, 3);
  EXPECT_EQ(through_bytes(Envelope{}).kind, Envelope::Kind::stage_end);
  EXPECT_FALSE(credit.stage_ends);
  EXPECT_TRUE(through_bytes(Envelope{Envelope::Kind::credit, 8, 3, nullptr, true}).stage_ends);
}

// ---- versions

struct WeightsWire : ::testing::Test {
  Device& device = open_device("cpu");
  ModelConfig config = parse_model_config(
      R"({"model_type": "llama", "vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1,
          "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 32, "rms_norm_eps": 1e-5,
          "rope_theta": 10000, "tie_word_embeddings": true, "eos_token_id": [3, 5]})",
      "test");
  std::vector<std::shared_ptr<const WeightSet>> sets;

  std::shared_ptr<const WeightsMessage> version(int64_t v) {
    while (static_cast<int64_t>(sets.size()) <= v) {
      auto set = std::make_shared<WeightSet>(device, config, DType::f32);
      initialize(*set, 1);
      upload(set->param(0).slice(0, 1), std::vector<float>(16, static_cast<float>(sets.size())));
      sets.push_back(set);
    }
    auto m = std::make_shared<WeightsMessage>();
    m->version = v;
    m->hash = sets[static_cast<size_t>(v)]->hash();
    m->weights = sets[static_cast<size_t>(v)];
    m->final = v == 2;
    return m;
  }
  Hash128 received(const WeightsMessage& m, const std::shared_ptr<const WeightSet>& held, int64_t held_version) {
    WeightReceiver receiver(device);
    receiver.hold(held, held_version);
    return receiver.take(m)->hash();
  }
};

TEST_F(WeightsWire, a_version_arrives_as_a_delta_to_the_one_that_was_sent_before_and_whole_otherwise) {
  for (int64_t v = 0; v < 3; ++v) version(v);
  const auto first = through_bytes<WeightsMessage>(version(0));
  EXPECT_TRUE(first->delta.full());
  EXPECT_EQ(first->weights, nullptr);
  ASSERT_NE(first->config, nullptr);
  EXPECT_EQ(first->config->eos_ids, (std::vector<int32_t>{3, 5}));
  EXPECT_EQ(received(*first, nullptr, -1), sets[0]->hash());

  const auto next = through_bytes<WeightsMessage>(version(1), version(0).get());
  EXPECT_EQ(next->delta.from, 0);
  EXPECT_EQ(next->config, nullptr);
  EXPECT_EQ(received(*next, sets[0], 0), sets[1]->hash());

  // The version between was never sent.
  const auto skipped = through_bytes<WeightsMessage>(version(2), version(0).get());
  EXPECT_EQ(skipped->delta.from, 0);
  EXPECT_TRUE(skipped->final);
  EXPECT_EQ(received(*skipped, sets[0], 0), sets[2]->hash());
}

TEST_F(WeightsWire, a_delta_to_weights_that_are_not_held_is_refused_with_both_versions) {
  for (int64_t v = 0; v < 3; ++v) version(v);
  const auto next = through_bytes<WeightsMessage>(version(2), version(1).get());
  ASSERT_FALSE(next->delta.full());
  try {
    received(*next, sets[0], 0);
    FAIL() << "weights of another version took the delta";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("the difference to version 1, and version 0 is held"), std::string::npos) << e.what();
  }
}

// ---- what is no message

TEST(Wire, damaged_bytes_are_an_error_and_never_a_crash) {
  Rng rng(5, "damage");
  auto batch = std::make_shared<BatchMessage>();
  batch->groups.resize(1);
  batch->groups[0].scored = some_scored();
  batch->groups[0].reference_logp = {{1.f}, {2.f}, {3.f}};
  int refused = 0, rounds = 20'000;
  for (int round = 0; round < rounds; ++round) {
    Packet packet = encode_envelope({Envelope::Kind::payload, 1, 1, batch}, codec(), nullptr);
    const size_t which = rng.below(packet.frames.size() + 3);
    if (which < packet.frames.size()) {
      std::string& frame = packet.frames[which];
      if (frame.empty() || rng.chance(0.3))
        frame.push_back('x');
      else
        frame[rng.below(frame.size())] ^= static_cast<char>(1 + rng.below(255));
    } else if (which == packet.frames.size()) {
      packet.frames.pop_back();
    } else {
      if (rng.chance(0.3)) packet.header.resize(rng.below(packet.header.size()));
      for (uint64_t n = 1 + rng.below(3); n > 0 && !packet.header.empty(); --n)
        packet.header[rng.below(packet.header.size())] ^= static_cast<char>(1 + rng.below(255));
    }
    try {
      decode_envelope(packet, codec());
    } catch (const Error& e) {
      ++refused;
      EXPECT_NE(std::string(e.what()).find("a message is malformed"), std::string::npos) << e.what();
    }
  }
  EXPECT_GT(refused, rounds * 3 / 4);  // a changed letter of a text is no damage to its form
}

TEST(Wire, counts_that_no_bytes_follow_take_no_memory) {
  const std::vector<std::string> headers = {std::string("\xdd\xff\xff\xff\xff", 5),
                                            std::string("\x97\x01\x00\xdb\xff\xff\xff\xff", 8),
                                            std::string("\x97\xdf\xff\xff\xff\xff", 6), std::string(2'000'000, '\x91')};
  for (const std::string& header : headers) EXPECT_THROW(decode_envelope({header, {}}, codec()), Error);
}

}  // namespace
}  // namespace r1
