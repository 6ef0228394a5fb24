#include "actors/far_ranks.h"

#include <utility>

#include "actors/rank_words.h"
#include "base/error.h"
#include "base/wait_note.h"
#include "kernels/ring_ranks.h"
#include "models/training/trainer_flaws.h"

namespace r1 {
namespace {

constexpr const char *kBegin = "Begin", *kPlace = "Place", *kBefore = "Before", *kReady = "Ready", *kOrder = "Order",
                     *kDone = "Done", *kWaits = "Waits";
constexpr size_t kMostReason = 1000;

ChannelMessage expected(ChannelMessage message, const char* word) {
  if (message.text != word)
    throw failure("a rank of the trainer says what no rank says", {}, "the two ends are of different builds");
  return message;
}

// Tells it what to do, and waits for that.
class ServedFarRank final : public ServedRank {
 public:
  ServedFarRank(FarRank far, std::shared_ptr<RankRing> ring) : far_(std::move(far)), ring_(std::move(ring)) {}

  void obey(const RankOrder& order) override {
    // It reads files first.
    if (!std::exchange(ready_, true)) expected(word(), kReady);
    far_.channel->send(channel_message(kOrder, encode(order)));
    expected(word(), kDone);
  }
  void leave() override { ring_->give_up(std::make_exception_ptr(failure(far_.name + " has failed"))); }
  void give_up() override { far_.channel->give_up(); }

 private:
  // However long that takes: one that is lost ends the channel; of one that hangs no unit is done, as of those that wait for
  // it. What it waits for meanwhile is passed on to who looks at the trainer.
  ChannelMessage word() {
    WaitNote note(far_.name);
    for (;;) {
      ChannelMessage message = far_.channel->receive();
      if (message.text != kWaits) return message;
      const std::string reason(message.bytes.substr(0, kMostReason));
      reason.empty() ? note.over() : note.say(reason);
    }
  }

  const FarRank far_;
  const std::shared_ptr<RankRing> ring_;
  bool ready_ = false;
};

std::unique_ptr<Collective> place_in(RankRing& ring, const RingInvitation& told) {
  return ring_rank(ring.to_previous(), ring.to_next(), told.rank, told.ranks, {told.name, told.previous, told.next});
}

ChannelMessage word_of_the_head(MessageChannel& channel, const char* word) {
  ChannelMessage message = channel.receive();
  if (message.text != word) throw failure("the head says what no head says", {}, "the two ends are of different builds");
  return message;
}

void refuse_flaw(const std::string& flaw) {
  if (!flaw.empty())
    throw failure("the head says what no head says: " + flaw, {},
                  "the two ends are of different builds, or of different models");
}

[[noreturn]] void obey_orders(RankLearner& engine, MessageChannel& channel, TrainerConfig config, const ModelConfig& model) {
  for (;;) {
    const HeldOrder held = decode_rank_order(word_of_the_head(channel, kOrder).bytes);
    if (held.kind == RankOrder::Kind::train) refuse_flaw(flaw_of(held.batch, config, model));
    if (held.kind == RankOrder::Kind::change) {
      refuse_flaw(flaw_of_change(config, held.config));
      config = held.config;
    }
    obey(engine, held.order());
    channel.send(channel_message(kDone));
  }
}

}  // namespace

std::unique_ptr<Learner> far_ranked_learner(const EngineFactory& engines, const std::string& node, const TrainerConfig& config,
                                            const WeightSet& start, uint64_t attempt, const std::string& first_name,
                                            std::vector<FarRank> far, const MakeRankRing& make_ring) {
  std::vector<std::string> names = {first_name};
  for (const FarRank& rank : far) names.push_back(rank.name);
  const std::vector<RingInvitation> told = new_ring(attempt, names);
  const std::shared_ptr<RankRing> ring = make_ring(told[0]);
  for (size_t i = 0; i < far.size(); ++i) far[i].channel->send(channel_message(kBegin, encode(RankBegin{told[i + 1], config})));
  // Files that they read may have to come to them first.
  std::vector<std::string> places = {ring->address()};
  for (const FarRank& rank : far) places.emplace_back(expected(rank.channel->receive(), kPlace).bytes);
  for (size_t i = 0; i < far.size(); ++i) far[i].channel->send(channel_message(kBefore, places[i]));
  ring->join(told[0].dials() ? places.back() : "");
  auto first = engines.rank(node, config, start, place_in(*ring, told[0]));
  std::vector<std::unique_ptr<ServedRank>> others;
  for (FarRank& rank : far) others.push_back(std::make_unique<ServedFarRank>(std::move(rank), ring));
  return ranked_learner(std::move(first), std::move(others));
}

void serve_rank(const EngineFactory& engines, const std::string& node, MessageChannel& channel,
                const std::function<std::shared_ptr<WeightSet>()>& start, const MakeRankRing& make_ring) {
  const RankBegin begin = decode_rank_begin(word_of_the_head(channel, kBegin).bytes);
  const std::unique_ptr<RankRing> ring = make_ring(begin.ring);
  channel.send(channel_message(kPlace, ring->address()));
  ring->join(std::string(word_of_the_head(channel, kBefore).bytes));
  std::unique_ptr<Collective> together = place_in(*ring, begin.ring);
  std::shared_ptr<WeightSet> weights = start();
  const ModelConfig model = weights->config();
  refuse_flaw(flaw_of(begin.config, model));
  const std::unique_ptr<RankLearner> engine = engines.rank(node, begin.config, *weights, std::move(together));
  weights = nullptr;
  channel.send(channel_message(kReady));
  const WaitSink waits = [&channel](const std::string&, const std::string& reason) {
    channel.send(channel_message(kWaits, reason));
  };
  const WaitScope looked_at(&waits);
  try {
    obey_orders(*engine, channel, begin.config, model);
  } catch (const Error& e) {
    engine->leave(e.message());
    throw;
  }
}

}  // namespace r1
