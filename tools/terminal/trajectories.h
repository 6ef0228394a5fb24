// r1-shell's `traj`: what a stage drew, from the run's store. Thread rule: pure functions but for reading the run directory.
#pragma once

#include <filesystem>
#include <string>

namespace r1::terminal {

// `coloured`: for a terminal, tokens by the probability that they were sampled with; `json`: one object a line.
enum class SamplesAs { text, coloured, json };

// `arguments`: what stands behind "traj". Throws bad_input.
std::string trajectories(const std::filesystem::path& run_dir, const std::string& arguments, SamplesAs as);
// The same as an answer of the shell (runtime/shell/shell_command.h): {"text"}; "--coloured" before the arguments asks for
// colours, "--json" for {"lines"}.
std::string trajectories_answer(const std::filesystem::path& run_dir, const std::string& arguments);

}  // namespace r1::terminal
