#include "tools/program_version.h"

#include <fmt/format.h>
#include <git_description.h>  // written by every build: cmake/GitDescription.cmake

#include "base/version.h"

namespace r1 {

std::string program_version(const std::string& program) {
  const std::string commit = R1_GIT_DESCRIPTION;
  return fmt::format("{} {} ({}{}{}, {})", program, version(), commit, commit.empty() ? "" : ", ", R1_BUILD_TYPE, R1_COMPILER);
}

}  // namespace r1
