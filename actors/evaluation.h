// Held-out evaluation of a model: the engine of the evaluator (actors/evaluator_role.cpp) and of r1-eval. It samples, scores
// and measures; what is kept of it and where is its callers' business. Thread rule: one thread at a time.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "actors/config_table.h"
#include "actors/messages.h"
#include "actors/run_env.h"
#include "actors/scorer.h"
#include "rewards/program_calls.h"

namespace r1 {

struct EvaluationSpec {
  std::vector<std::string> sources;  // of prompts or pairs, held out
  int64_t problems = 1500;           // of each source
  int64_t samples = 1;               // completions per problem; above 1 also cons@k
  double temperature = 1, top_p = 1;
  bool greedy = true;  // a second pass with argmax
  int64_t max_tokens = 96;
  int64_t max_running = 256;
  int64_t keep_samples = 8;       // prompts of each source whose responses are kept
  std::string rewards;            // an expression that every response is scored with; "": none
  Where rewards_where;            // its place in the graph
  ProgramOptions programs;        // how those that it asks are run
  std::vector<std::string> stop;  // texts that end a completion
  uint64_t seed = 0;
  std::shared_ptr<const ChatTemplate> chat;  // what template=auto of a source means; null: none
  std::string key() const;                   // everything that a result depends on besides the weights
};

// What the evaluator's attributes say: those that an evaluation depends on.
const ConfigTable<EvaluationSpec>& evaluation_table();
EvaluationSpec evaluation_spec(const RunEnv& env, const NodePlan& evaluator);

struct EvaluatedResponse {
  int sample = 0;  // -1: of the greedy pass
  std::string text;
  int64_t tokens = 0;     // end token included
  bool finished = false;  // by itself, not for want of room
  // Of the expression; empty where there is none. Without reward and error: it compares with answers, and the prompt has none.
  SampleScore score;
};

struct EvaluatedPrompt {
  int64_t index = 0;  // in its source
  Prompt prompt;
  std::vector<EvaluatedResponse> responses;

  RewardInput input(size_t response) const;  // views into this object
};

struct EvaluatedSource {
  std::string name;  // as the graph spells it
  std::vector<EvaluatedPrompt> prompts;
  int64_t too_long = 0;  // prompts that leave no room in the model: left out
};

struct EvaluationProgress {
  int64_t prompts = 0, of = 0;  // answered, in this pass over this source
  int64_t tokens = 0;           // sampled so far, in this pass
};

struct EvaluationHooks {
  std::function<void(const EvaluationProgress&)> progress;                          // may be empty; after every decode step
  std::function<void(const std::string& source, const EvaluatedPrompt&)> answered;  // may be empty; in the order of prompts
};

struct EvaluatedModel {
  std::shared_ptr<const WeightSet> weights;  // their configuration says what ends a completion
  std::shared_ptr<const Tokenizer> tokenizer;
};

// The prompts of one source, each with `samples` responses, or one of argmax. A response is a function of weights, spec and
// prompt. `scorer` may be null.
EvaluatedSource answer_source(const RunEnv& env, const EvaluationSpec& spec, const std::string& source, bool greedy,
                              const EvaluatedModel& model, Scorer* scorer, const EvaluationHooks& hooks = {});

struct Evaluation {
  std::map<std::string, double> metrics;  // evaluation_metrics.h names them
  std::vector<EvaluatedSource> kept;      // the first prompts of each source, with their first response and the greedy one
};

// `models`: the reward models that the expression names.
Evaluation evaluate_model(const RunEnv& env, const EvaluationSpec& spec, const EvaluatedModel& model,
                          std::map<std::string, RewardModel> models = {}, const EvaluationHooks& hooks = {});

// The names that `rewards` gives numbers for: its variables and the parts that its programs declare; none for "".
std::vector<std::string> reward_names(const EvaluationSpec& spec);

// Whether a response to a prompt with accepted answers is right; nullopt where the prompt has none. By the expression's own
// rule of correctness, the first it names (`math`, `exact`, `choice`, ...), else by `accuracy`.
std::optional<bool> is_correct(const RewardInput& in, const SampleScore& score);

}  // namespace r1
