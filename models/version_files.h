// The versions of a stage that are kept on disk: in a directory of its own a *segment* begins with a version as a Hugging Face
// directory in the generators' precision (BASE/), and goes on with the differences from each version to the next
// (BASE/VERSION.delta). Any of them is made again from these (docs/formats.md, "Kept versions"). Not which are kept
// (actors/version_log.h). Thread rule: one thread a directory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "models/model_export.h"
#include "models/version_delta.h"

namespace r1 {

// Atomically; throws failure when the disk refuses. The new segment is stage_dir/VERSION.
void write_version_base(const std::filesystem::path& stage_dir, int64_t version, const WeightSet& weights, const Hash128& hash,
                        const ModelTexts& texts);
// `base`: of the segment; delta.from is its last version.
void write_version_delta(const std::filesystem::path& stage_dir, int64_t base, const VersionDelta& delta);

// Whatever is in the directory but these segments.
void remove_other_segments(const std::filesystem::path& stage_dir, const std::vector<int64_t>& keep);

// Versions of which segments begin, oldest first; empty where nothing is kept.
std::vector<int64_t> version_segments(const std::filesystem::path& stage_dir);
// The last version that the segment holds without a gap.
int64_t last_of_segment(const std::filesystem::path& stage_dir, int64_t base);

struct KeptVersion {
  std::shared_ptr<WeightSet> weights;
  std::filesystem::path base;  // the model directory whose config and texts are its
};
// Compared with the hash that it was published under. Throws bad_input, naming what is kept, for a version that is not.
KeptVersion rebuild_version(Device& device, const std::filesystem::path& stage_dir, int64_t version);

}  // namespace r1
