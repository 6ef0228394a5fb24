#include "actors/rank_words.h"

#include <bit>
#include <cstring>
#include <vector>

#include "actors/codec.h"
#include "runtime/flow/msgpack.h"

namespace r1 {
namespace {

using Pack = msgpack::packer<msgpack::sbuffer>;

struct RankWriter {
  msgpack::sbuffer out;
  Pack pack{out};

  template <class T>
  void put(const T& x) {
    if constexpr (std::is_enum_v<T>)
      pack.pack(static_cast<int64_t>(x));
    else if constexpr (std::is_floating_point_v<T>)
      pack.pack(std::bit_cast<uint64_t>(static_cast<double>(x)));
    else
      pack.pack(x);
  }
  template <class... T>
  void all(const T&... x) {
    pack.pack_array(sizeof...(T));
    (put(x), ...);
  }
  void raw(std::string_view bytes) {
    pack.pack_bin(static_cast<uint32_t>(bytes.size()));
    pack.pack_bin_body(bytes.data(), static_cast<uint32_t>(bytes.size()));
  }
  std::string take() const { return {out.data(), out.size()}; }
};

constexpr Objective last(Objective) { return Objective::reward_model; }
constexpr Schedule last(Schedule) { return Schedule::linear; }
constexpr LossMean last(LossMean) { return LossMean::constant; }
constexpr Ratio last(Ratio) { return Ratio::sequence; }
constexpr Clip last(Clip) { return Clip::cispo; }
constexpr DType last(DType) { return DType::i64; }
constexpr RankOrder::Kind last(RankOrder::Kind) { return RankOrder::Kind::load; }

template <class T>
void get(Items& items, T& x) {
  if constexpr (std::is_enum_v<T>) {
    const auto value = items.next_as<int64_t>();
    if (value < 0 || value > static_cast<int64_t>(last(T{}))) throw malformed_message("a word that has no meaning");
    x = static_cast<T>(value);
  } else if constexpr (std::is_floating_point_v<T>)
    x = static_cast<T>(std::bit_cast<double>(items.next_as<uint64_t>()));
  else
    x = items.next_as<T>();
}
template <class... T>
void get_all(const msgpack::object& o, T&... x) {
  Items items(o, sizeof...(T));
  (get(items, x), ...);
}

// f(every member). Taken apart by a structured binding, so that one which is added and not named here does not compile.
template <class Config, class F>
auto with_members(Config& config, F&& f) {
  auto& [objective, optimizer, lr, beta1, beta2, eps, weight_decay, clip_norm, muon_lr, muon_momentum, muon_weight_decay,
         schedule, lr_end, warmup_steps, total_steps, mini_batches, inner_epochs, shuffle, shuffle_key, micro_batch_tokens,
         recompute, ranks, logit_elements, temperature, clip_low, clip_high, kl, loss_mean, longest_completion, ratio, clip,
         decoupled, behave_cap, behave_mask, score_l2, bias_update_rate, balance_loss, mtp, mtp_weight, precision] = config;
  return f(objective, optimizer, lr, beta1, beta2, eps, weight_decay, clip_norm, muon_lr, muon_momentum, muon_weight_decay,
           schedule, lr_end, warmup_steps, total_steps, mini_batches, inner_epochs, shuffle, shuffle_key, micro_batch_tokens,
           recompute, ranks, logit_elements, temperature, clip_low, clip_high, kl, loss_mean, longest_completion, ratio, clip,
           decoupled, behave_cap, behave_mask, score_l2, bias_update_rate, balance_loss, mtp, mtp_weight, precision);
}

void write(RankWriter& w, const TrainerConfig& config) {
  with_members(config, [&](const auto&... x) { w.all(x...); });
}
TrainerConfig read_config(const msgpack::object& o) {
  TrainerConfig config;
  with_members(config, [&](auto&... x) { get_all(o, x...); });
  return config;
}

// What encode_sequence leaves out comes behind it.
void write(RankWriter& w, const TrainBatch& batch) {
  const auto& [sequences, silent_sequences, silent_tokens] = batch;
  w.pack.pack_array(static_cast<uint32_t>(2 + 3 * sequences.size()));
  w.put(silent_sequences);
  w.put(silent_tokens);
  for (const Sequence& s : sequences) {
    w.raw(encode_sequence(s));
    w.raw({reinterpret_cast<const char*>(s.reference_logp.data()), s.reference_logp.size() * sizeof(float)});
    w.put(s.advantage);
  }
}
// What it says of damage is meant for the run store.
Sequence read_sequence(std::string_view bytes) {
  try {
    return decode_sequence(bytes);
  } catch (const Error&) {
    throw malformed_message("a sequence is none");
  }
}
TrainBatch read_batch(const msgpack::object& o) {
  Items items(o);
  TrainBatch batch;
  get(items, batch.silent_sequences);
  get(items, batch.silent_tokens);
  while (items.size() > 0) {
    Sequence& s = batch.sequences.emplace_back(read_sequence(items.next_bytes()));
    const std::string_view logp = items.next_bytes();
    if (logp.size() % sizeof(float) != 0) throw malformed_message("half a log-probability");
    s.reference_logp.resize(logp.size() / sizeof(float));
    if (!logp.empty()) std::memcpy(s.reference_logp.data(), logp.data(), s.reference_logp.size() * sizeof(float));
    get(items, s.advantage);
  }
  return batch;
}

}  // namespace

std::string encode(const RankBegin& begin) {
  RankWriter w;
  w.pack.pack_array(2);
  const auto& [attempt, rank, ranks, keys, previous_key, next_key, name, previous, next] = begin.ring;
  w.all(attempt, rank, ranks, keys.public_key, keys.secret_key, previous_key, next_key, name, previous, next);
  write(w, begin.config);
  return w.take();
}

RankBegin decode_rank_begin(std::string_view bytes) {
  const Unpacked unpacked(bytes);
  Items items(unpacked.root(), 2);
  RankBegin begin;
  auto& [attempt, rank, ranks, keys, previous_key, next_key, name, previous, next] = begin.ring;
  get_all(items.next(), attempt, rank, ranks, keys.public_key, keys.secret_key, previous_key, next_key, name, previous, next);
  begin.config = read_config(items.next());
  if (ranks < 2 || rank < 1 || rank >= ranks || ranks != begin.config.ranks)
    throw malformed_message("it names a rank that is none");
  for (const std::string& key : {keys.public_key, keys.secret_key, previous_key, next_key})
    if (!is_curve_key(key)) throw malformed_message("a key is none");
  return begin;
}

std::string encode(const RankOrder& order) {
  RankWriter w;
  w.pack.pack_array(2);
  w.put(order.kind);
  if (order.kind == RankOrder::Kind::train)
    write(w, *order.batch);
  else if (order.kind == RankOrder::Kind::change)
    write(w, *order.config);
  else
    w.pack.pack_nil();
  return w.take();
}

HeldOrder decode_rank_order(std::string_view bytes) {
  const Unpacked unpacked(bytes);
  Items items(unpacked.root(), 2);
  HeldOrder held;
  get(items, held.kind);
  const msgpack::object& what = items.next();
  switch (held.kind) {
    case RankOrder::Kind::train:
      held.batch = read_batch(what);
      return held;
    case RankOrder::Kind::change:
      held.config = read_config(what);
      return held;
    case RankOrder::Kind::gather:
    case RankOrder::Kind::save:
    case RankOrder::Kind::load:
      return held;
  }
  throw malformed_message("an order that no rank knows");
}

}  // namespace r1
