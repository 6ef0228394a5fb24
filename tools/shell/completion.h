// What the tab key offers in r1-shell: commands, and the stages, roles and metrics that the run has at that moment.
// Thread rule: one thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace r1 {

// `ask`: the run's answer to a command, as JSON; "" when there is none. The candidates for the last word of `line`.
std::vector<std::string> shell_completions(const std::string& line, const std::function<std::string(const std::string&)>& ask);

}  // namespace r1
