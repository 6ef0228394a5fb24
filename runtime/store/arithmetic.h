// By which arithmetic each stage of a run was trained, where the run was continued under another (--accept-fingerprint): what
// the events `fingerprint` of its store say. A stage that was learning then went on from its newest snapshot, which is kept, so
// that each part can be replayed by itself, where its arithmetic is. Thread rule: as RunStore's.
#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "runtime/store/run_store.h"

namespace r1 {

// Of a stage's batches those from `from` on, up to the next part.
struct ArithmeticPart {
  int64_t from = 0;           // its trainer's state then: arithmetic_file, or the stage's start weights where this is 0
  int64_t published = 0;      // versions after `from` and up to this one were published by the part before it
  std::string fingerprint{};  // of what trained
};

// The fingerprints of all that computes, and of what trains alone.
struct ArithmeticChange {
  std::string before, now, trained_before, trained_now;
};
// That the run goes on with other arithmetic: an event, and a second name for the snapshot of each stage that is learning.
void note_arithmetic(RunStore& store, const std::filesystem::path& run_dir, const ArithmeticChange& change);

// In order; at least one. `last`: what trains by now.
std::vector<ArithmeticPart> arithmetic_parts(const RunStore& store, const std::string& stage, const std::string& last);

// The state that a part begins with, relative to the run directory.
std::string arithmetic_file(const std::string& stage, int64_t version);
std::set<std::string> arithmetic_files(const RunStore& store);  // all that are to stay

}  // namespace r1
