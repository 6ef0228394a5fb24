#include "tools/run/going_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <thread>

#include "actors/live_set.h"
#include "actors/roles.h"
#include "actors/stage_verdict.h"
#include "actors/stored_rows.h"
#include "actors/summary.h"
#include "base/clock.h"
#include "base/deadline.h"
#include "base/files.h"
#include "base/log.h"
#include "base/say.h"
#include "kernels/cpu/cpu_table.h"
#include "tools/interrupts.h"
#include "tools/node_hello.h"
#include "tools/program_version.h"
#include "tools/report/run_outputs.h"
#include "tools/terminal/summary_table.h"
#include "tools/terminal/trajectories.h"

namespace r1 {

namespace fs = std::filesystem;

namespace {

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

std::string title_of(const PlannedRun& plan, const RunArguments& args) {
  return fmt::format("{}  seed {}, {}", args.graph.stem().string(), plan.env.seed, dtype_name(plan.env.precision));
}

int own_cores() { return static_cast<int>(std::max(1u, std::thread::hardware_concurrency())); }

}  // namespace

GoingRun::GoingRun(PlannedRun& plan, OpenedRun& opened, const RunArguments& args)
    : plan_(plan),
      opened_(opened),
      args_(args),
      store_(*opened.store),
      view_(plan.graph, store_, !args.quiet && !args.json, title_of(plan, args)),
      options_(run_options(plan.graph, plan.run_dir, plan.env.seed)),
      asker_(plan.env, plan.graph) {
  say_what_begins();
  if (plan.dashboard) show_dashboard();
  if (args.over_nodes()) start_nodes();
  if (plan.shell) let_shells_in();
  answer_shells();
}

void GoingRun::say_what_begins() {
  const RunEnv& env = plan_.env;
  view_.message(fmt::format("{} {} -> {}\nseed {}, {}, {}{}", opened_.continued ? "continuing" : "running",
                            args_.graph.string(), plan_.run_dir.string(), env.seed, dtype_name(env.precision),
                            describe_machine(), env.device->name() == "cpu" ? fmt::format(", {}", cpu_instruction_set()) : ""));
  log_info(fmt::format("{}: {} {}, seed {}, {}; {}", program_version("r1-run"), opened_.continued ? "continues" : "runs",
                       args_.graph.string(), env.seed, describe_machine(), opened_.fingerprint));
  if (const std::string& devices = plan_.devices; !devices.empty()) {
    view_.message(devices.substr(0, devices.size() - 1));
    log_info("devices:\n" + devices);
  }
  for (const DataWarning& warning : opened_.data.warnings) log_info("warning: " + warning.str());
  for (const std::string& set : live_sets(plan_.graph, store_)) {
    view_.message("set by r1-shell: " + set);
    log_info("set by r1-shell: " + set);
  }
}

void GoingRun::show_dashboard() {
  dashboard_ = std::make_unique<dashboard::Dashboard>(*plan_.dashboard, plan_.run_dir);
  view_.message("dashboard: " + dashboard_->url());
  options_.watch = [this](const ShellSources& sources) {
    const RunEnv& env = plan_.env;
    return dashboard_->show(plan_.graph, plan_.run_dir, plan_.graph_dir,
                            {args_.graph.stem().string(), dtype_name(env.precision), describe_machine(), env.device->name(),
                             opened_.fingerprint, env.seed, static_cast<int>(std::thread::hardware_concurrency())},
                            sources);
  };
}

void GoingRun::start_nodes() {
  nodes_ = std::make_unique<RunNodes>(std::move(plan_.nodes),
                                      RunNodes::Options{args_.allow_missing, args_.accept_fingerprint, args_.invite}, plan_.env,
                                      plan_.graph, store_, begin_gently());
  options_.nodes = [this] { return nodes_->shell_rows(); };
  options_.at_nodes = nodes_->actors();
  options_.node_orders = nodes_->orders();
}

void GoingRun::let_shells_in() {
  const RunKeys keys(plan_.run_dir);
  keys.write_shell_keys();
  door_ = std::make_unique<ShellDoor>(*plan_.shell, keys, node_hello(*plan_.env.device, 0));
  options_.door = door_.get();
  view_.message(fmt::format("r1-shell {} --key {}  (read.key beside it: to look only)", door_->address().text(),
                            (plan_.run_dir / "keys" / "control.key").string()));
  log_info(fmt::format("shells are let in at {}", door_->address().text()));
}

void GoingRun::answer_shells() {
  options_.ask = [this](int stage, const std::string& prompt, PayloadPtr weights, ShellReplyPtr reply) {
    asker_.ask({stage, prompt, std::move(weights), std::move(reply)});
  };
  options_.check_set = [this](const std::string& node, const std::string& attr, const std::string& value) {
    check_live_set(plan_.graph, plan_.registry, store_, node, attr, value);
  };
  options_.live = [this] {
    std::vector<ShellSources::Live> rows;
    for (LiveAttr& a : live_attributes(plan_.graph, plan_.registry, store_)) rows.push_back({a.attribute, a.value, a.doc});
    return rows;
  };
  options_.trajectories = [this](const std::string& arguments) {
    return terminal::trajectories_answer(plan_.run_dir, arguments);
  };
  options_.compute_cpu_ns = [this] { return compute_cpu_ns() + (nodes_ ? nodes_->cpu_ns() : 0); };
}

StageHooks GoingRun::hooks() {
  StageHooks hooks;
  hooks.verdict = [this](const GraphView& graph, const StagePlan& stage) {
    return stage_verdict(graph, stage, store_, store_.ensure_stage(stage.name));
  };
  hooks.summary = [this](const GraphView& graph, const StagePlan& stage, const StageTimes& times) {
    return stage_summary(graph, stage, store_, store_.ensure_stage(stage.name), times,
                         nodes_ ? nodes_->cores(own_cores()) : own_cores());
  };
  // A process that is killed has taken its time too.
  hooks.times_stored = [this] {
    store_.set_meta_later("seconds", std::to_string(seconds_before_ + SystemClock().now_s() - begin_s_));
  };
  return hooks;
}

int GoingRun::finish() {
  // What an earlier process ended with says nothing about this one.
  note_failures(store_, {});
  fs::remove(plan_.run_dir / "summary.json");
  begin_s_ = SystemClock().now_s();
  seconds_before_ = stored_meta_number(store_, "seconds");
  report::RunOutputs outputs(plan_.graph, plan_.registry, store_, plan_.run_dir, plan_.graph_dir, view_,
                             tracker_feed(plan_.graph, store_, plan_.run_dir, plan_.graph_dir, plan_.tracker));
  if (nodes_) nodes_->place_ranks(plan_.env);
  RoleFactory factory = role_factory(plan_.env);
  if (nodes_) factory = nodes_->factory(std::move(factory));
  Conductor conductor(plan_.graph, store_, std::move(factory), hooks(), options_, outputs, make_caf_hosts());
  const ExitCode code = conductor.run(begin_gently());
  const double seconds = SystemClock().now_s() - begin_s_;
  Deadline deadline;
  deadline.step("writing report.html and the event files",
                code == ExitCode::interrupted ? options_.stop_s : options_.job_stall_s,
                code == ExitCode::done ? ExitCode::failed : code);
  const bool gone = !fs::exists(plan_.run_dir / "run.db");
  if (!gone && store_.broken().empty()) note_end(store_, seconds_before_ + seconds, conductor.failures());
  constexpr double kTrackerEnds_s = 30, kTrackerEndsAtOnce_s = 5;
  if (!gone)
    outputs.finish(code == ExitCode::done          ? "done"
                   : code == ExitCode::interrupted ? "interrupted"
                                                   : "failed",
                   code == ExitCode::interrupted ? kTrackerEndsAtOnce_s : kTrackerEnds_s);
  // Who reads the output may take as long as it likes, unless the run is to stop.
  if (code == ExitCode::interrupted)
    deadline.step("writing the last lines of the output", options_.stop_s, code);
  else
    deadline.done();
  view_.close();
  log_info(fmt::format("r1-run ends after {:.1f} s with exit code {}", seconds, static_cast<int>(code)));
  if (code == ExitCode::interrupted) {
    say("interrupted; the same command continues where this run stopped\n");
    deadline.done();
    return static_cast<int>(code);
  }
  if (gone) {
    say("the run failed: its {} is gone\n",
        fs::exists(plan_.run_dir) ? "store " + (plan_.run_dir / "run.db").string() : "directory " + plan_.run_dir.string());
    return static_cast<int>(ExitCode::failed);
  }
  const std::string summary = run_summary({args_.graph.string(), opened_.fingerprint, describe_machine(), plan_.env.seed,
                                           seconds_before_ + seconds, conductor.failures()},
                                          store_);
  return code == ExitCode::done ? say_done(summary, outputs.report_error()) : say_failed(code, conductor.again(), summary);
}

int GoingRun::say_done(const std::string& summary, const std::string& report_error) {
  const fs::path& run_dir = plan_.run_dir;
  write_file_atomically(run_dir / "summary.json", summary);
  if (args_.json)
    std::cout << summary;
  else
    std::cout << "\n"
              << terminal::summary_table(summary) << "checkpoints, run store, summary.json"
              << (report_error.empty() ? " and report.html" : "") << ": " << run_dir.string() << "\n";
  if (report_error.empty()) return 0;
  say("the run is done, but its report is not: {} (r1-run --report {} writes it anew)\n", report_error, run_dir.string());
  return static_cast<int>(ExitCode::failed);
}

int GoingRun::say_failed(ExitCode code, Conductor::Again again, const std::string& summary) {
  const fs::path& run_dir = plan_.run_dir;
  try {
    write_file_atomically(run_dir / "summary.json", summary);
  } catch (const Error& e) {
    log_warn(e.what());  // a full disk is what the run failed of
  }
  if (args_.json) std::cout << summary;
  if (code == ExitCode::bad_input) return static_cast<int>(code);  // the conductor said why
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

}  // namespace r1
