// One stage of reinforcement learning in virtual time, with engines that only take time. Draws go to generators by the PoolCore
// of a run, which keeps, releases and hands out as in a run; generators admit by their own version and the staleness bound, and
// get versions over the head's one link; batches form in the order of draws. Token by token nothing happens: the sequences of a
// device run at one rate, which changes when one joins or ends. No rewards, no weights, no losses, no faults (r1-sim has
// those).
//
// In the place of roles stand counts of what they hold; a test holds the result against a real run. Thread rule: pure function.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/simulate/costs.h"

namespace r1::simulate {

// The numbers of a stage, as its graph has them.
struct StageShape {
  int64_t groups = 1, samples = 1, staleness = 0, capacity = 64, max_running = 256, max_tokens = 96, batches = 1;
  bool reference = false;
  bool recompute = true;  // on_flip
};

struct Machines {
  std::vector<int> generators;   // of each device that samples: its host; 0 is the head's
  int trainers = 1;              // devices of the head that train, and score for the reference
  bool reference_apart = false;  // the reference computes beside the trainer, as engines on the cores of one machine do
};

struct StageResult {
  double seconds = 0;
  int64_t batches = 0;
  double tokens_generated = 0, tokens_trained = 0;
  double generators = 0;           // use: share of the time at work, mean over the devices
  double idlest = 0, busiest = 0;  // of them
  double held_back = 0;            // share of the generators' time in which none ran and draws waited for a newer version
  double trainer = 0, reference = 0, judge = 0;
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
