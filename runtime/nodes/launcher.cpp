#include "runtime/nodes/launcher.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "base/error.h"
#include "base/process.h"

namespace r1 {
namespace {

constexpr size_t kLogLine = 2000;
constexpr size_t kMaxGreeting = 64 * 1024;
constexpr double kBurst = 200, kRate = 10;  // lines that are handed on: at once, a second
constexpr size_t kLastWords = 3;
constexpr int kLookMs = 50;  // how often ends and deadlines are looked at

std::string printable(std::string_view line) {
  std::string s(line.substr(0, kLogLine));
  for (char& c : s)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = c == '\t' ? ' ' : '?';
  return s;
}

}  // namespace

std::string shell_quoted(const std::vector<std::string>& words) {
  std::string all;
  for (const std::string& word : words) {
    if (!all.empty()) all += ' ';
    all += '\'';
    for (const char c : word) {
      if (c == '\'')
        all += "'\\''";
      else
        all += c;
    }
    all += '\'';
  }
  return all;
}

std::vector<std::string> launch_words(const LaunchSpec& spec, const LauncherOptions& options) {
  if (spec.host.empty()) return spec.words;
  if (spec.way == LaunchSpec::Way::srun) {
    std::vector<std::string> words = options.srun;
    // A step beside the one that r1-run may be itself; unbuffered, and with this stdin for its one task.
    for (const char* option : {"--overlap", "--nodes=1", "--ntasks=1", "--unbuffered", "--input=0", "--kill-on-bad-exit=0"})
      words.push_back(option);
    words.push_back("--nodelist=" + spec.host);
    words.insert(words.end(), spec.words.begin(), spec.words.end());
    return words;
  }
  std::vector<std::string> words = options.ssh;
  for (const char* option : {"BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=5", "ServerAliveCountMax=3"}) {
    words.push_back("-o");
    words.push_back(option);
  }
  words.push_back("-T");
  if (!spec.user.empty()) {
    words.push_back("-l");
    words.push_back(spec.user);
  }
  if (spec.port != 0) {
    words.push_back("-p");
    words.push_back(std::to_string(spec.port));
  }
  words.push_back("--");
  words.push_back(spec.host);
  words.push_back("exec " + shell_quoted(spec.words));
  return words;
}

struct Launcher::Impl {
  struct Launch {
    LaunchSpec spec;
    std::optional<Process> process;
    std::string to_say;    // of the line on stdin
    std::string out, err;  // a line that is not whole yet
    bool started = false;  // it has said its first line
    bool asked_to_end = false;
    int tries = 0;
    double deadline_s = 0;    // of its first line, or of its end
    double not_before_s = 0;  // of the next try
    std::string verdict;      // why it is killed
    std::deque<std::string> last_words;
    double allowance = kBurst, counted_s = 0;
    int64_t left_out = 0;
  };

  Impl(LaunchSink& s, LauncherOptions o) : sink(s), options(std::move(o)), wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (wake < 0) throw failure("no more files can be opened for a launcher");
    thread = std::thread([this] { run(); });
  }
  ~Impl() {
    {
      std::lock_guard lock(mutex);
      closing = true;
    }
    awake();
    thread.join();
    ::close(wake);
  }
  void awake() const {
    const uint64_t one = 1;
    while (::write(wake, &one, sizeof one) < 0 && errno == EINTR) {
    }
  }

  void run();
  void take_orders();
  void begin(LaunchId id, Launch& launch);
  void write_line(Launch& launch);
  void read_from(LaunchId id, Launch& launch, int fd, bool is_out);
  void line(LaunchId id, Launch& launch, std::string_view text, bool is_out);
  void hand_on(LaunchId id, Launch& launch, std::string_view text);
  bool look(LaunchId id, Launch& launch);  // false: it is over
  void over(LaunchId id, Launch& launch, std::string how);
  void ask_to_end(Launch& launch);

  LaunchSink& sink;
  const LauncherOptions options;
  const int wake;
  SystemClock clock;
  std::map<LaunchId, Launch> launches;  // of the thread
  bool quiet = false;                   // of the thread: nobody is told any more

  mutable std::mutex mutex;  // guards what is below
  std::map<LaunchId, LaunchSpec> to_start;
  std::set<LaunchId> to_end;
  std::map<LaunchId, pid_t> pids;
  LaunchId ids = 0;
  bool closing = false;

  std::thread thread;
};

void Launcher::Impl::take_orders() {
  uint64_t count = 0;
  (void)!::read(wake, &count, sizeof count);
  std::lock_guard lock(mutex);
  for (auto& [id, spec] : to_start) launches[id].spec = std::move(spec);
  to_start.clear();
  for (const LaunchId id : to_end)
    if (const auto found = launches.find(id); found != launches.end()) ask_to_end(found->second);
  to_end.clear();
  if (closing && !std::exchange(quiet, true))
    for (auto& [id, launch] : launches) ask_to_end(launch);
}

void Launcher::Impl::ask_to_end(Launch& launch) {
  if (std::exchange(launch.asked_to_end, true)) return;
  launch.deadline_s = clock.now_s() + options.grace_s;
  if (launch.process) launch.process->close_in();
}

void Launcher::Impl::begin(LaunchId id, Launch& launch) {
  ++launch.tries;
  launch.out.clear();
  launch.err.clear();
  launch.to_say = launch.spec.line + "\n";
  launch.deadline_s = clock.now_s() + options.start_s;
  launch.process = Process::start({launch_words(launch.spec, options), "", {}});
  std::lock_guard lock(mutex);
  pids[id] = launch.process->pid();
}

void Launcher::Impl::write_line(Launch& launch) {
  if (launch.to_say.empty() || launch.process->in() < 0) return;
  const ssize_t n = launch.process->write_some(launch.to_say);
  if (n < 0)
    launch.to_say.clear();  // it reads no more: its end tells why
  else
    launch.to_say.erase(0, static_cast<size_t>(n));
}

void Launcher::Impl::hand_on(LaunchId id, Launch& launch, std::string_view text) {
  const std::string clean = printable(text);
  if (!clean.starts_with("info: ")) launch.last_words.push_back(clean.substr(0, 300));
  if (launch.last_words.size() > kLastWords) launch.last_words.pop_front();
  const double now = clock.now_s();
  launch.allowance = std::min(kBurst, launch.allowance + (now - launch.counted_s) * kRate);
  launch.counted_s = now;
  if (launch.allowance < 1) {
    ++launch.left_out;
    return;
  }
  launch.allowance -= 1;
  if (quiet) return;
  if (launch.left_out > 0) sink.said(id, fmt::format("({} lines left out)", std::exchange(launch.left_out, 0)));
  sink.said(id, clean);
}

void Launcher::Impl::line(LaunchId id, Launch& launch, std::string_view text, bool is_out) {
  if (text.ends_with('\r')) text.remove_suffix(1);
  if (!is_out || launch.started || !text.starts_with(kLaunchMarker)) {
    hand_on(id, launch, text);
    return;
  }
  launch.started = true;
  if (!quiet) sink.started(id, std::string(text.substr(std::char_traits<char>::length(kLaunchMarker))));
}

void Launcher::Impl::read_from(LaunchId id, Launch& launch, int fd, bool is_out) {
  if (fd < 0) return;
  char buffer[1 << 14];
  std::string& kept = is_out ? launch.out : launch.err;
  for (int rounds = 0; rounds < 64; ++rounds) {  // others want to be heard too
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n <= 0) return;
    for (std::string_view rest(buffer, static_cast<size_t>(n)); !rest.empty();) {
      const size_t end = rest.find('\n');
      const std::string_view piece = rest.substr(0, end);
      // The first line may be long; any other is cut.
      const size_t most = is_out && !launch.started ? kMaxGreeting : kLogLine;
      kept += piece.substr(0, most - std::min(most, kept.size()));
      if (end == std::string_view::npos) break;
      line(id, launch, std::exchange(kept, {}), is_out);
      rest.remove_prefix(end + 1);
    }
  }
}

void Launcher::Impl::over(LaunchId id, Launch& launch, std::string how) {
  for (const bool is_out : {true, false})
    if (std::string& kept = is_out ? launch.out : launch.err; !kept.empty()) line(id, launch, std::exchange(kept, {}), is_out);
  if (!launch.spec.host.empty()) how = (launch.spec.way == LaunchSpec::Way::srun ? "srun: " : "ssh: ") + how;
  if (launch.tries > 1) how += fmt::format(" after {} tries", launch.tries);
  if (!launch.last_words.empty()) how += fmt::format("; it said: {}", fmt::join(launch.last_words, " | "));
  if (!quiet) sink.ended(id, how);
}

bool Launcher::Impl::look(LaunchId id, Launch& launch) {
  const double now = clock.now_s();
  if (!launch.process) {
    if (launch.asked_to_end) {
      over(id, launch, "it was not started");
      return false;
    }
    const auto starting = static_cast<size_t>(
        std::count_if(launches.begin(), launches.end(), [](const auto& l) { return l.second.process && !l.second.started; }));
    if (starting >= options.at_once || now < launch.not_before_s) return true;
    try {
      begin(id, launch);
    } catch (const Error& e) {
      over(id, launch, e.what());
      return false;
    }
  }
  write_line(launch);
  auto how = launch.process->ended(0);
  read_from(id, launch, launch.process->out(), true);
  read_from(id, launch, launch.process->err(), false);
  if (!how && now >= launch.deadline_s && (launch.asked_to_end || !launch.started)) {
    how = launch.asked_to_end ? "it was killed: it did not end with its stdin"
                              : fmt::format("it said nothing within {:g} s", options.start_s);
    launch.process->end();
  }
  if (!how) return true;
  {
    std::lock_guard lock(mutex);
    pids.erase(id);
  }
  const bool by_ssh = !launch.spec.host.empty() && launch.spec.way == LaunchSpec::Way::direct_or_ssh;
  const bool again =
      by_ssh && !launch.started && !launch.asked_to_end && *how == "exit code 255" && launch.tries < options.tries;
  launch.process.reset();
  if (!again) {
    over(id, launch, *how);
    return false;
  }
  // Each at its own moment: those that an sshd turned away together would come back together, and be turned away again.
  const double own = 0.5 + static_cast<double>((7 * id + 5 * launch.tries) % 16) / 16;
  launch.not_before_s = now + own * options.between_tries_s * static_cast<double>(1 << std::min(launch.tries - 1, 10));
  return true;
}

void Launcher::Impl::run() {
  for (;;) {
    take_orders();
    for (auto it = launches.begin(); it != launches.end();)
      it = look(it->first, it->second) ? std::next(it) : launches.erase(it);
    if (quiet && launches.empty()) return;
    std::vector<pollfd> fds = {{wake, POLLIN, 0}};
    for (const auto& [id, launch] : launches) {
      if (!launch.process) continue;
      fds.push_back({launch.process->out(), POLLIN, 0});
      fds.push_back({launch.process->err(), POLLIN, 0});
    }
    // A stream that is at its end is ready for ever: then only the clock is waited for.
    const int ready = ::poll(fds.data(), fds.size(), launches.empty() ? -1 : kLookMs);
    if (ready <= 0) continue;
    if (std::any_of(fds.begin(), fds.end(), [](const pollfd& p) { return (p.revents & POLLIN) != 0; })) continue;
    ::poll(fds.data(), 1, kLookMs);
  }
}

Launcher::Launcher(LaunchSink& sink, LauncherOptions options) : impl_(std::make_unique<Impl>(sink, std::move(options))) {}
Launcher::~Launcher() = default;

LaunchId Launcher::start(LaunchSpec spec) {
  R1_CHECK(!spec.words.empty() && spec.line.find('\n') == std::string::npos, spec.name);
  LaunchId id = 0;
  {
    std::lock_guard lock(impl_->mutex);
    id = ++impl_->ids;
    impl_->to_start[id] = std::move(spec);
  }
  impl_->awake();
  return id;
}

void Launcher::end(LaunchId launch) {
  {
    std::lock_guard lock(impl_->mutex);
    impl_->to_end.insert(launch);
  }
  impl_->awake();
}

pid_t Launcher::pid(LaunchId launch) const {
  std::lock_guard lock(impl_->mutex);
  const auto found = impl_->pids.find(launch);
  return found == impl_->pids.end() ? 0 : found->second;
}

}  // namespace r1
