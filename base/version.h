// The release of r1 as every part of it knows it: in fingerprints, logs and the programs' --version.
// Thread rule: pure function.
#pragma once

namespace r1 {

const char* version();  // "0.1.0"; the project's version in CMakeLists.txt

}  // namespace r1
