// The reference of a stage on the run's disk: a refreshed one is there before it is used, and a stage that begins again finds
// it. For the role that scores by it, and for the head of a run whose references are other processes. Thread rule: in jobs of
// one role.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "actors/run_env.h"
#include "runtime/flow/stage_memory.h"

namespace r1 {

class KeptReference {
 public:
  KeptReference(RunEnv env, std::string stage) : env_(std::move(env)), stage_(std::move(stage)) {}

  struct Found {
    std::shared_ptr<WeightSet> weights;
    int64_t version = 0;
  };
  // The one that was kept last; nullopt where the reference was never refreshed.
  std::optional<Found> load(const Recovery& recovered, const StageJournal& journal);
  // Durable when it returns; the one before it is removed.
  void keep(StageJournal& journal, const WeightSet& weights, int64_t version);

 private:
  const RunEnv env_;
  const std::string stage_;
  std::string kept_;  // the directory of the newest one, relative to the run's; "": none
};

}  // namespace r1
