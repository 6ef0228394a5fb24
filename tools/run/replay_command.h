// r1-run --replay: every update of a run again, from its store.
#pragma once

#include <filesystem>

namespace r1 {

// Prints a line for each stage that learned. The exit code: 0 where all weights are equal, else 1. Throws bad_input where
// there is nothing to replay, or this process computes otherwise than the run did.
int replay_and_compare(const std::filesystem::path& run_dir, bool accept_fingerprint);

}  // namespace r1
