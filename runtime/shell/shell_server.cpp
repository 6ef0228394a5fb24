#include "runtime/shell/shell_server.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <deque>
#include <list>
#include <mutex>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "base/descriptor.h"
#include "base/log.h"
#include "runtime/shell/shell_socket.h"

namespace r1 {
namespace {

constexpr int kBacklog = 128;
constexpr int kAcceptedAtOnce = 16;  // so that what has connected is read before the next ones push it out
constexpr const char* kTooLate =
    R"({"error":"the run has not seen to it in time; it may still do so","hint":"'waits' shows what it is doing"})";
constexpr const char* kTooLong = R"({"error":"the question is too long","hint":"try 'help'","bad_input":true})";

double thread_cpu_s() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

bool is_stop(const std::string& line) {
  const size_t begin = line.find_first_not_of(" \t\r"), end = line.find_last_not_of(" \t\r");
  return begin != std::string::npos && line.substr(begin, end - begin + 1) == "stop";
}

// Ends a poll, from any thread.
class Bell {
 public:
  Bell() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  int fd() const { return fd_.get(); }
  void ring() const {
    const uint64_t one = 1;
    while (::write(fd_.get(), &one, sizeof one) < 0 && errno == EINTR) {
    }
  }
  void heard() const {
    uint64_t count = 0;
    (void)!::read(fd_.get(), &count, sizeof count);
  }

 private:
  Descriptor fd_;
};

struct Connection {
  Descriptor fd;
  std::string in, out;
  size_t sent = 0;
  double deadline = 0;
  bool last = false;  // closed after the answer
  std::shared_ptr<ShellAnswer> coming;

  Connection() = default;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() {
    if (coming) coming->abandon();
  }
  bool answering() const { return !out.empty(); }
  bool asked() const { return !answering() && !coming && in.find('\n') != std::string::npos; }
  bool asks_stop() const {
    if (!asked()) return false;
    return is_stop(in.substr(0, in.find('\n')));
  }
};

}  // namespace

struct ShellServer::Impl {
  ShellSources sources;
  ShellLimits limits;
  SystemClock clock;
  std::unique_ptr<ShellDirectory> directory;
  Descriptor listener;
  std::atomic<bool> ending{false};
  const std::shared_ptr<const Bell> bell = std::make_shared<const Bell>();
  std::list<Connection> connections;  // the one that has waited longest first
  struct Question {
    std::string line;
    ShellRight right;
    ShellReplyPtr reply;
  };
  std::mutex mutex;
  std::deque<Question> questions;  // of ask(); under mutex
  std::thread thread;

  void open(const std::filesystem::path& run_dir);
  void serve();
  void accept_some();
  bool read_some(Connection& c);
  bool write_some(Connection& c);
  void answer(Connection& c);
  void fill(Connection& c);
  void make_room();
  bool answer_next_question();
  void rest();

  // Of rest().
  double owed_s = 0, rested_s = 0, cpu_s = 0;
};

void ShellServer::Impl::open(const std::filesystem::path& run_dir) {
  const auto refuse = [&](const char* what) {
    log_warn(fmt::format("r1-shell cannot connect to this run: {}: {}", what, std::strerror(errno)));
    listener = Descriptor();
  };
  const auto path = shell_directory(run_dir);
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return refuse("no directory for its socket");
  directory = std::make_unique<ShellDirectory>(run_dir);
  if (directory->fd() < 0 || ::chmod(path.c_str(), 0700) != 0) return refuse("no directory for its socket");
  const sockaddr_un address = directory->address();
  ::unlink(address.sun_path);  // of a run that was killed: the run directory is locked
  listener = Descriptor(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (listener.get() < 0) return refuse("no socket");
  if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return refuse("no socket");
  if (::chmod(address.sun_path, 0600) != 0 || ::listen(listener.get(), kBacklog) != 0) return refuse("no socket");
  if (bell->fd() < 0) return refuse("no event");
  thread = std::thread([this] { serve(); });
}

// The one that has waited longest goes; one that waits for the run only where there is no other.
void ShellServer::Impl::make_room() {
  auto oldest = std::find_if(connections.begin(), connections.end(), [](const Connection& c) { return c.coming == nullptr; });
  if (oldest == connections.end()) oldest = connections.begin();
  if (oldest != connections.end()) connections.erase(oldest);
}

void ShellServer::Impl::accept_some() {
  for (int i = 0; i < kAcceptedAtOnce; ++i) {
    Descriptor fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (fd.get() < 0) {
      // Out of descriptors: the oldest goes, and the next round tries again.
      if (errno == EMFILE || errno == ENFILE) make_room();
      return;
    }
    if (connections.size() >= limits.connections) make_room();
    Connection& c = connections.emplace_back();
    c.fd = std::move(fd);
    c.deadline = clock.now_s() + limits.ask_s;
  }
}

// False: the connection is over. Takes no more than one question, so that nobody fills our memory.
bool ShellServer::Impl::read_some(Connection& c) {
  char buffer[1024];
  while (!c.answering() && !c.asked()) {
    const ssize_t n = ::recv(c.fd.get(), buffer, sizeof buffer, 0);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    if (n == 0) return false;
    c.in.append(buffer, static_cast<size_t>(n));
    if (std::min(c.in.find('\n'), c.in.size()) > limits.question_bytes) {
      c.out = std::string(kTooLong) + "\n";
      c.in.clear();
      c.last = true;
      c.deadline = clock.now_s() + limits.read_s;
    }
  }
  return true;
}

bool ShellServer::Impl::write_some(Connection& c) {
  while (c.sent < c.out.size()) {
    const ssize_t n = ::send(c.fd.get(), c.out.data() + c.sent, c.out.size() - c.sent, MSG_NOSIGNAL);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    c.sent += static_cast<size_t>(n);
  }
  c.out.clear();
  c.sent = 0;
  c.deadline = clock.now_s() + (c.coming ? limits.answer_s : limits.ask_s);
  return !c.last;
}

void ShellServer::Impl::answer(Connection& c) {
  const size_t end = c.in.find('\n');
  const std::string line = c.in.substr(0, end);
  c.in.erase(0, end + 1);
  c.coming = std::make_shared<ShellAnswer>([bell = bell] { bell->ring(); });
  c.deadline = clock.now_s() + limits.answer_s;
  begin_command(line, sources, ShellRight::steer, std::make_shared<ShellReply>(c.coming));
  fill(c);
}

// What has come of the answer goes out, once what came before it has.
void ShellServer::Impl::fill(Connection& c) {
  if (c.answering() || !c.coming) return;
  const bool done = c.coming->done();
  for (const std::string& line : c.coming->take()) c.out += line + "\n";
  if (done) c.coming = nullptr;
  if (c.answering()) c.deadline = clock.now_s() + limits.read_s;
}

bool ShellServer::Impl::answer_next_question() {
  Question next;
  {
    const std::lock_guard lock(mutex);
    if (questions.empty()) return false;
    const auto stop = std::find_if(questions.begin(), questions.end(), [](const Question& q) { return is_stop(q.line); });
    const auto chosen = stop != questions.end() ? stop : questions.begin();
    next = std::move(*chosen);
    questions.erase(chosen);
  }
  begin_command(next.line, sources, next.right, next.reply);
  const std::lock_guard lock(mutex);
  return !questions.empty();
}

// A flood of questions is answered slowly, so that the run is not.
void ShellServer::Impl::rest() {
  constexpr double kBurst_s = 0.02, kLongest_s = 0.05;
  const double now = clock.now_s(), cpu = thread_cpu_s();
  owed_s = std::max(0.0, owed_s + (cpu - cpu_s) - (now - rested_s) * limits.share);
  cpu_s = cpu;
  rested_s = now;
  if (owed_s > kBurst_s)
    std::this_thread::sleep_for(std::chrono::duration<double>(std::min(kLongest_s, owed_s / limits.share)));
}

void ShellServer::Impl::serve() {
  constexpr int kNice = 10;
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kNice);  // of this thread
  rested_s = clock.now_s();
  for (bool more = false;;) {
    rest();
    std::vector<pollfd> wait{{bell->fd(), POLLIN, 0}, {listener.get(), POLLIN, 0}};
    bool asked = more;
    for (const Connection& c : connections) {
      asked = asked || c.asked();
      const bool reads = !c.coming && !c.asked();
      wait.push_back({c.fd.get(), static_cast<short>(c.answering() ? POLLOUT : reads ? POLLIN : 0), 0});
    }
    if (::poll(wait.data(), wait.size(), asked ? 0 : 250) < 0 && errno != EINTR) return;
    if (wait[0].revents != 0) bell->heard();
    if (ending) return;
    const double now = clock.now_s();
    auto event = wait.begin() + 2;
    for (auto c = connections.begin(); c != connections.end(); ++event) {
      fill(*c);
      // A question that was asked in time is not given up because others were answered first.
      bool going_on = c->asked() || now < c->deadline;
      if (!going_on && c->coming && !c->answering()) {
        c->out = std::string(kTooLate) + "\n";
        c->last = going_on = true;
        c->deadline = now + limits.read_s;
        c->coming->abandon();
        c->coming = nullptr;
      }
      if (c->coming && (event->revents & (POLLHUP | POLLERR)) != 0) going_on = false;  // nobody waits for it any more
      if (going_on && c->answering())
        going_on = write_some(*c);
      else if (going_on && !c->coming)
        going_on = read_some(*c);
      c = going_on ? std::next(c) : connections.erase(c);
    }
    const auto stop = std::find_if(connections.begin(), connections.end(), [](const Connection& c) { return c.asks_stop(); });
    const auto next = stop != connections.end()
                          ? stop
                          : std::find_if(connections.begin(), connections.end(), [](const Connection& c) { return c.asked(); });
    if (next != connections.end()) {
      answer(*next);
      connections.splice(connections.end(), connections, next);
    }
    more = answer_next_question();
    if (wait[1].revents != 0) accept_some();
  }
}

ShellServer::ShellServer(ShellSources sources, const std::filesystem::path& run_dir, ShellLimits limits)
    : impl_(std::make_unique<Impl>()) {
  impl_->sources = std::move(sources);
  impl_->sources.run_dir = run_dir;
  impl_->limits = limits;
  impl_->open(run_dir);
}

ShellServer::~ShellServer() {
  if (!impl_->thread.joinable()) return;
  impl_->ending = true;
  impl_->bell->ring();
  impl_->thread.join();
  // What was asked last is said, if its reader can take it at once.
  for (Connection& c : impl_->connections) {
    impl_->fill(c);
    if (c.answering()) impl_->write_some(c);
  }
  ::unlink(impl_->directory->address().sun_path);
}

bool ShellServer::listening() const { return impl_->thread.joinable(); }

bool ShellServer::ask(std::string line, ShellRight right, ShellReplyPtr reply) {
  if (!listening()) return false;
  {
    const std::lock_guard lock(impl_->mutex);
    if (impl_->questions.size() >= impl_->limits.questions) return false;
    impl_->questions.push_back({std::move(line), right, std::move(reply)});
  }
  impl_->bell->ring();
  return true;
}

}  // namespace r1
