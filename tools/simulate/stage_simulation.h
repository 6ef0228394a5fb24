// One stage in virtual time, with engines that only take time. What samples: draws go to generators by the PoolCore
// of a run, which keeps, releases and hands out as in a run; generators admit by their own version and the staleness bound, and
// get versions over the head's one link; batches form in the order of draws. Token by token nothing happens: the sequences of a
// device run at one rate, which changes when one joins or ends. No rewards, no weights, no losses, no faults (r1-sim has
// those).
//
// A stage that learns from examples is its trainer alone: a sum, without events. Evaluations of a stage that learns are a
// device's time, before or after the rest, or beside it.
//
// In the place of roles stand counts of what they hold; a test holds the result against a real run. Thread rule: pure function.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tools/simulate/costs.h"

namespace r1::simulate {

enum class StageSort {
  learns_from_samples,   // GRPO
  learns_from_examples,  // pre-training, SFT, distillation, a reward model
  samples,               // completions of a finished model, kept or only scored
  evaluates              // held-out prompts, by one device
};

// The numbers of a stage, as its graph has them. What samples: batches of `groups` draws of `samples` completions.
struct StageShape {
  StageSort sort = StageSort::learns_from_samples;
  int64_t examples = 1;  // a batch, of what learns from them
  bool greedy = false;   // evaluations: one more completion of each prompt, in a second pass
  int64_t groups = 1, samples = 1, staleness = 0, capacity = 64, max_running = 256, max_tokens = 96, batches = 1;
  bool reference = false;
  bool recompute = true;  // on_flip
  // Held-out problems that evaluators of a stage that learns measure: before and after it, and every so many batches while the
  // trainer waits.
  struct {
    int64_t before = 0, after = 0;
    std::vector<std::pair<int64_t, int64_t>> every;  // (batches, problems)
    double all(int64_t batches) const {
      int64_t n = before + after;
      for (const auto& [each, problems] : every) n += problems * (batches / each);
      return static_cast<double>(n);
    }
  } problems;
};

struct Machines {
  std::vector<int> generators;    // of each device that samples: its host; 0 is the head's
  int trainers = 1;               // devices of the head that train, and score for the reference; 0 where nothing is learned
  int64_t idle = 0;               // devices that have nothing to do in this stage
  bool reference_apart = false;   // the reference computes beside the trainer, as engines on the cores of one machine do
  bool evaluates_beside = false;  // what is measured before a stage learns is, on another device, while it does
};

struct StageResult {
  StageSort sort = StageSort::learns_from_samples;
  double seconds = 0;
  int64_t batches = 0;
  double tokens_generated = 0, tokens_trained = 0;  // where nothing is learned: those of completions that are kept
  double generators = 0;                            // use: share of the time at work, mean over the devices
  double idlest = 0, busiest = 0;                   // of them
  double held_back = 0;  // share of the generators' time in which none ran and draws waited for a newer version
  double trainer = 0, reference = 0, judge = 0, evaluator = 0;
  bool devices_shared = false;         // trainer and reference take turns: their shares add up
  double link_out = 0, link_in = 0;    // use of the head's link
  double bytes_out = 0, bytes_in = 0;  // over it
  double age = 0;                      // mean, of what was trained
  int64_t age_max = 0;
};

StageResult simulate_stage(const StageShape& shape, const Machines& machines, const Costs& costs, uint64_t seed = 0);

// What the stage's speed hangs on, and what would change it.
std::string what_to_scale(const StageResult& result);

}  // namespace r1::simulate
