// The run's side of r1-shell: a unix socket in a directory that only the run's user may enter (RUN_DIR/shell/socket), and one
// thread that answers a line with a line of JSON.
//
// Whoever connects can neither stop the run from going on nor fill its memory: connections, the length of a question and the
// time for asking and for reading the answer are bounded, a connection has one question at a time, and the one that has waited
// longest makes room for a new one. What the run has to see to (orders) keeps nobody else waiting: its answer comes later.
// `stop` is taken before every other question. No network. A socket that cannot be opened is logged; the run goes on.
// Thread rule: construct and destroy in one thread; the commands run on the server's own; ask() from any thread.
#pragma once

#include <filesystem>
#include <memory>

#include "runtime/shell/shell_command.h"

namespace r1 {

struct ShellLimits {
  size_t connections = 64;
  size_t question_bytes = 4096;
  double ask_s = 10;      // from connecting, or from the last answer, to a whole line
  double read_s = 10;     // from an answer to its last byte taken
  double answer_s = 600;  // of an order, until the run has seen to it
  size_t questions = 64;  // of ask(), waiting
  double share = 0.1;     // of one core, over a while, that all of this may take; who asks for more waits
};

class ShellServer {
 public:
  ShellServer(ShellSources sources, const std::filesystem::path& run_dir, ShellLimits limits = {});
  ~ShellServer();  // waits for the command at hand; removes the socket
  ShellServer(const ShellServer&) = delete;
  ShellServer& operator=(const ShellServer&) = delete;
  bool listening() const;
  // The same for a question that came another way. False: too many wait, or nothing listens; then the reply is not answered.
  bool ask(std::string line, ShellRight right, ShellReplyPtr reply);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace r1
