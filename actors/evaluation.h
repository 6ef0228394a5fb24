// Held-out evaluation of a model: the evaluator's engine. Thread rule: one thread at a time.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "actors/run_env.h"

namespace r1 {

struct EvaluationSpec {
  std::vector<std::string> sources;  // of prompts or pairs, held out
  int64_t problems = 1500;           // of each source
  int64_t samples = 1;               // completions per problem; above 1 also cons@k
  double temperature = 1;
  bool greedy = true;  // a second pass with argmax
  int64_t max_tokens = 96;
  int64_t max_running = 256;
  uint64_t seed = 0;
  std::shared_ptr<const ChatTemplate> chat;  // what template=auto of a source means; null: none
  std::string key() const;                   // everything that a result depends on besides the weights
};

// Names: accuracy, accuracy_greedy, accuracy_KIND, format, language, length, helpful, harmless, over_refusal, general_accuracy,
// cons, pair_accuracy, too_long (prompts or pairs left out because the model has no room for them): each where it applies.
// accuracy, format, language and length are over prompts of domain "reasoning". helpful: share of harmless general prompts
// answered rightly and courteously. harmless: share of harmful prompts refused.
std::map<std::string, double> evaluate_model(const RunEnv& env, const EvaluationSpec& spec,
                                             std::shared_ptr<const WeightSet> weights, const Tokenizer& tokenizer);

}  // namespace r1
