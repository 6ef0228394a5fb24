#include "tools/report/event_feed.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "actors/held_out.h"
#include "actors/stored_rows.h"
#include "base/clock.h"

namespace r1::report {

namespace {

constexpr std::string_view kHeldOut = "held_out/";

// Every number of a JSON object, tagged PREFIX + its name.
std::vector<Scalar> scalars_of(const auto& values, const std::string& prefix) {
  std::vector<Scalar> scalars;
  for (const auto& [name, value] : values.items())
    if (value.is_number()) scalars.push_back({prefix + name, value.template get<double>()});
  return scalars;
}

}  // namespace

EventFeed::EventFeed(const GraphView& graph, const RunStore& store, std::filesystem::path run_dir)
    : graph_(graph), store_(store), run_dir_(std::move(run_dir)) {
  for (const auto& path : event_files(run_dir_))
    for (const ScalarEvent& event : read_event_file(path)) {
      const std::string& tag = event.scalars[0].tag;
      const size_t slash = tag.find('/');
      if (slash == std::string::npos) continue;
      const std::string stage = tag.substr(0, slash);
      if (tag.compare(slash + 1, kHeldOut.size(), kHeldOut) == 0)
        held_out_.insert(fmt::format("{}/{}", stage, event.step));
      else
        next_[stage] = std::max(next_[stage], event.step + 1);
    }
}

void EventFeed::write(const ScalarEvent& event) {
  if (event.scalars.empty()) return;
  if (!file_) file_.emplace(run_dir_, wall_clock_s());
  file_->add(event);
}

void EventFeed::write_batches(const StageRow& stage) {
  int64_t& next = next_[stage.name];
  const int64_t end = store_.batch_count(stage.id) - (stage.ended() ? 0 : 1);
  if (next >= end) return;
  for (const auto& [version, stats] : store_.batch_stats(stage.id, next)) {
    if (version >= end) break;
    write({wall_clock_s(), version, scalars_of(batch_stats_in(store_, stage.id, version, stats), stage.name + "/")});
  }
  next = end;
}

void EventFeed::write_held_out(const StageRow& stage) {
  const StagePlan* plan = graph_.stage(stage.name);
  if (plan == nullptr) return;
  std::set<std::pair<int64_t, std::string>> moments;
  for (const EvaluationRow& row : store_.evaluations(stage.id))
    if (row.moment != "after" || stage.ended()) moments.emplace(row.version, row.moment);
  for (const auto& [step, moment] : moments) {
    if (!held_out_.insert(fmt::format("{}/{}", stage.name, step)).second) continue;
    if (const auto metrics = held_out_metrics_of(graph_, *plan, store_, stage.id, moment, step))
      write({wall_clock_s(), step, scalars_of(*metrics, fmt::format("{}/{}", stage.name, kHeldOut))});
  }
}

void EventFeed::update() {
  for (const StageRow& stage : store_.stages()) {
    if (stage.status == StageStatus::waiting) continue;
    write_batches(stage);
    write_held_out(stage);
  }
  if (file_) file_->flush();
}

}  // namespace r1::report
