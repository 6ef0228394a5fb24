// Scores completions with a reward expression, many at a time: each is evaluated as far as the values that are there allow,
// what it still needs is asked of the sources, and it is done when nothing is missing or something failed. A slow program so
// holds up its own completions and no others.
// Thread rule: one thread, but for wake().
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "rewards/expression.h"
#include "rewards/score_source.h"

namespace r1 {

struct ItemScore {
  std::optional<double> reward;
  std::map<std::string, double> values;  // of every name of the expression that was evaluated
  std::map<std::string, double> parts;   // what programs said besides; of two of a name the first program's
  std::string error;                     // why there is no reward; "" with one
};

class ExpressionScorer {
 public:
  // `sources`: models and programs, by the names in the expression; every other name is a rule or a flag.
  ExpressionScorer(RewardExpression expression, ScoreSources sources);
  ~ExpressionScorer();

  // `key`: the caller's, of its own among those that are under way. Nothing is asked before the next next().
  void add(uint64_t key, ScoreItemPtr item);
  // What has been scored since the last call, in order of keys. Waits while nothing has and something is under way, at most
  // `seconds` and until wake(): then it may be empty. Throws Stopped when the thread's work is to stop (base/stop.h).
  std::vector<std::pair<uint64_t, ItemScore>> next(double seconds);
  void wake();
  size_t under_way() const { return items_.size(); }
  const RewardExpression& expression() const { return expression_; }

 private:
  struct Item {
    ScoreItemPtr item;
    std::map<std::string, ScoreResult> results;
    size_t asked = 0;  // and not answered
  };
  struct Answer {
    uint64_t key;
    std::string name;
    ScoreResult result;
  };
  // What sources answer: they may do so from other threads.
  struct Inbox {
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<Answer> answers;
    bool woken = false;
  };

  bool evaluate(uint64_t key, Item& item, std::vector<std::pair<uint64_t, ItemScore>>& out);
  void ask();
  bool take_answers();
  ScoreSource& source(const std::string& name);

  RewardExpression expression_;
  ScoreSources sources_;
  std::map<uint64_t, Item> items_;
  std::set<uint64_t> ready_;                             // to be evaluated
  std::map<std::string, std::vector<uint64_t>> wanted_;  // by name: to be asked for
  std::shared_ptr<Inbox> inbox_ = std::make_shared<Inbox>();
};

}  // namespace r1
