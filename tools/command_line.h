// What the command lines of all programs have in common: --help with examples, --version, and what a wrong one is answered.
// Thread rule: main() calls.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>

namespace r1 {

// Gives `app`, which has the program's name, `examples` below its --help, and --version.
void add_common_flags(CLI::App& app, const char* examples);

// Reads the command line into what `app` was told of. The exit code where nothing is left to do: after --help and --version,
// and for a command line that was refused on stderr.
std::optional<int> parse_command_line(CLI::App& app, int argc, char** argv);

// For check(): a number from `low` to `high`. CLI::Range takes NaN for one.
CLI::Validator number_from(double low, double high);
// The same, or 0 in any spelling.
CLI::Validator zero_or_number_from(double low, double high);

}  // namespace r1
