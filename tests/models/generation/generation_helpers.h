// What the generator's tests share: random requests, running an engine to its end, comparing results bit by bit.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <map>

#include "models/generation/generator_engine.h"
#include "models/training/scoring_engine.h"
#include "models/training/trainer_engine.h"
#include "tests/models/generation/random_models.h"

namespace r1::testing {

inline std::vector<GenRequest> random_requests(uint64_t seed, int count, int32_t vocab) {
  Rng rng(seed, "requests");
  std::vector<GenRequest> requests;
  for (int i = 0; i < count; ++i) {
    GenRequest r;
    r.id = static_cast<uint64_t>(1000 + i);
    r.rng_key = rng_key(seed, "draw", static_cast<uint64_t>(i));
    // Page boundaries are where mistakes live: every third prompt is a whole number of pages.
    const uint64_t length = i % 3 == 2 ? 16 * (1 + rng.below(3)) : 1 + rng.below(40);
    for (uint64_t t = 0; t < length; ++t) r.prompt.push_back(static_cast<int32_t>(rng.below(static_cast<uint64_t>(vocab))));
    r.samples = 1 + static_cast<int>(rng.below(5));
    r.max_new_tokens = 1 + static_cast<int64_t>(rng.below(30));
    if (rng.chance(0.5)) r.stop_ids = {static_cast<int32_t>(rng.below(static_cast<uint64_t>(vocab))), 3};
    r.temperature = i % 4 == 1 ? 0.7f : i % 4 == 2 ? 0.0f : 1.0f;
    requests.push_back(std::move(r));
  }
  return requests;
}

using Results = std::map<uint64_t, GenResult>;

inline void take(Results& results, std::vector<GenResult> fresh) {
  for (GenResult& r : fresh) {
    EXPECT_EQ(results.count(r.id), 0u) << "request " << r.id << " was returned twice";
    results[r.id] = std::move(r);
  }
}

inline void run_to_end(GeneratorEngine& engine, Results& results) {
  for (int steps = 0; engine.pending() > 0; ++steps) {
    ASSERT_LT(steps, 100'000) << "the engine makes no progress";
    take(results, engine.step());
  }
  EXPECT_EQ(engine.pages_in_use(), 0);
}

inline Results generate(Device& device, const std::shared_ptr<const WeightSet>& weights, const GeneratorConfig& config,
                        const std::vector<GenRequest>& requests, GeneratorStats* stats = nullptr) {
  GeneratorEngine engine(device, config, weights, 0);
  for (const GenRequest& r : requests) engine.submit(r);
  Results results;
  run_to_end(engine, results);
  if (stats != nullptr) *stats = engine.stats();
  return results;
}

inline void expect_same_bits(const Results& a, const Results& b, const std::string& what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  for (const auto& [id, x] : a) {
    ASSERT_EQ(b.count(id), 1u) << what << ": request " << id;
    const GenResult& y = b.at(id);
    ASSERT_EQ(x.samples.size(), y.samples.size()) << what;
    EXPECT_EQ(x.finished, y.finished) << what << ": request " << id;
    for (size_t s = 0; s < x.samples.size(); ++s) {
      ASSERT_EQ(x.samples[s].tokens, y.samples[s].tokens) << what << ": request " << id << " sample " << s;
      for (size_t t = 0; t < x.samples[s].tokens.size(); ++t)
        ASSERT_EQ(std::bit_cast<uint32_t>(x.samples[s].behaviour_logp[t]),
                  std::bit_cast<uint32_t>(y.samples[s].behaviour_logp[t]))
            << what << ": request " << id << " sample " << s << " token " << t;
    }
  }
}

// Compares every token flagged exact with the packed forward pass (the trainer's and the reference's) under its version's
// weights.
// Returns how many were compared; `inexact_differing` counts tokens not flagged whose log-probability differs.
inline int64_t expect_equal_to_packed(Device& device, const std::map<int64_t, std::shared_ptr<const WeightSet>>& weights,
                                      const std::vector<GenRequest>& requests, const Results& results,
                                      int64_t* inexact_differing = nullptr) {
  int64_t compared = 0;
  std::map<float, std::vector<const Sequence*>> by_temperature;
  for (const GenRequest& r : requests)
    for (const Sequence& s : results.at(r.id).samples) by_temperature[r.temperature == 0 ? 1 : r.temperature].push_back(&s);
  for (const auto& [version, set] : weights) {
    ScoringEngine scorer(device, set, 300);
    for (const auto& [temperature, pointers] : by_temperature) {
      std::vector<Sequence> sequences;
      for (const Sequence* s : pointers) sequences.push_back(*s);
      const auto logprobs = scorer.logprobs(sequences, temperature);
      for (size_t s = 0; s < sequences.size(); ++s) {
        const Sequence& q = sequences[s];
        for (size_t t = 0; t < q.tokens.size(); ++t) {
          if (q.version[t] != version) continue;
          const bool same = std::bit_cast<uint32_t>(q.behaviour_logp[t]) == std::bit_cast<uint32_t>(logprobs[s][t]);
          if (q.exact[t] != 0) {
            EXPECT_TRUE(same) << "version " << version << " sequence " << s << " token " << t << " of " << q.tokens.size()
                              << ": " << q.behaviour_logp[t] << " sampled, " << logprobs[s][t] << " packed";
            if (!same) return compared;
            ++compared;
          } else if (!same && inexact_differing != nullptr) {
            ++*inexact_differing;
          }
        }
      }
    }
  }
  return compared;
}

}  // namespace r1::testing
