// A program that is spoken to in lines: one goes in, one comes out. What it writes to stderr is handed over line by line, at a
// bounded rate; a line of its stdout is never longer than what was allowed, and nothing is waited for without a limit.
// Thread rule: one thread at a time; on_error_line is called from a thread of its own.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/process.h"

namespace r1 {

struct LineProcessOptions {
  size_t longest_line = size_t{1} << 20;  // of stdout, in bytes
  // A line of stderr, without its end, cut at 2,000 bytes. A burst of 200 lines, then ten a second: how many were left out is
  // said in a line of its own.
  std::function<void(const std::string& line)> on_error_line;
};

class LineProcess {
 public:
  // Throws failure as Process::start does.
  LineProcess(const ProcessSpec& spec, LineProcessOptions options);
  ~LineProcess();  // ends the program and all that it started
  LineProcess(const LineProcess&) = delete;
  LineProcess& operator=(const LineProcess&) = delete;

  enum class Outcome { line, timed_out, ended, too_long, stopped };
  struct Reply {
    Outcome outcome = Outcome::ended;
    std::string line;  // without its end
    std::string how;   // ended: "exit code 3", "it closed its output"
  };
  // Sends `line` and its end and waits for one line back; both within `seconds`. `stop`: looked at ten times a second; may be
  // null. After anything but Outcome::line the program is of no use any more.
  Reply exchange(std::string_view line, double seconds, const std::atomic<bool>* stop);
  // The next line without sending anything.
  Reply read_line(double seconds, const std::atomic<bool>* stop);
  // Sends only; what is not read within `seconds` is Outcome::timed_out. Outcome::line: it is all sent.
  Reply send(std::string_view line, double seconds, const std::atomic<bool>* stop);

  // The first line, or part of one, that it wrote and that no call has read yet; nullopt: there is none. Does not wait.
  std::optional<std::string> unasked();

  // Closes its stdin and gives it `seconds` to end by itself. How it ended; nullopt: it did not.
  std::optional<std::string> finish(double seconds);
  // The last lines that it wrote to stderr, for a message: at most 5, joined by " | "; of a program that has ended all of them.
  std::string last_words();
  pid_t pid() const { return process_.pid(); }

 private:
  struct Errors;
  Reply converse(std::string_view to_send, bool wants_line, double seconds, const std::atomic<bool>* stop);

  LineProcessOptions options_;
  Process process_;
  std::string received_;
  std::unique_ptr<Errors> errors_;
};

}  // namespace r1
