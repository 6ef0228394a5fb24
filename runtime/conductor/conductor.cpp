#include "runtime/conductor/conductor.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <nlohmann/json.hpp>

#include "base/deadline.h"
#include "base/log.h"
#include "base/stop.h"
#include "runtime/conductor/shell_board.h"
#include "runtime/flow/what_of.h"
#include "runtime/shell/shell_door.h"
#include "runtime/shell/shell_server.h"
#include "runtime/store/run_store.h"

namespace r1 {

RunOptions run_options(const GraphView& graph, const std::filesystem::path& run_dir, uint64_t seed) {
  RunOptions options;
  options.run_dir = run_dir;
  options.seed = seed;
  options.max_parallel_stages = static_cast<int>(graph.attrs.integer("parallel_stages"));
  options.stall_s = graph.attrs.number("stall_s");
  options.job_stall_s = graph.attrs.number("job_stall_s");
  options.max_restarts = static_cast<int>(graph.attrs.integer("max_restarts"));
  return options;
}
namespace {

constexpr double kSaveTimesEvery_s = 5;
constexpr const char* kActor = "conductor";  // in events and waits

// A report of several lines as one: a run ends with a reason of one line.
std::string one_line(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\n') {
      out += text[i];
      continue;
    }
    while (i + 1 < text.size() && (text[i + 1] == ' ' || text[i + 1] == '\n')) ++i;
    out += "; ";
  }
  return out;
}

ExitCode code_of(std::exception_ptr error) {
  try {
    std::rethrow_exception(error);
  } catch (const Error& e) {
    return e.code() == ExitCode::bad_input ? ExitCode::bad_input : ExitCode::failed;
  } catch (...) {
    return ExitCode::failed;
  }
}

bool is_final(std::exception_ptr error) {
  try {
    std::rethrow_exception(error);
  } catch (const Error& e) {
    return e.final();
  } catch (...) {
    return false;
  }
}

}  // namespace

struct Conductor::Impl {
  using Phase = StagePhase;

  struct Stage {
    const StagePlan* plan = nullptr;
    int64_t id = 0;
    Phase phase = Phase::waiting;
    bool continued = false;
    bool prepared = false;               // the before hook has run in this process
    std::unique_ptr<EngineTimes> times;  // of this incarnation
    std::unique_ptr<StageHost> host;
    StageTimes earlier;  // of incarnations before
    StageTimes last;     // when last saved, this incarnation
    int64_t begin_ns = 0, begin_cpu_ns = 0;
    int restarts = 0;  // since a batch was last committed
    int64_t batches_at_failure = -1;
    std::string last_failure;   // node and error
    bool stall_logged = false;  // of a hook
    std::string killed;         // the role that the shell has killed
    // Of the hook that runs; under mutex.
    bool hook_done = false;
    std::exception_ptr hook_error;
    std::string summary;
    StageVerdict verdict;
    std::vector<std::pair<std::string, std::string>> lines;
  };

  Impl(const GraphView& g, RunStore& s, RoleFactory f, StageHooks h, RunOptions o, ProgressSink& k,
       std::shared_ptr<StageHosts> w)
      : graph(g),
        store(s),
        factory(std::move(f)),
        hooks(std::move(h)),
        options(std::move(o)),
        sink(k),
        faults(options.faults ? *options.faults : process_faults()),
        hosts(std::move(w)),
        clock(hosts->clock()),
        waits(clock),
        board(store, waits, [this] { hosts->wake(); }),
        orders(graph, store, paused, options.ask, options.node_orders,
               [this](const std::string& line) { sink.message(line); }) {}

  ExitCode run(std::atomic<bool>& interrupted);
  void round(const std::atomic<bool>& interrupted);
  void start_ready_stages();
  void watch(Stage& stage);
  struct HookResult {
    std::string summary;
    StageVerdict verdict;
  };
  void run_hook(Stage& stage, Phase phase, std::function<HookResult()> body);
  void start_roles(Stage& stage);
  void end_roles(Stage& stage);
  void save_times(Stage& stage);
  StageTimes times_now(const Stage& stage) const;
  double patience_s() const;
  static std::string hook_name(const Stage& stage) {
    return fmt::format("stage {}: {}", stage.plan->name, stage.phase == Phase::preparing ? "preparing it" : "summing it up");
  }
  void last_step(const std::string& what);
  void failed(Stage& stage, const std::string& node, std::exception_ptr error);
  void end_run(ExitCode code, const std::string& reason, const std::string& stage = "");
  void complete(Stage& stage);
  void end_if_settled();
  void show_progress(Stage& stage);
  int64_t cpu_ns() const { return options.compute_cpu_ns ? options.compute_cpu_ns() : 0; }

  const GraphView& graph;
  RunStore& store;
  RoleFactory factory;
  StageHooks hooks;
  RunOptions options;
  ProgressSink& sink;
  FaultPlan& faults;
  std::shared_ptr<StageHosts> hosts;
  const Clock& clock;
  WaitRegistry waits;

  std::mutex mutex;

  ShellBoard board;
  std::atomic<bool> paused{false};  // by the shell: no job begins
  ShellOrders orders;

  std::vector<Stage> stages;
  std::optional<ExitCode> ended;
  std::string reason;
  std::vector<StageFailure> failures;
  bool hook_hangs = false;
  std::atomic<bool> stopping{false};  // hooks stop between their units
  Again next_time = Again::goes_on;

  void update_board();
  void see_to_orders();
};

// ---- one stage --------------------------------------------------------------------------------------------------------

void Conductor::Impl::run_hook(Stage& stage, Phase phase, std::function<HookResult()> body) {
  stage.phase = phase;
  {
    std::lock_guard lock(mutex);
    stage.hook_done = false;
    stage.hook_error = nullptr;
  }
  const std::string key = phase == Phase::preparing ? "job prepare the stage" : "job sum up the stage";
  waits.begin(stage.plan->name, kActor, key, "running", "");
  auto result = std::make_shared<HookResult>();
  hosts->io().submit({[this, result, name = stage.plan->name, body = std::move(body)] {
                        const std::function<void()> moved = [this, &name] { waits.progressed(name); };
                        const StopScope scope({&stopping, &moved});
                        *result = body();
                      },
                      [this, &stage, result, key](std::exception_ptr error) {
                        waits.end(stage.plan->name, kActor, key);
                        waits.progressed(stage.plan->name);
                        {
                          std::lock_guard lock(mutex);
                          stage.hook_done = true;
                          stage.hook_error = error;
                          stage.summary = result->summary;
                          stage.verdict = result->verdict;
                        }
                        hosts->wake();
                      }});
}

void Conductor::Impl::start_roles(Stage& stage) {
  stage.phase = Phase::running;
  waits.forget(stage.plan->name);
  waits.progressed(stage.plan->name);
  stage.last = {};
  stage.times = std::make_unique<EngineTimes>(clock);
  stage.begin_ns = clock.now_ns();
  stage.begin_cpu_ns = cpu_ns();
  HostServices services;
  services.graph = &graph;
  services.stage = stage.plan;
  services.stage_id = stage.id;
  services.store = &store;
  services.waits = &waits;
  services.times = stage.times.get();
  services.clock = &clock;
  services.faults = &faults;
  services.paused = &paused;
  try {
    stage.host = hosts->start(services, factory);
  } catch (...) {
    failed(stage, "", std::current_exception());
  }
}

StageTimes Conductor::Impl::times_now(const Stage& stage) const {
  StageTimes now;
  if (!stage.times) return now;
  now.seconds = static_cast<double>(clock.now_ns() - stage.begin_ns) * 1e-9;
  now.compute_cpu_s = static_cast<double>(cpu_ns() - stage.begin_cpu_ns) * 1e-9;
  now.overlap_s = stage.times->overlap_s();
  now.idle_s = stage.times->idle_s();
  now.engine_s = stage.times->engine_s();
  return now;
}

void Conductor::Impl::save_times(Stage& stage) {
  const StageTimes now = times_now(stage);
  store.add_stage_seconds(stage.id, now.seconds - stage.last.seconds);
  stage.last = now;
  StageTimes total = stage.earlier;
  total.add(now);
  store.set_stage_times(stage.id, total.json());
  if (hooks.times_stored) hooks.times_stored();
}

// What the process waits for at most before it ends without it.
double Conductor::Impl::patience_s() const {
  return ended == ExitCode::done || (ended && *ended != ExitCode::interrupted && !hook_hangs) ? options.job_stall_s
                                                                                              : options.stop_s;
}

void Conductor::Impl::last_step(const std::string& what) {
  hosts->last_step(what, patience_s(), *ended == ExitCode::interrupted ? ExitCode::interrupted : ExitCode::failed);
}

void Conductor::Impl::end_roles(Stage& stage) {
  if (!stage.times) return;
  const double limit_s = ended ? patience_s() : options.job_stall_s;
  if (stage.host && !stage.host->teardown(limit_s)) {
    std::string jobs;
    for (const WaitRow& wait : waits.waits(stage.plan->name))
      if (wait.reason == "running") jobs += fmt::format("{}{} of {}", jobs.empty() ? "" : ", ", wait.key, wait.owner);
    log_error(fmt::format("stage {}: {} did not end within {:.0f} s; the process ends, the run can be continued",
                          stage.plan->name, jobs.empty() ? "a role" : jobs, limit_s));
    const ExitCode code = ended == ExitCode::interrupted ? ExitCode::interrupted : ExitCode::failed;
    hosts->last_step("the run store", options.stop_s, code);
    store.add_event(stage.id, kActor, "stuck", nlohmann::json{{"jobs", jobs}}.dump());
    store.flush();
    log_flush();
    // Threads that cannot be joined still use what unwinding would destroy.
    std::_Exit(static_cast<int>(code));
  }
  save_times(stage);
  stage.earlier.add(times_now(stage));
  stage.host.reset();
  stage.times.reset();
  waits.forget(stage.plan->name);
}

void Conductor::Impl::failed(Stage& stage, const std::string& node, std::exception_ptr error) {
  const std::string what = (node.empty() ? "" : node + ": ") + one_line(what_of(error));
  end_roles(stage);
  if (code_of(error) == ExitCode::bad_input) return end_run(ExitCode::bad_input, what, stage.plan->name);
  if (is_final(error)) {
    next_time = Again::meets_the_cause;
    return end_run(ExitCode::failed, what, stage.plan->name);
  }
  if (const std::string broken = store.broken(); !broken.empty()) return end_run(ExitCode::failed, broken, stage.plan->name);
  if (const std::string killed = std::exchange(stage.killed, ""); !killed.empty()) {
    log_info(fmt::format("stage {} starts again from the run store: {} was killed by r1-shell", stage.plan->name, killed));
    stage.phase = Phase::waiting;
    return;
  }
  const int64_t batches = store.batch_count(stage.id);
  const bool repeated = batches == stage.batches_at_failure && what == stage.last_failure;
  if (batches > stage.batches_at_failure) stage.restarts = 0;
  stage.batches_at_failure = batches;
  stage.last_failure = what;
  if (repeated) {
    next_time = Again::meets_the_cause;
    return end_run(ExitCode::failed,
                   fmt::format("stage {} failed twice in the same way after {} batches and is not tried again: {}",
                               stage.plan->name, batches, what),
                   stage.plan->name);
  }
  if (stage.restarts >= options.max_restarts)
    return end_run(ExitCode::failed,
                   fmt::format("stage {} failed {} times without a new batch; the last time: {}", stage.plan->name,
                               stage.restarts + 1, what),
                   stage.plan->name);
  ++stage.restarts;
  log_warn(fmt::format("stage {} starts again from the run store ({} of at most {} times): {}", stage.plan->name,
                       stage.restarts, options.max_restarts, what));
  store.add_event(stage.id, kActor, "restart",
                  nlohmann::json{{"node", node}, {"error", what}, {"restarts", stage.restarts}, {"batches", batches}}.dump());
  stage.phase = Phase::waiting;
}

void Conductor::Impl::complete(Stage& stage) {
  const StageVerdict& verdict = stage.verdict;
  store.complete_stage(stage.id, stage.summary.empty() ? "{}" : stage.summary, verdict.line, verdict.failed());
  store.add_event(stage.id, kActor, verdict.failed() ? "stage_failed" : "stage_done", stage.earlier.json());
  waits.forget(stage.plan->name);
  stage.phase = verdict.failed() ? Phase::failed : Phase::done;
  log_info(fmt::format("stage {} {} in {:.1f} s{}{}", stage.plan->name, word_of(stage.phase), stage.earlier.seconds,
                       verdict.line.empty() ? "" : ": ", verdict.line));
  log_info(fmt::format("stage {} in numbers: {}", stage.plan->name, stage.summary));
  sink.stage_done(stage.plan->name, stage.summary, verdict);
}

// The run has ended when every stage is done or has failed, or waits for one that has.
void Conductor::Impl::end_if_settled() {
  std::string left_out, text;
  std::vector<bool> lost(stages.size(), false);  // failed, or needs what failed; stages are in topological order
  for (size_t i = 0; i < stages.size(); ++i) {
    const Stage& stage = stages[i];
    const auto& after = stage.plan->after;
    lost[i] = stage.phase == Phase::failed ||
              std::any_of(after.begin(), after.end(), [&](int before) { return lost[static_cast<size_t>(before)]; });
    if (stage.phase == Phase::done) continue;
    if (stage.phase == Phase::failed) {
      failures.push_back({stage.plan->name, stage.verdict.line});
      text += fmt::format("{}stage {} failed: {}", text.empty() ? "" : "; ", stage.plan->name, stage.verdict.line);
    } else if (lost[i] && stage.phase == Phase::waiting) {
      left_out += (left_out.empty() ? "" : ", ") + stage.plan->name;
    } else {
      failures.clear();
      return;
    }
  }
  if (failures.empty()) {
    ended = ExitCode::done;
    return;
  }
  next_time = Again::says_the_same;
  if (!left_out.empty()) text += fmt::format("; not started, because they need what failed: {}", left_out);
  const auto by_stage = failures;
  end_run(ExitCode::failed, text);
  failures = by_stage;
}

void Conductor::Impl::show_progress(Stage& stage) {
  std::vector<std::pair<std::string, std::string>> lines;
  for (const auto& role : stage.host->roles())
    if (!role.progress.empty()) lines.emplace_back(role.node, role.progress);
  if (lines == stage.lines) return;
  stage.lines = lines;
  sink.stage_progress(stage.plan->name, lines);
}

void Conductor::Impl::watch(Stage& stage) {
  if (stage.phase == Phase::preparing || stage.phase == Phase::summing_up) {
    bool done;
    std::exception_ptr error;
    {
      std::lock_guard lock(mutex);
      done = stage.hook_done;
      error = stage.hook_error;
    }
    if (!done) {
      const std::string report = waits.stall_report(stage.plan->name, options.stall_s, options.job_stall_s);
      if (!report.empty() && !std::exchange(stage.stall_logged, true)) {
        log_error(report);
        store.add_event(stage.id, kActor, "stall", nlohmann::json{{"report", report}}.dump());
        hook_hangs = true;
        end_run(ExitCode::failed, fmt::format("{} did not end within {:.0f} s", hook_name(stage), options.job_stall_s));
      }
    } else if (error) {
      end_run(code_of(error), fmt::format("stage {}: {}", stage.plan->name, what_of(error)), stage.plan->name);
    } else if (stage.phase == Phase::summing_up) {
      complete(stage);
    } else {
      stage.prepared = true;
      start_roles(stage);
    }
    return;
  }
  if (stage.phase != Phase::running) return;
  if (const auto failure = stage.host->failure()) return failed(stage, failure->node, failure->error);
  show_progress(stage);
  if (stage.host->all_finished()) {
    end_roles(stage);
    return run_hook(stage, Phase::summing_up, [this, plan = stage.plan, times = stage.earlier] {
      HookResult result;
      if (hooks.verdict) result.verdict = hooks.verdict(graph, *plan);
      result.summary = hooks.summary ? hooks.summary(graph, *plan, times) : std::string("{}");
      return result;
    });
  }
  if (paused) {
    waits.progressed(stage.plan->name);  // whoever waits, waits for the run to go on
  } else if (const std::string report = waits.stall_report(stage.plan->name, options.stall_s, options.job_stall_s);
             !report.empty()) {
    log_error(report);
    store.add_event(stage.id, kActor, "stall", nlohmann::json{{"report", report}}.dump());
    return failed(stage, "", std::make_exception_ptr(failure(report)));
  }
  if (times_now(stage).seconds - stage.last.seconds > kSaveTimesEvery_s) save_times(stage);
}

// ---- the run ----------------------------------------------------------------------------------------------------------

void Conductor::Impl::end_run(ExitCode code, const std::string& why, const std::string& stage) {
  if (ended) return;
  ended = code;
  reason = why;
  if (code != ExitCode::interrupted) failures = {{stage, why}};
  stopping = code != ExitCode::done;
  log_line(code == ExitCode::interrupted ? LogLevel::info : LogLevel::error, why);
}

void Conductor::Impl::start_ready_stages() {
  const auto at_work = [&] {
    return std::count_if(stages.begin(), stages.end(),
                         [](const Stage& s) { return s.host || s.phase == Phase::preparing || s.phase == Phase::summing_up; });
  };
  for (Stage& stage : stages) {
    if (ended || at_work() >= std::max(1, options.max_parallel_stages)) return;
    if (stage.phase != Phase::waiting) continue;
    const auto& after = stage.plan->after;
    if (!std::all_of(after.begin(), after.end(), [&](int before) { return stages[before].phase == Phase::done; })) continue;
    if (stage.prepared) {
      start_roles(stage);
      continue;
    }
    store.set_stage_status(stage.id, StageStatus::running);
    store.add_event(stage.id, kActor, stage.continued ? "stage_continued" : "stage_started", "{}");
    log_info(fmt::format("stage {} {}", stage.plan->name, stage.continued ? "continues" : "starts"));
    sink.stage_started(stage.plan->name, stage.continued);
    run_hook(stage, Phase::preparing, [this, plan = stage.plan] {
      if (hooks.before) hooks.before(graph, *plan);
      return HookResult{};
    });
  }
}

void Conductor::Impl::update_board() {
  std::vector<ShellRole> roles;
  std::vector<ShellStage> rows;
  for (const Stage& stage : stages) {
    if (stage.host)
      for (const auto& role : stage.host->roles())
        roles.push_back({stage.plan->name, role.node, role.role, word_of(role.state), role.progress});
    StageTimes times = stage.earlier;
    times.add(times_now(stage));
    const bool stands = paused && stage.phase == Phase::running;
    rows.push_back({stage.plan->name, word_of(stands ? Phase::paused : stage.phase), times, stage.restarts});
  }
  board.show(std::move(roles), std::move(rows));
}

void Conductor::Impl::see_to_orders() {
  std::vector<ShellOrder> given = board.take_orders();
  if (given.empty()) return;
  std::vector<OrderedStage> rows;
  for (Stage& stage : stages) {
    const bool ended = stage.phase == Phase::summing_up || stage.phase == Phase::done || stage.phase == Phase::failed;
    rows.push_back({stage.plan, stage.id, stage.host.get(), ended, &stage.killed});
  }
  for (ShellOrder& order : given) orders.see_to(std::move(order), rows);
}

void Conductor::Impl::round(const std::atomic<bool>& interrupted) {
  if (interrupted) end_run(ExitCode::interrupted, "interrupted");
  start_ready_stages();
  for (Stage& stage : stages)
    if (!ended) watch(stage);
  update_board();
  see_to_orders();
  if (ended) return;
  end_if_settled();
  if (ended) return;
  hosts->wait(options.tick_s);
}

ExitCode Conductor::Impl::run(std::atomic<bool>& interrupted) {
  stages.resize(graph.stages.size());
  for (size_t i = 0; i < stages.size(); ++i) {
    Stage& stage = stages[i];
    stage.plan = &graph.stages[i];
    stage.id = store.ensure_stage(stage.plan->name);
  }
  for (const StageRow& row : store.stages())
    for (Stage& stage : stages)
      if (stage.id == row.id) {
        stage.phase = row.status == StageStatus::done     ? Phase::done
                      : row.status == StageStatus::failed ? Phase::failed
                                                          : Phase::waiting;
        stage.verdict.line = row.verdict;
        stage.continued = row.status == StageStatus::running;
        stage.earlier = StageTimes::of(store, row);
      }
  update_board();
  std::unique_ptr<ShellServer> shell;
  ShellSources sources = board.sources(interrupted);
  sources.stall_s = options.stall_s;
  sources.job_stall_s = options.job_stall_s;
  sources.nodes = options.nodes;
  sources.at_nodes = options.at_nodes;
  sources.check_set = options.check_set;
  sources.live = options.live;
  sources.trajectories = options.trajectories;
  std::shared_ptr<void> watcher = options.watch ? options.watch(sources) : nullptr;
  if (options.shell) shell = std::make_unique<ShellServer>(std::move(sources), options.run_dir);
  if (shell && options.door != nullptr) options.door->open(*shell);

  while (!ended) {
    try {
      round(interrupted);
    } catch (...) {
      end_run(code_of(std::current_exception()), what_of(std::current_exception()));
    }
  }
  last_step("the shell");
  if (options.door != nullptr) options.door->close();
  shell.reset();
  last_step("the dashboard");
  watcher.reset();
  hosts->last_step_done();  // a stage has one of its own
  try {
    for (Stage& stage : stages) end_roles(stage);
    std::string at_work = "the I/O thread";
    for (const Stage& stage : stages)
      if (stage.phase == Phase::preparing || stage.phase == Phase::summing_up) at_work = hook_name(stage);
    last_step(at_work);
    hosts->close_io();
    if (*ended == ExitCode::interrupted) store.add_event(0, kActor, "interrupted", "{}");
    last_step("writing the run store");
    if (store.broken().empty()) store.flush();
  } catch (const Error& e) {
    log_error(e.what());
    if (*ended != ExitCode::bad_input) ended = ExitCode::failed;
  }
  last_step("the actor system");
  hosts->close();
  hosts->last_step_done();
  return *ended;
}

Conductor::Conductor(const GraphView& graph, RunStore& store, RoleFactory factory, StageHooks hooks, RunOptions options,
                     ProgressSink& sink, std::shared_ptr<StageHosts> hosts)
    : impl_(std::make_unique<Impl>(graph, store, std::move(factory), std::move(hooks), std::move(options), sink,
                                   std::move(hosts))) {}
Conductor::~Conductor() = default;

ExitCode Conductor::run(std::atomic<bool>& interrupted) { return impl_->run(interrupted); }
const std::string& Conductor::failure_reason() const { return impl_->reason; }
const std::vector<StageFailure>& Conductor::failures() const { return impl_->failures; }
Conductor::Again Conductor::again() const { return impl_->next_time; }

}  // namespace r1
