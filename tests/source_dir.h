// The root of the source tree, for tests that read golden files, graphs or the sources themselves. One object file knows the
// path, so that all others compile to the same bits (and come from the compiler cache) in any checkout.
#pragma once

#include <filesystem>

namespace r1 {

std::filesystem::path source_dir();

}  // namespace r1
