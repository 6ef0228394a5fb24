// Answers of the shell (see shell_command.h) as text for a person: aligned tables, numbers to the right.
// Thread rule: pure functions.
#pragma once

#include <string>

namespace r1 {

// Ends with a newline. `width`: columns of the terminal; the last column is cut to fit, and what the answer wants plotted is
// drawn above its table. 0: not a terminal, nothing is cut or drawn.
std::string render_answer(const std::string& json, int width = 0);
// True when the answer is an error.
bool is_error_answer(const std::string& json);

}  // namespace r1
