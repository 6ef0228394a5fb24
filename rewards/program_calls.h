// Programs in a reward expression: command('python3 my_reward.py') and http('http://127.0.0.1:8000/score'). Texts behind the
// first name parts of what they answer, which are then metrics like any other: command('python3 r.py', 'style').
// docs/rewards.md has the protocol. Not rules: they take time, may fail, and are scored by a ScoreSource alone.
// Thread rule: functions from any thread.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "rewards/expression.h"
#include "rewards/score_source.h"

namespace r1 {

const std::vector<std::string>& program_call_names();  // "command", "http"
// By its name alone: the arguments may still be wrong.
bool is_program_call(std::string_view name);

// One line that says why the call cannot be made, or "".
std::string program_call_problem(std::string_view call);

struct ProgramCall {
  std::string call;  // as in the expression
  bool http = false;
  std::vector<std::string> words;  // command: program and arguments
  std::string url;                 // http
  std::vector<std::string> parts;  // declared
  std::string title;               // for messages: "my_reward.py", "http://127.0.0.1:8000/score"
};
// The programs of an expression, in order of first use. Throws bad_input for a call with a problem.
std::vector<ProgramCall> program_calls(const RewardExpression& expression);

struct ProgramOptions {
  std::filesystem::path directory;  // where commands run, and relative files of theirs are
  std::filesystem::path python;     // directory of r1_reward.py, put in front of PYTHONPATH; "": none
  int workers = 0;                  // at once; 0: commands as many as cores, http 16
  double timeout_s = 10;            // for one completion
  double look_s = 2;                // how long a command has to run to count as one that starts, where it is tried before a run
  double start_s = 60;              // more for the first one of a command that has just been started
  int retries = 1;                  // of a completion for which the program failed, not of one that it called an error
  std::function<void()> before_start;  // of a command's process: throws Error where it is not to be; empty: nothing; any thread
  std::function<void(const std::string& line)> log;  // what commands write to stderr, and what becomes of them; any thread
};

// Where r1_reward.py lies: share/r1/python of an installation, or of the build directory; "" where it is not.
std::filesystem::path python_directory();

constexpr int kMostWorkers = 1024;
int workers_of(const ProgramCall& call, const ProgramOptions& options);

std::unique_ptr<ScoreSource> open_program(const ProgramCall& call, const ProgramOptions& options);
// One for each program of the expression, by its call. Commands are started at once.
ScoreSources open_programs(const RewardExpression& expression, const ProgramOptions& options);

// The files that a command names (a path, or FILE:FUNCTION), relative to `directory`, and of a script's own directory and those
// below all files with its extension; without hidden ones, __pycache__ and run directories. Throws bad_input where these are
// more than kMostProgramFiles.
std::vector<std::filesystem::path> program_files(const ProgramCall& call, const std::filesystem::path& directory);
constexpr size_t kMostProgramFiles = 1000;

// Whether the program could score: a command exists and, with `start`, says that it is ready, or still runs look_s after it was
// started (nothing is sent); with `start`, something listens at an http address. Throws bad_input at `where`. Returns whether
// it is known to be ready: one that has not said so may fail yet. `python3 -m r1_reward` always says so, and has start_s for
// it.
bool check_program(const ProgramCall& call, const ProgramOptions& options, bool start, const Where& where);

}  // namespace r1
