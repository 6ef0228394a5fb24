#include "models/fake/fake_engines.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <deque>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/rng.h"

namespace r1 {
namespace {

constexpr int64_t kChangedPerVersion = 8;  // values of the masters, so that deltas are sparse
constexpr int64_t kTokensPerStep = 4;      // of each running sample
constexpr int64_t kSums = 96;              // numbers that ranks add up: some for each of three

// splitmix64's finaliser.
uint64_t mixed(uint64_t a, uint64_t b) {
  uint64_t z = a + 0x9E3779B97F4A7C15 * (b + 1);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}

// The log-probability of token i under weights `hash`: of all before it, in its context.
class TokenLogp {
 public:
  TokenLogp() = default;
  TokenLogp(const Hash128& hash, double temperature)
      : state_(mixed(hash.lo ^ hash.hi, std::bit_cast<uint32_t>(static_cast<float>(temperature)))) {}
  float next(int32_t token) {
    state_ = mixed(state_, static_cast<uint64_t>(token));
    return -0.01f - 5.f * unit_float(static_cast<uint32_t>(state_ >> 32));
  }

 private:
  uint64_t state_ = 0;
};

std::vector<float> logprobs_of(const Sequence& s, const Hash128& hash, double temperature) {
  TokenLogp logp(hash, temperature);
  std::vector<float> out(s.tokens.size(), 0);
  for (size_t i = 0; i < s.tokens.size(); ++i) {
    const float p = logp.next(s.tokens[i]);
    if (i > 0) out[i] = p;
  }
  return out;
}

template <class T>
void add(std::vector<Hash128>& parts, const std::vector<T>& values) {
  parts.push_back(hash_bytes(values.data(), values.size() * sizeof(T)));
}

// Of everything that a real trainer's update depends on.
uint64_t hash_of(const TrainBatch& batch) {
  std::vector<Hash128> parts;
  for (const Sequence& s : batch.sequences) {
    add(parts, s.tokens);
    add(parts, s.trainable);
    add(parts, s.behaviour_logp);
    add(parts, s.reference_logp);
    add(parts, s.version);
    parts.push_back({std::bit_cast<uint32_t>(s.advantage), 0});
  }
  parts.push_back({static_cast<uint64_t>(batch.silent_sequences), static_cast<uint64_t>(batch.silent_tokens)});
  return hash_list(parts).lo;
}

int64_t trained_tokens(const TrainBatch& batch, Objective objective) {
  int64_t n = 0;
  for (const Sequence& s : batch.sequences)
    n += objective == Objective::pretrain || s.trainable.empty()
             ? std::max<int64_t>(static_cast<int64_t>(s.tokens.size()) - 1, 0)
             : std::count(s.trainable.begin(), s.trainable.end(), 1);
  return n;
}

// What rank r of several adds to the sums of a batch.
std::vector<float> gradient(uint64_t momentum, uint64_t batch, int64_t rank) {
  Rng rng(rng_key(momentum, "gradient", batch, static_cast<uint64_t>(rank)));
  std::vector<float> g(kSums);
  for (float& e : g) e = static_cast<float>(rng.normal());
  return g;
}

// The sums of all ranks, by one that has no others: in the order that a Collective keeps.
std::vector<float> sum_of_all(uint64_t momentum, uint64_t batch, int64_t ranks) {
  std::vector<std::vector<float>> all;
  for (int64_t r = 0; r < ranks; ++r) all.push_back(gradient(momentum, batch, r));
  std::vector<float> sum(kSums);
  const std::vector<ElementRange> ranges = all_reduce_ranges(kSums, ranks);
  for (int64_t owner = 0; owner < ranks; ++owner)
    for (int64_t i = ranges[static_cast<size_t>(owner)].begin; i < ranges[static_cast<size_t>(owner)].end; ++i) {
      const auto at = static_cast<size_t>(i);
      sum[at] = all[static_cast<size_t>((owner + 1) % ranks)][at];
      for (int64_t k = 2; k <= ranks; ++k) sum[at] += all[static_cast<size_t>((owner + k) % ranks)][at];
    }
  return sum;
}

// One engine, or with `together` a rank of several: each has numbers that no other one has (as moments are), and its share of
// what moves; sums, weights and states go around as a real trainer's do. One without others does what all of them do.
class FakeLearner final : public RankLearner {
 public:
  FakeLearner(Device& device, std::string node, const TrainerConfig& config, const WeightSet& start, FakeEngineHooks hooks,
              std::unique_ptr<Collective> together = nullptr)
      : device_(device),
        node_(std::move(node)),
        config_(config),
        hooks_(std::move(hooks)),
        masters_(convert_weights(start, model_of(config, start), DType::f32)),
        together_(std::move(together)),
        ctx_(device),
        own_(static_cast<size_t>(config.ranks), 1) {}

  int64_t version() const override { return version_; }

  TrainStats train(const TrainBatch& batch) override {
    called("train");
    TrainStats stats;
    stats.lr = config_.lr;
    stats.loss = 4. / (1. + static_cast<double>(version_));
    stats.trained_tokens = trained_tokens(batch, config_.objective);
    for (const Sequence& s : batch.sequences) stats.tokens += static_cast<int64_t>(s.tokens.size());
    if (config_.objective == Objective::grpo) compare(batch, stats);
    if (config_.objective == Objective::reward_model) stats.pair_accuracy = 0.75;
    if (!batch.sequences.empty()) {
      stats.grad_norm = 1;
      stats.optimizer_steps = config_.mini_batches * config_.inner_epochs;
      momentum_ =
          rng_key(momentum_, "train", hash_of(batch), std::bit_cast<uint64_t>(config_.lr), std::bit_cast<uint64_t>(config_.kl));
      if (config_.ranks > 1) momentum_ = mixed(momentum_, hash_of(sums(hash_of(batch))));
      for (int64_t r = 0; r < config_.ranks; ++r)
        if (mine(r)) own_[static_cast<size_t>(r)] = mixed(own_[static_cast<size_t>(r)], momentum_);
      move();
    }
    ++version_;
    return stats;
  }

  std::shared_ptr<const WeightSet> weights() const override {
    return std::make_shared<WeightSet>(convert_weights(masters_, masters_.config(), config_.precision));
  }
  const WeightSet& masters() const override { return masters_; }
  Hash128 masters_hash() const override { return masters_.hash(); }
  void change(const TrainerConfig& config) override { config_ = config; }

  std::function<void()> begin_save(const std::filesystem::path& file) const override {
    gather_own();
    called("save");
    std::vector<float> values = download_as<float>(masters_.flat());
    const size_t owned = own_.size() * sizeof(uint64_t);
    std::string bytes(sizeof(Head) + owned + values.size() * sizeof(float), '\0');
    Head head{version_, momentum_, 0};
    std::memcpy(bytes.data() + sizeof(Head), own_.data(), owned);
    std::memcpy(bytes.data() + sizeof(Head) + owned, values.data(), values.size() * sizeof(float));
    head.check = check_of(head, bytes);
    std::memcpy(bytes.data(), &head, sizeof(Head));
    return [file, bytes = std::move(bytes)] { write_file_atomically(file, bytes); };
  }
  void give_state() const override { gather_own(); }

  std::function<void()> begin_load(const std::filesystem::path& file) override {
    called("load");
    const std::string bytes = read_file(file);
    Head head;
    if (bytes.size() != state_bytes()) throw bad_input("not a state of this model", {file.string()});
    std::memcpy(&head, bytes.data(), sizeof(Head));
    if (head.check != check_of(head, bytes)) throw bad_input("the state has another hash", {file.string()});
    return [this, bytes] { take(bytes); };
  }
  void take_state() override { take(std::string(state_bytes(), '\0')); }
  void gather_masters() override {
    if (together_) together_->all_gather(ctx_, masters_.flat(), equal_ranges(masters_.flat().size(), config_.ranks, 32));
  }
  void leave(const std::string& why) override {
    if (together_ && !why.empty()) together_->say_why(why);
    together_ = nullptr;
  }

 private:
  struct Head {
    int64_t version = 0;
    uint64_t momentum = 0, check = 0;
  };

  static uint64_t check_of(const Head& head, const std::string& bytes) {
    const Hash128 values = hash_bytes(bytes.data() + sizeof(Head), bytes.size() - sizeof(Head));
    return rng_key(values.lo, "state", static_cast<uint64_t>(head.version), head.momentum);
  }
  size_t state_bytes() const {
    return sizeof(Head) + own_.size() * sizeof(uint64_t) + static_cast<size_t>(masters_.flat().size()) * sizeof(float);
  }

  static ModelConfig model_of(const TrainerConfig& config, const WeightSet& start) {
    ModelConfig model = start.config();
    if (config.objective == Objective::reward_model) model.scalar_head = true;
    return model;
  }
  static uint64_t hash_of(const TrainBatch& batch) { return r1::hash_of(batch); }
  static uint64_t hash_of(const std::vector<float>& values) {
    return hash_bytes(values.data(), values.size() * sizeof(float)).lo;
  }

  void called(const char* what) const {
    if (hooks_.call) hooks_.call(node_, what);
  }
  bool mine(int64_t rank) const { return !together_ || together_->rank() == rank; }

  std::vector<float> sums(uint64_t batch) {
    if (!together_) return sum_of_all(momentum_, batch, config_.ranks);
    const Tensor x = tensor_from(device_, DType::f32, {kSums}, gradient(momentum_, batch, together_->rank()).data());
    together_->all_reduce(ctx_, x);
    return download_as<float>(x);
  }

  // What each rank alone has goes to the first.
  void gather_own() const {
    if (!together_) return;
    constexpr int64_t kWords = sizeof(uint64_t) / sizeof(float);
    const auto n = static_cast<int64_t>(own_.size());
    const Tensor x = tensor_from(device_, DType::i32, {n * kWords}, own_.data());
    std::vector<ElementRange> ranges;
    for (int64_t r = 0; r < n; ++r) ranges.push_back({r * kWords, (r + 1) * kWords});
    together_->all_gather(ctx_, x, ranges);
    if (together_->rank() == 0) download(x, own_.data(), own_.size() * sizeof(uint64_t));
  }
  // The first rank's bytes go to all.
  void take(std::string bytes) {
    if (together_) {
      const Tensor x = tensor_from(device_, DType::i32, {static_cast<int64_t>(bytes.size() / 4)}, bytes.data());
      together_->broadcast(ctx_, x, 0);
      download(x, bytes.data(), bytes.size());
    }
    Head head;
    std::memcpy(&head, bytes.data(), sizeof(Head));
    const size_t owned = own_.size() * sizeof(uint64_t);
    std::memcpy(own_.data(), bytes.data() + sizeof(Head), owned);
    for (int64_t r = 0; r < config_.ranks; ++r)
      if (!mine(r)) own_[static_cast<size_t>(r)] = 0;
    upload(masters_.flat(), bytes.data() + sizeof(Head) + owned, bytes.size() - sizeof(Head) - owned);
    device_.finish();
    version_ = head.version;
    momentum_ = head.momentum;
  }

  // P2, as the real one measures it.
  void compare(const TrainBatch& batch, TrainStats& stats) const {
    const Hash128 hash = weights()->hash();
    for (size_t n = 0; n < batch.sequences.size(); ++n) {
      const Sequence& s = batch.sequences[n];
      const std::vector<float> logp = logprobs_of(s, hash, config_.temperature);
      for (size_t i = 0; i < s.tokens.size(); ++i)
        if (s.trainable[i] && s.exact[i] && s.version[i] == version_)
          stats.logprob_gap.compare(logp[i], s.behaviour_logp[i], static_cast<int64_t>(n), static_cast<int64_t>(i));
    }
    stats.ratio_mean = 1;
    stats.entropy = 1;
  }

  // Each rank moves values of its share, by what it alone has.
  void move() {
    const View& moved = masters_.param(0);
    std::vector<float> values = download_as<float>(moved);
    const std::vector<ElementRange> shares = equal_ranges(moved.size(), config_.ranks, 32);
    for (int64_t r = 0; r < config_.ranks; ++r) {
      if (!mine(r)) continue;
      const ElementRange share = shares[static_cast<size_t>(r)];
      Rng rng(config_.ranks > 1 ? own_[static_cast<size_t>(r)] : momentum_);
      for (int64_t i = 0; i < kChangedPerVersion; ++i) {
        float& value = values[static_cast<size_t>(share.begin) + rng.below(static_cast<uint64_t>(share.end - share.begin))];
        value = value * 0.5f + static_cast<float>(rng.normal()) * 0.05f;
      }
    }
    upload(moved, values);
    if (together_) together_->all_gather(ctx_, moved.reshape({moved.size()}), shares);
    device_.finish();
  }

  Device& device_;
  std::string node_;
  TrainerConfig config_;
  FakeEngineHooks hooks_;
  WeightSet masters_;
  std::unique_ptr<Collective> together_;
  mutable Context ctx_;
  mutable std::vector<uint64_t> own_;  // by rank, what that one has: here its own, or all where it is alone
  int64_t version_ = 0;
  uint64_t momentum_ = 1;
};

class FakeSampler final : public Sampler {
 public:
  FakeSampler(std::string node, const GeneratorConfig& config, std::shared_ptr<const WeightSet> weights, int64_t version,
              FakeEngineHooks hooks)
      : node_(std::move(node)), config_(config), hooks_(std::move(hooks)) {
    hold(std::move(weights), version);
  }

  void submit(GenRequest request) override {
    R1_CHECK(!request.prompt.empty() && request.samples >= 1 && request.max_new_tokens >= 1, "a request without content");
    const int64_t room = weights_->config().max_positions - static_cast<int64_t>(request.prompt.size());
    if (room < 1) throw failure(fmt::format("a prompt of {} tokens leaves no room", request.prompt.size()));
    request.max_new_tokens = std::min(request.max_new_tokens, room);
    Group group;
    group.samples.resize(static_cast<size_t>(request.samples));
    for (Sample& s : group.samples) {
      Sequence& q = s.sequence;
      q.tokens = request.prompt;
      const size_t n = request.prompt.size();
      q.trainable.assign(n, 0);
      q.behaviour_logp.assign(n, 0);
      q.version.assign(n, -1);
      q.exact.assign(n, 0);
      s.version = version_;
    }
    group.request = std::move(request);
    groups_.push_back(std::move(group));
  }

  int64_t pending() const override { return static_cast<int64_t>(groups_.size()); }

  std::vector<GenResult> step() override {
    if (hooks_.call) hooks_.call(node_, "step");
    std::vector<GenResult> done;
    ++stats_.steps;
    int64_t running = 0;
    for (auto group = groups_.begin(); group != groups_.end() && running < config_.max_running;) {
      bool whole = true;
      for (size_t i = 0; i < group->samples.size(); ++i) {
        Sample& sample = group->samples[i];
        for (int64_t n = 0; n < kTokensPerStep && !sample.done; ++n) extend(*group, sample, i);
        whole = whole && sample.done;
        ++running;
      }
      if (!whole) {
        ++group;
        continue;
      }
      GenResult& result = done.emplace_back();
      result.id = group->request.id;
      for (Sample& sample : group->samples) {
        result.samples.push_back(std::move(sample.sequence));
        result.finished.push_back(sample.finished ? 1 : 0);
      }
      group = groups_.erase(group);
    }
    return done;
  }

  void set_weights(std::shared_ptr<const WeightSet> weights, int64_t version) override {
    hold(std::move(weights), version);
    ++stats_.flips;
  }

  int64_t version() const override { return version_; }

  std::vector<uint64_t> cancel_all() override {
    std::vector<uint64_t> ids;
    for (const Group& group : groups_) ids.push_back(group.request.id);
    groups_.clear();
    return ids;
  }

  const GeneratorStats& stats() const override { return stats_; }

 private:
  struct Sample {
    Sequence sequence;
    int64_t version = 0;    // of its context so far
    bool computed = false;  // logp holds the context under the present weights
    TokenLogp logp;
    bool mixed = false;  // OnFlip::keep: of several versions
    bool done = false, finished = false;
  };
  struct Group {
    GenRequest request;
    std::vector<Sample> samples;
  };

  void hold(std::shared_ptr<const WeightSet> weights, int64_t version) {
    weights_ = std::move(weights);
    version_ = version;
    hash_ = weights_->hash();
    if (hooks_.holds) hooks_.holds(node_, version_, hash_);
  }

  // A token is a function of the weights (not of their version's number), the context and the key; a sample ends by itself
  // about once in twelve tokens.
  void extend(Group& group, Sample& sample, size_t number) {
    Sequence& s = sample.sequence;
    const GenRequest& r = group.request;
    sample.mixed = sample.mixed || (sample.version != version_ && config_.on_flip != OnFlip::recompute);
    if (!sample.computed || sample.version != version_) {
      sample.logp = TokenLogp(hash_, r.temperature);
      for (const int32_t token : s.tokens) sample.logp.next(token);
      sample.computed = true;
    }
    sample.version = version_;
    Rng rng(rng_key(r.rng_key, "token", number, s.tokens.size(), hash_.lo));
    const ModelConfig& config = weights_->config();
    const int64_t ids = config.token_ids > 0 ? config.token_ids : config.vocab_size;
    const bool ends = !r.stop_ids.empty() && rng.chance(1. / 12);
    const int32_t token = ends ? r.stop_ids[0] : static_cast<int32_t>(rng.below(static_cast<uint64_t>(ids)));
    s.behaviour_logp.push_back(sample.logp.next(token));
    s.tokens.push_back(token);
    s.trainable.push_back(1);
    s.version.push_back(version_);
    s.exact.push_back(sample.mixed ? 0 : 1);
    ++stats_.tokens_generated;
    sample.finished = std::find(r.stop_ids.begin(), r.stop_ids.end(), token) != r.stop_ids.end();
    const auto grown = static_cast<int64_t>(s.tokens.size() - r.prompt.size());
    sample.done = sample.finished || grown >= r.max_new_tokens;
  }

  std::string node_;
  GeneratorConfig config_;
  FakeEngineHooks hooks_;
  std::shared_ptr<const WeightSet> weights_;
  int64_t version_ = 0;
  Hash128 hash_;
  std::deque<Group> groups_;
  GeneratorStats stats_;
};

class FakeFrozen final : public FrozenModel {
 public:
  FakeFrozen(std::string node, std::shared_ptr<const WeightSet> weights, FakeEngineHooks hooks)
      : node_(std::move(node)), hooks_(std::move(hooks)) {
    set_weights(std::move(weights));
  }
  void set_weights(std::shared_ptr<const WeightSet> weights) override { hash_ = weights->hash(); }
  std::vector<std::vector<float>> logprobs(const std::vector<Sequence>& sequences, double temperature) override {
    if (hooks_.call) hooks_.call(node_, "logprobs");
    std::vector<std::vector<float>> out;
    for (const Sequence& s : sequences) out.push_back(logprobs_of(s, hash_, temperature));
    return out;
  }
  std::vector<float> scores(const std::vector<std::vector<int32_t>>& sequences) override {
    if (hooks_.call) hooks_.call(node_, "scores");
    std::vector<float> out;
    for (const auto& tokens : sequences) {
      TokenLogp logp(hash_, 1);
      float last = 0;
      for (const int32_t token : tokens) last = logp.next(token);
      out.push_back(2.5f + last);
    }
    return out;
  }

 private:
  std::string node_;
  FakeEngineHooks hooks_;
  Hash128 hash_;
};

class FakeEngines final : public EngineFactory {
 public:
  FakeEngines(Device& device, FakeEngineHooks hooks) : device_(device), hooks_(std::move(hooks)) {}
  std::unique_ptr<Learner> learner(const std::string& node, const TrainerConfig& config,
                                   const WeightSet& start) const override {
    return std::make_unique<FakeLearner>(device_, node, config, start, hooks_);
  }
  std::unique_ptr<RankLearner> rank(const std::string& node, const TrainerConfig& config, const WeightSet& start,
                                    std::unique_ptr<Collective> together) const override {
    return std::make_unique<FakeLearner>(device_, node, config, start, hooks_, std::move(together));
  }
  std::unique_ptr<Sampler> sampler(const std::string& node, const GeneratorConfig& config,
                                   std::shared_ptr<const WeightSet> weights, int64_t version) const override {
    return std::make_unique<FakeSampler>(node, config, std::move(weights), version, hooks_);
  }
  std::unique_ptr<FrozenModel> frozen(const std::string& node, std::shared_ptr<const WeightSet> weights) const override {
    return std::make_unique<FakeFrozen>(node, std::move(weights), hooks_);
  }

 private:
  Device& device_;
  FakeEngineHooks hooks_;
};

}  // namespace

std::shared_ptr<const EngineFactory> fake_engines(Device& device, FakeEngineHooks hooks) {
  return std::make_shared<FakeEngines>(device, std::move(hooks));
}

}  // namespace r1
