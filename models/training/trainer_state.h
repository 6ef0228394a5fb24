// A trainer's state as a file: masters, moments, counters, in one SafeTensors file that appears whole.
// Entries: masters/NAME, first/NAME, second/NAME per parameter of param_specs() (fused names), F32; hash, U8[32]: of the hashes
// of all pieces of 4 MiB of the others, in the order of their names. Metadata: format, config (JSON), optimizer, version,
// optimizer_steps. Thread rule: pure functions on their arguments.
#pragma once

#include <filesystem>
#include <functional>

#include "models/training/optimizer.h"

namespace r1 {

// The state is read once, in pieces, and may change again on return: what is returned makes the file durable and puts it into
// place, on any thread (let go uncalled, nothing is left). Throws failure naming the tensor when a value is not a finite
// number, and when the disk refuses.
[[nodiscard]] std::function<void()> write_trainer_state(const std::filesystem::path& file, const WeightSet& masters,
                                                        const Optimizer&, const std::string& optimizer_name, int64_t version);
// Fills masters and optimizer; returns the version. Throws bad_input naming the file (not such a file, another model or
// optimizer, a hash that differs); then nothing was changed.
int64_t load_trainer_state(const std::filesystem::path& file, const WeightSet& masters, Optimizer&,
                           const std::string& optimizer_name);

}  // namespace r1
