// The programs that judges and evaluators ask (command() and http() in their `rewards`): how they are run, and whether they can
// be. Thread rule: one thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "actors/config_table.h"
#include "actors/run_env.h"
#include "rewards/program_calls.h"

namespace r1 {

// The attributes of roles whose `rewards` may ask programs.
const ConfigTable<ProgramOptions>& program_table();

// Of the `rewards` of a judge or an evaluator; none for other roles.
std::vector<ProgramCall> judge_programs(const NodePlan& judge);
// Workers and limits as the judge says; commands run in `graph_dir`, and what they write to stderr goes to the log.
ProgramOptions program_options(const std::filesystem::path& graph_dir, const NodePlan& judge);
// The same in a run: no command is started, at first or again, whose files are others than when the run began.
ProgramOptions run_program_options(const RunEnv& env, const NodePlan& judge);

// bad_input where a part that the programs of `rewards` declare has the name of another metric, or of another part.
void check_program_parts(const RewardExpression& rewards, const Where& where);
// Without starting anything: programs that exist, names of parts that are free, limits that fit the graph's. Throws bad_input.
void check_judge_programs(const std::filesystem::path& graph_dir, const GraphView& graph, const NodePlan& judge);
// Starts one worker of each command, sends nothing, and ends it; connects to each http address. Stages for which `done` says so
// are left out. What was seen, a line a program. Throws bad_input.
std::vector<std::string> try_reward_programs(const RunEnv& env, const GraphView& graph,
                                             const std::function<bool(const std::string& stage)>& done);

// Threads that the programs of one judge take.
int program_threads(const NodePlan& judge);

}  // namespace r1
