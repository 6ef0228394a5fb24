// A run on another machine, asked through ssh: r1-shell is started there by one fixed command, and everything else - the run
// directory, the questions - goes over its stdin, so nothing of it is parsed by a shell or seen in a list of processes. It ends
// with its stdin. Thread rule: one thread.
#pragma once

#include <string>

#include "base/process.h"
#include "tools/shell/attach.h"

namespace r1 {

// Before the first line of the r1-shell there; what a login shell prints comes before it, and is not looked at.
constexpr const char* kSshMarker = "R1SHELL";

class SshRun final : public Attached {
 public:
  // Throws failure when ssh or the r1-shell there fails (its last words are said), bad_input for what is no run there.
  explicit SshRun(const SshPlace& place);
  std::string ask(const std::string& line, const ShellPart& part) override;

 private:
  std::string next_line(double limit_s);
  std::string exchange(const std::string& line, double limit_s, const ShellPart& part);

  const std::string host_;
  Process process_;
  std::string out_, err_;  // read, and not yet used
};

}  // namespace r1
