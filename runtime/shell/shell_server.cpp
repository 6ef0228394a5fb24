#include "runtime/shell/shell_server.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <list>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "runtime/shell/shell_socket.h"

namespace r1 {
namespace {

constexpr int kBacklog = 128;
constexpr int kAcceptedAtOnce = 16;  // so that what has connected is read before the next ones push it out
constexpr const char* kTooLong = R"({"error":"the question is too long","hint":"try 'help'","bad_input":true})";

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

struct Connection {
  Descriptor fd;
  std::string in, out;
  size_t sent = 0;
  double deadline = 0;
  bool last = false;  // closed after the answer

  bool answering() const { return !out.empty(); }
  bool asked() const { return !answering() && in.find('\n') != std::string::npos; }
  bool asks_stop() const {
    if (!asked()) return false;
    const std::string line = in.substr(0, in.find('\n'));
    const size_t begin = line.find_first_not_of(" \t\r"), end = line.find_last_not_of(" \t\r");
    return begin != std::string::npos && line.substr(begin, end - begin + 1) == "stop";
  }
};

}  // namespace

struct ShellServer::Impl {
  ShellSources sources;
  ShellLimits limits;
  SystemClock clock;
  std::unique_ptr<ShellDirectory> directory;
  Descriptor listener, ending;
  std::list<Connection> connections;  // the one that has waited longest first
  std::thread thread;

  void open(const std::filesystem::path& run_dir);
  void serve();
  void accept_some();
  bool read_some(Connection& c);
  bool write_some(Connection& c);
  void answer(Connection& c);
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
  ending = Descriptor(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (ending.get() < 0) return refuse("no event");
  thread = std::thread([this] { serve(); });
}

void ShellServer::Impl::accept_some() {
  for (int i = 0; i < kAcceptedAtOnce; ++i) {
    Descriptor fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (fd.get() < 0) {
      // Out of descriptors: the oldest goes, and the next round tries again.
      if ((errno == EMFILE || errno == ENFILE) && !connections.empty()) connections.pop_front();
      return;
    }
    if (connections.size() >= limits.connections) connections.pop_front();
    Connection c;
    c.fd = std::move(fd);
    c.deadline = clock.now_s() + limits.ask_s;
    connections.push_back(std::move(c));
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
  c.deadline = clock.now_s() + limits.ask_s;
  return !c.last;
}

void ShellServer::Impl::answer(Connection& c) {
  const size_t end = c.in.find('\n');
  c.out = handle_command(c.in.substr(0, end), sources) + "\n";
  c.in.erase(0, end + 1);
  c.deadline = clock.now_s() + limits.read_s;
}

void ShellServer::Impl::serve() {
  while (true) {
    std::vector<pollfd> wait{{ending.get(), POLLIN, 0}, {listener.get(), POLLIN, 0}};
    bool asked = false;
    for (const Connection& c : connections) {
      asked = asked || c.asked();
      wait.push_back({c.fd.get(), static_cast<short>(c.answering() ? POLLOUT : c.asked() ? 0 : POLLIN), 0});
    }
    if (::poll(wait.data(), wait.size(), asked ? 0 : 250) < 0 && errno != EINTR) return;
    if (wait[0].revents != 0) return;
    const double now = clock.now_s();
    for (auto c = connections.begin(); c != connections.end();) {
      // A question that was asked in time is not given up because others were answered first.
      bool going_on = c->asked() || now < c->deadline;
      if (going_on) going_on = c->answering() ? write_some(*c) : read_some(*c);
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
  const uint64_t one = 1;
  if (::write(impl_->ending.get(), &one, sizeof one) < 0) log_warn("r1-shell: the server cannot be woken");
  impl_->thread.join();
  // What was asked last is said, if its reader can take it at once.
  for (Connection& c : impl_->connections)
    if (c.answering()) impl_->write_some(c);
  ::unlink(impl_->directory->address().sun_path);
}

bool ShellServer::listening() const { return impl_->thread.joinable(); }

}  // namespace r1
