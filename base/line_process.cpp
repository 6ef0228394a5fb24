#include "base/line_process.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "base/clock.h"

namespace r1 {
namespace {

constexpr int kTickMs = 100;                // how often a stop is looked at
constexpr size_t kErrorLine = 2000;         // bytes of a line of stderr that are kept
constexpr double kBurst = 200, kRate = 10;  // lines of stderr: at once, a second
constexpr size_t kLastWords = 5;

}  // namespace

// Reads stderr until it is closed, so that the program never waits for a reader.
struct LineProcess::Errors {
  Errors(int fd, std::function<void(const std::string&)> sink) : fd_(fd), sink_(std::move(sink)), thread_([this] { pump(); }) {}
  ~Errors() {
    closing_ = true;
    thread_.join();
  }

  // Of a program that has ended: all that it wrote is there within moments.
  void settle() const {
    for (int i = 0; i < 100 && !over_; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }

  std::string last_words() const {
    std::lock_guard lock(mutex_);
    return fmt::format("{}", fmt::join(last_, " | "));
  }

 private:
  void pump() {
    char buffer[1 << 14];
    for (;;) {
      pollfd p{fd_, POLLIN, 0};
      const int ready = ::poll(&p, 1, kTickMs);
      if (ready < 0 && errno != EINTR) break;
      if (ready <= 0) {
        if (closing_) break;
        continue;
      }
      const ssize_t n = ::read(fd_, buffer, sizeof buffer);
      if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) break;
      for (ssize_t i = 0; i < n; ++i) {
        if (buffer[i] == '\n')
          line_over();
        else if (line_.size() < kErrorLine)
          line_ += buffer[i];
      }
    }
    if (!line_.empty()) line_over();
    if (left_out_ > 0) say_left_out();
    over_ = true;
  }

  void line_over() {
    std::string line = std::exchange(line_, {});
    if (!line.empty() && line.back() == '\r') line.pop_back();
    const double now = clock_.now_s();
    allowance_ = std::min(kBurst, allowance_ + (now - last_time_) * kRate);
    last_time_ = now;
    if (allowance_ >= 1) {
      allowance_ -= 1;
      if (left_out_ > 0) say_left_out();
      if (sink_) sink_(line);
    } else {
      ++left_out_;
    }
    std::lock_guard lock(mutex_);
    last_.push_back(line.substr(0, 300));
    if (last_.size() > kLastWords) last_.pop_front();
  }

  void say_left_out() {
    if (sink_) sink_(fmt::format("({} lines left out)", std::exchange(left_out_, 0)));
  }

  int fd_;
  std::function<void(const std::string&)> sink_;
  SystemClock clock_;
  std::string line_;
  double allowance_ = kBurst, last_time_ = clock_.now_s();
  int64_t left_out_ = 0;
  mutable std::mutex mutex_;
  std::deque<std::string> last_;
  std::atomic<bool> closing_{false}, over_{false};
  std::thread thread_;
};

LineProcess::LineProcess(const ProcessSpec& spec, LineProcessOptions options)
    : options_(std::move(options)),
      process_(Process::start(spec)),
      errors_(std::make_unique<Errors>(process_.err(), options_.on_error_line)) {}

LineProcess::~LineProcess() {
  process_.end();  // now nobody holds the other end of stderr any more, and its reader comes to the end
  errors_.reset();
}

LineProcess::Reply LineProcess::exchange(std::string_view line, double seconds, const std::atomic<bool>* stop) {
  return converse(std::string(line) + "\n", true, seconds, stop);
}
LineProcess::Reply LineProcess::read_line(double seconds, const std::atomic<bool>* stop) {
  return converse({}, true, seconds, stop);
}
LineProcess::Reply LineProcess::send(std::string_view line, double seconds, const std::atomic<bool>* stop) {
  return converse(std::string(line) + "\n", false, seconds, stop);
}

// Writes and reads at the same time: a program may answer before it has read all.
LineProcess::Reply LineProcess::converse(std::string_view to_send, bool wants_line, double seconds,
                                         const std::atomic<bool>* stop) {
  SystemClock clock;
  const double until = clock.now_s() + seconds;
  size_t searched = 0;
  const auto ended = [&](const char* otherwise) { return Reply{Outcome::ended, {}, process_.ended(1).value_or(otherwise)}; };
  for (;;) {
    if (stop != nullptr && *stop) return {Outcome::stopped, {}, {}};
    if (wants_line && to_send.empty()) {
      const size_t end = received_.find('\n', searched);
      searched = received_.size();
      if (end != std::string::npos && end <= options_.longest_line) {
        Reply reply{Outcome::line, received_.substr(0, end), {}};
        received_.erase(0, end + 1);
        return reply;
      }
    } else if (to_send.empty()) {
      return {Outcome::line, {}, {}};
    }
    if (received_.size() > options_.longest_line) return {Outcome::too_long, {}, {}};
    const double left = until - clock.now_s();
    if (left <= 0) return {Outcome::timed_out, {}, {}};
    pollfd p[2] = {{process_.out(), POLLIN, 0}, {to_send.empty() ? -1 : process_.in(), POLLOUT, 0}};
    const int ready = ::poll(p, 2, std::min(kTickMs, static_cast<int>(left * 1000) + 1));
    if (ready < 0 && errno != EINTR) return ended("its pipes cannot be read");
    if (ready <= 0) continue;
    if (p[1].revents != 0) {
      const ssize_t n = process_.write_some(to_send);
      if (n < 0) return ended("it closed its input");
      to_send.remove_prefix(static_cast<size_t>(n));
    }
    if (p[0].revents != 0) {
      char buffer[1 << 16];
      const ssize_t n = ::read(process_.out(), buffer, sizeof buffer);
      if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return ended("it closed its output");
      if (n > 0) received_.append(buffer, static_cast<size_t>(n));
    }
  }
}

std::optional<std::string> LineProcess::unasked() {
  pollfd p{process_.out(), POLLIN, 0};
  if (received_.empty() && ::poll(&p, 1, 0) == 1 && (p.revents & POLLIN) != 0) {
    char buffer[1 << 12];
    const ssize_t n = ::read(p.fd, buffer, sizeof buffer);
    if (n > 0) received_.append(buffer, static_cast<size_t>(n));
  }
  if (received_.empty()) return std::nullopt;
  return received_.substr(0, received_.find('\n'));
}

std::optional<std::string> LineProcess::finish(double seconds) {
  process_.close_in();
  // What it still prints is read and forgotten: a full pipe would keep it from ending.
  SystemClock clock;
  const double until = clock.now_s() + seconds;
  char buffer[1 << 14];
  for (bool open = true; open && clock.now_s() < until;) {
    pollfd p{process_.out(), POLLIN, 0};
    if (::poll(&p, 1, kTickMs) <= 0) {
      if (process_.ended()) break;  // a child of its own may keep the pipe open
      continue;
    }
    const ssize_t n = ::read(p.fd, buffer, sizeof buffer);
    open = n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
  }
  return process_.ended(std::max(0.0, until - clock.now_s()));
}

std::string LineProcess::last_words() {
  if (process_.ended()) errors_->settle();
  return errors_->last_words();
}

}  // namespace r1
