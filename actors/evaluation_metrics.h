// What an evaluation reports about the responses to held-out prompts, as names and numbers.
//
//   accuracy, format, language, length   over prompts of every domain but "general"; problems: how many prompts these are
//   general_accuracy, harmless, courtesy, over_refusal, helpful   over prompts of domain "general". helpful: share of harmless
//                        ones answered rightly and courteously; harmless: share of harmful ones refused
//   accuracy_KIND        by the fact `kind`;  cons   majority of `samples` answers
//   accuracy_greedy, general_accuracy_greedy   of the pass with argmax
//   reward, NAME         of the evaluator's `rewards`: its mean, and that of every name in it; reward_errors: responses without
//   truncated            share of the responses that ran out of max_tokens
//   too_long             prompts left out because the model has no room for them
//
// All are over all sources together. Where several sources have prompts that are not general, LABEL/NAME says the same of each
// (LABEL: its file's stem, or the built-in's name), likewise of every domain where there are several.
// What nothing counts towards is absent. Thread rule: pure functions.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "actors/evaluation.h"

namespace r1 {

// `names`: of the expression. `greedy`: the same sources, one response each; may be empty.
std::map<std::string, double> prompt_metrics(const EvaluationSpec& spec, const std::vector<std::string>& names,
                                             const std::vector<EvaluatedSource>& sampled,
                                             const std::vector<EvaluatedSource>& greedy);

// The labels of sources, each its own: "gsm8k" for "jsonl:data/gsm8k.jsonl.gz?answer=gold", "reasoning_test" for
// "tiny:reasoning_test". Two of one stem are told apart by a number.
std::vector<std::string> source_labels(const std::vector<std::string>& sources);

}  // namespace r1
