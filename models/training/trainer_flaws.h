// What is wrong with what a trainer's engine is told: "" where nothing is. A TrainerEngine takes it for a broken invariant; who
// has it from another process (actors/far_ranks.h) asks first. Thread rule: pure functions.
#pragma once

#include <string>

#include "models/model_config.h"
#include "models/sequence.h"
#include "models/training/trainer_config.h"

namespace r1 {

// Whatever the model.
std::string flaw_of(const TrainerConfig& config);
// `model`: what the engine starts from.
std::string flaw_of(const TrainerConfig& config, const ModelConfig& model);
// Of `next` for an engine that has trained by `now`.
std::string flaw_of_change(const TrainerConfig& now, const TrainerConfig& next);
std::string flaw_of(const TrainBatch& batch, const TrainerConfig& config, const ModelConfig& model);

}  // namespace r1
