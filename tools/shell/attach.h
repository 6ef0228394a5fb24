// What r1-shell talks to: a run that goes on here (its socket), one elsewhere (HOST:PORT and a key; ssh://HOST/RUN), or the
// store that a run has left. Thread rule: one thread.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

namespace r1 {

using ShellPart = std::function<void(const std::string& json)>;

class Attached {
 public:
  virtual ~Attached() = default;
  // The answer to a command, as JSON (runtime/shell/shell_command.h); `part`: what comes before it. Throws failure when there
  // is none.
  virtual std::string ask(const std::string& line, const ShellPart& part) = 0;
};

// `key`: of HOST:PORT, "" for none. Throws bad_input for what is no run, failure for one that does not answer.
std::unique_ptr<Attached> attach(const std::string& where, const std::filesystem::path& key);
std::unique_ptr<Attached> attach_directory(const std::filesystem::path& run_dir);

// ssh://[USER@]HOST[:PORT]/RUN; a RUN that begins with a second '/' is an absolute path, others start in the home directory
// there.
struct SshPlace {
  std::string user, host, run;
  int port = 0;  // 0: as ssh's configuration says
};
SshPlace parse_ssh_place(const std::string& where);

// The other end of ssh://: serves questions on stdin - first the run directory, then a command a line - by answers on stdout.
int serve_standard_input();

// How long an answer may take: orders are seen to when the run comes to them.
double answer_limit_s(const std::string& line);

}  // namespace r1
