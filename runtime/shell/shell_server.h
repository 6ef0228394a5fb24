// The run's side of r1-shell: a unix socket in a directory that only the run's user may enter (RUN_DIR/shell/socket), and one
// thread that answers a line with a line of JSON.
//
// Whoever connects can neither stop the run from going on nor fill its memory: connections, the length of a question and the
// time for asking and for reading the answer are bounded, a connection has one question at a time, and the one that has waited
// longest makes room for a new one. `stop` is taken before every other question. No network. A socket that cannot be opened is
// logged; the run goes on. Thread rule: construct and destroy in one thread; the commands run on the server's own.
#pragma once

#include <filesystem>
#include <memory>

#include "runtime/shell/shell_command.h"

namespace r1 {

struct ShellLimits {
  size_t connections = 64;
  size_t question_bytes = 4096;
  double ask_s = 10;   // from connecting, or from the last answer, to a whole line
  double read_s = 10;  // from an answer to its last byte taken
};

class ShellServer {
 public:
  ShellServer(ShellSources sources, const std::filesystem::path& run_dir, ShellLimits limits = {});
  ~ShellServer();  // waits for the command at hand; removes the socket
  ShellServer(const ShellServer&) = delete;
  ShellServer& operator=(const ShellServer&) = delete;
  bool listening() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace r1
