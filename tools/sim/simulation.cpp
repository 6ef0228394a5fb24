#include "tools/sim/simulation.h"

#include <fmt/format.h>

#include <atomic>
#include <memory>
#include <optional>

#include "actors/continued_run.h"
#include "actors/ranks_at_nodes.h"
#include "actors/replay.h"
#include "actors/roles.h"
#include "actors/run_inputs.h"
#include "actors/stage_verdict.h"
#include "actors/summary.h"
#include "actors/wire.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/log_sink.h"
#include "base/rng.h"
#include "models/fake/fake_engines.h"
#include "runtime/conductor/conductor.h"
#include "runtime/conductor/local_hosts.h"
#include "runtime/store/run_directory.h"
#include "tools/sim/power_cut.h"
#include "tools/sim/sim_nodes.h"
#include "tools/sim/watch.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMostProcesses = 40;
constexpr int64_t kMostSteps = 60'000;  // of one process
constexpr double kMost_s = 4000;        // of the run, in virtual time
constexpr double kFlush_s = 1;          // as the store's flusher
constexpr const char* kInjected = "injected failure";

class Simulation {
 public:
  Simulation(const Scenario& scenario, const SimulationOptions& options)
      : scenario_(scenario),
        options_(options),
        rng_(scenario.seed, "simulation"),
        graph_dir_(options.dir / "graph"),
        run_dir_(options.dir / "run"),
        image_dir_(options.dir / "image"),
        world_(world_options()) {
    fs::remove_all(options_.dir);
    fs::create_directories(graph_dir_);
    write_file_atomically(graph_dir_ / "model.json", simulated_model_config());
    std::vector<Override> overrides;
    for (const std::string& text : scenario_.settings) overrides.push_back(parse_override(text));
    graph_ = load_graph_text(scenario_.graph, "simulated.graph", role_registry(graph_dir_), overrides);
    watch_.emplace(graph_);
    if (scenario_.nodes > 0) make_nodes();
  }
  ~Simulation() {
    nodes_.reset();
    std::error_code gone;
    fs::remove_all(options_.dir, gone);
  }

  SimulationResult run() {
    log_to([this](LogLevel level, std::string_view text) { logged(level, text); });
    try {
      for (bool done = false; !done && watch_->what().empty() && result_.violation.empty();) {
        if (result_.processes == kMostProcesses) throw Violation{fmt::format("no end after {} processes", kMostProcesses)};
        done = one_process();
        ++result_.processes;
        if (died_) {
          fs::remove_all(run_dir_);
          fs::rename(image_dir_, run_dir_);
        }
      }
      if (watch_->what().empty()) look_at_end();
    } catch (const Violation& v) {
      if (result_.violation.empty()) result_.violation = v.what;
    } catch (const std::exception& e) {
      result_.violation = fmt::format("what nobody caught: {}", e.what());
    }
    log_to({});
    if (result_.violation.empty()) result_.violation = watch_->what();
    result_.steps = world_.steps();
    result_.seconds = world_.clock().now_s();
    result_.batches = watch_->batches_seen();
    result_.nodes = nodes_ ? nodes_->faults() : 0;
    return result_;
  }

 private:
  // ---- the world

  void make_nodes() {
    std::vector<Override> overrides;
    for (const std::string& text : scenario_.settings) overrides.push_back(parse_override(text));
    if (scenario_.broken_admission)
      overrides.push_back(parse_override(fmt::format("edge.staleness={}", scenario_.staleness + 1)));
    const GraphView sent = load_graph_text(scenario_.graph, "simulated.graph", role_registry(graph_dir_), overrides);
    write_file_atomically(graph_dir_ / "simulated.graph", graph_dot(sent, role_registry(graph_dir_), false));
    SimNodes::Options o;
    o.dir = options_.dir / "nodes";
    o.engines = fake_engines(*make_run_env(graph_, run_dir_, graph_dir_).device, engine_hooks());
    o.note = [this](const std::string& line) { note([&] { return line; }); };
    o.violation = [this](const std::string& what) {
      if (!over()) throw_away(what);
    };
    nodes_.emplace(world_, scenario_, std::move(o));
  }

  WorldOptions world_options() {
    WorldOptions o;
    o.seed = scenario_.seed;
    o.job_ns = [this](const std::string& name) {
      const auto ns = static_cast<int64_t>(rng_.below(static_cast<uint64_t>(scenario_.job_ns)));
      return !name.empty() && name == scenario_.slow_node ? 10 * ns : name.empty() ? ns / 10 : ns;
    };
    if (scenario_.ranks > 1)
      o.may_wait = [this](const std::string& name) {
        const NodePlan* const plan = graph_.node(name);
        return plan != nullptr && ranks_at_nodes(*plan) > 0;
      };
    o.after_step = [this] { after_step(); };
    return o;
  }

  LocalLinks links() {
    LocalLinks l;
    if (scenario_.bytes) l.codec = &message_codec();
    if (scenario_.message_ns > 0)
      l.delay_ns = [this] { return static_cast<int64_t>(rng_.below(static_cast<uint64_t>(scenario_.message_ns))); };
    l.deliver = [this](const StagePlan& stage, int to, const Envelope& e) { return delivery(stage, to, e); };
    l.damage = [this](const StagePlan&, int, Packet& packet) {
      if (damage_) damage(packet);
    };
    l.sent = [this](const StagePlan& stage, int from, int to, const Envelope& e) {
      sender_ = from;
      if (!over()) watch_->sent(stage, from, to, e);
    };
    l.arrived = [this](const StagePlan& stage, int from, int to, const Envelope& e) {
      if (over()) return;
      watch_->arrived(stage, from, to, e);
      note([&] { return fmt::format("{} -> {}: {}", name_of(from), name_of(to), text_of(e)); });
    };
    l.done_at_teardown = 0.5;
    return l;
  }

  void after_step() {
    if (over()) return;
    ++steps_;
    if (nodes_) nodes_->look();
    if (world_.clock().now_s() - flushed_s_ >= kFlush_s) {
      flushed_s_ = world_.clock().now_s();
      store_->flush();
    }
    if (synced_ || steps_ % 64 == 0) {
      synced_ = false;
      watch_->look(*store_);
    }
    if (!watch_->what().empty()) throw_away(watch_->what());
    if (steps_ > kMostSteps * (nodes_ ? 8 : 1) || world_.clock().now_s() > kMost_s)
      throw_away(fmt::format("no end after {} steps and {:.0f} s", steps_, world_.clock().now_s()));
    if (const Death* death = next_death(); death != nullptr && !death->at_sync && steps_ >= death->n) die(*death);
  }

  // ---- faults

  // Of a process that has ended nothing is looked at any more.
  bool over() const { return died_ || !store_ || !result_.violation.empty(); }

  void throw_away(const std::string& violation) {
    if (result_.violation.empty()) result_.violation = violation;
    interrupted_ = true;
  }

  const Death* next_death() const { return deaths_ < scenario_.deaths.size() ? &scenario_.deaths[deaths_] : nullptr; }

  void die(const Death& death) {
    ++deaths_;
    interrupted_ = true;
    if (death.kind == DeathKind::interrupt) {
      ++result_.interrupts;
      note([] { return std::string("interrupt"); });
      return;
    }
    note([&] { return std::string(death.kind == DeathKind::kill ? "kill -9" : "power cut"); });
    if (nodes_) nodes_->crash_head();
    fs::remove_all(image_dir_);
    if (death.kind == DeathKind::kill) {
      ++result_.kills;
      fs::copy(run_dir_, image_dir_, fs::copy_options::recursive);
    } else {
      ++result_.power_cuts;
      power_->restore(image_dir_);
    }
    died_ = true;
  }

  void before_sync() {
    synced_ = true;
    if (died_ || !result_.violation.empty()) return;
    ++syncs_;
    if (const Death* death = next_death(); death != nullptr && death->at_sync && syncs_ >= death->n) die(*death);
  }

  Delivery delivery(const StagePlan& stage, int to, const Envelope& envelope) {
    damage_ = false;
    if (over()) return Delivery::once;
    ++messages_;
    for (const LinkFault& fault : scenario_.link_faults) {
      if (fault.n != messages_) continue;
      ++result_.links;
      const char* kinds[] = {"lost", "twice", "damaged"};
      note([&] {
        return fmt::format("{}: {} -> {}: {}", kinds[static_cast<int>(fault.kind)], name_of(sender_), name_of(to),
                           text_of(envelope));
      });
      std::vector<std::string> names;
      if (envelope.kind == Envelope::Kind::payload) {
        names = {graph_.edge_name(graph_.edges[envelope.edge])};
      } else {
        names = {graph_.nodes[to].id};
        if (sender_ >= 0) names.push_back(graph_.nodes[sender_].id);
      }
      watch_->injected(stage.name, names);
      damage_ = fault.kind == LinkFaultKind::damaged;
      return fault.kind == LinkFaultKind::lost    ? Delivery::lost
             : fault.kind == LinkFaultKind::twice ? Delivery::twice
                                                  : Delivery::once;
    }
    return Delivery::once;
  }

  // One bit of one byte of what goes over the link.
  void damage(Packet& packet) {
    size_t bytes = packet.header.size();
    for (const std::string& frame : packet.frames) bytes += frame.size();
    auto at = static_cast<size_t>(rng_.below(bytes));
    const char bit = static_cast<char>(1 << rng_.below(8));
    if (at < packet.header.size()) {
      packet.header[at] ^= bit;
      return;
    }
    at -= packet.header.size();
    for (std::string& frame : packet.frames) {
      if (at < frame.size()) {
        frame[at] ^= bit;
        return;
      }
      at -= frame.size();
    }
  }

  FakeEngineHooks engine_hooks() {
    FakeEngineHooks hooks;
    hooks.call = [this](const std::string& node, const char* call) {
      if (over()) return;
      ++calls_;
      note([&] { return fmt::format("{}: {}", node, call); });
      for (const int64_t n : scenario_.engine_faults) {
        if (n != calls_) continue;
        ++result_.engines;
        note([&] { return fmt::format("{}: {} fails", node, call); });
        for (const NodePlan& plan : graph_.nodes)
          if (plan.id == node && plan.stage >= 0) watch_->injected(graph_.stages[plan.stage].name, {kInjected});
        // Evaluations do not say whose they are.
        for (const StagePlan& stage : graph_.stages) watch_->injected(stage.name, {kInjected});
        throw failure(fmt::format("{} {}: {} of {}", kInjected, calls_, call, node));
      }
    };
    hooks.holds = [this](const std::string& node, int64_t version, const Hash128& hash) {
      if (!over()) watch_->holds(node, version, hash);
    };
    return hooks;
  }

  // ---- a process

  // As r1-run does it. True: the run is done.
  bool one_process() {
    died_ = false;
    synced_ = false;
    interrupted_ = false;
    steps_ = syncs_ = 0;
    flushed_s_ = world_.clock().now_s();
    watch_->process_begins();
    note([&] { return fmt::format("process {} begins", result_.processes); });
    RunEnv env = make_run_env(graph_, run_dir_, graph_dir_);
    env.engines = fake_engines(*env.device, engine_hooks());
    const RunDirectory taken = RunDirectory::take(run_dir_, false);
    power_.emplace(run_dir_, [this] { before_sync(); });
    ExitCode code = ExitCode::interrupted;
    {
      const auto store = RunStore::open(run_dir_, {&world_.clock(), false});
      store_ = store.get();
      remove_leftovers(run_dir_, *store);
      check_run_files(env, graph_, *store);
      check_inputs(env, graph_, *store, false);
      remember_source_kinds(env, graph_, *store);
      watch_->look(*store);
      if (!interrupted_) code = conduct(env, *store);
      store_ = nullptr;
    }
    power_.reset();
    if (died_ || !result_.violation.empty()) return false;
    note([&] { return fmt::format("process ends with exit code {}", static_cast<int>(code)); });
    if (code == ExitCode::bad_input) throw Violation{"P5: a run that nobody changed is refused: " + reason_};
    return code == ExitCode::done;
  }

  ExitCode conduct(RunEnv& env, RunStore& store) {
    RunOptions options = run_options(graph_, run_dir_, env.seed);
    options.faults = std::make_shared<FaultPlan>("");
    options.shell = false;
    StageHooks hooks;
    hooks.verdict = [&](const GraphView& g, const StagePlan& stage) {
      return stage_verdict(g, stage, store, store.ensure_stage(stage.name));
    };
    hooks.summary = [&](const GraphView& g, const StagePlan& stage, const StageTimes& times) {
      return stage_summary(g, stage, store, store.ensure_stage(stage.name), times, 1);
    };
    ProgressSink sink;
    RoleFactory factory;
    if (nodes_) {
      factory = nodes_->begin_head(env, store, graph_, graph_dir_ / "simulated.graph");
      for (const StagePlan& stage : graph_.stages) watch_->injected(stage.name, {"workers", "worker"});
    } else {
      factory = role_factory(env);
    }
    struct HeadEnds {
      std::optional<SimNodes>& nodes;
      ~HeadEnds() {
        if (nodes) nodes->end_head();
      }
    } const head_ends{nodes_};
    Conductor conductor(graph_, store, std::move(factory), hooks, options, sink, std::make_shared<LocalHosts>(world_, links()));
    const ExitCode code = conductor.run(interrupted_);
    reason_ = conductor.failure_reason();
    if (over() || code == ExitCode::done || code == ExitCode::interrupted) return code;
    for (const StageFailure& f : conductor.failures()) {
      if (conductor.again() == Conductor::Again::says_the_same)
        throw Violation{fmt::format("P5: stage {} has failed for good: {}", f.stage, f.reason)};
      failed(f.stage, f.reason);
    }
    return code;
  }

  // ---- the end

  void look_at_end() {
    RunEnv env = make_run_env(graph_, run_dir_, graph_dir_);
    env.engines = fake_engines(*env.device);
    const auto store = RunStore::open(run_dir_, {&world_.clock(), false});
    watch_->look_at_end(*store);
    for (const StageRow& row : store->stages())
      for (const char* artifact : {"checkpoint", "dataset"})
        if (const auto found = store->artifact(row.id, artifact)) result_.hashes[row.name + "/" + artifact] = found->second;
    // P4: what was trained is a function of the run store.
    for (const ReplayedStage& r : replay_run(env, graph_, *store, [](const ReplayedStage&) {}))
      if (!r.equal) throw Violation{fmt::format("P4: the replay of stage {} is another: {}", r.stage, r.note)};
    check_run_files(env, graph_, *store);
  }

  // ---- what is told

  void logged(LogLevel level, std::string_view text) {
    if (over() || level < LogLevel::info) return;
    note([&] { return fmt::format("log: {}", text); });
    // The conductor's own words: a stage starts again.
    constexpr std::string_view kBegin = "stage ", kAgain = " starts again from the run store";
    const size_t at = text.find(kAgain);
    if (!text.starts_with(kBegin) || at == text.npos) return;
    ++result_.restarts;
    failed(std::string(text.substr(kBegin.size(), at - kBegin.size())), std::string(text));
  }

  void failed(const std::string& stage, const std::string& why) {
    constexpr const char* kRank = "rank ";
    // A rank that is lost is known to be within a lease, and holds up nobody until a deadline.
    const bool stall = why.find(" stands still: ") != why.npos;
    if (nodes_ && !stall && why.find(kRank) != why.npos && nodes_->take_rank_cause()) watch_->injected(stage, {kRank});
    watch_->failed(stage, why);
  }

  template <class Line>
  void note(const Line& line) {
    const std::string text = fmt::format("{:12.6f} {}", world_.clock().now_s(), line());
    result_.schedule = rng_key(result_.schedule, text);
    if (options_.trace) options_.trace(text);
  }

  std::string name_of(int node) const { return node < 0 ? "conductor" : graph_.nodes[node].id; }
  static std::string text_of(const Envelope& e) {
    if (e.kind == Envelope::Kind::payload) return fmt::format("message {} ({})", e.number, e.payload->describe());
    return e.kind == Envelope::Kind::credit ? fmt::format("released {}", e.number) : "the stage ends";
  }

  const Scenario& scenario_;
  const SimulationOptions& options_;
  SimulationResult result_;
  Rng rng_;
  const fs::path graph_dir_, run_dir_, image_dir_;
  StepWorld world_;
  GraphView graph_;
  std::optional<Watch> watch_;
  std::optional<SimNodes> nodes_;

  // Of the process at work.
  std::optional<PowerCut> power_;
  RunStore* store_ = nullptr;
  std::atomic<bool> interrupted_{false};
  bool died_ = false, synced_ = false, damage_ = false;
  int sender_ = -1;
  int64_t steps_ = 0, syncs_ = 0;
  double flushed_s_ = 0;
  std::string reason_;

  // Of the whole simulation.
  size_t deaths_ = 0;
  int64_t messages_ = 0, calls_ = 0;
};

}  // namespace

SimulationResult simulate(const Scenario& scenario, const SimulationOptions& options) {
  return Simulation(scenario, options).run();
}

SimulationResult simulate_and_compare(const Scenario& scenario, const SimulationOptions& options,
                                      std::map<std::string, std::map<std::string, std::string>>& known) {
  SimulationResult result = simulate(scenario, options);
  if (!scenario.exact || !result.violation.empty()) return result;
  const std::string key = scenario.graph_key();
  if (known.count(key) == 0) {
    SimulationOptions quiet = options;
    quiet.trace = nullptr;
    const SimulationResult undisturbed = simulate(scenario.undisturbed(), quiet);
    if (!undisturbed.violation.empty()) {
      result.violation = "without any fault: " + undisturbed.violation;
      return result;
    }
    known[key] = undisturbed.hashes;
  }
  for (const auto& [name, hash] : known[key])
    if (result.hashes[name] != hash)
      result.violation = fmt::format("P5: {} is {} and without faults {}", name, result.hashes[name], hash);
  return result;
}

}  // namespace r1
