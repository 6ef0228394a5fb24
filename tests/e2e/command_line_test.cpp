// What every program answers to an option that it does not have.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <string>

namespace r1 {
namespace {

TEST(CommandLines, every_program_names_the_unknown_option_and_the_nearest_one) {
  for (const std::string program :
       {"r1-run", "r1-node", "r1-shell", "r1-chat", "r1-eval", "r1-score", "r1-convert", "r1-bench", "r1-sim"}) {
    const std::string command = "'" R1_BIN "/" + program + "' --verson 2>&1";
    FILE* out = ::popen(command.c_str(), "r");
    std::string said;
    std::array<char, 4096> piece{};
    for (size_t n = 0; (n = std::fread(piece.data(), 1, piece.size(), out)) > 0;) said.append(piece.data(), n);
    const int status = ::pclose(out);
    EXPECT_EQ(WIFEXITED(status) ? WEXITSTATUS(status) : 128, 2) << program;
    EXPECT_EQ(said, program + ": unknown option '--verson': did you mean --version?\nRun with --help for more information.\n");
  }
}

}  // namespace
}  // namespace r1
