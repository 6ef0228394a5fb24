#include "kernels/relayed_ranks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "base/error.h"

namespace r1 {
namespace {

constexpr int64_t kChunk = int64_t{1} << 20;  // bytes
constexpr int64_t kUnderWay = 64;             // chunks
constexpr double kPatience_s = 600;           // for the next chunk of a rank that has begun to send
constexpr char kCall = 'c', kData = 'd', kMore = 'a', kRefused = 'r', kLeft = 'l';

enum class Operation : int64_t { all_reduce, reduce_scatter, all_gather, broadcast };

Error no_rank_says(const std::string& what) {
  return failure("a rank of the trainer says what no rank says: " + what, {}, "the two ends are of different builds");
}

struct RelayedCall {
  Operation operation = Operation::all_reduce;
  DType dtype = DType::f32;
  int64_t n = 0, root = 0;
  std::vector<ElementRange> ranges;  // one a rank, where the operation has some

  // What a rank sends of its array, and what it gets.
  std::vector<ElementRange> sent(int64_t rank) const {
    if (operation == Operation::all_gather) return {ranges[static_cast<size_t>(rank)]};
    if (operation == Operation::broadcast && rank != root) return {};
    return {{0, n}};
  }
  std::vector<ElementRange> got(int64_t rank) const {
    if (operation == Operation::reduce_scatter) return {ranges[static_cast<size_t>(rank)]};
    if (operation == Operation::broadcast && rank == root) return {};
    if (operation != Operation::all_gather) return {{0, n}};
    std::vector<ElementRange> others = ranges;
    others.erase(others.begin() + rank);
    return others;
  }

  std::string encode() const {
    std::vector<int64_t> words = {static_cast<int64_t>(operation), static_cast<int64_t>(dtype), n, root};
    for (const ElementRange& r : ranges) words.insert(words.end(), {r.begin, r.end});
    std::string text(1 + words.size() * sizeof(int64_t), kCall);
    std::memcpy(text.data() + 1, words.data(), text.size() - 1);
    return text;
  }
  static RelayedCall decode(const std::string& text, int64_t ranks, int64_t most_elements) {
    constexpr size_t kHead = 4;
    std::vector<int64_t> words((text.size() - 1) / sizeof(int64_t));
    if (words.size() < kHead || words.size() * sizeof(int64_t) != text.size() - 1)
      throw no_rank_says("a call of another length");
    std::memcpy(words.data(), text.data() + 1, text.size() - 1);
    RelayedCall call;
    const auto within = [](int64_t x, int64_t most, const char* what) {
      if (x < 0 || x > most) throw no_rank_says(fmt::format("{} {}", what, x));
      return x;
    };
    call.operation = static_cast<Operation>(within(words[0], static_cast<int64_t>(Operation::broadcast), "operation"));
    call.dtype = static_cast<DType>(within(words[1], static_cast<int64_t>(DType::i64), "type"));
    call.n = within(words[2], most_elements, "elements");
    call.root = within(words[3], ranks - 1, "root");
    const bool sums = call.operation == Operation::all_reduce || call.operation == Operation::reduce_scatter;
    if (sums && call.dtype != DType::f32) throw no_rank_says(fmt::format("a sum of {}", dtype_name(call.dtype)));
    const bool ranged = call.operation == Operation::reduce_scatter || call.operation == Operation::all_gather;
    if (words.size() != kHead + (ranged ? 2 * static_cast<size_t>(ranks) : 0)) throw no_rank_says("a call of another length");
    for (size_t i = kHead; i < words.size(); i += 2) {
      const ElementRange r{words[i], words[i + 1]};
      if (r.begin < 0 || r.end < r.begin || r.end > call.n) throw no_rank_says("a range beyond its array");
      for (const ElementRange& o : call.ranges)
        if (r.begin < o.end && o.begin < r.end) throw no_rank_says("two ranks have the same element");
      call.ranges.push_back(r);
    }
    return call;
  }

  void on(Collective& c, Context& ctx, const View& x) const {
    switch (operation) {
      case Operation::all_reduce:
        return c.all_reduce(ctx, x);
      case Operation::reduce_scatter:
        return c.reduce_scatter(ctx, x, ranges);
      case Operation::all_gather:
        return c.all_gather(ctx, x, ranges);
      case Operation::broadcast:
        return c.broadcast(ctx, x, root);
    }
  }
};

ChannelMessage next_word(MessageChannel& channel, char kind, double patience_s) {
  ChannelMessage message = channel.receive(patience_s);
  if (message.text.empty()) throw no_rank_says("nothing");
  if (message.text == std::string_view(&kRefused, 1)) throw no_rank_says("a refusal without a reason");
  if (message.text[0] == kRefused) throw failure(message.text.substr(1));
  if (message.text[0] != kind) throw no_rank_says(fmt::format("'{}' in the place of '{}'", message.text[0], kind));
  return message;
}

struct Chunks {
  explicit Chunks(const View& x) : bytes(x.size() * static_cast<int64_t>(dtype_size(x.dtype))) {}
  int64_t count() const { return (bytes + kChunk - 1) / kChunk; }
  int64_t size(int64_t i) const { return std::min(kChunk, bytes - i * kChunk); }
  View of(const View& x, int64_t i) const {
    const auto element = static_cast<int64_t>(dtype_size(x.dtype));
    return x.slice(i * kChunk / element, (i * kChunk + size(i)) / element);
  }
  int64_t bytes;
};

void send_array(MessageChannel& channel, const View& x) {
  const Chunks chunks(x);
  for (int64_t i = 0; i < chunks.count(); ++i) {
    if (i >= kUnderWay) next_word(channel, kMore, kPatience_s);
    std::string bytes(static_cast<size_t>(chunks.size(i)), '\0');
    download(chunks.of(x, i), bytes.data(), bytes.size());
    channel.send(channel_message(std::string(1, kData), std::move(bytes)));
  }
}

void receive_array(MessageChannel& channel, const View& x, double patience_s) {
  const Chunks chunks(x);
  for (int64_t i = 0; i < chunks.count(); ++i) {
    const ChannelMessage message = next_word(channel, kData, i == 0 ? patience_s : kPatience_s);
    if (static_cast<int64_t>(message.bytes.size()) != chunks.size(i))
      throw no_rank_says(fmt::format("{} bytes in the place of {}", message.bytes.size(), chunks.size(i)));
    upload(chunks.of(x, i), message.bytes.data(), message.bytes.size());
    if (i + kUnderWay < chunks.count()) channel.send(channel_message(std::string(1, kMore)));
  }
}

class RelayedRank final : public Collective {
 public:
  RelayedRank(MessageChannel& channel, int64_t rank, int64_t ranks) : channel_(channel), rank_(rank), ranks_(ranks) {}
  ~RelayedRank() override { channel_.send(channel_message(std::string(1, kLeft))); }
  int64_t rank() const override { return rank_; }
  int64_t ranks() const override { return ranks_; }

  void all_reduce(Context&, const View& x) override { call({Operation::all_reduce, x.dtype, x.size(), 0, {}}, x); }
  void reduce_scatter(Context&, const View& x, std::span<const ElementRange> ranges) override {
    call({Operation::reduce_scatter, x.dtype, x.size(), 0, {ranges.begin(), ranges.end()}}, x);
  }
  void all_gather(Context&, const View& x, std::span<const ElementRange> ranges) override {
    call({Operation::all_gather, x.dtype, x.size(), 0, {ranges.begin(), ranges.end()}}, x);
  }
  void broadcast(Context&, const View& x, int64_t root) override {
    call({Operation::broadcast, x.dtype, x.size(), root, {}}, x);
  }

 private:
  // How long the others take is the relay's business.
  void call(const RelayedCall& c, const View& x) {
    R1_CHECK(x && x.rank == 1 && x.contiguous(), x.str());
    R1_CHECK(c.ranges.empty() || static_cast<int64_t>(c.ranges.size()) == ranks_, fmt::format("{} ranges", c.ranges.size()));
    channel_.send(channel_message(c.encode()));
    for (const ElementRange& r : c.sent(rank_)) send_array(channel_, x.slice(r.begin, r.end));
    // Also where nothing changes: a rank is not ahead of the others.
    next_word(channel_, kMore, MessageChannel::kForEver);
    for (const ElementRange& r : c.got(rank_)) receive_array(channel_, x.slice(r.begin, r.end), kPatience_s);
  }

  MessageChannel& channel_;
  const int64_t rank_, ranks_;
};

}  // namespace

std::unique_ptr<Collective> relayed_rank(MessageChannel& channel, int64_t rank, int64_t ranks) {
  R1_CHECK(0 <= rank && rank < ranks, fmt::format("rank {} of {}", rank, ranks));
  return std::make_unique<RelayedRank>(channel, rank, ranks);
}

RankRelay::RankRelay(Device& device, std::unique_ptr<Collective> here, int64_t most_elements)
    : here_(std::move(here)), rank_(here_->rank()), ranks_(here_->ranks()), most_elements_(most_elements), ctx_(device) {}

bool RankRelay::leaves(const ChannelMessage& message) { return message.text == std::string_view(&kLeft, 1); }

bool RankRelay::relay(const ChannelMessage& message, MessageChannel& channel) {
  if (leaves(message)) {
    leave();
    return true;
  }
  if (message.text.empty() || message.text[0] != kCall) return false;
  if (!here_) throw no_rank_says("a call after it has left");
  const RelayedCall call = RelayedCall::decode(message.text, ranks_, most_elements_);
  ctx_.arena.reset();
  const View x = ctx_.arena.alloc(call.dtype, {call.n});
  for (const ElementRange& r : call.sent(rank_)) receive_array(channel, x.slice(r.begin, r.end), kPatience_s);
  try {
    call.on(*here_, ctx_, x);
  } catch (const Error& e) {
    channel.send(channel_message(kRefused + e.message()));
    throw;
  }
  channel.send(channel_message(std::string(1, kMore)));
  for (const ElementRange& r : call.got(rank_)) send_array(channel, x.slice(r.begin, r.end));
  return true;
}

}  // namespace r1
