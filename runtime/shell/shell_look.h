// What r1-shell's `why`, `versions` and `log` answer (shell_command.h has the form of answers). Thread rule: as handle_command.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "runtime/shell/shell_command.h"

namespace r1 {

inline bool samples_and_learns(const StageTimes& times) {
  return times.engine_s.count("generator") != 0 && times.engine_s.count("trainer") != 0;
}

// Of each running stage: the share of its time in which each engine was at work, two of them at once, none; who waits for whom
// now; and what the stage's speed hangs on, with what would change it.
nlohmann::ordered_json why_so_slow(const ShellSources& sources);

// The versions that a stage published, with the hashes of their weights.
nlohmann::ordered_json versions_of(const RunStore& store, const StageRow& stage);

// The last `lines` lines of RUN/r1.log, of at most its last 256 KiB. Throws bad_input where there is none.
std::string end_of_log(const std::filesystem::path& run_dir, int64_t lines);

}  // namespace r1
