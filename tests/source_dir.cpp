#include "tests/source_dir.h"

namespace r1 {

std::filesystem::path source_dir() { return R1_SOURCE_DIR; }

}  // namespace r1
