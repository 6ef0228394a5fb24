// A program that this one starts, talks to, and is sure to end. Not a shell: a command is words, the first one a file or a name
// of the PATH.
//
// Between the two stands r1-guard (tools/guard/r1_guard.cpp), a process of a few pages: it starts the program in a session and
// process group of its own, in which nothing of this process is open but three pipes, and it ends the program and all that it
// has started - also what left its group - when it is told to, or when this process is gone, by kill -9 too.
// Thread rule: one thread at a time; start() from any thread.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace r1 {

struct ProcessSpec {
  std::vector<std::string> words;        // program and arguments
  std::filesystem::path directory;       // where it runs; "": here
  std::vector<std::string> environment;  // NAME=VALUE, over this process's own
};

class Process {
 public:
  // Throws failure when it cannot be started: no such file, not executable, no more processes.
  static Process start(const ProcessSpec& spec);
  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) noexcept;
  ~Process();  // end()

  // Non-blocking ends of its stdin, stdout and stderr; -1 once closed.
  int in() const { return in_; }
  int out() const { return out_; }
  int err() const { return err_; }
  pid_t pid() const { return pid_; }
  void close_in();

  // As many bytes as fit; -1 when nobody reads any more. Never raises SIGPIPE.
  ssize_t write_some(std::string_view bytes);

  // How the program itself ended - "exit code 3", "signal 11 (Segmentation fault)" - or nullopt while it runs. Waits at most
  // `seconds`.
  std::optional<std::string> ended(double seconds = 0);

  // Ends the program and all that it started by SIGKILL, now.
  void end();

 private:
  Process() = default;
  void drop() noexcept;
  pid_t guard_ = -1, pid_ = -1;
  int in_ = -1, out_ = -1, err_ = -1, control_ = -1;
  std::optional<std::string> status_;
};

// A command as words: blanks part them, '...' and "..." keep blanks; no other character is special. nullopt: a quote is not
// closed.
std::optional<std::vector<std::string>> split_command(std::string_view text);

// The file that `word` starts when the command runs in `directory`: a path with '/' there, else the first of that name on the
// PATH that can be executed; "" when there is none.
std::filesystem::path find_program(const std::string& word, const std::filesystem::path& directory);

}  // namespace r1
