// What a line typed to r1-chat means: something to say, or a command. Not what happens then.
// Thread rule: pure functions.
#pragma once

#include <string>

#include "tools/chat/chat_session.h"

namespace r1 {

struct ChatCommand {
  enum class Kind { say, settings, system, reset, help, quit };
  Kind kind = Kind::say;
  std::string text;  // what to say; the system prompt ("": none); what was changed or asked for, to be shown
};

// `settings` are changed in place. Throws bad_input for a command that there is not and a value out of range. A line that
// begins with "//" says what stands behind the first '/'.
ChatCommand parse_chat_line(const std::string& line, ChatSettings& settings);

}  // namespace r1
