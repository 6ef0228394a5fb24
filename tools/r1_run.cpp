// r1-run: runs a graph file, or continues a run. See docs/architecture.md section 7.
#include <malloc.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>
#include <utility>

#include "actors/changed_run.h"
#include "actors/continued_run.h"
#include "actors/data_check.h"
#include "actors/devices.h"
#include "actors/end_tokens.h"
#include "actors/live_set.h"
#include "actors/node_roles.h"
#include "actors/policy_asker.h"
#include "actors/replay.h"
#include "actors/reward_programs.h"
#include "actors/roles.h"
#include "actors/stage_verdict.h"
#include "actors/run_inputs.h"
#include "actors/stored_rows.h"
#include "actors/summary.h"
#include "base/clock.h"
#include "base/deadline.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "base/say.h"
#include "base/thread_count.h"
#include "base/version.h"
#include "kernels/cpu/cpu_table.h"
#include "runtime/conductor/conductor.h"
#include "runtime/shell/shell_door.h"
#include "runtime/store/run_directory.h"
#include "runtime/store/run_store.h"
#include "tools/command_line.h"
#include "tools/dashboard/dashboard.h"
#include "tools/guarded_main.h"
#include "tools/interrupts.h"
#include "tools/node_hello.h"
#include "tools/program_version.h"
#include "tools/run_nodes.h"
#include "tools/simulate/simulate.h"
#include "tools/report/html.h"
#include "tools/report/run_outputs.h"
#include "tools/shipped_graphs.h"
#include "tools/status_line.h"
#include "tools/terminal/colours.h"
#include "tools/terminal/live_view.h"
#include "tools/terminal/stored_samples.h"
#include "tools/terminal/summary_table.h"
#include "tools/terminal/trajectories.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  fs::path graph, run, replay, report, samples, hostfile, costs;
  std::string listen, dashboard, shell_listen, simulate;
  int64_t invite = 0;
  int64_t count = 4;
  std::vector<std::string> set;
  bool check = false, draw = false, fresh = false, json = false, accept_fingerprint = false, accept_inputs = false,
       change = false, quiet = false, help_roles = false, allow_missing = false, slurm = false;
  bool over_nodes() const { return slurm || !hostfile.empty(); }
};

constexpr const char* kExamples = R"(Examples:
  r1-run graphs/r1_full.graph                      the whole recipe on the built-in tiny world, into runs/r1_full
  r1-run graphs/r1_full.graph                      again: continues, or shows the result of a finished run
  r1-run graphs/r1_full.graph --set graph.seed=1 --run runs/seed1
  r1-run graphs/rl_only.graph --set edge.staleness=0
  r1-run graphs/r1_full.graph --check              reads everything, runs nothing
  r1-run graphs/r1_full.graph --draw | dot -Tsvg > graph.svg
  r1-run graphs/r1_full.graph --shell-listen 127.0.0.1:4000   r1-shell may attach from elsewhere, with a key of the run
  r1-run graphs/r1_full.graph --hostfile hosts     roles in other processes, one a line of `hosts`
  r1-run graphs/r1_full.graph --dashboard 8080     and a page at http://127.0.0.1:8080/ that shows it, with /metrics
  r1-run graphs/rl_only.graph --simulate hosts=4,gpus=8 --costs costs.json      how fast it would be there, and why
  r1-run --help-roles                              what a graph may say
  r1-run --replay runs/r1_full                     recomputes every update from the run store
  r1-run --samples runs/r1_full rl1                what the model said in stage rl1: held-out answers, and what it was trained on
  r1-run --report runs/r1_full                     writes report.html anew, of an unfinished run too

Exit codes: 0 done, 1 failed but resumable, 2 bad input, 130 interrupted and resumable.)";

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

// Sums of three and more ranks were once taken in another order.
std::string fingerprint_of(const RunEnv& env, const GraphView& graph, const std::string& devices) {
  const bool sums = std::any_of(graph.nodes.begin(), graph.nodes.end(), [](const NodePlan& node) {
    return !node.artifact && node.attrs.has("ranks") && node.attrs.integer("ranks") > 2;
  });
  return fmt::format("r1 {}; {}; {}{}", version(), devices, dtype_name(env.precision), sums ? "; ranks sum in a ring" : "");
}

// Of what trains alone: that is all that a replay does again.
constexpr const char* kTrainingFingerprint = "training_fingerprint";

void check_fingerprint(RunStore& store, const std::string& now, bool accept) {
  const auto before = store.meta("fingerprint");
  if (!before || *before == now) return store.set_meta("fingerprint", now);
  if (!accept)
    throw bad_input(fmt::format("this run was started with other arithmetic\n  then: {}\n  now:  {}", *before, now), {},
                    "results may differ in the last bits; continue with --accept-fingerprint");
  store.add_event(0, "r1-run", "fingerprint", fmt::format(R"({{"before":"{}","now":"{}"}})", *before, now));
  store.set_meta("fingerprint", now);
}

int show_finished(const fs::path& run_dir, const Arguments& args) {
  const std::string summary = read_file(run_dir / "summary.json");
  if (args.json) {
    std::cout << summary;
    return 0;
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
  return 0;
}

fs::path run_dir_of(const Arguments& args) { return args.run.empty() ? fs::path("runs") / args.graph.stem() : args.run; }

bool all_done(const GraphView& graph, const RunStore& store) {
  size_t done = 0;
  for (const StageRow& row : store.stages()) done += row.status == StageStatus::done;
  return done == graph.stages.size();
}

std::set<std::string> done_stages(const RunStore& store) {
  std::set<std::string> names;
  for (const StageRow& row : store.stages())
    if (row.ended()) names.insert(row.name);
  return names;
}

// Reads every source of the stages that are still to run, and shows its warnings.
DataCheck read_data(const RunEnv& env, const GraphView& graph, const std::set<std::string>& done) {
  DataCheckOptions options;
  options.memory = survey_memory();
  options.done = [&done](const std::string& stage) { return done.count(stage) != 0; };
  StatusLine progress(StatusLine::Shown::on_terminals);
  options.show = [&progress](const std::string& line) { progress.show(line); };
  DataCheck found = check_data(env, graph, options, SystemClock());
  progress.clear();
  const bool coloured = terminal::shows_colours(STDERR_FILENO);
  for (const DataWarning& warning : found.warnings)
    say("{} {}\n", coloured ? "\033[33mwarning:\033[0m" : "warning:", warning.str());
  return found;
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

// The graph's tracker; null for none.
std::unique_ptr<report::TrackerFeed> tracker_feed(const GraphView& graph, const RunStore& store, const fs::path& run_dir,
                                                  const fs::path& graph_dir, const std::vector<std::string>& command) {
  if (command.empty()) return nullptr;
  TrackerOptions options;
  options.warn = [](const std::string& text) { log_warn(text); };
  options.info = [](const std::string& text) { log_info("tracker: " + text); };
  return std::make_unique<report::TrackerFeed>(graph, store, run_dir, graph_dir, command, std::move(options));
}

// For the report. A store that cannot be written to any more is what the run failed of.
void note_end(RunStore& store, double seconds, const std::vector<StageFailure>& failures) {
  try {
    store.set_meta("seconds", std::to_string(seconds));
    note_failures(store, failures);
  } catch (const Error& e) {
    log_warn(e.what());
  }
}

// A run of this graph that is complete is shown as it is, whether or not the files that it read are still there.
bool shows_finished(const Arguments& args, const fs::path& graph_dir, const std::vector<Override>& overrides) {
  const fs::path run_dir = run_dir_of(args);
  for (const char* file : {"run.db", "graph.graph", "summary.json"})
    if (!fs::exists(run_dir / file)) return false;
  const auto store = RunStore::open_read_only(run_dir);
  const auto kinds = remembered_source_kinds(*store);
  if (kinds.empty()) return false;
  const RoleRegistry registry = recorded_role_registry(graph_dir, kinds);
  try {
    const GraphView graph = load_graph(args.graph, registry, overrides);
    if (!all_done(graph, *store) || read_file(run_dir / "graph.graph") != graph_dot(graph, registry, false)) return false;
  } catch (const Error&) {
    return false;  // it is another graph: what is wrong with it is said where it is read in earnest
  }
  RunEnv env;
  env.run_dir = run_dir;
  env.once = std::make_shared<ReadOnce>();
  check_kept_files(env, *store, fs::last_write_time(run_dir / "summary.json"));
  show_finished(run_dir, args);
  return true;
}

int run_graph(Arguments args) {
  if (const fs::path found = find_graph(args.graph); found != args.graph) {
    say("r1-run: no file {} here; taking the graph shipped as {}\n", args.graph.string(), found.string());
    args.graph = found;
  }
  const fs::path graph_dir = fs::absolute(args.graph).parent_path();
  const auto once = std::make_shared<ReadOnce>();
  const RoleRegistry registry = role_registry(graph_dir, once);
  std::vector<Override> overrides;
  for (const std::string& text : args.set) overrides.push_back(parse_override(text));
  if (!args.draw && !args.check && !args.fresh && args.simulate.empty() && shows_finished(args, graph_dir, overrides)) return 0;
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
  const fs::path run_dir = run_dir_of(args);
  RunEnv env = make_run_env(graph, run_dir, graph_dir, once);
  std::vector<std::string> tracker;
  if (const std::string given = graph.attrs.text("tracker"); !given.empty())
    tracker = tracker_command(given, graph_dir, graph.attrs.where("tracker"));
  const dashboard::Address dashboard_address =
      args.dashboard.empty() ? dashboard::Address() : dashboard::parse_address(args.dashboard);
  const LinkAddress shell_address = args.shell_listen.empty() ? LinkAddress() : parse_link_address(args.shell_listen);
  NodesPlan plan;
  if (args.over_nodes()) plan = plan_nodes(args.hostfile, args.listen, graph);
  const DevicePlan devices = plan_devices(
      env, graph, [&](const NodePlan& node) { return !args.over_nodes() || !stays_with_head(graph, node).empty(); });
  use_devices(env, devices);
  const std::string on_devices = device_plan_text(graph, devices);
  if (args.check) {
    fmt::print("{}{}", nodes_placement_text(graph, plan.placement), on_devices);
    read_data(env, graph, {});
    for (const std::string& line : try_reward_programs(env, graph, {})) fmt::print("{}\n", line);
    const EndTokenReport ends = report_end_tokens(env, graph);
    for (const std::string& line : ends.lines) fmt::print("{}\n", line);
    for (const std::string& warning : ends.warnings) say("warning: {}\n", warning);
    fmt::print("{}: {} stages, {} nodes, {} edges: no errors\n", args.graph.string(), graph.stages.size(), graph.nodes.size(),
               graph.edges.size());
    return 0;
  }

  // A new run that is refused leaves nothing behind; a finished one needs its data no more.
  const bool begins = args.fresh || !fs::exists(run_dir / "run.db");
  DataCheck data;
  if (begins) {
    data = read_data(env, graph, {});
    try_reward_programs(env, graph, {});
  }
  require_threads(threads_needed(graph));
  const RunDirectory taken = RunDirectory::take(run_dir, args.fresh);
  if (taken.moved_aside_to()) say("the old run is now {}\n", taken.moved_aside_to()->string());
  const std::vector<GraphChange> changes = continue_graph(graph, run_dir, registry, args.change);
  log_open(run_dir / "r1.log", LogLevel::info, LogLevel::warn);
  auto store = RunStore::open(run_dir);
  remove_leftovers(run_dir, *store);
  apply_changes(changes, graph, run_dir, registry, *store);
  const std::string fingerprint = fingerprint_of(env, graph, devices_fingerprint(env));
  check_fingerprint(*store, fingerprint, args.accept_fingerprint);
  store->set_meta(kTrainingFingerprint, fingerprint_of(env, graph, training_fingerprint(env, graph)));
  store->set_meta("graph_dir", graph_dir.string());
  store->set_meta("graph", args.graph.string());
  store->set_meta("machine", describe_machine());
  if (!store->meta("started")) store->set_meta("started", report::utc_time(wall_clock_s()));
  if (all_done(graph, *store) && fs::exists(run_dir / "summary.json")) {
    check_kept_files(env, *store, fs::last_write_time(run_dir / "summary.json"));
    return show_finished(run_dir, args);
  }

  check_run_files(env, graph, *store);
  {
    StatusLine progress(StatusLine::Shown::on_terminals);
    check_inputs(env, graph, *store, args.accept_inputs, [&progress](const std::string& line) { progress.show(line); });
  }
  remember_source_kinds(env, graph, *store);
  if (begins) note_contamination(data, *store);
  if (!begins) {
    const std::set<std::string> done = done_stages(*store);
    data = read_data(env, graph, done);
    try_reward_programs(env, graph, [&done](const std::string& stage) { return done.count(stage) != 0; });
  }

  const bool continued = !store->stages().empty();
  terminal::LiveView view(graph, *store, !args.quiet && !args.json,
                          fmt::format("{}  seed {}, {}", args.graph.stem().string(), env.seed, dtype_name(env.precision)));
  view.message(fmt::format("{} {} -> {}\nseed {}, {}, {}{}", continued ? "continuing" : "running", args.graph.string(),
                           run_dir.string(), env.seed, dtype_name(env.precision), describe_machine(),
                           env.device->name() == "cpu" ? fmt::format(", {}", cpu_instruction_set()) : ""));
  log_info(fmt::format("{}: {} {}, seed {}, {}; {}", program_version("r1-run"), continued ? "continues" : "runs",
                       args.graph.string(), env.seed, describe_machine(), fingerprint));
  if (!on_devices.empty()) {
    view.message(on_devices.substr(0, on_devices.size() - 1));
    log_info("devices:\n" + on_devices);
  }
  for (const DataWarning& warning : data.warnings) log_info("warning: " + warning.str());
  for (const std::string& set : live_sets(graph, *store)) {
    view.message("set by r1-shell: " + set);
    log_info("set by r1-shell: " + set);
  }

  RunOptions options = run_options(graph, run_dir, env.seed);
  std::unique_ptr<dashboard::Dashboard> dashboard;
  if (!args.dashboard.empty()) {
    dashboard = std::make_unique<dashboard::Dashboard>(dashboard_address, run_dir);
    view.message("dashboard: " + dashboard->url());
    options.watch = [&](const ShellSources& sources) {
      return dashboard->show(graph, run_dir, graph_dir,
                             {args.graph.stem().string(), dtype_name(env.precision), describe_machine(), env.device->name(),
                              fingerprint, env.seed, static_cast<int>(std::thread::hardware_concurrency())},
                             sources);
    };
  }
  std::unique_ptr<RunNodes> nodes;
  if (args.over_nodes())
    nodes =
        std::make_unique<RunNodes>(std::move(plan), RunNodes::Options{args.allow_missing, args.accept_fingerprint, args.invite},
                                   env, graph, *store, begin_gently());
  if (nodes) {
    options.nodes = [&nodes] { return nodes->shell_rows(); };
    options.node_orders = nodes->orders();
  }
  std::unique_ptr<ShellDoor> door;
  if (!args.shell_listen.empty()) {
    const RunKeys keys(run_dir);
    keys.write_shell_keys();
    door = std::make_unique<ShellDoor>(shell_address, keys, node_hello(*env.device, 0));
    options.door = door.get();
    view.message(fmt::format("r1-shell {} --key {}  (read.key beside it: to look only)", door->address().text(),
                             (run_dir / "keys" / "control.key").string()));
    log_info(fmt::format("shells are let in at {}", door->address().text()));
  }
  PolicyAsker asker(env, graph);
  options.ask = [&asker](int stage, const std::string& prompt, PayloadPtr weights, ShellReplyPtr reply) {
    asker.ask({stage, prompt, std::move(weights), std::move(reply)});
  };
  options.check_set = [&graph, &registry](const std::string& node, const std::string& attr, const std::string& value) {
    check_live_set(graph, registry, node, attr, value);
  };
  options.live = [&] {
    std::vector<ShellSources::Live> rows;
    for (LiveAttr& a : live_attributes(graph, registry, *store)) rows.push_back({a.attribute, a.value, a.doc});
    return rows;
  };
  options.trajectories = [&run_dir](const std::string& arguments) { return terminal::trajectories_answer(run_dir, arguments); };
  options.compute_cpu_ns = [&nodes] { return compute_cpu_ns() + (nodes ? nodes->cpu_ns() : 0); };
  const int here = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  const int cores = nodes ? nodes->cores(here) : here;
  StageHooks hooks;
  hooks.verdict = [&](const GraphView& g, const StagePlan& stage) {
    return stage_verdict(g, stage, *store, store->ensure_stage(stage.name));
  };
  hooks.summary = [&](const GraphView& g, const StagePlan& stage, const StageTimes& times) {
    return stage_summary(g, stage, *store, store->ensure_stage(stage.name), times, cores);
  };
  // What an earlier process ended with says nothing about this one.
  note_failures(*store, {});
  fs::remove(run_dir / "summary.json");
  const double begin = SystemClock().now_s();
  const double before = stored_meta_number(*store, "seconds");
  // A process that is killed has taken its time too.
  hooks.times_stored = [&] { store->set_meta_later("seconds", std::to_string(before + SystemClock().now_s() - begin)); };
  report::RunOutputs outputs(graph, registry, *store, run_dir, graph_dir, view,
                             tracker_feed(graph, *store, run_dir, graph_dir, tracker));
  if (nodes) nodes->place_ranks(env);
  RoleFactory factory = role_factory(env);
  if (nodes) factory = nodes->factory(std::move(factory));
  Conductor conductor(graph, *store, std::move(factory), hooks, options, outputs, make_caf_hosts());
  const ExitCode code = conductor.run(begin_gently());
  const double seconds = before + SystemClock().now_s() - begin;
  const std::vector<StageFailure>& failures = conductor.failures();
  Deadline deadline;
  deadline.step("writing report.html and the event files", code == ExitCode::interrupted ? options.stop_s : options.job_stall_s,
                code == ExitCode::done ? ExitCode::failed : code);
  const bool gone = !fs::exists(run_dir / "run.db");
  if (!gone && store->broken().empty()) note_end(*store, seconds, failures);
  constexpr double kTrackerEnds_s = 30, kTrackerEndsAtOnce_s = 5;
  if (!gone)
    outputs.finish(code == ExitCode::done          ? "done"
                   : code == ExitCode::interrupted ? "interrupted"
                                                   : "failed",
                   code == ExitCode::interrupted ? kTrackerEndsAtOnce_s : kTrackerEnds_s);
  view.close();
  deadline.done();
  log_info(fmt::format("r1-run ends after {:.1f} s with exit code {}", seconds - before, static_cast<int>(code)));
  if (code == ExitCode::interrupted) {
    say("interrupted; the same command continues where this run stopped\n");
    return static_cast<int>(code);
  }
  if (gone) {
    say("the run failed: its {} is gone\n",
        fs::exists(run_dir) ? "store " + (run_dir / "run.db").string() : "directory " + run_dir.string());
    return static_cast<int>(ExitCode::failed);
  }
  RunFacts facts{args.graph.string(), fingerprint, describe_machine(), env.seed, seconds, failures};
  const std::string summary = run_summary(facts, *store);
  if (code != ExitCode::done) {
    try {
      write_file_atomically(run_dir / "summary.json", summary);
    } catch (const Error& e) {
      log_warn(e.what());  // a full disk is what the run failed of
    }
    if (args.json) std::cout << summary;
    if (code == ExitCode::bad_input) return static_cast<int>(code);  // the conductor said why
    const Conductor::Again again = conductor.again();
    if (again == Conductor::Again::says_the_same)
      say("the run failed, and the same command says so again: change the graph, then start over with --fresh or in another "
          "directory with --run (details: {}/report.html)\n",
          run_dir.string());
    else if (again == Conductor::Again::meets_the_cause)
      say("the run failed; what was trained is stored, and the same command fails again as long as the cause is there "
          "(details: {}/report.html)\n",
          run_dir.string());
    else
      say("the run failed; it can be continued by the same command (details: {}/r1.log)\n", run_dir.string());
    return static_cast<int>(code);
  }
  write_file_atomically(run_dir / "summary.json", summary);
  if (args.json)
    std::cout << summary;
  else
    std::cout << "\n"
              << terminal::summary_table(summary) << "checkpoints, run store, summary.json"
              << (outputs.report_error().empty() ? " and report.html" : "") << ": " << run_dir.string() << "\n";
  if (outputs.report_error().empty()) return 0;
  say("the run is done, but its report is not: {} (r1-run --report {} writes it anew)\n", outputs.report_error(),
      run_dir.string());
  return static_cast<int>(ExitCode::failed);
}

int replay(const Arguments& args) {
  if (!fs::exists(args.replay / "run.db"))
    throw bad_input("holds no run", {args.replay.string()}, "give the directory of a run: runs/r1_full");
  if (!fs::exists(args.replay / "graph.graph"))
    throw bad_input("the graph of this run is missing", {(args.replay / "graph.graph").string()},
                    "put the file back as it was");
  const auto store = RunStore::open_read_only(args.replay);
  const fs::path graph_dir = store->meta("graph_dir").value_or(".");
  const GraphView graph =
      load_graph(args.replay / "graph.graph", recorded_role_registry(graph_dir, remembered_source_kinds(*store)));
  RunEnv env = make_run_env(graph, args.replay, graph_dir);
  check_start_weights(env, graph, *store);
  check_kept_files(env, *store);
  use_devices(env, plan_devices(env, graph, is_training));
  const std::string now = fingerprint_of(env, graph, training_fingerprint(env, graph));
  auto then = store->meta(kTrainingFingerprint);
  if (!then) then = store->meta("fingerprint");  // of a run that had one device
  if (then && *then != now && !args.accept_fingerprint)
    throw bad_input(fmt::format("this run was computed with other arithmetic\n  then: {}\n  now:  {}", *then, now), {},
                    "compare all the same with --accept-fingerprint");
  fmt::print("{:<16} {:>8}  {:<34} {}\n", "stage", "batches", "weights_hash (recomputed)", "");
  bool equal = true;
  const auto replayed = replay_run(env, graph, *store, [&](const ReplayedStage& r) {
    fmt::print("{:<16} {:>8}  {:<34} {}{}\n", r.stage, r.batches, r.recomputed, r.equal ? "equal" : "DIFFERENT",
               r.note.empty() ? "" : ": " + r.note);
    std::fflush(stdout);
    equal = equal && r.equal;
  });
  if (replayed.empty()) {
    bool learns = false;
    for (size_t stage = 0; stage < graph.stages.size(); ++stage)
      learns = learns || stage_trainer(graph, static_cast<int>(stage)) != nullptr;
    throw learns
        ? bad_input("no stage of this run has learned from a batch yet: there is nothing to replay", {args.replay.string()})
        : bad_input("no stage of this run learns: a replay recomputes updates of weights, and there are none",
                    {args.replay.string()}, "what was sampled and scored: r1-run --samples " + args.replay.string());
  }
  fmt::print("{}\n", equal ? "replay: every update is equal" : "replay: NOT equal");
  return equal ? 0 : 1;
}

int main_checked(int argc, char** argv) {
  catch_interrupts();
  Arguments args;
  CLI::App app("Runs a graph of the DeepSeek-R1 recipe, or continues a run.", "r1-run");
  add_common_flags(app, kExamples);
  app.add_option("graph", args.graph, "the graph file, or the name of a shipped one");
  app.add_option("--run", args.run, "run directory (default: runs/<graph's name>)")->type_name("DIR");
  app.add_option("--set", args.set, "override an attribute: NODE.ATTR=VALUE, STAGE.ATTR=, edge.ATTR=, node.ATTR=, graph.ATTR=")
      ->type_name("X.Y=VALUE")
      ->allow_extra_args(false);
  app.add_flag("--check", args.check, "check the graph and all it names; run nothing");
  app.add_flag("--draw", args.draw, "print the graph as annotated DOT");
  app.add_flag("--fresh", args.fresh, "move an old run directory aside and start over");
  CLI::Option* const replays = app.add_option("--replay", args.replay, "recompute every update of a run and compare weights");
  CLI::Option* const samples = app.add_option(
      "--samples", args.samples, "print what models said in a run: --samples DIR [STAGE] (--json: one object a line)");
  CLI::Option* const count =
      app.add_option("--count", args.count, "with --samples: prompts of each evaluation, draws of each stage")
          ->check(CLI::Range(int64_t{1}, int64_t{1'000'000}));
  count->needs(samples);
  CLI::Option* const reports =
      app.add_option("--report", args.report, "write report.html of a run anew, of an unfinished one too");
  for (CLI::Option* other : {replays, samples, reports}) other->type_name("DIR");
  CLI::Option* const hostfile =
      app.add_option("--hostfile", args.hostfile,
                     "run generators, judges, references and evaluators in other processes, here or by ssh: one a line "
                     "(docs/operations.md)");
  hostfile->type_name("FILE");
  app.add_flag("--slurm", args.slurm, "the same on the machines of this Slurm job, by srun")->excludes(hostfile);
  app.add_option("--listen", args.listen, "where nodes of other machines reach this one (default: loopback)")
      ->type_name("HOST:PORT");
  app.add_option("--invite", args.invite, "N more nodes may join by hand: RUN/keys/join1.join, ...")
      ->type_name("N")
      ->check(CLI::Range(int64_t{1}, int64_t{1024}).description(""));
  app.add_option("--shell-listen", args.shell_listen,
                 "where r1-shell attaches from elsewhere, with a key of the run (docs/operations.md)")
      ->type_name("HOST:PORT");
  app.add_flag("--allow-missing", args.allow_missing, "go on although a node is not there");
  app.add_option("--dashboard", args.dashboard,
                 "show the run in a browser while it goes on, and /metrics to Prometheus; of this "
                 "machine alone unless HOST is given (docs/operations.md)")
      ->type_name("[HOST:]PORT");
  CLI::Option* const simulates = app.add_option(
      "--simulate", args.simulate, "run nothing; say how fast the graph's stages would be on these machines (docs/scaling.md)");
  simulates->type_name("hosts=N,gpus=M");
  app.add_option("--costs", args.costs, "with --simulate: what engines take, from a JSON file or the directory of a run")
      ->type_name("FILE|DIR")
      ->needs(simulates);
  app.add_flag("--accept-fingerprint", args.accept_fingerprint, "continue or replay although the arithmetic differs");
  app.add_flag("--accept-inputs", args.accept_inputs,
               "continue although data, weights, a tokenizer or a reward program changed since the run began");
  app.add_flag("--change", args.change, "continue with another learning rate and the like (--set), from the next batch on");
  app.add_flag("--json", args.json, "print summary.json instead of a table, and no progress");
  app.add_flag("--help-roles", args.help_roles, "print every role with its attributes and defaults");
  app.add_flag("-q,--quiet", args.quiet, "no progress");
  // An option that would do nothing is refused.
  for (const char* name : {"--run", "--check", "--draw", "--fresh", "--change", "--accept-inputs", "--hostfile", "--slurm",
                           "--dashboard", "--shell-listen"})
    simulates->excludes(app.get_option(name));
  for (const char* name : {"--run", "--set", "--check", "--draw", "--fresh", "--accept-inputs", "--change", "--hostfile",
                           "--slurm", "--dashboard", "--shell-listen", "--simulate"})
    for (CLI::Option* alone : {replays, samples, reports}) alone->excludes(app.get_option(name));
  for (CLI::Option* alone : {replays, reports}) alone->excludes(app.get_option("--json"));
  for (CLI::Option* alone : {samples, reports}) alone->excludes(app.get_option("--accept-fingerprint"));
  if (const auto code = parse_command_line(app, argc, argv)) return *code;
  for (const char* name : {"--listen", "--invite", "--allow-missing"})
    if (app.get_option(name)->count() > 0 && !args.over_nodes())
      throw bad_input(fmt::format("{} is about the nodes of a run, and this one has none", name), {},
                      "--hostfile FILE or --slurm beside it");
  if (args.help_roles) {
    std::cout << describe_roles(role_registry("."));
    return 0;
  }
  if (!args.samples.empty()) {
    if (!args.replay.empty() || !args.report.empty())
      throw bad_input("--samples, --replay and --report are three questions", {}, "ask one at a time");
    const auto samples = terminal::stored_samples(args.samples, args.graph.string(), args.count);
    if (samples.empty())
      throw failure("nothing was kept of what models said there", {args.samples.string()},
                    "an evaluator keeps those of keep_samples=8 prompts, a stage that samples keeps all");
    std::cout << (args.json ? terminal::samples_jsonl(samples) : terminal::samples_text(samples));
    return 0;
  }
  const int given = !args.graph.empty() + !args.replay.empty() + !args.report.empty();
  if (given != 1)
    throw bad_input(given == 0 ? "no graph file given" : "--replay and --report take a run directory and no graph", {},
                    "r1-run graphs/r1_full.graph");
  if (!args.report.empty()) {
    report::write_report(args.report);
    fmt::print("{}\n", (args.report / "report.html").string());
    return 0;
  }
  return args.replay.empty() ? run_graph(args) : replay(args);
}

}  // namespace
}  // namespace r1

int main(int argc, char** argv) {
  // Messages are allocated by one thread and freed by another. With glibc's eight arenas a core that fragments: resident memory
  // grew by 10 KiB a batch while the live heap stood still (P9).
  mallopt(M_ARENA_MAX, 2);
  // A run holds its user's data: directories 0700, files 0600.
  ::umask(077);
  return r1::guarded_main("r1-run", argc, argv, r1::main_checked);
}
