// A trainer's ranks at nodes of a run: which of them live there, and the engines that put them there. The first rank is with
// the head, where the run's disk is; where the others are changes no bit of what is learned. A rank that is lost ends what the
// trainer is doing, and its stage begins again from the run store. Thread rule: as EngineFactory; functions are pure.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "actors/run_env.h"
#include "models/engines.h"
#include "runtime/nodes/members.h"
#include "runtime/nodes/rank_ring.h"
#include "runtime/store/run_store.h"

namespace r1 {

// How many ranks of `node` live at nodes when a run has some: of a trainer all but the first, unless the graph says host=head.
int64_t ranks_at_nodes(const NodePlan& node);
// Where rank 1, 2, ... of it live when all of `nodes` are there.
std::string place_of_rank(const std::vector<std::string>& nodes, int64_t rank);

struct RankWorld {
  Members* members = nullptr;  // outlives the engines; so do the next three
  const RunEnv* env = nullptr;
  const GraphView* graph = nullptr;
  RunStore* store = nullptr;
  std::filesystem::path graph_file;                        // the effective graph
  MakeRankRing ring;                                       // for the rank that is with the head
  std::map<std::string, std::vector<std::string>> places;  // by id of the trainer: names of the nodes that may have its ranks
};
// As `inner`, but for trainers that RankWorld::places names.
std::shared_ptr<const EngineFactory> engines_with_ranks_at_nodes(RankWorld world, std::shared_ptr<const EngineFactory> inner);

}  // namespace r1
