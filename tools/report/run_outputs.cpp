#include "tools/report/run_outputs.h"

#include <fmt/format.h>

#include <future>

#include "base/log.h"

namespace r1::report {

namespace {

constexpr double kFeedInterval_s = 2;

// What went wrong; "" for nothing.
std::string warn(const char* what, const std::exception_ptr& error) {
  if (!error) return "";
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    log_warn(fmt::format("{}: {}", what, e.what()));
    return e.what();
  }
}

}  // namespace

RunOutputs::RunOutputs(const GraphView& graph, const RoleRegistry& registry, const RunStore& store,
                       const std::filesystem::path& run_dir, const std::filesystem::path& graph_dir, ProgressSink& view,
                       std::unique_ptr<TrackerFeed> tracker)
    : view_(view),
      writer_(graph, registry, store, run_dir, graph_dir),
      feed_(graph, store, run_dir),
      tracker_(std::move(tracker)),
      executor_(make_thread_executor("report")) {}

RunOutputs::~RunOutputs() = default;

void RunOutputs::submit(bool with_report) {
  if (!feed_waits_.exchange(true))
    executor_->submit({[this] {
                         feed_waits_ = false;
                         feed_.update();
                       },
                       [](const std::exception_ptr& error) { warn("the event files are behind", error); }});
  if (tracker_ && !tracker_waits_.exchange(true))
    executor_->submit({[this] {
                         tracker_waits_ = false;
                         tracker_->update();
                       },
                       [](const std::exception_ptr& error) { warn("the tracker is behind", error); }});
  if (with_report && !report_waits_.exchange(true))
    executor_->submit({[this] {
                         report_waits_ = false;
                         writer_.write();
                       },
                       [this](const std::exception_ptr& error) { report_error_ = warn("report.html is behind", error); }});
}

void RunOutputs::stage_started(const std::string& stage, bool continued) { view_.stage_started(stage, continued); }

void RunOutputs::stage_progress(const std::string& stage, const std::vector<std::pair<std::string, std::string>>& lines) {
  view_.stage_progress(stage, lines);
  if (clock_.now_s() - last_s_ < kFeedInterval_s) return;
  last_s_ = clock_.now_s();
  submit(false);
}

void RunOutputs::stage_done(const std::string& stage, const std::string& summary_json, const StageVerdict& verdict) {
  view_.stage_done(stage, summary_json, verdict);
  submit(true);
}

void RunOutputs::message(const std::string& text) { view_.message(text); }

void RunOutputs::finish(const std::string& status, double tracker_s) {
  submit(true);
  if (tracker_)
    executor_->submit({[this, status, tracker_s] { tracker_->finish(status, tracker_s); },
                       [](const std::exception_ptr& error) { warn("the tracker was not told the end", error); }});
  std::promise<void> done;
  executor_->submit({[] {}, [&done](const std::exception_ptr&) { done.set_value(); }});
  done.get_future().wait();
}

}  // namespace r1::report
