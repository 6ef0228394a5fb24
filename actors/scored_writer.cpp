#include "actors/scored_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "actors/batch_layout.h"
#include "actors/dataset.h"
#include "base/json.h"
#include "rewards/response.h"

namespace r1 {

using nlohmann::json;
using nlohmann::ordered_json;

bool writes_scores(const GraphView& graph, const NodePlan& judge) {
  return judge.role == "judge" && std::none_of(judge.out_edges.begin(), judge.out_edges.end(),
                                               [&](int e) { return graph.edges[static_cast<size_t>(e)].carries == "scored"; });
}

ScoredWriter::ScoredWriter(const RunEnv& env, const GraphView& graph, const NodePlan& judge, const Recovery& recovered)
    : env_(env),
      stage_(graph.stages[static_cast<size_t>(judge.stage)].name),
      window_(stage_window(graph, judge.stage)),
      total_(stage_node(graph, judge.stage, "prompter")->attrs.integer("count")),
      errors_(graph, judge.stage) {
  next_ = committed_ = recovered.batches;
  errors_.restore(recovered);
}

void ScoredWriter::add(Scored scored) {
  const int64_t draw = scored->group->prompt->draw;
  R1_CHECK(draw >= next_ * window_ && held_.emplace(draw, std::move(scored)).second, fmt::format("draw {} came twice", draw));
}

std::vector<ScoredWriter::Scored> ScoredWriter::next_window() {
  std::vector<Scored> window;
  const int64_t end = std::min((next_ + 1) * window_, total_);
  const auto behind = held_.lower_bound(end);
  if (complete() || std::distance(held_.begin(), behind) < end - next_ * window_) return window;
  for (auto it = held_.begin(); it != behind; ++it) window.push_back(std::move(it->second));
  held_.erase(held_.begin(), behind);
  ++next_;
  return window;
}

std::string ScoredWriter::lines_of(const ScoredMessage& scored) const {
  const TrajectoriesMessage& group = *scored.group;
  const PromptMessage& prompt = *group.prompt;
  std::string lines;
  for (size_t i = 0; i < scored.scores.size(); ++i) {
    const SampleScore& score = scored.scores[i];
    ordered_json line = {{"prompt", prompt.text}};
    if (!prompt.conversation.empty())
      if (const auto conversation = ordered_json_or_null(prompt.conversation); conversation.contains("messages"))
        line["messages"] = conversation["messages"];
    for (const auto& [name, value] : prompt.facts) {
      if (name == "answers")
        line["answers"] = split_answers(value);
      else if (!line.contains(name) && name != "response" && name != "reward" && name != "scores" && name != "error")
        line[name] = value;
    }
    line["draw"] = prompt.draw;
    line["sample"] = i;
    line["response"] = scored.responses[i].text;
    line["finished"] = group.finished[i] != 0;
    line["tokens"] = group.sampled_tokens(i);
    line["reward"] = score.reward ? ordered_json(*score.reward) : ordered_json();
    line["scores"] = score.parts;
    if (!score.reward) line["error"] = score.error;
    lines += line.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  }
  return lines;
}

void ScoredWriter::commit(const std::vector<Scored>& window, StageRecords& records, StageJournal& journal) {
  GroupRows rows;
  BatchRow row;
  row.version = committed_;
  int64_t kept = 0;
  for (const Scored& scored : window) {
    const std::string& dropped = scored->group->prompt->dropped;
    rows.add(*scored, committed_, !dropped.empty() ? dropped : scored->failed_sample() >= 0 ? "reward_error" : "");
    for (const SampleScore& score : scored->scores) kept += score.reward.has_value();
    errors_.show_first(records, *scored);
    row.payload += lines_of(*scored);
  }
  row.skipped = kept == 0;
  json stats = rows.statistics.json();
  stats["kept"] = kept;  // completions, as a filter in front of a data set counts them
  row.stats_json = stats.dump();
  journal.commit(row, rows.resolutions, rows.trajectories);
  ++committed_;
  errors_.add(rows.resolutions);
  errors_.check();
}

void ScoredWriter::write(StageJournal& journal) const { write_dataset(env_, stage_, journal); }

}  // namespace r1
