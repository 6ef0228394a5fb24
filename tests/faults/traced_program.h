// Runs r1-run under ptrace and acts at one of its system calls that change files: what is killed there is killed exactly
// between two states of the disk, whoever makes the call - base/files, SQLite, the weight files. Only those calls stop the
// process (a seccomp filter picks them), so it runs at full speed in between. Not a simulation of power loss: what was written
// and not synced stays. x86-64 only. Thread rule: one thread; the tracer is the calling thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace r1 {

struct TracedRun {
  bool traced = false;  // false: the system does not allow ptrace or seccomp
  bool killed = false;  // else it ended by itself
  int code = -1;        // exit code; 128 + signal
  int64_t calls = 0;    // file-changing system calls below `dir` that were begun, the one of the kill included
  std::string last;     // "rename", "fdatasync", ...: the last of them
};

// SIGKILL when the `kill_at`-th such call (from 1) is about to happen; 0: never.
TracedRun run_killed_at(const std::vector<std::string>& arguments, const std::filesystem::path& dir, int64_t kill_at);

// Every clone() after the first `threads` fails with EAGAIN, as under `ulimit -u`. The run is ended by SIGKILL after `seconds`.
TracedRun run_short_of_threads(const std::vector<std::string>& arguments, int64_t threads, const std::filesystem::path& errors,
                               double seconds);

}  // namespace r1
