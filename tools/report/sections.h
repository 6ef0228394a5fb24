// The sections of the page, in its order. Each returns HTML, or "" when a run has nothing for it.
// Thread rule: pure functions but for samples_section, which reads the store.
#pragma once

#include <string>
#include <vector>

#include "models/sequence.h"
#include "models/tokenizer/tokenizer.h"
#include "tools/report/run_data.h"

namespace r1::report {

std::string head_section(const RunData& run);
std::string pipeline_section(const RunData& run);     // the stages as a picture
std::string stages_section(const RunData& run);       // one line a stage, before and after
std::string comparisons_section(const RunData& run);  // distilled against RL alone; with and without the language reward
std::string curves_of(const RunData& run, const StageData& stage);
// Completions early and late in an RL stage for alike prompts. `tokenizer`: of the stage's model; null leaves the section out.
std::string samples_of(const StageData& stage, const RunStore& store, const Tokenizer* tokenizer);
// Answers to the same held-out prompts before and after a stage, side by side; "" where none were kept.
std::string held_out_samples_of(const StageData& stage, const RunStore& store);
std::string cost_section(const RunData& run);
std::string proofs_section(const RunData& run);

// What was trained and the best of what it brought, in two sentences of plain words (not escaped).
std::string summary_sentences(const RunData& run);

// Two stages that start from the same weights: the one learns from a teacher's data, the other by reinforcement.
struct StagePair {
  const StageData* first = nullptr;   // distilled; or: without the language reward
  const StageData* second = nullptr;  // RL alone; or: with it
};
std::vector<StagePair> distillation_pairs(const RunData& run);
std::vector<StagePair> language_pairs(const RunData& run);

// What the model wrote, a <span> a token, shaded by the probability it was sampled with (its title); a long completion without
// its middle.
std::string token_spans(const Sequence& sequence, const Tokenizer& tokenizer);

std::string stage_heading(const StageData& stage);  // chip, label, name
std::string stage_anchor(const StageData& stage);   // "stage-rl1"

}  // namespace r1::report
