// One process of a reward command: started when it is first needed, ended and started again when it has hung, died or said what
// is no answer. Its stderr goes to the log under its name. Thread rule: one thread.
#pragma once

#include "base/process.h"
#include "rewards/program_calls.h"
#include "rewards/worker_pool.h"

namespace r1 {

// Starts the process. What does not start is not an error yet: it is tried again when something is to be scored.
std::unique_ptr<ScoreWorker> make_command_worker(const ProgramCall& call, const ProgramOptions& options, int number);

// "my_reward.py worker 2"
std::string worker_title(const ProgramCall& call, int number);
ProcessSpec command_process(const ProgramCall& call, const ProgramOptions& options);

}  // namespace r1
