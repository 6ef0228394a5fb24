// What gives a completion a number: a rule, a reward model, a program - one interface for all, with many completions under way
// at once. Who gives the number may fail, hang or die; the answer is then an error with its reason, for that completion alone,
// within a budget: rules are bounded in steps, models in tokens, programs in seconds (rewards/worker_pool.h).
// Not how numbers are combined: rewards/expression_scorer.h.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rewards/reward_input.h"

namespace r1 {

// One completion, with texts of its own: scoring goes on while its owner does other things. Immutable once submitted.
struct ScoreItem {
  std::string prompt;
  std::string response;  // the completion's text, tags included
  std::string end;  // the text of the token that ended it, for who reads it as a model writes it; "": none, or in `response`
  Facts facts;
  bool finished = false;          // as in RewardInput
  std::optional<int64_t> tokens;  // of the completion; none where nobody counted them
  std::string messages;           // the prompt as a conversation: a JSON list of {"role", "content"}; "" where it was none
  RewardInput input() const { return {prompt, response, &facts, finished, tokens.value_or(0)}; }
};
using ScoreItemPtr = std::shared_ptr<const ScoreItem>;

struct ScoreResult {
  std::optional<double> score;
  std::map<std::string, double> parts;  // what a program said besides
  std::string error;                    // why there is no score; "" with one
};

// Thread rule: submit() from one thread; `done` may be called on any thread, before submit() returns too.
class ScoreSource {
 public:
  virtual ~ScoreSource() = default;  // drops what is under way: `done` is not called any more once it returns
  using Done = std::function<void(size_t item, ScoreResult result)>;
  // `done` once for each item, in any order. Throws nothing: what goes wrong is a result.
  virtual void submit(std::vector<ScoreItemPtr> items, Done done) = 0;
};

// A rule, a call of one, or a flag of the facts (rules.h); computed inside submit().
std::unique_ptr<ScoreSource> make_rule_source(const std::string& name);

// Sources of one expression, by the names that it uses for them.
using ScoreSources = std::map<std::string, std::unique_ptr<ScoreSource>>;

}  // namespace r1
