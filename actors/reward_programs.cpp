#include "actors/reward_programs.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "actors/graph_checks.h"
#include "actors/metric_table.h"
#include "actors/role_kind.h"
#include "base/log.h"

namespace r1 {

const ConfigTable<ProgramOptions>& program_table() {
  using C = ProgramOptions;
  using namespace spec;
  static const ConfigTable<C> kTable = {
      sets(changeable(
               integer("reward_workers", "0", 0, 1024, "processes of a command, connections to an address; 0: one a core, 16")),
           &C::workers),
      sets(changeable(number("reward_timeout_s", "10", 0.01, 1e6, "seconds that a program may take for one completion")),
           &C::timeout_s),
      sets(changeable(number("reward_start_s", "60", 0, 1e6, "seconds more for the first one after a command was started")),
           &C::start_s),
      sets(changeable(integer("reward_retries", "1", 0, 100,
                              "times that a completion is tried again when a program hung, died or answered nonsense")),
           &C::retries)};
  return kTable;
}

std::vector<ProgramCall> judge_programs(const NodePlan& judge) {
  if (judge.role != "judge" && judge.role != "evaluator") return {};
  if (judge.attrs.text("rewards").empty()) return {};
  return program_calls(RewardExpression::parse(judge.attrs.text("rewards"), attr_place(judge, "rewards")));
}

ProgramOptions program_options(const std::filesystem::path& graph_dir, const NodePlan& judge) {
  ProgramOptions options;
  options.directory = graph_dir;
  options.python = python_directory();
  configure(program_table(), judge.attrs, options);
  options.log = [](const std::string& line) { log_info(line); };
  return options;
}

ProgramOptions run_program_options(const RunEnv& env, const NodePlan& judge) {
  ProgramOptions options = program_options(env.graph_dir, judge);
  std::vector<std::filesystem::path> files;
  for (const ProgramCall& call : judge_programs(judge))
    for (const auto& file : program_files(call, env.graph_dir)) files.push_back(resolve_path(env, file.string()));
  if (!files.empty())
    options.before_start = [once = env.once, files] {
      for (const auto& file : files) once->check_kept(file);
    };
  return options;
}

void check_program_parts(const RewardExpression& rewards, const Where& where) {
  std::set<std::string> parts;
  const auto& names = rewards.variables();
  for (const ProgramCall& call : program_calls(rewards))
    for (const std::string& part : call.parts) {
      if (metric_name_taken(part) || std::find(names.begin(), names.end(), part) != names.end())
        throw bad_input(fmt::format("'{}' is the name of another metric, and cannot be a part of {}", part, call.title), where,
                        "give the part another name");
      if (!parts.insert(part).second)
        throw bad_input(fmt::format("two programs have a part '{}'", part), where, "give the parts names of their own");
    }
}

void check_judge_programs(const std::filesystem::path& graph_dir, const GraphView& graph, const NodePlan& judge) {
  const Where where = attr_place(judge, "rewards");
  const ProgramOptions options = program_options(graph_dir, judge);
  const std::vector<ProgramCall> calls = judge_programs(judge);
  if (calls.empty()) {
    const auto rewards = judge.attrs.given.find("rewards");
    if (rewards != judge.attrs.given.end() && rewards->second.overridden) return;  // --set, which cannot take these away
    for (const char* attr : {"reward_workers", "reward_timeout_s", "reward_start_s", "reward_retries"})
      refuse_without_effect(judge, attr, "without a program (command, http) in rewards", "remove it");
    return;
  }
  check_program_parts(RewardExpression::parse(judge.attrs.text("rewards"), where), where);
  for (const ProgramCall& call : calls) {
    check_program(call, options, /*start=*/false, where);
    program_files(call, graph_dir);
  }
  const double longest = (options.timeout_s + options.start_s) * (options.retries + 1);
  if (const double limit = graph.attrs.number("job_stall_s"); longest >= limit)
    throw bad_input(
        fmt::format("one completion may take (reward_timeout_s + reward_start_s) x (reward_retries + 1) = {:g} s, and the run "
                    "ends work of more than job_stall_s={:g} s",
                    longest, limit),
        attr_place(judge, "reward_timeout_s"), fmt::format("graph [job_stall_s={:g}]", 2 * longest));
}

std::vector<std::string> try_reward_programs(const RunEnv& env, const GraphView& graph,
                                             const std::function<bool(const std::string& stage)>& done) {
  std::set<std::string> tried;
  std::vector<std::string> seen;
  for (const NodePlan& node : graph.nodes) {
    const bool asks = node.role == "judge" || node.role == "evaluator";
    if (!asks || (done && done(graph.stages[static_cast<size_t>(node.stage)].name))) continue;
    for (const ProgramCall& call : judge_programs(node)) {
      if (!tried.insert(call.call).second) continue;
      const ProgramOptions options = program_options(env.graph_dir, node);
      const bool ready = check_program(call, options, /*start=*/true, attr_place(node, "rewards"));
      seen.push_back(call.http ? fmt::format("reward of '{}': something listens at {}; nothing was sent", node.id, call.url)
                     : ready   ? fmt::format("reward of '{}': {} starts; nothing was sent", node.id, call.title)
                               : fmt::format("reward of '{}': {} ran for {:g} s without saying that it is ready: a start that "
                                               "fails later is not seen here; nothing was sent",
                                             node.id, call.title, options.look_s));
      log_info(seen.back());
    }
  }
  return seen;
}

int program_threads(const NodePlan& judge) {
  if (judge_programs(judge).empty()) return 0;
  int threads = 0;
  const ProgramOptions options = program_options({}, judge);
  for (const ProgramCall& call : judge_programs(judge)) threads += workers_of(call, options) * (call.http ? 1 : 2);
  return threads;
}

}  // namespace r1
