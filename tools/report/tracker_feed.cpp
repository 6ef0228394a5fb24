#include "tools/report/tracker_feed.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "actors/held_out.h"
#include "actors/stored_rows.h"
#include "base/error.h"
#include "base/files.h"
#include "base/json.h"

namespace r1::report {

using nlohmann::json;
using nlohmann::ordered_json;

namespace {

std::string line_of(const ordered_json& event) { return event.dump(-1, ' ', false, json::error_handler_t::replace); }

// The numbers of a JSON object.
ordered_json numbers_of(const auto& values) {
  ordered_json out = ordered_json::object();
  for (const auto& [name, value] : values.items())
    if (value.is_number()) out[name] = value;
  return out;
}

}  // namespace

TrackerFeed::TrackerFeed(const GraphView& graph, const RunStore& store, const std::filesystem::path& run_dir,
                         const std::filesystem::path& graph_dir, const std::vector<std::string>& command,
                         TrackerOptions options)
    : graph_(graph), store_(store), memory_(run_dir / "tracker.json") {
  if (std::filesystem::exists(memory_))
    if (const auto told = try_parse_json(read_file(memory_)); told && told->is_object()) {
      const json batches = told->value("batches", json::object()), held_out = told->value("held_out", json::array());
      for (const auto& [stage, next] : batches.items())
        if (const auto n = json_integer(next)) next_[stage] = *n;
      for (const json& key : held_out)
        if (key.is_string()) held_out_.insert(key.get<std::string>());
    }
  ordered_json first = {{"event", "run"}, {"graph", graph.name}, {"run_dir", std::filesystem::absolute(run_dir).string()}};
  first["seed"] = graph.attrs.integer("seed");
  first["continued"] = !next_.empty() || !held_out_.empty();
  first["stages"] = ordered_json::array();
  for (const StagePlan& stage : graph.stages) first["stages"].push_back(stage.name);
  tracker_ = std::make_unique<Tracker>(ProcessSpec{command, graph_dir, {}}, line_of(first), std::move(options));
}

void TrackerFeed::tell_batches(const StageRow& stage) {
  int64_t& next = next_[stage.name];
  const int64_t end = store_.batch_count(stage.id) - (stage.ended() ? 0 : 1);
  if (next >= end) return;
  for (const auto& [version, stats] : store_.batch_stats(stage.id, next)) {
    if (version >= end) break;
    const json values = batch_stats_in(store_, stage.id, version, stats);
    tracker_->send(line_of({{"event", "batch"}, {"stage", stage.name}, {"step", version}, {"metrics", numbers_of(values)}}));
  }
  next = end;
  news_ = true;
}

void TrackerFeed::tell_held_out(const StageRow& stage) {
  const StagePlan* plan = graph_.stage(stage.name);
  if (plan == nullptr) return;
  std::set<std::pair<int64_t, std::string>> moments;
  for (const EvaluationRow& row : store_.evaluations(stage.id))
    if (row.moment != "after" || stage.ended()) moments.emplace(row.version, row.moment);
  for (const auto& [step, moment] : moments) {
    if (!held_out_.insert(fmt::format("{}/{}/{}", stage.name, moment, step)).second) continue;
    const auto metrics = held_out_metrics_of(graph_, *plan, store_, stage.id, moment, step);
    if (!metrics) continue;
    tracker_->send(line_of(
        {{"event", "held_out"}, {"stage", stage.name}, {"moment", moment}, {"step", step}, {"metrics", numbers_of(*metrics)}}));
    news_ = true;
  }
}

void TrackerFeed::update() {
  for (const StageRow& stage : store_.stages()) {
    if (stage.status == StageStatus::waiting) continue;
    tell_batches(stage);
    tell_held_out(stage);
  }
  if (std::exchange(news_, false)) remember();
}

void TrackerFeed::remember() {
  const json told = {{"batches", next_}, {"held_out", held_out_}};
  write_file_atomically(memory_, told.dump());
}

Tracker::Counts TrackerFeed::finish(const std::string& status, double seconds) {
  update();
  tracker_->send(line_of({{"event", "end"}, {"status", status}}));
  return tracker_->finish(seconds);
}

}  // namespace r1::report
