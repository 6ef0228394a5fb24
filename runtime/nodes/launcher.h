// Starts programs - nodes - on this machine or by ssh or srun on others, stays with them, and ends them. What a program is told
// it is told on its stdin: one line (JSON) that nobody else sees; the end of its stdin is its end. Not what is said in that
// line and not the program's link to this process: the launcher knows processes.
//
// By ssh one fixed command runs, `exec PROGRAM WORDS`, which every login shell understands; nothing of the line is in it, so
// nothing of it is in `ps`. The first line that a program has to say begins with kLaunchMarker; what a login shell prints
// before it is logged, not parsed. No program outlives this process: those here are watched by r1-guard (base/process.h), those
// elsewhere see the end of their stdin. Thread rule: any thread. A sink is called by the launcher's own thread, one call after
// the other, and does not block there.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

namespace r1 {

// What stands before the JSON of a program's first line: R1NODE{"wire":1,...}
constexpr const char* kLaunchMarker = "R1NODE";

using LaunchId = uint64_t;  // one launch; never used again by the launcher

struct LaunchSpec {
  enum class Way { direct_or_ssh, srun };
  std::string name;                // for messages: "node1", "gpu07"
  std::string host;                // ssh (or srun) to it; "": this machine, directly
  Way way = Way::direct_or_ssh;    // srun: as a step of this Slurm job
  std::string user;                // of ssh; "": as its configuration says
  int port = 0;                    // of ssh; 0: as its configuration says
  std::vector<std::string> words;  // program and arguments, without secrets; by ssh found by the PATH of the login shell
  std::string line;                // told on stdin, without the line's end
};

class LaunchSink {
 public:
  virtual ~LaunchSink() = default;
  // It says that it is there. `greeting`: what follows the marker on its first line, JSON as it claims.
  virtual void started(LaunchId launch, const std::string& greeting) = 0;
  // A line of its stderr, or of its stdout beside the first; printable, at most 2,000 bytes, at a bounded rate.
  virtual void said(LaunchId launch, const std::string& line) = 0;
  // It is gone and will not come back; nothing after it. `how`: "exit code 3", "signal 9 (Killed)", "ssh: exit code 255 after 3
  // tries", "it said nothing within 60 s"; what it said last stands behind it.
  virtual void ended(LaunchId launch, const std::string& how) = 0;
};

struct LauncherOptions {
  size_t at_once = 8;                      // being started at the same time; sshd turns away more than ten at random
  int tries = 3;                           // of ssh, when it gives up before the program has said anything (exit code 255)
  double start_s = 60;                     // until the first line
  double grace_s = 5;                      // from the end of stdin until it is killed
  double between_tries_s = 1;              // doubled with every try, and halved to one and a half times by launch
  std::vector<std::string> ssh = {"ssh"};  // and options of its own
  std::vector<std::string> srun = {"srun"};
};

class Launcher {
 public:
  explicit Launcher(LaunchSink& sink, LauncherOptions options = {});
  // Ends all and waits for them: at most grace_s and a little. The sink hears of no end that comes this way.
  ~Launcher();
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;

  // Soon, when fewer than at_once are being started. What cannot be started is ended.
  LaunchId start(LaunchSpec spec);
  // Closes its stdin; kills what is still there after grace_s - here the program and all that it started, elsewhere ssh, whose
  // program has seen the end of its stdin. ended() follows.
  void end(LaunchId launch);
  // Of the program, or of its ssh; 0 before it was started and after its end.
  pid_t pid(LaunchId launch) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The words as one that every POSIX shell takes apart into just these.
std::string shell_quoted(const std::vector<std::string>& words);
// What runs for the spec: the program itself; or ssh with its options and the fixed command; or srun and the words.
std::vector<std::string> launch_words(const LaunchSpec& spec, const LauncherOptions& options);

}  // namespace r1
