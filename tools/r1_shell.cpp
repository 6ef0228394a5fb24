// r1-shell: looks into a run that goes on, or into the store of one that does not. See docs/architecture.md section 7.
#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/say.h"
#include "runtime/shell/render.h"
#include "runtime/shell/shell_client.h"
#include "runtime/shell/shell_command.h"
#include "runtime/store/run_store.h"
#include "tools/command_line.h"
#include "tools/guarded_main.h"
#include "tools/terminal/stored_samples.h"

namespace r1 {
namespace {

constexpr const char* kExamples = R"(Examples:
  r1-shell runs/r1_full                            a prompt; 'help' lists the commands
  r1-shell runs/r1_full -c ps                      the roles at work
  r1-shell runs/r1_full -c "metrics rl1 reward"    a reward curve
  r1-shell runs/r1_full -c why                     what the running stages wait for, and what would help
  r1-shell runs/r1_full -c "traj rl1 worst"        the completions of a stage with the lowest rewards
  r1-shell runs/r1_full -c top                     all of it, again every second, until Enter
  r1-shell runs/r1_full -c waits --json            for scripts: JSON as it comes
  r1-shell runs/r1_full -c stop                    ends the run after the jobs at hand; r1-run continues it

'stages', 'metrics', 'versions', 'log' and 'traj' also work on a run directory where no run is going on.
Exit codes: 0 done, 1 the run does not answer, 2 bad input.)";

using Ask = std::function<std::string(const std::string&)>;

// The connection: to the run itself, or to the store it left.
Ask connect(const std::string& where) {
  namespace fs = std::filesystem;
  if (!fs::is_directory(where)) throw bad_input("no such run directory", {where, 0, 0}, "for example runs/r1_full");
  if (!fs::exists(fs::path(where) / "run.db"))
    throw bad_input("holds no run", {where, 0, 0}, "give the directory of a run: runs/r1_full");
  try {
    auto client = std::make_shared<ShellClient>(where);
    return [client](const std::string& line) { return client->ask(line); };
  } catch (const Error&) {  // no run is going on: what it left can be read
  }
  auto store = std::shared_ptr<RunStore>(RunStore::open_read_only(where));
  return [store, where](const std::string& line) {
    ShellSources sources;
    sources.run_dir = where;
    sources.store = store.get();
    return handle_command(line, sources);
  };
}

int terminal_width() {
  winsize size{};
  if (::isatty(STDOUT_FILENO) == 0 || ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) return 0;
  return size.ws_col;
}

constexpr const char* kTrajArguments = "traj STAGE [last|first|best|worst|DRAW|reason=REASON] [COUNT]";

// What a stage drew, from its store: read here and not in the run, which knows no texts.
std::string trajectories(const std::string& run_dir, std::istringstream& words, bool json) {
  using terminal::StoredSample;
  std::string stage, which = "last";
  int64_t count = 4;
  words >> stage >> which >> count;
  if (stage.empty()) throw bad_input("traj takes STAGE", {}, kTrajArguments);
  if (!words.eof() || count < 1) throw bad_input("those are no arguments of traj", {}, kTrajArguments);
  constexpr int64_t kLookedAt = 2000;  // draws from each end of the stage
  std::vector<StoredSample> samples =
      terminal::stored_samples(run_dir, stage, which == "last" || which == "first" ? count : kLookedAt);
  std::erase_if(samples, [](const StoredSample& s) { return s.moment != "sampled"; });
  const auto by_reward = [&](double sign) {
    std::erase_if(samples, [](const StoredSample& s) { return !s.reward; });
    std::stable_sort(samples.begin(), samples.end(),
                     [&](const StoredSample& a, const StoredSample& b) { return sign * *a.reward < sign * *b.reward; });
  };
  if (which == "last") {
    std::reverse(samples.begin(), samples.end());
  } else if (which == "best" || which == "worst") {
    by_reward(which == "worst" ? 1 : -1);
  } else if (const std::string reason = which.substr(0, 7); reason == "reason=") {
    std::erase_if(samples, [&](const StoredSample& s) { return s.verdict.find(which.substr(7)) == s.verdict.npos; });
  } else if (which != "first") {
    if (which.find_first_not_of("0123456789") != which.npos)
      throw bad_input(fmt::format("no trajectories are '{}'", which), {}, kTrajArguments);
    std::erase_if(samples, [&](const StoredSample& s) { return s.what.rfind("draw " + which + ",", 0) != 0; });
  }
  if (samples.empty())
    throw bad_input(fmt::format("stage {} has none of those among the {} draws at either end", stage, kLookedAt));
  samples.resize(std::min(samples.size(), static_cast<size_t>(count)));
  return json ? terminal::samples_jsonl(samples) : terminal::samples_text(samples);
}

// Stages, roles and what they wait for, again every second until Enter is pressed; once where nobody watches.
int top(const Ask& ask) {
  const bool watched = ::isatty(STDIN_FILENO) != 0 && ::isatty(STDOUT_FILENO) != 0;
  for (;;) {
    std::string screen = watched ? "\033[H\033[2J" : "";
    for (const char* command : {"stages", "ps", "why"}) {
      const std::string answer = ask(command);
      if (is_error_answer(answer)) {
        std::cerr << "r1-shell: " << render_answer(answer);
        return static_cast<int>(ExitCode::bad_input);
      }
      screen += fmt::format("== {}\n{}\n", command, render_answer(answer, terminal_width()));
    }
    std::cout << screen << (watched ? "Enter ends\n" : "") << std::flush;
    if (!watched) return 0;
    pollfd input{STDIN_FILENO, POLLIN, 0};
    if (::poll(&input, 1, 1000) != 0) {
      std::string line;
      std::getline(std::cin, line);
      return 0;
    }
  }
}

// Returns the exit code of this one command.
int run_command(const std::string& where, const Ask& ask, const std::string& line, bool json) {
  std::istringstream words(line);
  std::string command;
  words >> command;
  if (command == "top" && !json) return top(ask);
  if (command == "traj") {
    std::cout << trajectories(where, words, json) << std::flush;
    return 0;
  }
  const std::string answer = ask(line);
  const bool error = is_error_answer(answer);
  if (json) {
    std::cout << answer << "\n";
  } else {
    (error ? std::cerr : std::cout) << (error ? "r1-shell: " : "") << render_answer(answer, terminal_width());
  }
  std::cout.flush();
  return error ? static_cast<int>(ExitCode::bad_input) : 0;
}

int interactive(const std::string& where, const Ask& ask, bool json) {
  const bool prompt = ::isatty(STDIN_FILENO) != 0;
  bool came = false;
  int worst = 0;
  while (true) {
    if (prompt) std::cout << "r1> " << std::flush;
    std::string line;
    if (!std::getline(std::cin, line)) break;
    if (line.find_first_not_of(" \t") == std::string::npos) continue;
    came = true;
    if (line == "quit" || line == "exit") break;
    int code = 0;
    try {
      code = run_command(where, ask, line, json);
    } catch (const Error& e) {  // of the command; the next one may be better
      say("r1-shell: {}\n", e.what());
      code = static_cast<int>(e.code());
    }
    if (!prompt) worst = std::max(worst, code);
  }
  if (prompt) std::cout << "\n";
  if (!prompt && !came) throw bad_input("no command came", {"standard input"}, "r1-shell RUN -c ps");
  return worst;
}

int main_checked(int argc, char** argv) {
  std::string where, command;
  bool json = false;
  CLI::App app("Looks into a run: who does what, who waits for whom, what was learnt.", "r1-shell");
  add_common_flags(app, kExamples);
  app.add_option("where", where, "a run directory")->required()->type_name("RUN DIR");
  CLI::Option* given = app.add_option("-c,--command", command, "run this one command")->type_name("CMD");
  app.add_flag("--json", json, "print answers as JSON");
  if (const auto code = parse_command_line(app, argc, argv)) return *code;
  const Ask ask = connect(where);
  return given->count() > 0 ? run_command(where, ask, command, json) : interactive(where, ask, json);
}

}  // namespace
}  // namespace r1

int main(int argc, char** argv) { return r1::guarded_main("r1-shell", argc, argv, r1::main_checked); }
