// What actors say to each other: plain immutable structs. No CAF, no engine in here; roles share these and never each other's
// headers. How they become bytes is the business of actors/wire.h. Thread rule: immutable once sent.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/sequence.h"
#include "models/version_delta.h"
#include "runtime/flow/role.h"

namespace r1 {

// One draw of a prompt. Draw numbers count from 0 within a stage and never repeat.
struct PromptMessage final : Payload {
  int64_t draw = 0;
  int64_t prompt_index = 0;  // in the source
  std::string text;          // rendered, ends where the completion begins
  std::vector<int32_t> tokens;
  std::map<std::string, std::string> facts;  // what rewards need
  std::string conversation;                  // what was rendered (Conversation::text()); "" for a text without a template
  std::string dropped;                       // a reason: nothing is sampled, and the draw ends with it; "" for every other
  const char* kind() const override { return "prompts"; }
  std::string describe() const override { return "draw " + std::to_string(draw); }
  int64_t number() const override { return draw; }
};

// The completions of one draw.
struct TrajectoriesMessage : Payload {
  std::shared_ptr<const PromptMessage> prompt;
  std::vector<Sequence> samples;
  std::vector<uint8_t> finished;  // 1: ended with a stop token
  // Of sample i, its end token included.
  int64_t sampled_tokens(size_t i) const { return static_cast<int64_t>(samples[i].tokens.size() - prompt->tokens.size()); }
  const char* kind() const override { return "trajectories"; }
  std::string describe() const override { return prompt->describe(); }
  int64_t number() const override { return prompt->draw; }
};

// What a model wrote behind a prompt, as text.
struct Completion {
  std::string text;  // without the end token; through the end of the first of the stop texts in it
  std::string end;   // of the token that ended it: "<|im_end|>"; "" where none did
  bool operator==(const Completion&) const = default;
};

struct SampleScore {
  std::optional<double> reward;         // absent: it could not be computed
  std::map<std::string, double> parts;  // "accuracy", "format", ... and every name of the expression that was evaluated
  std::string error;                    // why there is no reward; "" with one
};

struct ScoredMessage final : Payload {
  std::shared_ptr<const TrajectoriesMessage> group;
  std::vector<SampleScore> scores;  // one per sample; one without a reward: the draw is dropped as reward_error
  std::vector<Completion> responses;
  // The first sample without a reward, or -1.
  int failed_sample() const {
    for (size_t i = 0; i < scores.size(); ++i)
      if (!scores[i].reward) return static_cast<int>(i);
    return -1;
  }
  const char* kind() const override { return "scored"; }
  std::string describe() const override { return group->describe(); }
  int64_t number() const override { return group->number(); }
};

// A batch in the making: the draws of one window, in draw order, those that teach and those that were dropped.
struct BatchMessage final : Payload {
  struct Group {
    std::shared_ptr<const ScoredMessage> scored;
    std::string dropped;                             // reason; "" = trained on
    std::vector<std::vector<float>> reference_logp;  // per sample, filled by the reference; empty without one
  };
  int64_t version = 0;  // trained on top of this version
  std::vector<Group> groups;
  const char* kind() const override { return "groups"; }
  std::string describe() const override { return "batch " + std::to_string(version); }
  int64_t number() const override { return version; }
};

// From a filter with fill=resample to the generator: how far draws may go. With the trainer at version v, staleness k and N
// kept groups a batch, draw d may start when d < (k + v + 1) N + spare and d < first_draw + (k + v + 1 - batch) max_draws.
struct CreditsMessage final : Payload {
  int64_t spare = 0;       // draws dropped so far, less what batches that ran out of draws were short of N
  int64_t batch = 0;       // being filled
  int64_t first_draw = 0;  // of that batch
  int64_t max_draws = 0;   // a batch
  const char* kind() const override { return "credits"; }
  std::string describe() const override { return "credits for batch " + std::to_string(batch); }
};

// Examples for supervised learning or pairs for reward models (chosen and rejected alternating), tokenised.
struct ExamplesMessage final : Payload {
  int64_t first = 0;  // number of the first example in its source
  std::vector<Sequence> sequences;
  bool last = false;  // nothing follows
  bool pairs = false;
  const char* kind() const override { return pairs ? "pairs" : "examples"; }
  std::string describe() const override { return "examples from " + std::to_string(first); }
};

// From an evaluator to its stage's trainer: what it measured of a version that the trainer asked about.
struct MetricsMessage final : Payload {
  int64_t version = 0;
  std::string node;  // the evaluator
  std::map<std::string, double> metrics;
  const char* kind() const override { return "metrics"; }
  std::string describe() const override { return "evaluation of version " + std::to_string(version); }
  int64_t number() const override { return version; }
};

// A published weight version. Inside a process it is the weights themselves; between processes the difference to the version
// that was sent before on the same edge and is held there, or the whole set.
struct WeightsMessage final : Payload {
  int64_t version = 0;
  Hash128 hash;                               // of the weights
  std::shared_ptr<const WeightSet> weights;   // null when it came from another process
  VersionDelta delta;                         // empty inside a process
  std::shared_ptr<const ModelConfig> config;  // of a whole set from another process, else null
  DType dtype = DType::f32;                   // of weights from another process
  bool final = false;                         // the stage's last version
  const char* kind() const override { return "weights"; }
  std::string describe() const override { return "version " + std::to_string(version); }
  int64_t number() const override { return version; }
  std::string content() const override { return describe() + " " + hash.hex() + (final ? " final" : ""); }
};

}  // namespace r1
