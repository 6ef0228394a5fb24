#include "base/log.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "tests/runtime/temporary_directory.h"

namespace r1 {
namespace {

TEST(Log, a_line_is_in_the_file_when_it_was_said) {
  const TemporaryDirectory dir;
  const auto file = dir.path() / "r1.log";
  log_open(file, LogLevel::info, LogLevel::error);
  log_info("a kill would come now");
  EXPECT_NE(read_file(file).find("a kill would come now"), std::string::npos);
  log_open({}, LogLevel::info, LogLevel::warn);
}

}  // namespace
}  // namespace r1
