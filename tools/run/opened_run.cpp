#include "tools/run/opened_run.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "actors/changed_run.h"
#include "actors/continued_run.h"
#include "actors/reward_programs.h"
#include "actors/run_inputs.h"
#include "actors/summary.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/say.h"
#include "base/thread_count.h"
#include "tools/report/html.h"
#include "tools/run/finished_run.h"
#include "tools/run/fingerprint.h"
#include "tools/status_line.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

// Of the roles that run at the same time, of the CPU backend, and of this program (store, log, actors, report, deadlines).
int threads_needed(const GraphView& graph) {
  constexpr int kOwn = 16;
  size_t roles = 0;
  for (const StagePlan& stage : graph.stages) roles = std::max(roles, stage.nodes.size());
  int programs = 0;
  for (const NodePlan& node : graph.nodes) programs = std::max(programs, program_threads(node));
  const auto stages = std::min<int64_t>(graph.attrs.integer("parallel_stages"), static_cast<int64_t>(graph.stages.size()));
  return (static_cast<int>(roles) + programs) * static_cast<int>(stages) +
         static_cast<int>(std::thread::hardware_concurrency()) + kOwn;
}

std::set<std::string> done_stages(const RunStore& store) {
  std::set<std::string> names;
  for (const StageRow& row : store.stages())
    if (row.ended()) names.insert(row.name);
  return names;
}

// What evaluations have in common with what is learned, for the run's record.
void note_contamination(const DataCheck& found, RunStore& store) {
  for (const ContaminatedSource& c : found.contaminated)
    store.add_event(
        0, "r1-run", "contaminated",
        nlohmann::json{
            {"node", c.node}, {"source", c.source}, {"found", c.found}, {"records", c.records}, {"dropped", c.dropped}}
            .dump());
}

}  // namespace

OpenedRun open_run(const PlannedRun& run, const RunArguments& args) {
  const GraphView& graph = run.graph;
  const fs::path& run_dir = run.run_dir;
  const bool begins = args.fresh || !fs::exists(run_dir / "run.db");
  DataCheck data;
  if (begins) {
    data = read_data(run);
    try_reward_programs(run.env, graph, {});
  }
  require_threads(threads_needed(graph));
  OpenedRun opened{RunDirectory::take(run_dir, args.fresh), nullptr, "", false, false, std::move(data)};
  if (opened.taken.moved_aside_to()) say("the old run is now {}\n", opened.taken.moved_aside_to()->string());
  const std::vector<GraphChange> changes = continue_graph(graph, run_dir, run.registry, args.change);
  log_open(run_dir / "r1.log", LogLevel::info, LogLevel::warn);
  opened.store = RunStore::open(run_dir);
  RunStore& store = *opened.store;
  remove_leftovers(run_dir, store);
  apply_changes(changes, graph, run_dir, run.registry, store);
  opened.fingerprint = keep_fingerprint(run.env, graph, store, args.accept_fingerprint);
  store.set_meta("graph_dir", run.graph_dir.string());
  store.set_meta("graph", args.graph.string());
  store.set_meta("machine", describe_machine());
  if (!store.meta("started")) store.set_meta("started", report::utc_time(wall_clock_s()));
  if (all_stages_done(graph, store) && fs::exists(run_dir / "summary.json")) {
    check_kept_files(run.env, store, fs::last_write_time(run_dir / "summary.json"));
    opened.complete = true;
    return opened;
  }

  check_run_files(run.env, graph, store);
  {
    StatusLine progress(StatusLine::Shown::on_terminals);
    check_inputs(run.env, graph, store, args.accept_inputs, [&progress](const std::string& line) { progress.show(line); });
  }
  remember_source_kinds(run.env, graph, store);
  if (begins) {
    note_contamination(opened.data, store);
  } else {
    const std::set<std::string> done = done_stages(store);
    opened.data = read_data(run, done);
    try_reward_programs(run.env, graph, [&done](const std::string& stage) { return done.count(stage) != 0; });
  }
  opened.continued = !store.stages().empty();
  for (const StagePlan& stage : graph.stages) store.ensure_stage(stage.name);  // in this order tables show them
  return opened;
}

}  // namespace r1
