// Roles in other processes, as far as the runtime cannot know: which roles those may be, what files they read, and how a node
// makes them of what it was sent. The head fills OpenRole::settings and files, the node reads them. At a node every path of the
// head lies in a tree of its own, by content (runtime/nodes/file_cache.h).
// Thread rule: pure but for reading files.
#pragma once

#include <filesystem>
#include <memory>

#include "actors/run_env.h"
#include "runtime/nodes/opened_role.h"
#include "runtime/nodes/pool_role.h"
#include "runtime/nodes/rank_ring.h"
#include "runtime/store/run_store.h"

namespace r1 {

// Generators, references, evaluators, and judges that give their scores on; not with host=head. "" when `node` may run at
// nodes, else why it stays with the head.
std::string stays_with_head(const GraphView& graph, const NodePlan& node);

// At the head: what a node needs to make the role, or to be a rank of a trainer. `graph_file`: the effective graph, as a file.
// Reads and hashes the files.
OpenRole open_role(const RunEnv& env, const GraphView& graph, const NodePlan& node, const std::filesystem::path& graph_file,
                   RunStore& store);

// At the head: what makes the roles of a run. Those that may run at nodes are pools of `world` there, whose `opens`, `keeper`
// and `replicas` are set here; `inner` makes the others. All outlive it.
RoleFactory pooled_roles(const RunEnv& env, RunStore& store, const std::filesystem::path& graph_file, PoolWorld world,
                         RoleFactory inner);

// At a node: the graph and what makes its roles, all on `device` ("": the graph's). `engines`: null for the device's own.
// `ring`: how a rank of a trainer comes to its neighbours; null: no rank may live here. Throws failure for what is none.
std::shared_ptr<const NodeGraph> node_graph(const OpenRole& open, const std::filesystem::path& tree,
                                            std::shared_ptr<ReadOnce> once,
                                            std::shared_ptr<const EngineFactory> engines = nullptr,
                                            const std::string& device = "", MakeRankRing ring = nullptr);

}  // namespace r1
