// The table that a finished run ends with. Pure function, any thread.
#pragma once

#include <string>

namespace r1::terminal {

// summary.json as a table of at most 80 columns, one line a stage; columns that no stage fills are left out. Throws failure
// when it is not what a run writes; `file`: where it was read from, for that error.
std::string summary_table(const std::string& summary_json, const std::string& file = "summary.json");

}  // namespace r1::terminal
