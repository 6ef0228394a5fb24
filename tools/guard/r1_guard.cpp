// r1-guard DIRECTORY PROGRAM ARGUMENT...: stands between a program of r1 and one that it starts (base/process.h). Not for
// users.
//
// File 3 is a socket to the parent. Upwards: a letter and an int32, 'S' pid (started), 'E' errno (could not be), 'X' status (it
// ended, as wait() says it). Downwards: nothing; its end means that the parent wants the program to end, or is gone.
// What the program has started and left behind is adopted (a subreaper) and ended too.
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <initializer_list>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

constexpr int kControl = 3;
constexpr int kPatienceMs = 5000;  // with processes that do not end by SIGKILL (a disk that hangs)

void tell(char letter, int32_t value) {
  char message[5] = {letter};
  std::memcpy(message + 1, &value, sizeof value);
  [[maybe_unused]] const ssize_t sent = ::write(kControl, message, sizeof message);
}

void pause_ms(long ms) {
  const timespec t{0, ms * 1000000};
  ::nanosleep(&t, nullptr);
}

// Kills every child, those adopted included. Where the kernel does not list them (no CONFIG_PROC_CHILDREN), the group alone.
void kill_children() {
  char path[64], text[4096];
  std::snprintf(path, sizeof path, "/proc/self/task/%d/children", static_cast<int>(::getpid()));
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  const ssize_t n = ::read(fd, text, sizeof text - 1);
  ::close(fd);
  if (n <= 0) return;
  text[n] = 0;
  char* at = text;
  for (;;) {
    char* end = nullptr;
    const long pid = std::strtol(at, &end, 10);
    if (end == at || *end == 0) return;  // the last one may be cut; the next look has it
    ::kill(static_cast<pid_t>(pid), SIGKILL);
    at = end;
  }
}

void end_all(pid_t program) {
  for (int waited = 0; waited < kPatienceMs; waited += 5) {
    ::kill(-program, SIGKILL);
    kill_children();
    pid_t gone;
    do gone = ::waitpid(-1, nullptr, WNOHANG);
    while (gone > 0);
    if (gone < 0 && errno == ECHILD) return;
    pause_ms(5);
  }
}

void noticed(int) {}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || ::fcntl(kControl, F_SETFD, FD_CLOEXEC) != 0) {
    std::fputs("r1-guard is a part of r1 that r1 itself starts\n", stderr);
    return 2;
  }
  ::syscall(SYS_close_range, kControl + 1, ~0U, 0);
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  for (const int s : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU}) std::signal(s, SIG_IGN);

  sigset_t child, before;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  ::sigprocmask(SIG_BLOCK, &child, &before);
  struct sigaction action {};
  action.sa_handler = noticed;
  ::sigaction(SIGCHLD, &action, nullptr);

  int failed[2];
  if (::chdir(argv[1]) != 0 || ::pipe2(failed, O_CLOEXEC) != 0) {
    tell('E', errno);
    return 1;
  }
  const pid_t guard = ::getpid();
  const pid_t program = ::fork();
  if (program < 0) {
    tell('E', errno);
    return 1;
  }
  if (program == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != guard) ::_exit(127);
    ::setpgid(0, 0);
    for (int s = 1; s < 32; ++s) std::signal(s, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::execvp(argv[2], argv + 2);
    const int error = errno;
    [[maybe_unused]] const ssize_t sent = ::write(failed[1], &error, sizeof error);
    ::_exit(127);
  }
  ::setpgid(program, program);
  ::close(failed[1]);
  int error = 0;
  ssize_t n;
  do n = ::read(failed[0], &error, sizeof error);
  while (n < 0 && errno == EINTR);
  ::close(failed[0]);
  if (n > 0) {
    tell('E', error);
    return 1;
  }
  const int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd < 3; ++fd) nothing >= 0 ? ::dup2(nothing, fd) : ::close(fd);
  tell('S', program);

  sigset_t with_child = before;
  sigdelset(&with_child, SIGCHLD);
  for (;;) {
    int status = 0;
    for (pid_t gone; (gone = ::waitpid(-1, &status, WNOHANG)) > 0;)
      if (gone == program) {
        end_all(program);
        tell('X', status);
        return 0;
      }
    pollfd control{kControl, POLLIN, 0};
    if (::ppoll(&control, 1, nullptr, &with_child) > 0) {
      end_all(program);
      return 0;
    }
  }
}
