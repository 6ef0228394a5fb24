// The commands of r1-shell: one line in, JSON out. Plain functions over what a run shows of itself; no network in here.
//
// Answers: {"title": ..., "columns": [...], "rows": [{column: value}, ...]} - with "plot": COLUMN where a person wants to see a
// curve of it - or {"text": ...} or {"error": ..., "hint": ...}. Before an answer may come parts of it: {"part": TEXT}.
// Thread rule: a command may be begun from any one thread at a time; the sources are thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "runtime/shell/shell_order.h"
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

struct ShellRank {
  std::string trainer;
  int64_t rank = 1;
};
struct ShellNode {  // a process of the run beside its head
  std::string name, host;
  int64_t process = 0;  // 0: it is not there
  int threads = 0;
  std::string state;
  std::vector<std::string> roles;              // that live there
  int64_t lost = 0;                            // times
  std::vector<ShellRank> ranks;                // that live there; those with the head are not listed
  std::optional<double> silent_s = {};         // since anything was heard of it; absent: it is not there
  std::optional<int64_t> resident_bytes = {};  // its memory; absent: it is not there, or did not say yet
};
// More than two beats of its link have not come: it is stopped, or the way to it is cut, and it is lost when its lease ends.
bool is_silent(const ShellNode& node);
std::string node_state(const ShellNode& node);                // "ok", "silent 2.1 s", "leaves, silent 2.1 s"
std::string ranks_text(const std::vector<ShellRank>& ranks);  // "1 of rl_trainer, 2 of sft_trainer"

// Steering a run of several processes: each returns what comes of it, durable by then, and throws bad_input. Thread rule: the
// conductor's thread.
struct ShellNodeOrders {
  std::function<std::string(const std::string& node)> drain;
  std::function<std::string(const std::string& node)> undrain;
  std::function<std::string(const std::string& role, int64_t nodes)> scale;
};

struct ShellSources {
  std::filesystem::path run_dir;  // a ShellServer puts in its own
  const RunStore* store = nullptr;
  const WaitRegistry* waits = nullptr;  // null when no run is going on: what then is missing answers with an error
  double stall_s = 0, job_stall_s = 0;  // a stage in which nothing moves, beside a job, for longer begins again
  std::function<std::vector<ShellRole>()> roles;
  std::function<std::vector<ShellStage>()> stages;
  std::function<std::vector<ShellNode>()> nodes;  // null: the run is one process
  std::set<std::string> at_nodes;                 // actors whose work nodes do; the head does that of all others
  // Whether `node`.`attr` may become `value` while the run goes on; throws bad_input. Null: nothing may.
  std::function<void(const std::string& node, const std::string& attr, const std::string& value)> check_set;
  std::function<bool(ShellOrder)> order;  // to the conductor; false: too many wait
  // `traj` with these arguments, as an answer; throws. Null: whoever asks reads the run directory himself.
  std::function<std::string(const std::string& arguments)> trajectories;
  struct Live {
    std::string attribute, value, does;  // "rl1_trainer.lr"
  };
  std::function<std::vector<Live>()> live;  // what check_set lets through, with its value now
  std::function<void()> stop;
};

// What the key of who asks is good for.
enum class ShellRight { look, steer };

// Answers `reply` now or, where the run has to see to it, when that has happened.
void begin_command(const std::string& line, const ShellSources& sources, ShellRight right, const ShellReplyPtr& reply);
// The answer of a command that needs no conductor, and of others within ten seconds.
std::string handle_command(const std::string& line, const ShellSources& sources);

}  // namespace r1
