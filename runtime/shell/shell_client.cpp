#include "runtime/shell/shell_client.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>

#include "base/clock.h"
#include "base/error.h"
#include "runtime/shell/shell_socket.h"

namespace r1 {
namespace {

// A connected socket that gives up after `timeout_s`; -1: errno says why.
class Connected {
 public:
  Connected(const std::filesystem::path& run_dir, double timeout_s) {
    const ShellDirectory directory(run_dir);
    if (directory.fd() < 0) return;
    fd_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd_ < 0) return;
    const double whole = std::floor(timeout_s);
    const timeval limit{static_cast<time_t>(whole), static_cast<suseconds_t>((timeout_s - whole) * 1e6)};
    ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    const sockaddr_un address = directory.address();
    if (::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return;
    const int error = errno;
    ::close(fd_);
    fd_ = -1;
    errno = error;
  }
  ~Connected() {
    if (fd_ >= 0) ::close(fd_);
  }
  Connected(const Connected&) = delete;
  Connected& operator=(const Connected&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_ = -1;
};

bool is_part(const std::string& line) { return line.starts_with(R"({"part":)"); }

// One question and its answer; "" when the connection was closed before the answer was whole.
std::string exchange(int fd, const std::string& line, const std::function<void(const std::string&)>& part) {
  const std::string question = line + "\n";
  for (size_t sent = 0; sent < question.size();) {
    const ssize_t n = ::send(fd, question.data() + sent, question.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) break;  // it may have answered why, and closed
    sent += static_cast<size_t>(n);
  }
  std::string answer;
  char buffer[1 << 14];
  while (true) {
    const ssize_t n = ::recv(fd, buffer, sizeof buffer, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return "";
    answer.append(buffer, static_cast<size_t>(n));
    for (size_t end; (end = answer.find('\n')) != std::string::npos; answer.erase(0, end + 1)) {
      const std::string whole = answer.substr(0, end);
      if (!is_part(whole)) return whole;
      if (part) part(whole);
    }
  }
}

}  // namespace

ShellClient::ShellClient(const std::filesystem::path& run_dir) : run_dir_(run_dir) {
  const Connected probe(run_dir_, 1);
  if (probe.fd() >= 0 || errno == EAGAIN) return;  // EAGAIN: so busy that connecting takes longer
  if (errno == EACCES || errno == EPERM)
    throw bad_input("this run is another user's", {run_dir_.string()}, "only who started it may ask it");
  throw bad_input(fmt::format("no run is going on here ({})", std::strerror(errno)), {run_dir_.string()},
                  "the same r1-run command continues it");
}

std::string ShellClient::ask(const std::string& line, double timeout_s, const std::function<void(const std::string&)>& part) {
  const SystemClock clock;
  const double end = clock.now_s() + timeout_s;
  for (double left = timeout_s; left > 0; left = end - clock.now_s()) {
    const Connected connection(run_dir_, left);
    if (connection.fd() < 0) {
      if (errno == EAGAIN || errno == EINTR) continue;
      throw failure(fmt::format("the run does not answer: {}", std::strerror(errno)), {run_dir_.string()});
    }
    if (std::string answer = exchange(connection.fd(), line, part); !answer.empty()) return answer;
  }
  throw failure(fmt::format("the run does not answer within {:.0f} s", timeout_s), {run_dir_.string()});
}

}  // namespace r1
