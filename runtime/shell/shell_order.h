// What r1-shell asks of a run that the conductor has to see to. Thread rule: values.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/shell/shell_reply.h"

namespace r1 {

struct ShellOrder {
  enum class Kind { inspect, set, pause, resume, checkpoint, kill, ask, drain, undrain, scale };
  Kind kind = Kind::inspect;
  std::string target;  // a node of the graph; of drain, undrain: a process; of checkpoint: a stage or ""
  std::string value;   // of set, for `target`.`attr`; of ask: the prompt
  std::string attr;
  int64_t count = 0;                  // of scale: nodes at a time, 0 for all
  std::string who = "shell:control";  // for the run's record
  ShellReplyPtr reply;
};

}  // namespace r1
