#include "actors/far_ranks.h"

#include <algorithm>
#include <utility>

#include "actors/rank_words.h"
#include "base/error.h"
#include "kernels/relayed_ranks.h"

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

}  // namespace

std::unique_ptr<ServedRank> far_rank(Device& device, const TrainerConfig& config, const WeightSet& start,
                                     std::unique_ptr<Collective> together, std::unique_ptr<RankChannel> channel) {
  return std::make_unique<FarRank>(device, config, start, std::move(together), std::move(channel));
}

void serve_rank(Device& device, MessageChannel& channel, const std::function<std::shared_ptr<WeightSet>()>& start) {
  const RankBegin begin = decode_rank_begin(word_of_the_head(channel, kBegin).bytes);
  TrainerEngine engine(device, begin.config, *start(), 0, relayed_rank(channel, begin.rank, begin.config.ranks));
  channel.send(channel_message(kReady));
  for (;;) {
    const HeldOrder held = decode_rank_order(word_of_the_head(channel, kOrder).bytes);
    obey(engine, held.order());
    channel.send(channel_message(kDone));
  }
}

}  // namespace r1
