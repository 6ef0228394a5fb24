// What a run that is continued finds in its directory, looked at before the first actor starts (P10).
// Not a repair: batches live in the run store, files beside it are what finished stages left for later ones.
// Thread rule: pure functions on their arguments.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "actors/run_env.h"
#include "runtime/store/run_store.h"

namespace r1 {

// Every file that a stage of this run wrote and a stage that is not done will read: checkpoints with their config and
// tokenizer, reference snapshots, datasets - whole, by the hashes that were recorded when they were written. Of the others (and
// of runs older than the hashes) that they are there and well-formed. Throws bad_input naming the file and the stage.
void check_run_files(const RunEnv& env, const GraphView& graph, const RunStore& store);

// Of a run that is looked at and not continued: every file that its stages wrote and that is still there, by the same hashes;
// those last written before `since` are taken as they are (a large run is not read whole to show its table). Throws bad_input
// naming file and stage.
void check_kept_files(const RunEnv& env, const RunStore& store,
                      std::filesystem::file_time_type since = std::filesystem::file_time_type::min());

// The files of DIR (relative to the run directory), read back from where they were just written.
std::vector<ArtifactFile> fingerprint_directory(const RunEnv& env, const std::string& dir);

}  // namespace r1
