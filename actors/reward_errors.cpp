#include "actors/reward_errors.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "actors/run_env.h"
#include "base/error.h"
#include "base/log.h"

namespace r1 {

namespace {

constexpr const char* kEvent = "reward_error";
constexpr size_t kShown = 300;  // characters of a prompt or completion in a message; the event has all of it

// On one line, cut in its middle where it is long.
std::string quoted(const std::string& text) {
  std::string s = nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  if (s.size() <= kShown) return s;
  const auto boundary = [&](size_t at) {
    while (at < s.size() && (static_cast<uint8_t>(s[at]) & 0xC0) == 0x80) ++at;
    return at;
  };
  return s.substr(0, boundary(kShown / 2)) + " ... " + s.substr(boundary(s.size() - kShown / 2));
}

std::string sentence(const nlohmann::json& event) {
  return fmt::format("{} (draw {}, sample {}; prompt {}, completion {})", event.at("error").get<std::string>(),
                     event.at("draw").get<int64_t>(), event.at("sample").get<int64_t>(),
                     quoted(event.at("prompt").get<std::string>()), quoted(event.at("completion").get<std::string>()));
}

}  // namespace

RewardErrors::RewardErrors(const GraphView& graph, int stage)
    : judge_(stage_node(graph, stage, "judge")), stage_(graph.stages[static_cast<size_t>(stage)].name) {
  if (judge_ != nullptr) share_ = judge_->attrs.number("max_reward_errors");
}

void RewardErrors::count(const std::string& reason, int64_t groups) {
  if (reason == "stage_ended") return;  // never scored
  groups_ += groups;
  if (reason.empty()) kept_ += groups;
  if (reason == "reward_error") errors_ += groups;
}

void RewardErrors::restore(const Recovery& recovered) {
  errors_ = groups_ = kept_ = 0;
  if (judge_ == nullptr) return;
  count("", recovered.ledger.trained);
  for (const auto& [reason, groups] : recovered.ledger.dropped) count(reason, groups);
  if (const std::string& event = recovered.first_reward_error; !event.empty())
    first_ = sentence(stored_json(event, recovered.first_reward_error_place,
                                  R"({"error!": "text", "draw!": "integer", "sample!": "integer", "prompt!": "text",
                                      "completion!": "text"})"));
  check();
}

void RewardErrors::show_first(StageRecords& records, const ScoredMessage& group, int sample, const std::string& why) {
  if (!first_.empty() || judge_ == nullptr) return;
  const PromptMessage& prompt = *group.group->prompt;
  const nlohmann::json event = {
      {"draw", prompt.draw}, {"sample", sample},      {"expression", judge_->attrs.text("rewards")},
      {"error", why},        {"prompt", prompt.text}, {"completion", group.responses[static_cast<size_t>(sample)].text}};
  first_ = sentence(event);
  log_warn(fmt::format("stage {}: a reward could not be computed, its group is dropped as reward_error: {}", stage_, first_));
  records.event(judge_->id, kEvent, event.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

void RewardErrors::show_first(StageRecords& records, const ScoredMessage& group) {
  if (const int failed = group.failed_sample(); failed >= 0)
    show_first(records, group, failed, group.scores[static_cast<size_t>(failed)].error);
}

void RewardErrors::add(const std::vector<Resolution>& committed) {
  for (const Resolution& r : committed) count(r.reason, 1);
}

void RewardErrors::check() const {
  if (errors_ == 0 || share_ >= 1) return;
  const double borne = kept_ == 0 || share_ == 0 ? 0 : std::max(1.0, share_ * static_cast<double>(groups_));
  if (static_cast<double>(errors_) <= borne) return;
  const std::string first = first_.empty() ? "" : "; the first: " + first_;
  throw final_failure(fmt::format("the rewards of {} of {} groups of stage '{}' could not be computed with '{}'{}", errors_,
                                  groups_, stage_, judge_->attrs.text("rewards"), first),
                      judge_->attrs.where("rewards"),
                      kept_ == 0
                          ? "mend the expression and start over with --fresh"
                          : fmt::format("mend the expression and start over with --fresh; {}.max_reward_errors={} is the "
                                        "share of groups that may fail",
                                        judge_->id, judge_->attrs.text("max_reward_errors")));
}

}  // namespace r1
