// Text that came from elsewhere - a file's name, what a program said - as text that every format takes: JSON knows UTF-8 alone.
// Thread rule: a pure function.
#pragma once

#include <string>
#include <string_view>

namespace r1 {

// `text` with U+FFFD in place of what is no UTF-8; equal to `text` exactly when it is UTF-8.
std::string utf8_text(std::string_view text);

}  // namespace r1
