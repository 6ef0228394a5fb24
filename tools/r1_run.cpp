// r1-run: runs a graph file, or continues a run. See docs/architecture.md section 7.
#include <fmt/format.h>
#include <malloc.h>
#include <sys/stat.h>

#include <iostream>

#include "actors/roles.h"
#include "base/error.h"
#include "tools/guarded_main.h"
#include "tools/interrupts.h"
#include "tools/report/page.h"
#include "tools/run/arguments.h"
#include "tools/run/replay_command.h"
#include "tools/run/run_graph.h"
#include "tools/terminal/stored_samples.h"

namespace r1 {
namespace {

int main_checked(int argc, char** argv) {
  catch_interrupts();
  RunArguments args;
  if (const auto code = parse_run_arguments(argc, argv, args)) return *code;
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
  return args.replay.empty() ? run_graph(args) : replay_and_compare(args.replay, args.accept_fingerprint);
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
