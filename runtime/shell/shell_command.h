// The commands of r1-shell: one line in, JSON out. Plain functions over what a run shows of itself; no network in here.
//
// Answers: {"title": ..., "columns": [...], "rows": [{column: value}, ...]} - with "plot": COLUMN where a person wants to see a
// curve of it - or {"text": ...} or {"error": ..., "hint": ...}.
// Thread rule: handle_command may be called from any one thread at a time; the sources are thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "runtime/store/stage_times.h"

namespace r1 {

class RunStore;
class WaitRegistry;

struct ShellRole {
  std::string stage, node, role, state, progress;
};
struct ShellStage {
  std::string name, phase;
  StageTimes times;
  int restarts = 0;
};

struct ShellNode {  // a process of the run beside its head
  std::string name, host;
  int64_t process = 0;  // 0: it is not there
  int threads = 0;
  std::string state, roles;
  int64_t lost = 0;  // times
};

struct ShellSources {
  std::filesystem::path run_dir;  // a ShellServer puts in its own
  const RunStore* store = nullptr;
  const WaitRegistry* waits = nullptr;  // null when no run is going on: what then is missing answers with an error
  std::function<std::vector<ShellRole>()> roles;
  std::function<std::vector<ShellStage>()> stages;
  std::function<std::string(const std::string& node)> inspect;  // JSON of a role; throws r1::Error
  std::function<std::vector<ShellNode>()> nodes;                // null: the run is one process
  std::function<void()> stop;
};

std::string handle_command(const std::string& line, const ShellSources& sources);

}  // namespace r1
