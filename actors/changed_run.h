// What may change when a run is continued, and from which version on (P4: decisions are data). Attributes are of three kinds
// (AttrChange in runtime/graph/graph.h): those that change nothing that is trained may change at any time; those of the update
// (learning rate, ...) take effect at the next batch and are journaled in the run store, so that a replay honours them; all
// others never change. Thread rule: one thread; reads and writes the run store.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "actors/run_env.h"
#include "models/training/trainer_config.h"
#include "runtime/store/run_store.h"

namespace r1 {

struct GraphChange {
  std::string attribute;      // "rl_trainer.lr"
  std::string before, after;  // effective values
  int stage = -1;             // index into GraphView::stages; -1: of the graph
  AttrChange kind = AttrChange::never;
};

// The graph a run was started with is the graph it is continued with, but for what may change: gives the attributes that differ
// between the graph in the run directory and `graph`. Where no run has begun yet, `graph` is written there. Throws bad_input
// with the difference when anything differs that never changes, or that needs --change and `change` is false; and when the run
// lost its graph or its store.
std::vector<GraphChange> continue_graph(const GraphView& graph, const std::filesystem::path& run_dir, const RoleRegistry&,
                                        bool change);

// Makes them the run's: journals what is trained with from the next batch on, and writes the new effective graph. Throws
// bad_input for a stage that is complete.
void apply_changes(const std::vector<GraphChange>& changes, const GraphView& graph, const std::filesystem::path& run_dir,
                   const RoleRegistry&, RunStore&);

// The trainer's configuration for the batch that is trained on top of `version`.
TrainerConfig trainer_config_at(const RunEnv&, const GraphView&, const NodePlan& trainer, int64_t batches,
                                const std::vector<ChangeRow>& changes, int64_t version);
// The trainer as it is for that batch.
NodePlan changed_node(const NodePlan& trainer, const std::vector<ChangeRow>& changes, int64_t version);
// What its attribute is after all changes; "" when it has no value.
std::string value_after(const NodePlan& trainer, const std::vector<ChangeRow>& changes, const std::string& attr);
// Whether another configuration holds from `version` on than for the version before.
bool changes_at(const std::vector<ChangeRow>& changes, int64_t version);

}  // namespace r1
