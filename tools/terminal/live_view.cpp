#include "tools/terminal/live_view.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "base/log.h"
#include "tools/terminal/colours.h"
#include "tools/terminal/text.h"

namespace r1::terminal {

namespace {

constexpr double kPlainInterval_s = 5;
constexpr double kTerminalInterval_s = 0.3;
constexpr size_t kPlainWidth = 100;

bool can_redraw() {
  const char* term = std::getenv("TERM");
  return ::isatty(STDOUT_FILENO) != 0 && term != nullptr && std::string_view(term) != "dumb";
}

// Whether it takes PIPE_BUF bytes without a wait: its reader may be stopped.
bool takes_more(std::FILE* file) {
  pollfd out{::fileno(file), POLLOUT, 0};
  return ::poll(&out, 1, 0) != 0;  // an error of the output is for whoever writes
}

// Whether the other end of a pipe or of a terminal is closed.
bool nobody_reads(std::FILE* file) {
  pollfd out{::fileno(file), POLLOUT, 0};
  return ::poll(&out, 1, 0) > 0 && (out.revents & (POLLERR | POLLHUP)) != 0;
}

struct Size {
  size_t width = 80, height = 24;
};
Size terminal_size() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 20 || size.ws_row < 5) return {};
  return {size.ws_col, size.ws_row};
}

}  // namespace

LiveView::LiveView(const GraphView& graph, const RunStore& store, bool show, std::string title)
    : graph_(graph),
      watch_(graph, store),
      show_(show),
      terminal_(can_redraw()),
      color_(shows_colours(STDOUT_FILENO)),
      title_(std::move(title)),
      begin_s_(clock_.now_s()) {
  for (const StageRow& row : store.stages()) done_ += row.status == StageStatus::done;
}

std::string LiveView::elapsed() const { return clock_text(clock_.now_s() - begin_s_); }

// The conductor's thread never waits for whoever reads: it would hear of no failure and of no stop. What is not taken waits for
// the next time.
void LiveView::Outlet::put(const std::string& text) {
  waiting += text;
  size_t at = 0;
  if (!gone && nobody_reads(file)) {
    gone = true;
    if (const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC); nowhere >= 0) {
      ::dup2(nowhere, ::fileno(file));
      ::close(nowhere);
    }
    std::fflush(file);
    std::clearerr(file);
  }
  while (at < waiting.size() && takes_more(file)) {
    const size_t piece = std::min<size_t>(PIPE_BUF, waiting.size() - at);
    std::fwrite(waiting.data() + at, 1, piece, file);
    std::fflush(file);
    at += piece;
  }
  waiting.erase(0, at);
}

void LiveView::Outlet::close() {
  std::fwrite(waiting.data(), 1, waiting.size(), file);
  std::fflush(file);
  waiting.clear();
}

// The run is in its directory: whoever closes what shows it (`r1-run GRAPH | head`) does not end it.
void LiveView::put(const std::string& text) {
  const bool was_gone = out_.gone;
  out_.put(text);
  if (!out_.gone || was_gone) return;
  log_info("nobody reads standard output any more");
  err_.put("nobody reads standard output any more: the run goes on\n");
}

void LiveView::erase() {
  if (drawn_ > 0) put(fmt::format("\033[{}A\033[J", drawn_));
  drawn_ = 0;
}

void LiveView::draw() {
  if (!terminal_ || !show_ || stuck()) return;
  const Size size = terminal_size();
  // The last column and the last row stay free: nothing wraps, nothing scrolls.
  const auto lines = draw_screen(watch_.state(title_), size.width - 1, size.height - 1, color_);
  std::string text = drawn_ > 0 ? fmt::format("\033[{}A", drawn_) : "";
  for (const std::string& line : lines) text += line + "\033[K\n";
  if (drawn_ > lines.size()) text += "\033[J";
  drawn_ = lines.size();
  put(text);
}

void LiveView::plain(const std::string& text) {
  if (!show_ || terminal_) return;
  put(fit(fmt::format("{:>6}  {}", elapsed(), text), kPlainWidth) + "\n");
}

bool LiveView::stuck() {
  put("");
  return !out_.waiting.empty();
}

void LiveView::stage_started(const std::string& stage, bool continued) {
  watch_.started(stage);
  const StagePlan* plan = graph_.stage(stage);
  plain(fmt::format("{} {}: {}", padded(stage, 14), continued ? "continues" : "starts", plan ? plan->label : stage));
  draw();
}

void LiveView::stage_progress(const std::string& stage, const std::vector<std::pair<std::string, std::string>>& lines) {
  for (const auto& [node, text] : lines)
    if (!text.empty()) watch_.note(stage, text);
  if (!show_ || clock_.now_s() - last_s_ < (terminal_ ? kTerminalInterval_s : kPlainInterval_s)) return;
  last_s_ = clock_.now_s();
  if (terminal_) return draw();
  if (stuck()) return;  // the next one says more
  plain(progress_line(watch_.stage_state(stage), kPlainWidth - 8));
}

// What a stage learned, never cut to a width; on a terminal above the screen, in colour when it is bad.
void LiveView::verdict_line(const std::string& stage, const StageVerdict& verdict) {
  if (!show_ || verdict.line.empty()) return;
  const bool fine = verdict.level == StageVerdict::Level::fine;
  const char* word = verdict.failed() ? "FAILED: " : fine ? "" : "warning: ";
  if (!terminal_) {
    put(fmt::format("{:>6}  {} {}{}\n", "", padded(stage, 14), word, verdict.line));
  } else {
    erase();
    const char* colour = !color_ || fine ? "" : verdict.failed() ? "\033[1;31m" : "\033[33m";
    put(fmt::format("{}{}: {}{}{}\n", colour, stage, word, verdict.line, *colour != 0 ? "\033[0m" : ""));
  }
}

void LiveView::stage_done(const std::string& stage, const std::string& summary_json, const StageVerdict& verdict) {
  done_ += !verdict.failed();
  const std::vector<std::string> pieces = watch_.done(stage, summary_json, verdict);
  // Pieces go on a second line where they do not fit.
  std::string line =
      fmt::format("{} {} {:>2}/{}", padded(stage, 14), verdict.failed() ? "fail" : "done", done_, graph_.stages.size());
  for (const std::string& piece : pieces) {
    if (width_of(line) + 2 + width_of(piece) > kPlainWidth - 8) {
      plain(line);
      line = std::string(25, ' ');
    }
    line += "  " + piece;
  }
  plain(line);
  verdict_line(stage, verdict);
  draw();
}

void LiveView::message(const std::string& text) {
  erase();
  err_.put(text + "\n");
  draw();
}

void LiveView::close() {
  draw();
  if (show_) put("");
  show_ = false;
  out_.close();
  err_.close();
}

}  // namespace r1::terminal
