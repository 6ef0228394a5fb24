#include "tools/status_line.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "base/say.h"

namespace r1 {

StatusLine::StatusLine(Shown shown)
    : terminal_(::isatty(STDERR_FILENO) == 1),
      on_(shown == Shown::everywhere || (shown == Shown::on_terminals && terminal_)),
      last_s_(clock_.now_s()) {}

void StatusLine::show(const std::string& line) {
  constexpr double kShownEvery_s = 0.25, kPlainEvery_s = 30;
  const double now = clock_.now_s();
  if (!on_ || now - last_s_ < (terminal_ ? kShownEvery_s : kPlainEvery_s)) return;
  last_s_ = now;
  if (terminal_)
    say("\r{}\033[K", line);
  else
    say("{}\n", line);
  std::fflush(stderr);
  there_ = terminal_;
}

void StatusLine::clear() {
  if (there_) say("\r\033[K");
  there_ = false;
}

}  // namespace r1
