// Keeps report.html and the event files up to date while a run goes on: a ProgressSink that passes everything on to the view
// of a person, and does its own work on a thread of its own, so that no stage waits for a page.
#pragma once

#include <atomic>
#include <memory>

#include "base/clock.h"
#include "runtime/conductor/conductor.h"
#include "runtime/flow/executor.h"
#include "tools/report/event_feed.h"
#include "tools/report/page.h"
#include "tools/report/tracker_feed.h"

namespace r1::report {

// Thread rule: one thread (the conductor's). A report or an event file that cannot be written is a line in r1.log and no
// reason for a run to fail.
class RunOutputs final : public ProgressSink {
 public:
  // All references outlive the object.
  RunOutputs(const GraphView& graph, const RoleRegistry& registry, const RunStore& store, const std::filesystem::path& run_dir,
             const std::filesystem::path& graph_dir, ProgressSink& view, std::unique_ptr<TrackerFeed> tracker = nullptr);
  ~RunOutputs() override;

  void stage_started(const std::string& stage, bool continued) override;
  void stage_progress(const std::string& stage, const std::vector<std::pair<std::string, std::string>>& lines) override;
  void stage_done(const std::string& stage, const std::string& summary_json, const StageVerdict& verdict) override;
  void message(const std::string& text) override;
  // The last report and the last events; returns when they are written. `status`: for the tracker, which gets `tracker_s`
  // seconds to end.
  void finish(const std::string& status, double tracker_s);
  // After finish(): why report.html is not what it should be, "" when it is.
  const std::string& report_error() const { return report_error_; }

 private:
  void submit(bool with_report);

  ProgressSink& view_;
  SystemClock clock_;
  ReportWriter writer_;
  EventFeed feed_;
  double last_s_ = 0;
  std::unique_ptr<TrackerFeed> tracker_;  // null: none
  std::atomic<bool> report_waits_{false}, feed_waits_{false}, tracker_waits_{false};
  std::string report_error_;  // of the executor's thread until finish() returns
  std::unique_ptr<Executor> executor_;
};

}  // namespace r1::report
