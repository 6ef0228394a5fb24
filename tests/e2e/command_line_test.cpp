// What every program answers to an option that it does not have.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <string>

namespace r1 {
namespace {

struct Said {
  int code;
  std::string text;
};
Said said_by(const std::string& program, const std::string& arguments) {
  const std::string command = "'" R1_BIN "/" + program + "' " + arguments + " 2>&1 < /dev/null";
  FILE* out = ::popen(command.c_str(), "r");
  std::string said;
  std::array<char, 4096> piece{};
  for (size_t n = 0; (n = std::fread(piece.data(), 1, piece.size(), out)) > 0;) said.append(piece.data(), n);
  const int status = ::pclose(out);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128, said};
}

TEST(CommandLines, no_option_takes_nan_for_a_number) {
  for (const auto& [program, arguments] :
       {std::pair{"r1-eval", "m --data d --rewards math --pass-at nan"},
        std::pair{"r1-eval", "m --data d --rewards math --temperature nan"}, std::pair{"r1-chat", "m --temperature nan"},
        std::pair{"r1-chat", "m --top-p nan"}, std::pair{"r1-score", "--rewards math --timeout nan"},
        std::pair{"r1-score", "--rewards math --start nan"}}) {
    const Said said = said_by(program, arguments);
    EXPECT_EQ(said.code, 2) << program << " " << arguments;
    EXPECT_NE(said.text.find("number"), std::string::npos) << said.text;
  }
}

TEST(CommandLines, every_program_names_the_unknown_option_and_the_nearest_one) {
  for (const std::string program :
       {"r1-run", "r1-node", "r1-shell", "r1-chat", "r1-eval", "r1-score", "r1-convert", "r1-bench", "r1-sim"}) {
    const Said said = said_by(program, "--verson");
    EXPECT_EQ(said.code, 2) << program;
    EXPECT_EQ(said.text,
              program + ": unknown option '--verson': did you mean --version?\nRun with --help for more information.\n");
  }
}

}  // namespace
}  // namespace r1
