// What roles compute with, as interfaces: a trainer's engine, a generator's, that of a frozen model, and where they come from.
// In a run they are TrainerEngine, GeneratorEngine and ScoringEngine; in a simulation of whole runs they are fakes that keep
// what is said here (models/fake/fake_engines.h). Thread rule: one thread at a time for an engine, any thread for a factory.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/collective.h"
#include "models/generation/generation.h"
#include "models/sequence.h"
#include "models/training/trainer_config.h"
#include "models/weights.h"

namespace r1 {

// Learns: one train() is one version, a pure function of (state, batch, config).
class Learner {
 public:
  virtual ~Learner() = default;
  virtual int64_t version() const = 0;
  // Trains on one batch and makes version()+1. An empty batch (all dropped) still makes a version and changes nothing else.
  virtual TrainStats train(const TrainBatch& batch) = 0;
  // The weights of the current version as generators hold them (precision's dtype). They never change: what is learned next is
  // written elsewhere.
  virtual std::shared_ptr<const WeightSet> weights() const = 0;
  virtual const WeightSet& masters() const = 0;
  virtual Hash128 masters_hash() const = 0;  // `weights_hash` of the summary
  // The next batches are trained with `config`, which differs in numbers of the update only (learning rate, schedule, decay,
  // clipping, kl, ...): neither the model nor the optimizer's state has another form.
  virtual void change(const TrainerConfig& config) = 0;
  // All that train() depends on: save -> load -> continue is bit-equal. Throws failure / bad_input naming the file; then the
  // engine is as it was. begin_save() has read the state when it returns, and train() may go on: what it returns fsyncs the
  // file and puts it into place, on any thread; let go uncalled, nothing is left.
  [[nodiscard]] virtual std::function<void()> begin_save(const std::filesystem::path& file) const = 0;
  void save(const std::filesystem::path& file) const { begin_save(file)(); }
  virtual void load(const std::filesystem::path& file) = 0;
};

// One of several engines that share a trainer's work (TrainerConfig::ranks, models/training/ranked_learner.h): each is asked
// for the same things in the same order, with the same batches.
class RankLearner : public Learner {
 public:
  // Of several the first saves, and the others give_state() meanwhile; it has begun to load - has read the file, and refuses
  // what is none, as load() does - before the others are told, and then loads while they take_state().
  virtual void give_state() const = 0;
  [[nodiscard]] virtual std::function<void()> begin_load(const std::filesystem::path& file) = 0;
  virtual void take_state() = 0;
  void load(const std::filesystem::path& file) override { begin_load(file)(); }
  virtual void gather_masters() = 0;  // the first rank's are those of all then
  // The other ranks fail in what they do together, and are told why as far as can be; this engine is of no use then.
  virtual void leave(const std::string& why = {}) = 0;
};

// Samples completions: many requests at once, a step at a time. A sampled token is a function of (weights history, prompt, seed
// key, sample, position) alone.
class Sampler {
 public:
  virtual ~Sampler() = default;
  // An empty prompt, samples < 1 or max_new_tokens < 1 is a CHECK. max_new_tokens is cut to what the model's max_positions
  // allow.
  // Throws failure when the prompt alone fills them, or when kv_pages cannot hold one sample.
  virtual void submit(GenRequest request) = 0;
  // Requests submitted and not yet returned.
  virtual int64_t pending() const = 0;
  // One decode step over everything running (admitting what fits). Returns requests whose samples are all finished. Throws
  // failure naming the request, sample and token whose logits are not finite.
  // After an exception (the device is out of memory) only cancel_all() and destruction are meaningful.
  virtual std::vector<GenResult> step() = 0;
  // Takes effect between two steps. `recompute`: the contexts of running samples are computed again under the new weights.
  // `finish`: running samples keep the old weights until they end (both sets are held meanwhile), new ones use the new.
  virtual void set_weights(std::shared_ptr<const WeightSet> weights, int64_t version) = 0;
  virtual int64_t version() const = 0;  // of new samples
  // Drops everything pending (a stage has ended). Returns the ids.
  virtual std::vector<uint64_t> cancel_all() = 0;
  virtual const GeneratorStats& stats() const = 0;
};

// Scores what others made, with weights that do not learn.
class FrozenModel {
 public:
  virtual ~FrozenModel() = default;
  virtual void set_weights(std::shared_ptr<const WeightSet> weights) = 0;
  // Per sequence, per token log softmax(logits / temperature)[token]; entry 0 is 0, and so are those of tokens that are not
  // trainable where every sequence says which are. Under the weights that sampled a token in its whole context it is the same
  // bits as what the Sampler recorded (P2).
  virtual std::vector<std::vector<float>> logprobs(const std::vector<Sequence>& sequences, double temperature) = 0;
  // Scalar head on the last token of each sequence.
  virtual std::vector<float> scores(const std::vector<std::vector<int32_t>>& sequences) = 0;
};

// `node`: who asks, the id of a node of the graph; a factory may tell them apart, and no result depends on it.
class EngineFactory {
 public:
  virtual ~EngineFactory() = default;
  // `start`: any dtype; masters are f32 copies.
  virtual std::unique_ptr<Learner> learner(const std::string& node, const TrainerConfig&, const WeightSet& start) const = 0;
  // A rank of it; `together`: of TrainerConfig::ranks ranks.
  virtual std::unique_ptr<RankLearner> rank(const std::string& node, const TrainerConfig&, const WeightSet& start,
                                            std::unique_ptr<Collective> together) const = 0;
  virtual std::unique_ptr<Sampler> sampler(const std::string& node, const GeneratorConfig&,
                                           std::shared_ptr<const WeightSet> weights, int64_t version) const = 0;
  virtual std::unique_ptr<FrozenModel> frozen(const std::string& node, std::shared_ptr<const WeightSet> weights) const = 0;
};

// Engines that compute, on a device that outlives them. `kv_bytes`: of a sampler's KV cache at most, by which it may have to
// compute a context again (no result depends on it); 0: as much as its requests take.
std::shared_ptr<const EngineFactory> device_engines(Device& device, double kv_bytes = 0);

}  // namespace r1
