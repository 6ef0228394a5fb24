#include "tools/terminal/screen.h"

#include <fmt/format.h>

#include <algorithm>

#include "tools/terminal/text.h"

namespace r1::terminal {
namespace {

constexpr size_t kNameColumns = 14;

class Painter {
 public:
  explicit Painter(bool color) : color_(color) {}
  std::string operator()(const char* code, const std::string& text) const {
    return color_ ? fmt::format("\033[{}m{}\033[0m", code, text) : text;
  }
  std::string faint(const std::string& text) const { return (*this)("2", text); }
  std::string red(const std::string& text) const { return (*this)("1;31", text); }
  std::string green(const std::string& text) const { return (*this)("32", text); }
  std::string bold(const std::string& text) const { return (*this)("1", text); }
  std::string cyan(const std::string& text) const { return (*this)("36", text); }

 private:
  bool color_;
};

std::string steps_text(const StageState& s) {
  return s.limit > 0 ? fmt::format("{}/{}", s.step, s.limit) : s.step > 0 ? fmt::format("{} batches", s.step) : "";
}

std::string metrics_text(const StageState& s) {
  std::string out;
  for (const auto& [name, value] : s.metrics) out += fmt::format("  {} {}", name, share_text(value, 3));
  return out;
}

// "trainer 23.1k tok/s  generator 14.2k tok/s  age 1.0 of 1  dropped 38%"
std::string flow_text(const StageState& s) {
  std::string out;
  if (s.trainer_tokens_s > 0) out += fmt::format("  trainer {} tok/s", short_count(s.trainer_tokens_s));
  if (s.generator_tokens_s > 0) out += fmt::format("  generator {} tok/s", short_count(s.generator_tokens_s));
  if (s.age >= 0) out += fmt::format("  age {:.1f} of {}", s.age, s.staleness);
  if (s.dropped >= 0) out += fmt::format("  dropped {:.0f}%", 100 * s.dropped);
  return out;
}

void draw_running(const StageState& s, size_t width, const Painter& paint, std::vector<std::string>& lines) {
  const std::string head = fmt::format(" ▶ {} {:>6}  ", padded(s.name, kNameColumns), clock_text(s.seconds));
  const std::string steps = steps_text(s), left = s.left_s >= 0 ? fmt::format("  {} left", clock_text(s.left_s)) : "";
  std::string line = paint.cyan(head);
  if (s.limit > 0) {
    const size_t taken = width_of(head) + 1 + width_of(steps) + width_of(left);
    const size_t room = width > taken + 8 ? std::min<size_t>(width - taken, 40) : 0;
    if (room > 0) line += paint.cyan(bar(static_cast<double>(s.step) / static_cast<double>(s.limit), room)) + " ";
  }
  lines.push_back(fit(line + steps + left, width));
  if (!s.curve.empty()) {
    const std::string name = fmt::format("     {} {} ", s.curve_name, share_text(s.curve.back(), 3)), metrics = metrics_text(s);
    const size_t taken = width_of(name) + width_of(metrics);
    const size_t room = width > taken + 6 ? std::min<size_t>(width - taken, 30) : 6;
    lines.push_back(fit(name + paint.green(sparkline(s.curve, room)) + metrics, width));
  }
  const std::string flow = flow_text(s);
  if (!flow.empty()) lines.push_back(fit("   " + flow, width));
  if (!s.note.empty() && s.curve.empty()) lines.push_back(fit("     " + s.note, width));
}

void draw_stage(const StageState& s, size_t width, const Painter& paint, std::vector<std::string>& lines) {
  switch (s.status) {
    case StageState::Status::running:
      return draw_running(s, width, paint, lines);
    case StageState::Status::done:
      lines.push_back(
          fit(fmt::format(" {} {} {:>6}  {}", paint.green("✓"), padded(s.name, kNameColumns), clock_text(s.seconds), s.result),
              width));
      return;
    case StageState::Status::failed:
      lines.push_back(
          paint.red(fit(fmt::format(" ✗ {} {:>6}  {}", padded(s.name, kNameColumns), clock_text(s.seconds), s.result), width)));
      return;
    case StageState::Status::waiting:
      lines.push_back(paint.faint(fit(fmt::format(" · {}         {}", padded(s.name, kNameColumns), s.label), width)));
  }
}

std::string head_line(const ScreenState& state, size_t width, const Painter& paint) {
  const auto done = static_cast<size_t>(std::count_if(
      state.stages.begin(), state.stages.end(), [](const StageState& s) { return s.status == StageState::Status::done; }));
  std::string right = fmt::format("{}/{} stages  {}", done, state.stages.size(), clock_text(state.seconds));
  if (state.left_s >= 0) right += fmt::format("  {} {} left", state.left_is_minimum ? ">" : "~", clock_text(state.left_s));
  const size_t right_width = width_of(right);
  if (right_width + 8 > width) return fit(right, width);
  return paint.bold(padded(state.title, width - right_width - 2)) + "  " + right;
}

}  // namespace

std::vector<std::string> draw_screen(const ScreenState& state, size_t width, size_t height, bool color) {
  const Painter paint(color);
  std::vector<std::vector<std::string>> blocks;
  size_t focus = 0, total = 1;
  bool running = false;
  for (const StageState& s : state.stages) {
    if (s.status == StageState::Status::running && !running) {
      focus = blocks.size();
      running = true;
    }
    if (s.status == StageState::Status::done && !running) focus = blocks.size();
    draw_stage(s, width, paint, blocks.emplace_back());
    total += blocks.back().size();
  }
  std::vector<std::string> lines{head_line(state, width, paint)};
  // The window of stages that fits: it grows from the running stage, after it and before it in turn.
  size_t begin = 0, end = blocks.size();
  if (total > height && !blocks.empty()) {
    const size_t room = std::max<size_t>(height, 4) - 3;  // the head, and a line for what is left out on either side
    begin = focus;
    end = focus + 1;
    size_t used = blocks[focus].size();
    for (bool grew = true; grew;) {
      grew = false;
      if (begin > 0 && used + blocks[begin - 1].size() <= room) used += blocks[--begin].size(), grew = true;
      if (end < blocks.size() && used + blocks[end].size() <= room) used += blocks[end++].size(), grew = true;
    }
  }
  if (begin > 0) lines.push_back(paint.faint(fit(fmt::format("   … {} before", begin), width)));
  for (size_t i = begin; i < end; ++i) lines.insert(lines.end(), blocks[i].begin(), blocks[i].end());
  if (end < blocks.size()) lines.push_back(paint.faint(fit(fmt::format("   … {} after", blocks.size() - end), width)));
  if (lines.size() > std::max<size_t>(height, 4)) lines.resize(std::max<size_t>(height, 4));
  return lines;
}

std::string progress_line(const StageState& s, size_t width) {
  std::string line = fmt::format("{} {}", padded(s.name, kNameColumns), steps_text(s));
  if (s.left_s >= 0) line += fmt::format(" {} left", clock_text(s.left_s));
  if (!s.curve.empty()) line += fmt::format("  {} {}", s.curve_name, share_text(s.curve.back(), 3));
  for (size_t i = 0; i < s.metrics.size() && i < 1; ++i)
    line += fmt::format("  {} {}", s.metrics[i].first, share_text(s.metrics[i].second, 3));
  if (s.trainer_tokens_s > 0) line += fmt::format("  train {}/s", short_count(s.trainer_tokens_s));
  if (s.generator_tokens_s > 0) line += fmt::format("  generate {}/s", short_count(s.generator_tokens_s));
  if (s.age >= 0) line += fmt::format("  age {:.1f}", s.age);
  if (s.curve.empty()) line += "  " + s.note;
  return fit(line, width);
}

}  // namespace r1::terminal
