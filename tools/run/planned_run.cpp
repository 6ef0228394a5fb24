#include "tools/run/planned_run.h"

#include <fmt/format.h>
#include <unistd.h>

#include "actors/devices.h"
#include "actors/end_tokens.h"
#include "actors/node_roles.h"
#include "actors/reward_programs.h"
#include "base/clock.h"
#include "base/say.h"
#include "tools/report/tracker_feed.h"
#include "tools/status_line.h"
#include "tools/terminal/colours.h"

namespace r1 {

namespace fs = std::filesystem;

PlannedRun plan_run(const RunArguments& args, const GraphView& graph, const RoleRegistry& registry, const fs::path& graph_dir,
                    const std::shared_ptr<ReadOnce>& once) {
  PlannedRun run{graph, registry, args.run_dir(), graph_dir, make_run_env(graph, args.run_dir(), graph_dir, once), {}, {}, {},
                 {},    {}};
  if (const std::string given = graph.attrs.text("tracker"); !given.empty())
    run.tracker = tracker_command(given, graph_dir, graph.attrs.where("tracker"));
  if (!args.dashboard.empty()) run.dashboard = dashboard::parse_address(args.dashboard);
  if (!args.shell_listen.empty()) run.shell = parse_link_address(args.shell_listen);
  if (args.over_nodes())
    run.nodes = plan_nodes(args.hostfile, {args.listen, args.address}, graph);
  else
    refuse_places(graph);
  const DevicePlan devices = plan_devices(
      run.env, graph, [&](const NodePlan& node) { return !args.over_nodes() || !stays_with_head(graph, node).empty(); });
  use_devices(run.env, devices);
  run.devices = device_plan_text(graph, devices);
  return run;
}

DataCheck read_data(const PlannedRun& run, const std::set<std::string>& done) {
  DataCheckOptions options;
  options.memory = survey_memory();
  options.done = [&done](const std::string& stage) { return done.count(stage) != 0; };
  StatusLine progress(StatusLine::Shown::on_terminals);
  options.show = [&progress](const std::string& line) { progress.show(line); };
  DataCheck found = check_data(run.env, run.graph, options, SystemClock());
  progress.clear();
  const bool coloured = terminal::shows_colours(STDERR_FILENO);
  for (const DataWarning& warning : found.warnings)
    say("{} {}\n", coloured ? "\033[33mwarning:\033[0m" : "warning:", warning.str());
  return found;
}

void check_run(const PlannedRun& run, const fs::path& graph_file) {
  fmt::print("{}{}", nodes_placement_text(run.graph, run.nodes.placement), run.devices);
  read_data(run);
  for (const std::string& line : try_reward_programs(run.env, run.graph, {})) fmt::print("{}\n", line);
  const EndTokenReport ends = report_end_tokens(run.env, run.graph);
  for (const std::string& line : ends.lines) fmt::print("{}\n", line);
  for (const std::string& warning : ends.warnings) say("warning: {}\n", warning);
  fmt::print("{}: {} stages, {} nodes, {} edges: no errors\n", graph_file.string(), run.graph.stages.size(),
             run.graph.nodes.size(), run.graph.edges.size());
}

}  // namespace r1
