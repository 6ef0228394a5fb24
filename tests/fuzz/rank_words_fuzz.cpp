// What a trainer and its ranks in other processes say to each other (actors/far_ranks.h). The first byte says who hears the
// rest: a rank that is told how to begin, or an order; the head's relay of a rank, which hears a script of messages; a rank in
// the middle of a collective, which hears one too. All is heard as it comes out of a link's packet. It is an error with a
// reason, or it is done: by nobody is memory taken or touched that the agreed sizes do not allow, and what a rank would
// compute with keeps the promises that its engine checks.
#include <algorithm>
#include <cstring>

#include "actors/rank_words.h"
#include "kernels/relayed_ranks.h"
#include "models/training/trainer_flaws.h"
#include "runtime/nodes/node_words.h"
#include "tests/fuzz/fuzz.h"

namespace {

using namespace r1;

constexpr int64_t kRanks = 3, kRank = 1;
constexpr int64_t kMostElements = int64_t{1} << 18;  // two chunks of i64
constexpr size_t kMostBytes = size_t{8} << 20;       // an arena with them, and its growth

class Script {
 public:
  explicit Script(std::string_view text) : text_(text) {}
  bool empty() const { return text_.empty(); }
  uint8_t byte() { return static_cast<uint8_t>(text(1).empty() ? 0 : taken_[0]); }
  std::string_view text(size_t most) {
    taken_ = text_.substr(0, most);
    text_.remove_prefix(taken_.size());
    return taken_;
  }
  // Text and bytes: as they are, or many of one letter.
  ChannelMessage message() {
    const uint8_t how = byte();
    std::string words(text(byte()));
    std::string bytes = how % 3 == 0   ? std::string()
                        : how % 3 == 1 ? std::string(text(byte()))
                                       : std::string(size_t{how / 3u + 1u} << 14, 'x');  // up to more than a chunk
    return rank_word(rank_packet(7, 2, channel_message(std::move(words), std::move(bytes))));
  }

 private:
  std::string_view text_, taken_;
};

class Scripted final : public MessageChannel {
 public:
  explicit Scripted(Script& script) : script_(script) {}
  void send(ChannelMessage message) override {
    if (message.bytes.size() > size_t{1} << 20) fuzz::finding("more at once than is agreed");
  }
  ChannelMessage receive(double) override {
    if (script_.empty()) throw failure("the other end is gone");
    return script_.message();
  }

 private:
  Script& script_;
};

class HostMemory final : public Device {
 public:
  const std::string& name() const override { return name_; }
  const OpTable& ops() const override { fuzz::finding("an op"); }
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

// A rank's place among threads: what these take for a broken invariant is a finding.
class Place final : public Collective {
 public:
  explicit Place(bool fails) : fails_(fails) {}
  int64_t rank() const override { return kRank; }
  int64_t ranks() const override { return kRanks; }
  void all_reduce(Context&, const View& x) override { meet(x, true); }
  void reduce_scatter(Context&, const View& x, std::span<const ElementRange> ranges) override {
    check(x, ranges);
    meet(x, true);
  }
  void all_gather(Context&, const View& x, std::span<const ElementRange> ranges) override {
    check(x, ranges);
    meet(x, false);
  }
  void broadcast(Context&, const View& x, int64_t root) override {
    if (root < 0 || root >= kRanks) fuzz::finding("a root that is no rank");
    meet(x, false);
  }

 private:
  void meet(const View& x, bool sums) {
    if (!x || x.rank != 1 || !x.contiguous() || x.size() > kMostElements) fuzz::finding("no array of a collective");
    if (sums && x.dtype != DType::f32) fuzz::finding("a sum of what is no f32");
    std::memset(x.data, 1, static_cast<size_t>(x.size()) * dtype_size(x.dtype));
    if (fails_) throw failure("rank 2 has left");
  }
  static void check(const View& x, std::span<const ElementRange> ranges) {
    if (static_cast<int64_t>(ranges.size()) != kRanks) fuzz::finding("not one range a rank");
    for (const ElementRange& r : ranges) {
      if (r.begin < 0 || r.begin > r.end || r.end > x.size()) fuzz::finding("a range outside of its array");
      for (const ElementRange& o : ranges)
        if (&o != &r && r.begin < o.end && o.begin < r.end) fuzz::finding("ranges that meet");
    }
  }
  const bool fails_;
};

void hear_begin(std::string_view bytes) {
  const RankBegin begin = decode_rank_begin(bytes);
  if (begin.rank < 1 || begin.rank >= begin.config.ranks) fuzz::finding("a rank that is none");
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

void relay(Script& script, Device& device, bool fails) {
  Scripted channel(script);
  RankRelay relay(device, std::make_unique<Place>(fails), kMostElements);
  while (!script.empty()) relay.relay(script.message(), channel);
}

void take_part(Script& script, Device& device) {
  Scripted channel(script);
  Context ctx(device);
  const auto rank = relayed_rank(channel, kRank, kRanks);
  while (!script.empty()) {
    const uint8_t what = script.byte();
    const int64_t n = what % 2 == 0 ? script.byte() : kMostElements;
    ctx.arena.reset();
    const View x = ctx.arena.alloc(what / 8 % 2 == 0 ? DType::f32 : DType::i64, {n});
    std::memset(x.data, 0, static_cast<size_t>(n) * dtype_size(x.dtype));
    const std::vector<ElementRange> ranges = equal_ranges(n, kRanks);
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
        rank->broadcast(ctx, x, what / 16 % kRanks);
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
        relay(script, device, way / 4 % 2 == 1);
        break;
      case 3:
        take_part(script, device);
        break;
    }
  } catch (const Error& e) {
    if (e.message().empty()) fuzz::finding("no reason");
  }
  return 0;
}
