#include "runtime/metrics/tracker.h"

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "base/clock.h"
#include "base/line_process.h"

namespace r1 {

struct Tracker::Impl {
  Impl(ProcessSpec c, std::string f, TrackerOptions o)
      : command(std::move(c)), first(std::move(f)), options(std::move(o)), thread([this] { pump(); }) {}

  void warn(const std::string& text) const {
    if (options.warn) options.warn(text);
  }

  // Whether there is a program to tell; starts one where there may be a further one.
  bool running() {
    while (!process && counts.starts < options.most_starts && !stop) {
      ++counts.starts;
      try {
        LineProcessOptions lines;
        lines.on_error_line = options.info;
        process = std::make_unique<LineProcess>(command, lines);
      } catch (const Error& e) {
        warn(fmt::format("the tracker cannot be started: {}", e.what()));
        counts.starts = options.most_starts;  // it will not be another time
        return false;
      }
      tell(first);
    }
    return process != nullptr;
  }

  bool tell(const std::string& line) {
    using Outcome = LineProcess::Outcome;
    const LineProcess::Reply reply = process->send(line, options.patience_s, &stop);
    if (reply.outcome == Outcome::line) {
      // Whatever it prints is nobody's business, but must not fill the pipe.
      while (process->read_line(0, nullptr).outcome == Outcome::line) {
      }
      return true;
    }
    if (reply.outcome != Outcome::stopped) {
      const std::string said = process->last_words();
      warn(fmt::format("the tracker {}{}{}; the run goes on",
                       reply.outcome == Outcome::timed_out
                           ? fmt::format("has not read a line in {:g} s and is ended", options.patience_s)
                       : reply.outcome == Outcome::too_long ? "prints endless lines and is ended"
                                                            : "has ended: " + reply.how,
                       said.empty() ? "" : ", its last words: " + said,
                       counts.starts < options.most_starts ? ", and it is started again" : ", and it is not started again"));
    }
    process.reset();
    return false;
  }

  void pump() {
    for (;;) {
      std::string line;
      {
        std::unique_lock lock(mutex);
        wake.wait(lock, [this] { return closing || !waiting.empty(); });
        if (waiting.empty()) break;
        line = std::move(waiting.front());
        waiting.pop_front();
        bytes -= line.size();
      }
      // A line that a dying program may have read is told again to the next one: better twice than not at all.
      bool told = false;
      while (!told && running()) told = tell(line);
      std::lock_guard lock(mutex);
      ++(told ? counts.sent : counts.left_out);
    }
    if (process && !stop) {
      const double left = std::max(0.1, until_s.load() - clock.now_s());
      const auto how = process->finish(left);
      if (!how)
        warn(fmt::format("the tracker did not end within {:.0f} s and is ended", left));
      else if (*how != "exit code 0")
        warn(fmt::format("the tracker ended with {}{}", *how,
                         process->last_words().empty() ? "" : ", its last words: " + process->last_words()));
    }
    process.reset();
    std::lock_guard lock(mutex);
    over = true;
    ended.notify_all();
  }

  const ProcessSpec command;
  const std::string first;
  const TrackerOptions options;
  SystemClock clock;
  std::mutex mutex;
  std::condition_variable wake, ended;
  std::deque<std::string> waiting;
  size_t bytes = 0;
  bool closing = false, over = false;
  std::atomic<bool> stop{false};
  std::atomic<double> until_s{0};
  std::unique_ptr<LineProcess> process;  // of the thread
  Counts counts;                         // left_out and sent under mutex; starts of the thread
  std::thread thread;
};

Tracker::Tracker(ProcessSpec command, std::string first, TrackerOptions options)
    : impl_(std::make_unique<Impl>(std::move(command), std::move(first), std::move(options))) {}

Tracker::~Tracker() {
  impl_->stop = true;
  {
    std::lock_guard lock(impl_->mutex);
    impl_->closing = true;
    impl_->waiting.clear();
  }
  impl_->wake.notify_all();
  impl_->thread.join();
}

void Tracker::send(std::string line) {
  std::lock_guard lock(impl_->mutex);
  if (impl_->closing) return;
  if (impl_->waiting.size() >= impl_->options.most_lines || impl_->bytes + line.size() > impl_->options.most_bytes) {
    ++impl_->counts.left_out;
    return;
  }
  impl_->bytes += line.size();
  impl_->waiting.push_back(std::move(line));
  impl_->wake.notify_all();
}

Tracker::Counts Tracker::finish(double seconds) {
  Impl& m = *impl_;
  m.until_s = m.clock.now_s() + seconds;
  std::unique_lock lock(m.mutex);
  m.closing = true;
  m.wake.notify_all();
  if (!m.ended.wait_for(lock, std::chrono::duration<double>(seconds), [&m] { return m.over; })) {
    m.counts.left_out += static_cast<int64_t>(m.waiting.size());
    m.waiting.clear();
    m.stop = true;
    lock.unlock();
    m.wake.notify_all();
    lock.lock();
    m.ended.wait(lock, [&m] { return m.over; });
  }
  if (m.counts.left_out > 0)
    m.warn(fmt::format("the tracker was not told {} lines of {}", m.counts.left_out, m.counts.left_out + m.counts.sent));
  return m.counts;
}

std::vector<std::string> tracker_command(const std::string& attribute, const std::filesystem::path& directory,
                                         const Where& where) {
  constexpr std::string_view kOpen = "command(";
  const auto refuse = [&](const std::string& what) {
    throw bad_input("tracker: " + what, where, "tracker=\"command(python3 track.py)\"");
  };
  if (!attribute.starts_with(kOpen) || !attribute.ends_with(')')) refuse("expected command(...), found '" + attribute + "'");
  std::string text = attribute.substr(kOpen.size(), attribute.size() - kOpen.size() - 1);
  if (text.size() >= 2 && (text.front() == '\'' || text.front() == '"') && text.back() == text.front() &&
      text.find(text.front(), 1) == text.size() - 1)
    text = text.substr(1, text.size() - 2);
  const auto words = split_command(text);
  if (!words) refuse("a quote is not closed");
  if (words->empty()) refuse("there is no program in it");
  if (find_program(words->front(), directory).empty()) refuse("there is no program '" + words->front() + "'");
  return *words;
}

}  // namespace r1
