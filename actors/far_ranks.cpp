#include "actors/far_ranks.h"

#include <algorithm>
#include <utility>

#include "actors/rank_words.h"
#include "base/error.h"
#include "kernels/relayed_ranks.h"
#include "models/training/trainer_flaws.h"

namespace r1 {
namespace {

constexpr const char *kReady = "Ready", *kDone = "Done", *kBegin = "Begin", *kOrder = "Order";
constexpr double kPatience_s = 600;  // for a word of a rank that works, as a collective has for a rank
// Beside the weights, what ranks exchange of a batch: a value a token at most.
constexpr int64_t kLeastElements = int64_t{1} << 28;

class FarRank final : public ServedRank {
 public:
  FarRank(Device& device, const TrainerConfig& config, const WeightSet& start, std::unique_ptr<Collective> together,
          std::unique_ptr<RankChannel> channel)
      : channel_(std::move(channel)),
        rank_(together->rank()),
        relay_(device, std::move(together), std::max(start.config().parameter_count(), kLeastElements)) {
    channel_->send(channel_message(kBegin, encode(RankBegin{rank_, config})));
  }

  void obey(const RankOrder& order) override {
    // It reads files first, which may have to come to it.
    if (!std::exchange(ready_, true)) expect(channel_->receive(), kReady);
    channel_->send(channel_message(kOrder, encode(order)));
    for (;;) {
      const ChannelMessage message = channel_->receive(kPatience_s);
      if (RankRelay::leaves(message)) channel_->receive(kPatience_s);  // throws why
      if (!relay_.relay(message, *channel_)) return expect(message, kDone);
    }
  }
  void leave() override { relay_.leave(); }
  void give_up() override { channel_->give_up(); }

 private:
  static void expect(const ChannelMessage& message, const char* word) {
    if (message.text != word)
      throw failure("a rank of the trainer says what no rank says", {}, "the two ends are of different builds");
  }

  std::unique_ptr<RankChannel> channel_;
  int64_t rank_;
  RankRelay relay_;
  bool ready_ = false;
};

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

}  // namespace

std::unique_ptr<ServedRank> far_rank(Device& device, const TrainerConfig& config, const WeightSet& start,
                                     std::unique_ptr<Collective> together, std::unique_ptr<RankChannel> channel) {
  return std::make_unique<FarRank>(device, config, start, std::move(together), std::move(channel));
}

void serve_rank(Device& device, MessageChannel& channel, const std::function<std::shared_ptr<WeightSet>()>& start) {
  const RankBegin begin = decode_rank_begin(word_of_the_head(channel, kBegin).bytes);
  TrainerConfig config = begin.config;
  std::shared_ptr<WeightSet> weights = start();
  const ModelConfig model = weights->config();
  refuse_flaw(flaw_of(config, model));
  TrainerEngine engine(device, config, *weights, 0, relayed_rank(channel, begin.rank, config.ranks));
  weights = nullptr;
  channel.send(channel_message(kReady));
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

}  // namespace r1
