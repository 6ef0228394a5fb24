#include "tools/run/replay_command.h"

#include <fmt/format.h>

#include <cstdio>

#include "actors/continued_run.h"
#include "actors/devices.h"
#include "actors/replay.h"
#include "actors/roles.h"
#include "actors/run_inputs.h"
#include "base/error.h"
#include "runtime/store/run_store.h"
#include "tools/run/fingerprint.h"

namespace r1 {

namespace fs = std::filesystem;

int replay_and_compare(const fs::path& run_dir, bool accept_fingerprint) {
  if (!fs::exists(run_dir / "run.db"))
    throw bad_input("holds no run", {run_dir.string()}, "give the directory of a run: runs/r1_full");
  if (!fs::exists(run_dir / "graph.graph"))
    throw bad_input("the graph of this run is missing", {(run_dir / "graph.graph").string()}, "put the file back as it was");
  const auto store = RunStore::open_read_only(run_dir);
  const fs::path graph_dir = store->meta("graph_dir").value_or(".");
  const GraphView graph =
      load_graph(run_dir / "graph.graph", recorded_role_registry(graph_dir, remembered_source_kinds(*store)));
  RunEnv env = make_run_env(graph, run_dir, graph_dir);
  check_start_weights(env, graph, *store);
  check_kept_files(env, *store);
  use_devices(env, plan_devices(env, graph, is_training));
  const ReplayArithmetic arithmetic = replay_arithmetic(env, graph, *store, accept_fingerprint);
  fmt::print("{:<16} {:>8}  {:<34} {}\n", "stage", "batches", "weights_hash (recomputed)", "");
  bool equal = true, all = true;
  const auto on_stage = [&](const ReplayedStage& r) {
    fmt::print("{:<16} {:>8}  {:<34} {}{}\n", r.stage, r.batches, r.recomputed,
               r.left_out ? "NOT RECOMPUTED"
               : r.equal  ? "equal"
                          : "DIFFERENT",
               r.note.empty() ? "" : ": " + r.note);
    std::fflush(stdout);
    equal = equal && (r.equal || r.left_out);
    all = all && !r.left_out;
  };
  const auto replayed = replay_run(env, graph, *store, on_stage, &arithmetic);
  if (replayed.empty()) {
    bool learns = false;
    for (size_t stage = 0; stage < graph.stages.size(); ++stage)
      learns = learns || stage_trainer(graph, static_cast<int>(stage)) != nullptr;
    throw learns
        ? bad_input("no stage of this run has learned from a batch yet: there is nothing to replay", {run_dir.string()})
        : bad_input("no stage of this run learns: a replay recomputes updates of weights, and there are none",
                    {run_dir.string()}, "what was sampled and scored: r1-run --samples " + run_dir.string());
  }
  fmt::print("{}\n", !equal ? "replay: NOT equal"
                     : all  ? "replay: every update is equal"
                            : "replay: what was recomputed is equal, and not all was recomputed");
  return equal && all ? 0 : 1;
}

}  // namespace r1
