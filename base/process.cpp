#include "base/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/clock.h"
#include "base/error.h"

extern char** environ;

namespace r1 {
namespace {

namespace fs = std::filesystem;

// Closed when it goes out of scope, unless it was taken.
struct Fd {
  int fd = -1;
  Fd() = default;
  explicit Fd(int f) : fd(f) {}
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() {
    if (fd >= 0) ::close(fd);
  }
  int take() { return std::exchange(fd, -1); }
};

[[noreturn]] void cannot_start(const std::string& program, int error) {
  throw failure(fmt::format("'{}' cannot be started: {}", program, std::strerror(error)), {},
                error == ENOENT   ? "is it installed, and its path relative to the directory that it runs in?"
                : error == EACCES ? "chmod +x, or name the interpreter: python3 FILE"
                                  : "");
}

fs::path guard_program() {
  std::error_code none;
  const fs::path here = fs::read_symlink("/proc/self/exe", none).parent_path();
  const fs::path beside = here / "r1-guard", installed = here / R1_GUARD_FROM_PROGRAM;
  for (const fs::path& path : {beside, installed})
    if (::access(path.c_str(), X_OK) == 0) return path;
  throw failure("r1-guard is missing, without which no program is started", {installed.lexically_normal().string()},
                "build or install r1 whole");
}

std::string status_text(int status) {
  if (WIFSIGNALED(status)) return fmt::format("signal {} ({})", WTERMSIG(status), ::strsignal(WTERMSIG(status)));
  return fmt::format("exit code {}", WEXITSTATUS(status));
}

void make_pipe(Fd& read_end, Fd& write_end, const std::string& program) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) cannot_start(program, errno);
  read_end.fd = ends[0];
  write_end.fd = ends[1];
}

void unblock(int fd) { ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK); }

// One message of the guard; nullopt: none within the time, or it is gone (`gone`).
struct Message {
  char letter;
  int32_t value;
};
std::optional<Message> guard_message(int control, double seconds, bool* gone) {
  SystemClock clock;
  const double until = clock.now_s() + seconds;
  for (;;) {
    pollfd p{control, POLLIN, 0};
    const double left = until - clock.now_s();
    const int ready = ::poll(&p, 1, left > 0 ? static_cast<int>(std::min(left * 1000 + 1, 1e9)) : 0);
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return std::nullopt;
    char bytes[5];
    const ssize_t n = ::recv(control, bytes, sizeof bytes, 0);
    if (n != sizeof bytes) {
      *gone = true;
      return std::nullopt;
    }
    Message m{bytes[0], 0};
    std::memcpy(&m.value, bytes + 1, sizeof m.value);
    return m;
  }
}

}  // namespace

Process Process::start(const ProcessSpec& spec) {
  R1_CHECK(!spec.words.empty(), "no program");
  const std::string& program = spec.words[0];
  Fd in_read, in_write, out_read, out_write, err_read, err_write;
  make_pipe(in_read, in_write, program);
  make_pipe(out_read, out_write, program);
  make_pipe(err_read, err_write, program);
  int control[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) != 0) cannot_start(program, errno);
  Fd ours(control[0]), theirs(control[1]);

  const fs::path guard = guard_program();
  std::vector<std::string> words = {"r1-guard", spec.directory.empty() ? "." : spec.directory.string()};
  words.insert(words.end(), spec.words.begin(), spec.words.end());
  std::vector<char*> arguments;
  for (std::string& w : words) arguments.push_back(w.data());
  arguments.push_back(nullptr);

  std::vector<std::string> set = spec.environment;
  std::vector<char*> environment;
  for (char** e = environ; *e != nullptr; ++e) {
    const std::string_view name = std::string_view(*e).substr(0, std::string_view(*e).find('='));
    bool replaced = false;
    for (const std::string& s : set)
      replaced = replaced || (s.size() > name.size() && s.starts_with(name) && s[name.size()] == '=');
    if (!replaced) environment.push_back(*e);
  }
  for (std::string& s : set) environment.push_back(s.data());
  environment.push_back(nullptr);

  // Files that are to become 0 to 3 may be among these numbers themselves: they go above first.
  Fd raised[4];
  const int wanted[4] = {in_read.fd, out_write.fd, err_write.fd, theirs.fd};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (int i = 0; i < 4; ++i) {
    raised[i].fd = ::fcntl(wanted[i], F_DUPFD_CLOEXEC, 10);
    posix_spawn_file_actions_adddup2(&actions, raised[i].fd, i);
  }
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
  Process p;
  const int error = raised[3].fd < 0
                        ? EMFILE
                        : ::posix_spawn(&p.guard_, guard.c_str(), &actions, &attributes, arguments.data(), environment.data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) {
    p.guard_ = -1;
    cannot_start(program, error);
  }
  for (Fd* end : {&in_read, &out_write, &err_write, &theirs}) ::close(end->take());
  for (Fd& r : raised) ::close(r.take());
  p.in_ = in_write.take();
  p.out_ = out_read.take();
  p.err_ = err_read.take();
  p.control_ = ours.take();
  for (const int fd : {p.in_, p.out_, p.err_}) unblock(fd);

  bool gone = false;
  const auto m = guard_message(p.control_, 60, &gone);
  if (!m || m->letter != 'S') cannot_start(program, m && m->letter == 'E' ? m->value : ECHILD);
  p.pid_ = m->value;
  return p;
}

Process::Process(Process&& other) noexcept { *this = std::move(other); }

Process& Process::operator=(Process&& other) noexcept {
  if (this == &other) return *this;
  drop();
  guard_ = std::exchange(other.guard_, -1);
  pid_ = std::exchange(other.pid_, -1);
  in_ = std::exchange(other.in_, -1);
  out_ = std::exchange(other.out_, -1);
  err_ = std::exchange(other.err_, -1);
  control_ = std::exchange(other.control_, -1);
  status_ = std::move(other.status_);
  return *this;
}

Process::~Process() { drop(); }

void Process::close_in() {
  if (in_ >= 0) ::close(std::exchange(in_, -1));
}

ssize_t Process::write_some(std::string_view bytes) {
  if (in_ < 0) return -1;
  sigset_t pipe, before;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &pipe, &before);
  const ssize_t n = ::write(in_, bytes.data(), bytes.size());
  const int error = errno;
  if (n < 0 && error == EPIPE && sigismember(&before, SIGPIPE) == 0) {
    const timespec now{0, 0};
    ::sigtimedwait(&pipe, nullptr, &now);
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (n >= 0) return n;
  return error == EAGAIN || error == EINTR ? 0 : -1;
}

std::optional<std::string> Process::ended(double seconds) {
  if (status_ || control_ < 0) return status_;
  bool gone = false;
  if (const auto m = guard_message(control_, seconds, &gone); m && m->letter == 'X') status_ = status_text(m->value);
  if (gone) status_ = "its guard was killed";
  return status_;
}

void Process::end() {
  if (control_ >= 0) ::close(std::exchange(control_, -1));
  if (guard_ > 0) {
    // The guard ends within moments of the program's death, and gives up by itself on one that cannot die.
    int status = 0;
    for (int waited = 0; ::waitpid(guard_, &status, WNOHANG) == 0; waited += 2) {
      if (waited > 8000) ::kill(guard_, SIGKILL);
      ::usleep(2000);
    }
    guard_ = -1;
  }
  if (!status_) status_ = "it was ended";
}

void Process::drop() noexcept {
  end();
  for (int* fd : {&in_, &out_, &err_})
    if (*fd >= 0) ::close(std::exchange(*fd, -1));
}

std::optional<std::vector<std::string>> split_command(std::string_view text) {
  std::vector<std::string> words;
  bool inside = false;
  char quote = 0;
  for (const char c : text) {
    if (quote != 0) {
      if (c == quote)
        quote = 0;
      else
        words.back() += c;
      continue;
    }
    if (c == ' ' || c == '\t' || c == '\n') {
      inside = false;
      continue;
    }
    if (!std::exchange(inside, true)) words.emplace_back();
    if (c == '\'' || c == '"')
      quote = c;
    else
      words.back() += c;
  }
  if (quote != 0) return std::nullopt;
  return words;
}

fs::path find_program(const std::string& word, const fs::path& directory) {
  std::error_code none;
  const auto runs = [&](const fs::path& p) { return fs::is_regular_file(p, none) && ::access(p.c_str(), X_OK) == 0; };
  if (word.find('/') != std::string::npos) return runs(directory / word) ? directory / word : fs::path();
  const char* path = std::getenv("PATH");
  std::string_view rest = path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin";
  for (;;) {
    const size_t colon = rest.find(':');
    const fs::path dir = rest.substr(0, colon);
    if (const fs::path found = (dir.empty() ? directory : directory / dir) / word; !word.empty() && runs(found)) return found;
    if (colon == std::string_view::npos) return {};
    rest.remove_prefix(colon + 1);
  }
}

}  // namespace r1
