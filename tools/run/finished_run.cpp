#include "tools/run/finished_run.h"

#include <iostream>
#include <nlohmann/json.hpp>

#include "actors/continued_run.h"
#include "actors/roles.h"
#include "actors/run_inputs.h"
#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/say.h"
#include "tools/terminal/summary_table.h"

namespace r1 {

namespace fs = std::filesystem;

bool all_stages_done(const GraphView& graph, const RunStore& store) {
  size_t done = 0;
  for (const StageRow& row : store.stages()) done += row.status == StageStatus::done;
  return done == graph.stages.size();
}

void show_finished_run(const fs::path& run_dir, bool json) {
  const std::string summary = read_file(run_dir / "summary.json");
  if (json) {
    std::cout << summary;
    return;
  }
  std::cout << terminal::summary_table(summary, (run_dir / "summary.json").string())  // which says what is wrong with it
            << "This run is complete: " << run_dir.string() << "/summary.json (--fresh starts over)\n";
  const nlohmann::json read = parse_json(summary, {(run_dir / "summary.json").string()});
  for (const nlohmann::json& stage : read.at("stages"))
    for (const char* what : {"checkpoint", "dataset"}) {
      const auto file = stage.find(what);
      if (file != stage.end() && file->is_string() && !fs::exists(run_dir / file->get<std::string>()))
        say("warning: {} of stage {} is not there any more\n", file->get<std::string>(), stage.value("name", ""));
    }
}

bool shows_finished_run(const RunArguments& args, const fs::path& graph_dir, const std::vector<Override>& overrides) {
  const fs::path run_dir = args.run_dir();
  for (const char* file : {"run.db", "graph.graph", "summary.json"})
    if (!fs::exists(run_dir / file)) return false;
  const auto store = RunStore::open_read_only(run_dir);
  const auto kinds = remembered_source_kinds(*store);
  if (kinds.empty()) return false;
  const RoleRegistry registry = recorded_role_registry(graph_dir, kinds);
  try {
    const GraphView graph = load_graph(args.graph, registry, overrides);
    if (!all_stages_done(graph, *store) || read_file(run_dir / "graph.graph") != graph_dot(graph, registry, false))
      return false;
  } catch (const Error&) {
    return false;  // it is another graph: what is wrong with it is said where it is read in earnest
  }
  RunEnv env;
  env.run_dir = run_dir;
  env.once = std::make_shared<ReadOnce>();
  check_kept_files(env, *store, fs::last_write_time(run_dir / "summary.json"));
  show_finished_run(run_dir, args.json);
  return true;
}

}  // namespace r1
