// Runs of 100,000 batches, as r1-run conducts them but with engines that pretend: what grows with a run is its files, by so
// much a batch. Each run is a process of its own, under a limit of memory.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sstream>

#include "actors/continued_run.h"
#include "actors/replay.h"
#include "actors/roles.h"
#include "actors/run_inputs.h"
#include "actors/stage_verdict.h"
#include "actors/summary.h"
#include "base/files.h"
#include "kernels/device.h"
#include "models/fake/fake_engines.h"
#include "runtime/conductor/conductor.h"
#include "runtime/conductor/local_hosts.h"
#include "runtime/store/run_directory.h"
#include "tests/runtime/temporary_directory.h"
#include "tools/report/run_outputs.h"
#include "tools/sim/scenario.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

constexpr rlim_t kMemory = rlim_t{320} << 20;  // of heap, stacks and anonymous mappings

constexpr const char* kReinforcement = R"DOT(digraph long_run {
  graph [seed=5, precision=f32];
  node [max_tokens=12];
  small [kind=model, config="model.json", tokenizer=tiny];
  subgraph cluster_rl {
    prompts   [role=prompter, source="tiny:reasoning", groups_per_batch=2];
    policy    [role=generator, samples=2, temperature=1];
    judge     [role=judge, rewards="0.01 * length + format"];
    groups    [role=filter, fill=resample, max_draws=8];
    reference [role=reference];
    trainer   [role=trainer, objective=grpo, lr="1e-3", kl="0.01", idle_batches=0, until="batches(@)"];
    prompts -> policy -> judge -> groups -> reference -> trainer;
    groups -> policy;
    trainer -> policy    [carries=weights, staleness=1];
    trainer -> reference [carries=weights, every=100];
  }
  small -> trainer;
})DOT";

constexpr const char* kExamples = R"DOT(digraph long_run {
  graph [seed=5, precision=f32];
  small [kind=model, config="model.json", tokenizer=tiny];
  subgraph cluster_base {
    corpus  [role=prompter, source="tiny:pretrain"];
    trainer [role=trainer, objective=pretrain, batch=2, lr="1e-2", until="batches(@)"];
    corpus -> trainer;
  }
  small -> trainer;
})DOT";

struct Cost {
  double run_s = 0, show_s = 0;  // CPU time: of the batches; of the report, the ledger and the replay
  int64_t peak_kib = 0, store_kib = 0, batches = 0;
};

double cpu_s() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  return static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
         1e-6 * static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

// A process of the run, which stops before batch `until`; 0: it goes on to the end.
ExitCode one_process(const GraphView& graph, const RoleRegistry& registry, const RunEnv& env, int64_t until) {
  StepWorld world({});
  const RunDirectory taken = RunDirectory::take(env.run_dir, false);
  const auto store = RunStore::open(env.run_dir);
  remove_leftovers(env.run_dir, *store);
  check_run_files(env, graph, *store);
  check_inputs(env, graph, *store, false);
  remember_source_kinds(env, graph, *store);
  RunOptions options = run_options(graph, env.run_dir, env.seed);
  options.shell = false;
  StageHooks hooks;
  hooks.verdict = [&](const GraphView& g, const StagePlan& stage) {
    return stage_verdict(g, stage, *store, store->ensure_stage(stage.name));
  };
  hooks.summary = [&](const GraphView& g, const StagePlan& stage, const StageTimes& times) {
    return stage_summary(g, stage, *store, store->ensure_stage(stage.name), times, 1);
  };
  std::atomic<bool> interrupted{false};
  LocalLinks links;
  links.arrived = [&](const StagePlan& stage, int, int, const Envelope& e) {
    if (until > 0 && e.kind == Envelope::Kind::payload && store->batch_count(store->ensure_stage(stage.name)) >= until)
      interrupted = true;
  };
  ProgressSink nobody;
  report::RunOutputs outputs(graph, registry, *store, env.run_dir, env.graph_dir, nobody);
  Conductor conductor(graph, *store, role_factory(env), hooks, options, outputs,
                      std::make_shared<LocalHosts>(world, std::move(links)));
  const ExitCode code = conductor.run(interrupted);
  if (code == ExitCode::failed || code == ExitCode::bad_input) throw failure(conductor.failure_reason());
  outputs.finish("done", 0);
  return code;
}

// The graph with its number of batches.
Cost run(const std::string& graph_text, int64_t batches, const fs::path& top) {
  std::string text = graph_text;
  text.replace(text.find('@'), 1, std::to_string(batches));
  set_cpu_threads(1);
  write_file_atomically(top / "model.json", simulated_model_config());
  const RoleRegistry registry = role_registry(top);
  const GraphView graph = load_graph_text(text, "long.graph", registry, {});
  RunEnv env = make_run_env(graph, top / "run", top);
  env.engines = fake_engines(*env.device);
  Cost cost;
  double begin = cpu_s();
  // Continued once: what a new process reads grows with the run too.
  if (one_process(graph, registry, env, batches / 2) != ExitCode::interrupted) throw failure("it was not interrupted");
  if (one_process(graph, registry, env, 0) != ExitCode::done) throw failure("it is not done");
  cost.run_s = cpu_s() - begin;
  begin = cpu_s();
  write_file_atomically(top / "run" / "graph.graph", graph_dot(graph, registry, false));
  report::write_report(top / "run");
  const auto store = RunStore::open_read_only(top / "run");
  for (const StageRow& stage : store->stages()) {
    if (const std::string wrong = store->check_ledger(stage.id, false); !wrong.empty()) throw failure(wrong);
    cost.batches += store->batch_count(stage.id);
  }
  for (const ReplayedStage& r : replay_run(env, graph, *store, [](const ReplayedStage&) {}))
    if (!r.equal) throw failure("the replay is another: " + r.note);
  cost.show_s = cpu_s() - begin;
  cost.store_kib = static_cast<int64_t>(fs::file_size(top / "run" / "run.db") / 1024);
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  cost.peak_kib = used.ru_maxrss;
  return cost;
}

// run() in a process of its own; what it throws, or what ends it, fails the test.
Cost run_alone(const std::string& graph, int64_t batches) {
  // A commit is an fsync: best where memory is the disk.
  if (::access("/dev/shm", W_OK) == 0) ::setenv("TMPDIR", "/dev/shm", 0);
  const TemporaryDirectory dir;
  int ends[2];
  EXPECT_EQ(::pipe(ends), 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::mallopt(M_ARENA_MAX, 2);  // as r1-run does
    const rlimit limit{kMemory, kMemory};
    ::setrlimit(RLIMIT_DATA, &limit);
    std::string line;
    try {
      const Cost c = run(graph, batches, dir.path());
      line = fmt::format("{} {} {} {} {}", c.run_s, c.show_s, c.peak_kib, c.store_kib, c.batches);
    } catch (const std::exception& e) {
      line = std::string("! ") + e.what();
    }
    const bool told = ::write(ends[1], line.data(), line.size()) == static_cast<ssize_t>(line.size());
    ::_exit(told ? 0 : 1);
  }
  ::close(ends[1]);
  std::string line(4096, '\0');
  line.resize(static_cast<size_t>(std::max<ssize_t>(::read(ends[0], line.data(), line.size()), 0)));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(pid, &status, 0);
  EXPECT_EQ(status, 0);
  Cost c;
  std::istringstream in(line);
  in >> c.run_s >> c.show_s >> c.peak_kib >> c.store_kib >> c.batches;
  EXPECT_TRUE(in) << line;
  fmt::print("{} batches: {:.1f} s, then {:.1f} s of report and replay; {} MiB of memory, a store of {} MiB\n", c.batches,
             c.run_s, c.show_s, c.peak_kib / 1024, c.store_kib / 1024);
  return c;
}

void expect_linear(const char* graph) {
  const Cost tenth = run_alone(graph, 10'000), whole = run_alone(graph, 100'000);
  EXPECT_EQ(whole.batches, 100'000);
  EXPECT_LT(whole.run_s, 15 * tenth.run_s) << "10 is linear, 100 quadratic";
  EXPECT_LT(whole.show_s, 15 * tenth.show_s);
}

TEST(LongRun, of_100000_batches_of_examples_takes_ten_times_the_time_of_10000_in_bounded_memory) { expect_linear(kExamples); }

TEST(LongRun, of_100000_batches_of_reinforcement_takes_ten_times_the_time_of_10000_in_bounded_memory) {
  expect_linear(kReinforcement);
}

}  // namespace
}  // namespace r1
