#include "tools/live_view.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>

namespace r1 {

using nlohmann::json;

namespace {

constexpr double kPlainInterval_s = 5;
constexpr double kTerminalInterval_s = 0.3;

size_t terminal_width() {
  winsize size{};
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

}  // namespace

std::string stage_line(const std::string& summary_json) {
  const json s = json::parse(summary_json, nullptr, false);
  if (!s.is_object() || !s.contains("name")) return "";
  std::string line;
  const json metrics = s.value("metrics", json::object());
  const json before = metrics.value("before", json::object()), after = metrics.value("after", json::object());
  for (const char* name : {"accuracy", "format", "language", "helpful", "harmless", "pair_accuracy"}) {
    if (!after.contains(name)) continue;
    line += before.contains(name)
                ? fmt::format("  {} {:.3f} > {:.3f}", name, before[name].get<double>(), after[name].get<double>())
                : fmt::format("  {} {:.3f}", name, after[name].get<double>());
  }
  if (s.contains("dataset")) line += fmt::format("  kept from {} of {} prompts", s.value("trained", 0), s.value("draws", 0));
  return line;
}

LiveView::LiveView(const GraphView& graph, const RunStore& store, bool show, bool terminal)
    : graph_(graph), show_(show), terminal_(terminal), begin_s_(clock_.now_s()) {
  for (const StageRow& row : store.stages()) done_ += row.status == StageStatus::done;
}

std::string LiveView::label(const std::string& stage) const {
  const StagePlan* plan = graph_.stage(stage);
  return plan != nullptr && !plan->label.empty() ? plan->label : stage;
}

std::string LiveView::elapsed() const {
  const auto s = static_cast<int64_t>(clock_.now_s() - begin_s_);
  return fmt::format("{}:{:02}", s / 60, s % 60);
}

void LiveView::erase() {
  for (; drawn_ > 0; --drawn_) fmt::print("\033[1A\033[2K");
}

void LiveView::draw() {
  if (!terminal_ || !show_) return;
  erase();
  const size_t width = terminal_width();
  const auto line = [&](std::string text) {
    if (text.size() >= width) text.resize(width - 1);
    fmt::print("{}\n", text);
    ++drawn_;
  };
  for (const auto& [stage, state] : running_) {
    line(fmt::format("[{}/{}] {}: {}  ({:.0f} s)", done_ + 1, graph_.stages.size(), stage, label(stage),
                     clock_.now_s() - state.first));
    for (const auto& [node, text] : state.second)
      if (!text.empty()) line(fmt::format("    {}: {}", node, text));
  }
  std::fflush(stdout);
}

void LiveView::stage_started(const std::string& stage, bool continued) {
  running_[stage] = {clock_.now_s(), {}};
  if (!show_) return;
  if (!terminal_) fmt::print("{:>6}  {} {}: {}\n", elapsed(), stage, continued ? "continues" : "starts", label(stage));
  std::fflush(stdout);
  draw();
}

void LiveView::stage_progress(const std::string& stage, const std::vector<std::pair<std::string, std::string>>& lines) {
  running_[stage].second = lines;
  if (!show_ || clock_.now_s() - last_print_s_ < (terminal_ ? kTerminalInterval_s : kPlainInterval_s)) return;
  last_print_s_ = clock_.now_s();
  if (terminal_) return draw();
  for (const auto& [node, text] : lines)
    if (!text.empty()) fmt::print("{:>6}  {}: {}\n", elapsed(), node, text);
  std::fflush(stdout);
}

void LiveView::stage_done(const std::string& stage, const std::string& summary_json) {
  ++done_;
  running_.erase(stage);
  if (!show_) return;
  erase();
  fmt::print("{:>6}  {:<14} done {:>2}/{}{}\n", elapsed(), stage, done_, graph_.stages.size(), stage_line(summary_json));
  std::fflush(stdout);
  draw();
}

void LiveView::message(const std::string& text) {
  erase();
  std::fflush(stdout);
  fmt::print(stderr, "{}\n", text);
  draw();
}

void LiveView::close() {
  erase();
  std::fflush(stdout);
  show_ = false;
}

}  // namespace r1
