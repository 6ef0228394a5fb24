#include "tools/interrupts.h"

#include <fcntl.h>
#include <unistd.h>

#include <csignal>

#include "base/error.h"

namespace r1 {
namespace {

// What a signal handler can see has to be global.
std::atomic<bool> interrupted{false}, gentle{false};
int nowhere = -1;  // /dev/null
bool is_terminal[3] = {};

extern "C" void on_signal(int number) {
  // The terminal is gone: whatever is still said must not fail.
  if (number == SIGHUP && nowhere >= 0)
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
      if (is_terminal[fd]) ::dup2(nowhere, fd);
  if (!gentle || interrupted.exchange(true)) ::_exit(static_cast<int>(ExitCode::interrupted));
}

}  // namespace

void catch_interrupts() {
  nowhere = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) is_terminal[fd] = ::isatty(fd) == 1;
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  struct sigaction hangup {};
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  ::sigaction(SIGHUP, nullptr, &hangup);
  if (hangup.sa_handler != SIG_IGN) ::sigaction(SIGHUP, &action, nullptr);
}

std::atomic<bool>& begin_gently() {
  gentle = true;
  return interrupted;
}

void outlive_readers() {
  struct sigaction action {};
  action.sa_handler = [](int) {};  // SIG_IGN would be handed on to programs that are started
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGPIPE, &action, nullptr);
}

}  // namespace r1
