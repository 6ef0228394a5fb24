// What a trainer and its ranks in other processes say to each other (actors/far_ranks.h). The first byte says who hears the
// rest: a rank that is told how to begin, or an order; a rank in the middle of a ring, which hears a script of messages of both
// its neighbours, or the last but one of two. All is heard as it comes out of a link's packet. It is an error with a
// reason, or it is done: by nobody is memory taken or touched that the agreed sizes do not allow, and what a rank would
// compute with keeps the promises that its engine checks.
#include <algorithm>
#include <cstring>

#include "actors/rank_words.h"
#include "kernels/ops.h"
#include "kernels/ring_ranks.h"
#include "models/training/trainer_flaws.h"
#include "runtime/nodes/node_words.h"
#include "tests/fuzz/fuzz.h"

namespace {

using namespace r1;
using fuzz::Script;

constexpr int64_t kMostElements = int64_t{1} << 18;  // two pieces of i64
constexpr size_t kMostBytes = size_t{8} << 20;       // an arena with them, and its growth

// Text and bytes: as they are, or many of one letter.
ChannelMessage message_in(Script& script) {
  const uint8_t how = script.byte();
  std::string words(script.text(script.byte()));
  std::string bytes = how % 3 == 0   ? std::string()
                      : how % 3 == 1 ? std::string(script.text(script.byte()))
                                     : std::string(size_t{how / 3u + 1u} << 14, 'x');  // up to more than a chunk
  return rank_word(rank_packet(7, 2, channel_message(std::move(words), std::move(bytes))));
}

class Scripted final : public MessageChannel {
 public:
  explicit Scripted(Script& script) : script_(script) {}
  void send(ChannelMessage message) override {
    if (message.bytes.size() > size_t{1} << 20) fuzz::finding("more at once than is agreed");
  }
  ChannelMessage receive(double) override {
    if (script_.empty()) throw failure("the other end is gone");
    return message_in(script_);
  }

 private:
  Script& script_;
};

class HostMemory final : public Device {
 public:
  const std::string& name() const override { return name_; }
  const OpTable& ops() const override {
    static const OpTable table = [] {
      OpTable only;
      only.axpby = [](Context&, const Axpby& op) {
        for (int64_t i = 0; i < op.x.size(); ++i) {
          float x, y;
          std::memcpy(&x, op.x.data + i * 4, 4), std::memcpy(&y, op.y.data + i * 4, 4);
          y += x;
          std::memcpy(op.y.data + i * 4, &y, 4);
        }
      };
      return only;
    }();
    return table;
  }
  std::byte* allocate(size_t bytes) override {
    if ((held_ += bytes) > kMostBytes) fuzz::finding("more memory than the agreed sizes need");
    return static_cast<std::byte*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64));
  }
  void free(std::byte* p, size_t bytes) override {
    held_ -= bytes;
    std::free(p);
  }
  DeviceMemory memory() const override { return {}; }
  void copy_from_host(std::byte* to, const void* from, size_t bytes) override { std::memcpy(to, from, bytes); }
  void copy_to_host(void* to, const std::byte* from, size_t bytes) override { std::memcpy(to, from, bytes); }
  bool has_fast_bf16() const override { return false; }
  std::string fingerprint() const override { return "fuzz"; }

 private:
  const std::string name_ = "fuzz";
  size_t held_ = 0;
};

void hear_begin(std::string_view bytes) {
  const RankBegin begin = decode_rank_begin(bytes);
  const RingInvitation& ring = begin.ring;
  if (ring.rank < 1 || ring.rank >= ring.ranks || ring.ranks != begin.config.ranks) fuzz::finding("a rank that is none");
  if (!is_curve_key(ring.keys.secret_key) || !is_curve_key(ring.next_key)) fuzz::finding("a key that is none");
  const std::string again = encode(begin);
  if (encode(decode_rank_begin(again)) != again) fuzz::finding("what was read is written as something else");
  if (flaw_of(begin.config).empty() &&
      (begin.config.ranks > 4096 || begin.config.mini_batches < 1 || begin.config.micro_batch_tokens < 1))
    fuzz::finding("numbers that no engine can have");
}

void hear_order(std::string_view bytes, uint8_t way) {
  TrainerConfig config;
  config.objective = static_cast<Objective>(way % 4);
  config.kl = way / 4 % 2;
  ModelConfig model;
  model.vocab_size = 64;
  model.token_ids = 60;
  model.max_positions = 100;
  const HeldOrder held = decode_rank_order(bytes);
  const std::string again = encode(held.order());
  if (encode(decode_rank_order(again).order()) != again) fuzz::finding("what was read is written as something else");
  if (held.kind == RankOrder::Kind::change) flaw_of_change(config, held.config);
  if (held.kind != RankOrder::Kind::train || !flaw_of(held.batch, config, model).empty()) return;
  for (const Sequence& s : held.batch.sequences)
    for (size_t i = 0; i < s.tokens.size(); ++i) {
      const bool learned = config.objective == Objective::grpo && !s.trainable.empty() && s.trainable.at(i) != 0;
      if (s.tokens[i] < 0 || s.tokens[i] >= (learned ? 60 : 64)) fuzz::finding("a token outside of the vocabulary");
      if (config.objective != Objective::grpo) continue;
      s.behaviour_logp.at(i);
      if (config.kl != 0) s.reference_logp.at(i);
      if (!s.exact.empty() && !s.version.empty()) s.exact.at(i), s.version.at(i);
    }
}

void take_part(Script& script, Device& device, int64_t ranks) {
  Context ctx(device);
  const auto rank = ring_rank(std::make_unique<Scripted>(script), std::make_unique<Scripted>(script), 1, ranks);
  while (!script.empty()) {
    const uint8_t what = script.byte();
    const int64_t n = what % 2 == 0 ? script.byte() : kMostElements;
    ctx.arena.reset();
    const bool sums = what / 2 % 4 < 2;
    const View x = ctx.arena.alloc(sums || what / 8 % 2 == 0 ? DType::f32 : DType::i64, {n});
    std::memset(x.data, 0, static_cast<size_t>(n) * dtype_size(x.dtype));
    const std::vector<ElementRange> ranges = equal_ranges(n, ranks);
    switch (what / 2 % 4) {
      case 0:
        rank->all_reduce(ctx, x);
        break;
      case 1:
        rank->reduce_scatter(ctx, x, ranges);
        break;
      case 2:
        rank->all_gather(ctx, x, ranges);
        break;
      case 3:
        rank->broadcast(ctx, x, what / 16 % ranks);
        break;
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static HostMemory device;
  std::string_view text = fuzz::text_of(data, size);
  if (text.empty()) return 0;
  const auto way = static_cast<uint8_t>(text[0]);
  text.remove_prefix(1);
  Script script(text);
  try {
    switch (way % 4) {
      case 0:
        hear_begin(text);
        break;
      case 1:
        hear_order(text, way / 4);
        break;
      case 2:
        take_part(script, device, 3);
        break;
      case 3:
        take_part(script, device, 2);
        break;
    }
  } catch (const Error& e) {
    if (e.message().empty()) fuzz::finding("no reason");
  }
  return 0;
}
