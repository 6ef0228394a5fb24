// What a stage that trained leaves on disk: checkpoints/STAGE, a Hugging Face directory in f32 - the masters, from which later
// stages and a replay start - and, where the trainer has a save_dtype, exports/STAGE, the same model in that type, for people
// to take along. Nothing reads the latter. Thread rule: an engine's thread; reads the files of the model's origin.
#pragma once

#include "actors/run_env.h"
#include "models/model_export.h"

namespace r1 {

// tokenizer.json, tokenizer_config.json, chat template and generation_config.json of a model that `node` trained: those of the
// model at the end of its chain, with the end tokens of `config`.
ModelTexts checkpoint_texts(const RunEnv&, const GraphView&, const NodePlan& node, const ModelConfig& config);

std::filesystem::path export_dir(const RunEnv&, const std::string& stage);

// Both directories, each atomically.
void save_checkpoint(const RunEnv&, const GraphView&, const NodePlan& node, const std::string& stage, const WeightSet& masters);

}  // namespace r1
