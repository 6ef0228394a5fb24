#include "tools/run/arguments.h"

#include <fmt/format.h>

#include "base/error.h"
#include "tools/command_line.h"

namespace r1 {
namespace {

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

}  // namespace

std::optional<int> parse_run_arguments(int argc, char** argv, RunArguments& args) {
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
  CLI::Option* const listen = app.add_option(
      "--listen", args.listen,
      "where nodes of other machines reach this one, and the port after it; with a range, trainers with ranks use "
      "the rest of it (default: loopback)");
  listen->type_name("HOST:PORT[-PORT]");
  app.add_option("--address", args.address, "by which other machines reach this one, where that is not --listen's HOST")
      ->type_name("HOST")
      ->needs(listen);
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
  return std::nullopt;
}

}  // namespace r1
