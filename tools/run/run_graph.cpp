#include "tools/run/run_graph.h"

#include <iostream>

#include "actors/roles.h"
#include "base/say.h"
#include "tools/interrupts.h"
#include "tools/run/finished_run.h"
#include "tools/run/going_run.h"
#include "tools/run/opened_run.h"
#include "tools/run/planned_run.h"
#include "tools/shipped_graphs.h"
#include "tools/simulate/simulate.h"

namespace r1 {

namespace fs = std::filesystem;

int run_graph(RunArguments args) {
  if (const fs::path found = find_graph(args.graph); found != args.graph) {
    say("r1-run: no file {} here; taking the graph shipped as {}\n", args.graph.string(), found.string());
    args.graph = found;
  }
  const fs::path graph_dir = fs::absolute(args.graph).parent_path();
  const auto once = std::make_shared<ReadOnce>();
  const RoleRegistry registry = role_registry(graph_dir, once);
  std::vector<Override> overrides;
  for (const std::string& text : args.set) overrides.push_back(parse_override(text));
  const bool runs = !args.draw && !args.check && args.simulate.empty();
  if (runs && !args.fresh && shows_finished_run(args, graph_dir, overrides)) return 0;
  const GraphView graph = load_graph(args.graph, registry, overrides);
  if (!args.simulate.empty()) {
    const auto stages = simulate::simulate_graph(graph, simulate::parse_setting(args.simulate), args.costs);
    std::cout << (args.json ? simulate::simulation_json(stages) : simulate::simulation_table(stages));
    return 0;
  }
  if (args.draw) {
    std::cout << graph_dot(graph, registry, true);
    return 0;
  }
  PlannedRun plan = plan_run(args, graph, registry, graph_dir, once);
  if (args.check) {
    check_run(plan, args.graph);
    return 0;
  }
  outlive_readers();
  OpenedRun opened = open_run(plan, args);
  if (opened.complete) {
    show_finished_run(plan.run_dir, args.json);
    return 0;
  }
  return GoingRun(plan, opened, args).finish();
}

}  // namespace r1
