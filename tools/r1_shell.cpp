// r1-shell: looks into a run that goes on, or into the store of one that does not. See docs/architecture.md section 7.
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <functional>
#include <iostream>
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

namespace r1 {
namespace {

constexpr const char* kExamples = R"(Examples:
  r1-shell runs/r1_full                            a prompt; 'help' lists the commands
  r1-shell runs/r1_full -c ps                      the roles at work
  r1-shell runs/r1_full -c "metrics rl1 reward"    a reward curve
  r1-shell runs/r1_full -c waits --json            for scripts: JSON as it comes
  r1-shell runs/r1_full -c stop                    ends the run after the jobs at hand; r1-run continues it

'stages' and 'metrics' also work on a run directory where no run is going on.
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
  return [store](const std::string& line) {
    ShellSources sources;
    sources.store = store.get();
    return handle_command(line, sources);
  };
}

int terminal_width() {
  winsize size{};
  if (::isatty(STDOUT_FILENO) == 0 || ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) return 0;
  return size.ws_col;
}

// Returns the exit code of this one command.
int run_command(const Ask& ask, const std::string& line, bool json) {
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

int interactive(const Ask& ask, bool json) {
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
    const int code = run_command(ask, line, json);
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
  return given->count() > 0 ? run_command(ask, command, json) : interactive(ask, json);
}

}  // namespace
}  // namespace r1

int main(int argc, char** argv) { return r1::guarded_main("r1-shell", argc, argv, r1::main_checked); }
