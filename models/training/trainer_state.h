// A trainer's state as a file: masters, moments, counters, in one SafeTensors file written atomically.
// Entries: masters/NAME, first/NAME, second/NAME per parameter of param_specs() (fused names), F32; metadata: format, config
// (JSON), optimizer, version, optimizer_steps, hash (of the hashes of all entries, in the order of the names above). Thread
// rule: pure functions on their arguments.
#pragma once

#include <filesystem>

#include "models/training/optimizer.h"

namespace r1 {

void save_trainer_state(const std::filesystem::path& file, const WeightSet& masters, const Optimizer&,
                        const std::string& optimizer_name, int64_t version);
// Fills masters and optimizer; returns the version. Throws bad_input naming the file (not such a file, another model or
// optimizer, a hash that differs); then nothing was changed.
int64_t load_trainer_state(const std::filesystem::path& file, const WeightSet& masters, Optimizer&,
                           const std::string& optimizer_name);

}  // namespace r1
