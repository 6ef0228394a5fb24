// The last versions of a trainer's weights on disk (keep_versions): RUN/versions/STAGE, segments of keep_versions versions each
// (models/version_files.h), of which so many stay that at least keep_versions can be made again: two, but after restarts. They
// cost a whole set each, and about a hundredth of one a version. Not the trainer's own state (actors/snapshots.h): a version
// says what was learned, and not how to go on learning.
// Thread rule: constructor, keeps() and keep() on the role, add() on the I/O thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "actors/messages.h"
#include "actors/run_env.h"
#include "models/model_export.h"

namespace r1 {

class VersionLog {
 public:
  VersionLog() = default;  // keeps none
  VersionLog(const RunEnv& env, const std::string& stage, int64_t keep);

  bool keeps() const { return keep_ > 0; }
  // Of the trainer's node: puts `version` on disk, in an I/O job. Behind it on that thread is the trainer's next commit, so a
  // disk that is slower than training slows it.
  void keep(RoleContext& context, const std::shared_ptr<const WeightsMessage>& version);
  // The next version, or one that was added before, by a process that is gone. `texts`: what stands beside the weights.
  // Throws failure when the disk refuses.
  void add(const std::shared_ptr<const WeightsMessage>& version, const ModelTexts& texts);

 private:
  void begin_segment(const WeightsMessage& version, const ModelTexts& texts);

  RunEnv env_;
  std::filesystem::path dir_;
  int64_t keep_ = 0, base_ = -1;
  std::shared_ptr<const WeightsMessage> last_;
};

}  // namespace r1
