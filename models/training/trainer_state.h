// A trainer's state as a file: masters, moments, counters, in one SafeTensors file that appears whole.
// Entries: masters/NAME, first/NAME, second/NAME per parameter of param_specs() (fused names), F32; hash, U8[32]: of the hashes
// of all pieces of 4 MiB of the others, in the order of their names. Metadata: format, config (JSON), optimizer, version,
// optimizer_steps. Thread rule: pure functions on their arguments.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>

#include "models/safetensors.h"
#include "models/training/state_values.h"

namespace r1 {

// The state is read once, in pieces, and may change again on return: what is returned makes the file durable and puts it into
// place, on any thread (let go uncalled, nothing is left). Throws failure naming the tensor when a value is not a finite
// number, and when the disk refuses. Of several ranks the first writes while the others give_trainer_state, and what it throws
// it throws behind the last piece: the ranks may go on.
[[nodiscard]] std::function<void()> write_trainer_state(const std::filesystem::path& file, const TrainerState&,
                                                        const std::string& optimizer_name, int64_t version);
void give_trainer_state(const TrainerState&);

// A file that was checked whole.
struct StoredState {
  std::shared_ptr<const SafetensorsFile> file;
  int64_t version = 0, optimizer_steps = 0;
};
// Throws bad_input naming the file (not such a file, another model or optimizer, a hash that differs).
StoredState open_trainer_state(const std::filesystem::path& file, const WeightSet& like, const std::string& optimizer_name);
// Fills masters and optimizer; returns the version. Of several ranks the first reads, the others pass null.
int64_t load_trainer_state(const StoredState*, const TrainerState&);

}  // namespace r1
