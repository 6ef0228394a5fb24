// The graphs that `cmake --install` puts into share/r1/graphs, found from where the program lies: an installed r1 needs no
// source tree, and may be moved as a whole. Thread rule: any thread.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace r1 {

// `path` itself when it exists; else the shipped graph of that name when `path` is a bare name or graphs/NAME
// ("r1_full.graph"). Throws bad_input, with the names there are, when it is neither.
std::filesystem::path find_graph(const std::filesystem::path& path);

// As find_graph, with the shipped graphs in `shipped` (which need not exist).
std::filesystem::path find_graph(const std::filesystem::path& path, const std::filesystem::path& shipped);

}  // namespace r1
