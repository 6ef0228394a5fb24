// A batch as a stage commits it and trains on it: from scored groups or from examples. Not the committing (whose thread and
// whose store it is), and not the training. What a window of scored groups leaves in the run store is the same for everyone who
// commits one: the trainer, a filter in front of a dataset, a judge that writes its scores.
// Thread rule: values and pure functions.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "actors/batch_statistics.h"
#include "actors/codec.h"
#include "actors/messages.h"
#include "models/training/trainer_config.h"
#include "runtime/store/run_store.h"

namespace r1 {

// How many versions behind `version` the oldest sampled token of `sample` is; 0 where nothing was sampled.
int64_t sample_age(const Sequence& sample, int64_t version);

// A window of scored groups as rows of the run store.
struct GroupRows {
  std::vector<Resolution> resolutions;      // one a group
  std::vector<TrajectoryRow> trajectories;  // one a sample
  CompletionStatistics statistics;

  // `dropped`: the group's reason, or "" for one that the batch `version` takes.
  void add(const ScoredMessage& scored, int64_t version, const std::string& dropped);
};

// What a trainer's attributes say about its batches (actors/training_attrs.h).
struct LayoutRules {
  int64_t stride = 1;           // sequences an example: 2 for pairs, chosen and rejected
  bool every_token = false;     // pretrain: an example needs no token of its own to learn
  bool by_deviation = true;     // advantages (group_advantages)
  bool mask_truncated = false;  // completions that were cut off are left out
  bool mean_over_all = false;   // groups with equal rewards count in the loss's mean
};

struct BatchLayout {
  BatchContent content;  // what the run store keeps
  TrainBatch train;      // the same as the engine takes it
  GroupRows rows;        // of groups; empty for examples
  nlohmann::json stats;  // of all that was sampled, or of the examples; what training measures comes later
};
// Items are the samples of groups that were not dropped, in the order of the message, with advantages.
BatchLayout lay_out_groups(const BatchMessage& batch, const LayoutRules& rules);
// `examples`: rules.stride sequences each.
BatchLayout lay_out_examples(std::vector<Sequence> examples, const LayoutRules& rules);

}  // namespace r1
