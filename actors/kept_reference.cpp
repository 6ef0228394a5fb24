#include "actors/kept_reference.h"

#include <fmt/format.h>

#include "actors/continued_run.h"
#include "models/weights.h"
#include "runtime/fault.h"

namespace r1 {

std::optional<KeptReference::Found> KeptReference::load(const Recovery& recovered, const StageJournal& journal) {
  const auto saved = recovered.artifacts.find("reference");
  if (saved == recovered.artifacts.end()) return std::nullopt;
  kept_ = saved->second.path;
  return Found{load_weights(*env_.device, env_.run_dir / kept_, env_.precision),
               stored_integer(saved->second.hash, journal.place("artifacts", "name='reference'"))};
}

void KeptReference::keep(StageJournal& journal, const WeightSet& weights, int64_t version) {
  const std::string dir = fmt::format("snapshots/{}-reference-{}", stage_, version);
  save_model_dir(env_.run_dir / dir, weights, "{}");
  journal.artifact("reference", {dir, std::to_string(version)}, fingerprint_directory(env_, dir));
  if (!kept_.empty() && kept_ != dir) std::filesystem::remove_all(env_.run_dir / kept_);
  kept_ = dir;
  fault_point("after_reference_refresh");
}

}  // namespace r1
