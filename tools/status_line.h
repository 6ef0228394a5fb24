// One line on standard error that says how far something has come: written over on a terminal; elsewhere now and then a line of
// its own, or nothing. Not the view of a run (terminal/live_view.h). Thread rule: one thread.
#pragma once

#include <string>

#include "base/clock.h"

namespace r1 {

class StatusLine {
 public:
  enum class Shown { never, on_terminals, everywhere };
  explicit StatusLine(Shown shown);
  ~StatusLine() { clear(); }
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;

  // Left out when the last line is younger than a quarter of a second (half a minute where there is no terminal).
  void show(const std::string& line);
  // Takes it off the terminal, before something else is written.
  void clear();

 private:
  const bool terminal_, on_;
  bool there_ = false;
  SystemClock clock_;
  double last_s_;
};

}  // namespace r1
