// What a user wrote, cut for a message. Thread rule: a pure function.
#pragma once

#include <string>
#include <string_view>

namespace r1 {

// `text`, or its first bytes (whole characters) and "..." when it is longer than `most` bytes.
std::string shortened(std::string_view text, size_t most);
// The same on one line, and without what would steer a terminal: a control character as \n, \t or \x1b.
std::string clipped(std::string_view text, size_t most = 60);

}  // namespace r1
