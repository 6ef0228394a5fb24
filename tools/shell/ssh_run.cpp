#include "tools/shell/ssh_run.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "runtime/shell/render.h"

namespace r1 {
namespace {

constexpr double kStart_s = 60;  // until it has said its first line
constexpr size_t kMostErr = 4096, kMostLine = size_t{64} << 20, kMostNoise = size_t{1} << 20;

Process start(const SshPlace& place) {
  ProcessSpec spec;
  spec.words = {"ssh", "-T"};
  for (const char* option : {"BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=5", "ServerAliveCountMax=3"}) {
    spec.words.push_back("-o");
    spec.words.push_back(option);
  }
  if (!place.user.empty()) spec.words.insert(spec.words.end(), {"-l", place.user});
  if (place.port != 0) spec.words.insert(spec.words.end(), {"-p", std::to_string(place.port)});
  spec.words.insert(spec.words.end(), {"--", place.host, "exec r1-shell --serve-stdin"});
  return Process::start(spec);
}

}  // namespace

SshRun::SshRun(const SshPlace& place) : host_(place.host), process_(start(place)) {
  const SystemClock clock;
  const double end = clock.now_s() + kStart_s;
  size_t noise = 0;
  for (std::string line = next_line(kStart_s); !line.starts_with(kSshMarker); line = next_line(end - clock.now_s()))
    if ((noise += line.size()) > kMostNoise) throw failure("no r1-shell answers there, but much else", {host_});
  const std::string answer = exchange(place.run, kStart_s, {});
  if (!is_error_answer(answer)) return;
  const auto said = ordered_json_or_null(answer);
  throw bad_input(said.value("error", "no run"), {host_ + ":" + place.run}, said.value("hint", ""));
}

std::string SshRun::next_line(double limit_s) {
  const SystemClock clock;
  const double limit = clock.now_s() + limit_s;
  for (;;) {
    if (const size_t end = out_.find('\n'); end != out_.npos) {
      std::string line = out_.substr(0, end);
      out_.erase(0, end + 1);
      return line;
    }
    const double left = limit - clock.now_s();
    if (left <= 0) throw failure(fmt::format("no answer over ssh within {:.0f} s", limit_s), {host_});
    pollfd wait[2] = {{process_.out(), POLLIN, 0}, {process_.err(), POLLIN, 0}};
    (void)::poll(wait, 2, static_cast<int>(left * 1000) + 1);
    char buffer[1 << 14];
    if (wait[1].revents != 0)
      if (const ssize_t n = ::read(process_.err(), buffer, sizeof buffer); n > 0) {
        err_.append(buffer, static_cast<size_t>(n));
        if (err_.size() > kMostErr) err_.erase(0, err_.size() - kMostErr);
      }
    if (wait[0].revents == 0) continue;
    const ssize_t n = ::read(process_.out(), buffer, sizeof buffer);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n <= 0) {
      while (err_.ends_with('\n') || err_.ends_with('\r')) err_.pop_back();
      const std::string how = process_.ended(2).value_or("its output is closed");
      throw failure(fmt::format("ssh has ended: {}{}{}", how, err_.empty() ? "" : "; ", err_.substr(err_.rfind('\n') + 1)),
                    {host_},
                    how == "exit code 127" ? "r1-shell has to be on the PATH of the login shell there"
                                           : "try: ssh " + host_ + " r1-shell --version");
    }
    out_.append(buffer, static_cast<size_t>(n));
    if (out_.size() > kMostLine) throw failure("an answer over ssh has no end", {host_});
  }
}

std::string SshRun::exchange(const std::string& line, double limit_s, const ShellPart& part) {
  const std::string question = line + "\n";
  const SystemClock clock;
  const double end = clock.now_s() + limit_s;
  for (size_t sent = 0; sent < question.size() && clock.now_s() < end;) {
    const ssize_t n = process_.write_some(std::string_view(question).substr(sent));
    if (n < 0) break;  // next_line() says why
    sent += static_cast<size_t>(n);
    pollfd room{process_.in(), POLLOUT, 0};
    if (sent < question.size()) (void)::poll(&room, 1, 100);
  }
  for (;;) {
    std::string answer = next_line(end - clock.now_s());
    if (!answer.starts_with(R"({"part":)")) return answer;
    if (part) part(answer);
  }
}

std::string SshRun::ask(const std::string& line, const ShellPart& part) {
  if (line.find('\n') != line.npos) throw bad_input("a command is one line");
  return exchange(line, answer_limit_s(line), part);
}

}  // namespace r1
