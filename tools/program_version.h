// What --version prints, of every program: release, commit, build type and compiler.
// Not for fingerprints: those take version() (base/version.h), so that a commit that changes no arithmetic keeps a run's.
// Thread rule: pure function.
#pragma once

#include <string>

namespace r1 {

// "r1-run 0.1.0 (22b13a9f04, Release, GNU 12.2.0)"; without the commit where the sources were no git checkout. "-dirty" after
// the commit: the sources had changes on top of it.
std::string program_version(const std::string& program);

}  // namespace r1
