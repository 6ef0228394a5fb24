#include "actors/version_log.h"

#include <algorithm>
#include <vector>

#include "actors/checkpoint_files.h"
#include "models/version_files.h"

namespace r1 {

namespace fs = std::filesystem;

VersionLog::VersionLog(const RunEnv& env, const std::string& stage, int64_t keep)
    : env_(env), dir_(env.run_dir / "versions" / stage), keep_(keep) {}

void VersionLog::keep(RoleContext& context, const std::shared_ptr<const WeightsMessage>& version) {
  if (!keeps()) return;
  context.submit_io(
      "keep " + version->describe(),
      [this, &context, version] {
        add(version, checkpoint_texts(env_, context.graph(), context.node(), version->weights->config()));
      },
      [] {});
}

void VersionLog::add(const std::shared_ptr<const WeightsMessage>& version, const ModelTexts& texts) {
  const WeightsMessage& m = *version;
  if (last_ && m.version == last_->version) return;
  if (!last_ || m.version != last_->version + 1 || m.version - base_ >= keep_)
    begin_segment(m, texts);
  else
    write_version_delta(dir_, base_, encode_delta(last_->weights.get(), last_->version, *m.weights, m.version, m.hash));
  last_ = version;
}

// One that begins at this version or later is from before a restart: what it held is made again.
void VersionLog::begin_segment(const WeightsMessage& m, const ModelTexts& texts) {
  std::vector<int64_t> stay;
  int64_t versions = 1, end = m.version;
  const std::vector<int64_t> known = version_segments(dir_);
  for (auto base = known.rbegin(); base != known.rend() && versions < keep_; ++base) {
    if (*base >= m.version) continue;
    stay.push_back(*base);
    versions += std::min(end, last_of_segment(dir_, *base) + 1) - *base;
    end = *base;
  }
  write_version_base(dir_, m.version, *m.weights, m.hash, texts);
  base_ = m.version;
  stay.push_back(m.version);
  remove_other_segments(dir_, stay);
}

}  // namespace r1
