#include "actors/scorer.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "actors/metric_table.h"
#include "base/json.h"
#include "base/log.h"
#include "rewards/rules.h"

namespace r1 {

namespace {

constexpr size_t kGroupsAtOnce = 16;
constexpr int kSampleBits = 17;  // a group has at most 2^16 samples
constexpr int kRounds = 10;  // of a second at most, after which next() comes back when samples, but no whole group, were scored
constexpr size_t kMostNotedParts = 256;

ScoreSources sources_of(std::map<std::string, RewardModel> models, ScoreSources programs) {
  for (auto& [name, model] : models) programs[name] = make_model_source(name, std::move(model));
  return programs;
}

template <class Map>
std::set<std::string> names_of(const Map& map) {
  std::set<std::string> names;
  for (const auto& [name, value] : map) names.insert(name);
  return names;
}

// The conversation that was rendered, as programs get it; "" for a text without a template.
std::string messages_of(const PromptMessage& prompt) {
  if (prompt.conversation.empty()) return "";
  const nlohmann::ordered_json conversation = ordered_json_or_null(prompt.conversation);
  return conversation.is_object() && conversation.contains("messages") ? conversation["messages"].dump() : "";
}

}  // namespace

Completion completion_of(const Sequence& sample, size_t prompt_tokens, bool finished, const Tokenizer& tokenizer,
                         const StopTexts* stops) {
  const auto tokens = std::span<const int32_t>(sample.tokens).subspan(prompt_tokens);
  Completion out{tokenizer.decode(tokens, false), ""};
  if (stops != nullptr && stops->end(tokens)) {
    out.text.resize(stops->kept(out.text).size());
  } else if (finished && !tokens.empty()) {
    const size_t size = tokenizer.decode(tokens.first(tokens.size() - 1), false).size();
    out.end = out.text.substr(std::min(size, out.text.size()));
    out.text.resize(out.text.size() - out.end.size());
  }
  return out;
}

Scorer::Scorer(RewardExpression expression, std::map<std::string, RewardModel> models, ScoreSources programs)
    : models_(names_of(models)), scorer_(std::move(expression), sources_of(std::move(models), std::move(programs))) {}

void Scorer::add(Group group) {
  {
    std::lock_guard lock(mutex_);
    arrived_.push_back(std::move(group));
  }
  scorer_.wake();
}

void Scorer::wake() {
  {
    std::lock_guard lock(mutex_);
    woken_ = true;
  }
  scorer_.wake();
}

// Takes groups that have arrived.
void Scorer::begin(const Tokenizer& tokenizer) {
  std::vector<Group> groups;
  {
    std::lock_guard lock(mutex_);
    const auto n = static_cast<ptrdiff_t>(std::min(arrived_.size(), kGroupsAtOnce));
    groups.assign(std::make_move_iterator(arrived_.begin()), std::make_move_iterator(arrived_.begin() + n));
    arrived_.erase(arrived_.begin(), arrived_.begin() + n);
  }
  for (Group& group : groups) {
    Open& open = open_[number_];
    open.left = group->samples.size();
    open.scores.scores.resize(group->samples.size());
    const std::string messages = messages_of(*group->prompt);
    for (size_t i = 0; i < group->samples.size(); ++i) {
      auto item = std::make_shared<ScoreItem>();
      item->prompt = group->prompt->text;
      item->finished = group->finished[i] != 0;
      Completion completion =
          completion_of(group->samples[i], group->prompt->tokens.size(), item->finished, tokenizer, stops_.get());
      item->response = completion.text;
      item->end = completion.end;
      item->facts = group->prompt->facts;
      item->tokens = group->sampled_tokens(i);
      item->messages = messages;
      open.scores.responses.push_back(std::move(completion));
      const uint64_t key = number_ << kSampleBits | i;
      items_[key] = item;
      scorer_.add(key, std::move(item));
    }
    open.scores.group = std::move(group);
    ++number_;
  }
}

SampleScore Scorer::finish(ItemScore score, const RewardInput& in) {
  SampleScore out;
  out.reward = score.reward;
  out.error = std::move(score.error);
  out.parts = std::move(score.values);
  for (const auto& [name, value] : score.parts) {
    if (metric_name_taken(name)) {
      if (noted_.size() < kMostNotedParts && noted_.insert(name).second)
        log_warn(
            fmt::format("the part '{}' of a reward program is not recorded: it is the name of a metric of r1's own", name));
      continue;
    }
    if (noted_.count(name) == 0) {
      if (noted_.size() == kMostNotedParts) {
        log_warn(
            fmt::format("a reward program has more than {} parts; '{}' and others are not recorded", kMostNotedParts, name));
        noted_.insert(name);
      }
      if (noted_.size() > kMostNotedParts) continue;
      noted_.insert(name);
    }
    out.parts.emplace(name, value);
  }
  // Recorded where they apply, whether or not the expression uses them: curves are compared across runs.
  const auto standing = [&](const char* name, bool applies, double (*rule)(const RewardInput&)) {
    if (models_.count(name) != 0) return;
    if (applies)
      out.parts[name] = rule(in);
    else
      out.parts.erase(name);
  };
  standing("format", true, format_reward);
  standing("accuracy", in.fact("checkable") != "0", accuracy_reward);
  standing("language", !in.fact("language").empty(), language_reward);
  standing("harmless", in.fact("harm") == "1", refusal_reward);
  return out;
}

std::vector<Scorer::GroupScores> Scorer::next(const Tokenizer& tokenizer) {
  std::vector<GroupScores> done;
  bool progress = false;
  int rounds = 0;
  const auto take_done = [&](uint64_t number) {
    const auto open = open_.find(number);
    if (open->second.left > 0) return;
    done.push_back(std::move(open->second.scores));
    open_.erase(open);
  };
  for (;;) {
    const uint64_t first = number_;
    begin(tokenizer);
    for (uint64_t n = first; n < number_; ++n) take_done(n);  // groups without a sample
    for (auto& [key, score] : scorer_.next(1)) {
      progress = true;
      Open& open = open_.at(key >> kSampleBits);
      open.scores.scores[key & ((uint64_t{1} << kSampleBits) - 1)] = finish(std::move(score), items_.at(key)->input());
      items_.erase(key);
      --open.left;
      take_done(key >> kSampleBits);
    }
    std::lock_guard lock(mutex_);
    if (std::exchange(woken_, false) || !done.empty()) return done;
    if (open_.empty() && arrived_.empty()) return done;
    if (progress && ++rounds >= kRounds) return done;
  }
}

std::vector<Scorer::GroupScores> Scorer::score(std::span<const Group> groups, const Tokenizer& tokenizer) {
  const uint64_t first = number_;
  std::map<const TrajectoriesMessage*, std::vector<size_t>> places;
  for (size_t g = 0; g < groups.size(); ++g) {
    places[groups[g].get()].push_back(g);
    add(groups[g]);
  }
  std::vector<GroupScores> out(groups.size());
  while (number_ < first + groups.size() || !open_.empty())
    for (GroupScores& scores : next(tokenizer)) {
      std::vector<size_t>& at = places.at(scores.group.get());
      out[at.back()] = std::move(scores);
      at.pop_back();
    }
  return out;
}

}  // namespace r1
