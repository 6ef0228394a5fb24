// Directories that outlive a power cut. What is written into one is only as durable as its own name is.
// Thread rule: any thread.
#pragma once

#include <filesystem>

namespace r1 {

// Makes `dir` and what is missing above it. When it returns the name of each new directory is durable, and that of `dir` too
// where it was there before: whoever made it may have been killed before it was. Throws failure with the path.
void make_directories(const std::filesystem::path& dir);

}  // namespace r1
