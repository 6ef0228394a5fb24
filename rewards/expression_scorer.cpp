#include "rewards/expression_scorer.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>

#include "base/error.h"
#include "base/stop.h"

namespace r1 {

ExpressionScorer::ExpressionScorer(RewardExpression expression, ScoreSources sources)
    : expression_(std::move(expression)), sources_(std::move(sources)) {}

ExpressionScorer::~ExpressionScorer() = default;

void ExpressionScorer::add(uint64_t key, ScoreItemPtr item) {
  const bool fresh = items_.emplace(key, Item{std::move(item), {}, 0}).second;
  R1_CHECK(fresh, fmt::format("key {} twice", key));
  ready_.insert(key);
}

ScoreSource& ExpressionScorer::source(const std::string& name) {
  auto& source = sources_[name];
  if (!source) source = make_rule_source(name);
  return *source;
}

// True when it is done: scored, or failed whatever is still missing.
bool ExpressionScorer::evaluate(uint64_t key, Item& item, std::vector<std::pair<uint64_t, ItemScore>>& out) {
  ItemScore score;
  std::vector<std::string> missing;
  try {
    score.reward = expression_.evaluate([&](const std::string& name) {
      const auto known = item.results.find(name);
      if (known == item.results.end()) {
        missing.push_back(name);
        throw RewardExpression::Pending();
      }
      const ScoreResult& r = known->second;
      if (!r.score) throw failure(r.error.empty() ? fmt::format("'{}' gave no score", name) : r.error);
      if (!std::isfinite(*r.score)) throw failure(fmt::format("'{}' is {}", name, *r.score));
      score.parts.insert(r.parts.begin(), r.parts.end());
      return score.values[name] = *r.score;
    });
  } catch (const RewardExpression::Pending&) {
    item.asked = missing.size();
    for (const std::string& name : missing) {
      auto& asked = wanted_[name];
      if (!asked.empty() && asked.back() == key)
        --item.asked;  // twice in one expression
      else
        asked.push_back(key);
    }
    return false;
  } catch (const Error& e) {
    score.error = e.message();
  }
  out.emplace_back(key, std::move(score));
  return true;
}

void ExpressionScorer::ask() {
  for (auto& [name, keys] : std::exchange(wanted_, {})) {
    std::vector<ScoreItemPtr> items;
    for (const uint64_t key : keys) items.push_back(items_.at(key).item);
    source(name).submit(std::move(items), [inbox = inbox_, name = name, keys = keys](size_t i, ScoreResult result) {
      {
        std::lock_guard lock(inbox->mutex);
        inbox->answers.push_back({keys.at(i), name, std::move(result)});
      }
      inbox->changed.notify_one();
    });
  }
}

bool ExpressionScorer::take_answers() {
  std::vector<Answer> answers;
  {
    std::lock_guard lock(inbox_->mutex);
    answers.swap(inbox_->answers);
  }
  for (Answer& a : answers) {
    const auto item = items_.find(a.key);
    if (item == items_.end()) continue;
    item->second.results[a.name] = std::move(a.result);
    if (--item->second.asked == 0) ready_.insert(a.key);
  }
  return !answers.empty();
}

std::vector<std::pair<uint64_t, ItemScore>> ExpressionScorer::next(double seconds) {
  constexpr std::chrono::milliseconds kTick(50);  // how often a stop is looked at
  double waited = 0;
  std::vector<std::pair<uint64_t, ItemScore>> out;
  for (;;) {
    check_stop();  // a program that does not answer is waited for
    for (const uint64_t key : std::exchange(ready_, {}))
      if (const auto item = items_.find(key); evaluate(key, item->second, out)) items_.erase(item);
    ask();
    if (take_answers()) {
      next_unit();
      continue;
    }
    if (!out.empty() || items_.empty()) break;
    std::unique_lock lock(inbox_->mutex);
    if (!inbox_->changed.wait_for(lock, kTick, [this] { return inbox_->woken || !inbox_->answers.empty(); }))
      waited += std::chrono::duration<double>(kTick).count();
    if (std::exchange(inbox_->woken, false) || (inbox_->answers.empty() && waited >= seconds)) break;
  }
  return out;
}

void ExpressionScorer::wake() {
  {
    std::lock_guard lock(inbox_->mutex);
    inbox_->woken = true;
  }
  inbox_->changed.notify_one();
}

}  // namespace r1
