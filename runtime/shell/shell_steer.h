// The commands of r1-shell that ask something of the run itself: of a role, or that something be done. Parsing, and who has to
// see to it; what then happens is runtime/conductor/shell_orders.h. Internal to runtime/shell.
// Thread rule: as begin_command (shell_command.h).
#pragma once

#include <span>
#include <string>

#include "runtime/shell/shell_command.h"

namespace r1 {

struct SteeringCommand {
  const char* name;
  const char* arguments;
  const char* does;
  const char* example;
  bool steers;  // changes the run, or costs it something: not for a key that may only look
  void (*begin)(const ShellSources& sources, const std::string& rest, const ShellReplyPtr& reply);
};
std::span<const SteeringCommand> steering_commands();

// What stands behind the first word of a line, without blanks around it.
std::string rest_of(const std::string& line);

}  // namespace r1
