// r1-shell: looks into a run that goes on, here or elsewhere, and steers it; or looks into the store of one that does not. See
// docs/operations.md and docs/architecture.md section 7.
#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "base/say.h"
#include "runtime/shell/render.h"
#include "tools/command_line.h"
#include "tools/guarded_main.h"
#include "tools/shell/attach.h"
#include "tools/shell/completion.h"
#include "tools/shell/line_reader.h"
#include "tools/terminal/colours.h"
#include "tools/terminal/text.h"

namespace r1 {
namespace {

constexpr const char* kExamples = R"(Examples:
  r1-shell runs/r1_full                            a prompt; 'help' lists the commands, the tab key completes them
  r1-shell runs/r1_full -c ps                      the roles at work
  r1-shell runs/r1_full -c "metrics rl1 reward"    a reward curve
  r1-shell runs/r1_full -c why                     what the running stages wait for, and what would help
  r1-shell runs/r1_full -c "traj rl1 worst"        the completions of a stage with the lowest rewards
  r1-shell runs/r1_full -c top                     all of it, again every second, until Enter
  r1-shell runs/r1_full -c waits --json            for scripts: JSON as it comes
  r1-shell runs/r1_full -c "set rl1_trainer.lr 1e-4"   from the next batch on; kept by restart and replay
  r1-shell runs/r1_full -c 'ask "What is 12 + 30?"'    a sample of what was learned so far
  r1-shell runs/r1_full -c stop                    ends the run after the jobs at hand; r1-run continues it
  r1-shell gpu07:4000 --key control.key            a run elsewhere (r1-run --shell-listen), with a key of it
  r1-shell ssh://gpu07/runs/r1_full                the same by ssh, with r1-shell on the PATH there

'stages', 'metrics', 'versions', 'log' and 'traj' also work on a run directory where no run is going on.
Exit codes: 0 done, 1 the run does not answer, 2 bad input.)";

int terminal_width() {
  winsize size{};
  if (::isatty(STDOUT_FILENO) == 0 || ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) return 0;
  return size.ws_col;
}

constexpr const char* kTop[] = {"stages", "ps", "why"};

// Stages, roles and what they wait for, again every second until Enter is pressed; once where nobody watches.
int top(Attached& run) {
  const bool watched = ::isatty(STDIN_FILENO) != 0 && ::isatty(STDOUT_FILENO) != 0;
  for (;;) {
    std::string screen = watched ? "\033[H\033[2J" : "";
    for (const char* command : kTop) {
      const std::string answer = run.ask(command, {});
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

// For scripts: once, {"stages": ..., "ps": ..., "why": ...}.
int top_as_json(Attached& run) {
  nlohmann::ordered_json all;
  for (const char* command : kTop) {
    all[command] = ordered_json_or_null(run.ask(command, {}));
    if (all[command].contains("error")) {
      std::cout << all[command].dump() << std::endl;
      return static_cast<int>(ExitCode::bad_input);
    }
  }
  std::cout << all.dump() << std::endl;
  return 0;
}

// Returns the exit code of this one command.
int run_command(Attached& run, const std::string& typed, bool json) {
  std::string line = typed.substr(std::min(typed.size(), typed.find_first_not_of(" \t")));
  const std::string command = line.substr(0, line.find_first_of(" \t"));
  if (command == "top") return json ? top_as_json(run) : top(run);
  if (command == "traj" && (json || terminal::shows_colours(STDOUT_FILENO))) line.insert(4, json ? " --json" : " --coloured");
  bool streamed = false;
  const std::string answer = run.ask(line, [&](const std::string& part) {
    if (json) return;
    std::cout << terminal::without_controls(ordered_json_or_null(part).value("part", "")) << std::flush;
    streamed = true;
  });
  if (is_error_answer(answer)) {
    if (json)
      std::cout << answer << std::endl;
    else
      std::cerr << (streamed ? "\n" : "") << "r1-shell: " << render_answer(answer);
    return static_cast<int>(ExitCode::bad_input);
  }
  const auto fields = ordered_json_or_null(answer);
  if (fields.contains("lines")) {
    std::cout << fields["lines"].get<std::string>() << "\n";
  } else if (json) {
    std::cout << answer << "\n";
  } else if (command == "ask") {
    const std::string rest = streamed ? "" : terminal::without_controls(fields.value("text", ""));
    std::cout << rest
              << fmt::format("\n-- version {} of {}, {} tokens{}\n", fields.value("version", int64_t{0}),
                             fields.value("stage", ""), fields.value("tokens", int64_t{0}),
                             fields.value("finished", true) ? "" : ", cut off at max_tokens");
  } else {
    std::cout << render_answer(answer, terminal_width());
  }
  std::cout.flush();
  return 0;
}

int interactive(Attached& run, bool json) {
  LineReader lines("r1> ", shell_history_file(), [&run](const std::string& line) {
    return shell_completions(line, [&run](const std::string& command) {
      try {
        return run.ask(command, {});
      } catch (const Error&) {
        return std::string();
      }
    });
  });
  bool came = false;
  int worst = 0;
  while (const auto line = lines.next()) {
    if (line->find_first_not_of(" \t") == std::string::npos) continue;
    came = true;
    if (*line == "quit" || *line == "exit") break;
    int code = 0;
    try {
      code = run_command(run, *line, json);
    } catch (const Error& e) {  // of the command; the next one may be better
      say("r1-shell: {}\n", e.what());
      code = static_cast<int>(e.code());
    }
    if (!lines.at_prompt()) worst = std::max(worst, code);
  }
  if (lines.at_prompt()) std::cout << "\n";
  if (!lines.at_prompt() && !came) throw bad_input("no command came", {"standard input"}, "r1-shell RUN -c ps");
  return worst;
}

int main_checked(int argc, char** argv) {
  std::string where, command, key;
  bool json = false, serve = false;
  CLI::App app("Looks into a run and steers it: who does what, who waits for whom, what was learnt.", "r1-shell");
  add_common_flags(app, kExamples);
  CLI::Option* const place =
      app.add_option("where", where, "a run directory; HOST:PORT with --key; or ssh://[USER@]HOST[:PORT]/RUN")
          ->type_name("RUN");
  CLI::Option* given = app.add_option("-c,--command", command, "run this one command")->type_name("CMD");
  app.add_option("--key", key, "of HOST:PORT: RUN/keys/control.key, or RUN/keys/read.key to look only")->type_name("FILE");
  app.add_flag("--json", json, "print answers as JSON");
  app.add_flag("--serve-stdin", serve, "the other end of ssh://")->group("")->excludes(place)->excludes(given);
  if (const auto code = parse_command_line(app, argc, argv)) return *code;
  if (serve) return serve_standard_input();
  if (place->count() == 0) throw bad_input("where is required: a run directory", {}, "for example runs/r1_full");
  const auto run = attach(where, key);
  return given->count() > 0 ? run_command(*run, command, json) : interactive(*run, json);
}

}  // namespace
}  // namespace r1

int main(int argc, char** argv) { return r1::guarded_main("r1-shell", argc, argv, r1::main_checked); }
