#include "tools/command_line.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"

namespace r1 {
namespace {

struct Answer {
  std::optional<int> code;
  std::string said;
};

// A program with a required argument and a required option; with commands instead where asked for.
Answer parse(std::vector<std::string> words, bool commands = false) {
  CLI::App app("Measures.", "r1-test");
  add_common_flags(app, "Examples:");
  std::string model, data;
  double temperature = 1;
  int width = 0;
  if (commands) {
    app.require_subcommand(1);
    app.add_subcommand("kernels", "times kernels")->add_option("--shape", width);
    app.add_subcommand("train", "times training")->add_option("--layers", width);
  } else {
    app.add_option("model", model)->required();
    app.add_option("--data", data)->required();
    app.add_option("--problems", width);
    app.add_option("-t,--temperature", temperature)->check(number_from(0, 100));
    app.add_flag("--json");
  }
  words.insert(words.begin(), "r1-test");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  testing::internal::CaptureStderr();
  const auto code = parse_command_line(app, static_cast<int>(argv.size()), argv.data());
  return {code, testing::internal::GetCapturedStderr()};
}

TEST(CommandLine, a_misspelt_option_is_named_with_the_nearest_one) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"m", "--data", "d", "--prompts", "50"}, "unknown option '--prompts': did you mean --problems?"},
      {{"m", "--data", "d", "--tempreture=0.5"}, "unknown option '--tempreture': did you mean --temperature?"},
      {{"m", "--dta", "d"}, "unknown option '--dta': did you mean --data?"},  // not "--data is required"
      {{"m", "--data", "d", "-json"}, "unknown option '-json': did you mean --json?"},
      {{"m", "--data", "d", "--hepl"}, "unknown option '--hepl': did you mean --help?"},
      {{"m", "--data", "d", "--zebra"}, "unknown option '--zebra'"},
      {{"m", "n", "--data", "d"}, "'n' is one argument too many"},
      {{"m"}, "--data is required"},
  };
  for (const auto& [words, said] : cases) {
    const Answer a = parse(words);
    ASSERT_EQ(a.code, static_cast<int>(ExitCode::bad_input)) << said;
    EXPECT_EQ(a.said, "r1-test: " + said + "\nRun with --help for more information.\n");
  }
}

TEST(CommandLine, a_variable_that_is_not_set_is_not_taken_for_an_option_that_was_not_given) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"", "--data", "d"}, "model"},
      {{"m", "--data", ""}, "--data"},
      {{"m", "--data="}, "--data"},
      {{"m", "--data", "d", "--problems", ""}, "--problems"},
  };
  for (const auto& [words, name] : cases) {
    const Answer a = parse(words);
    ASSERT_EQ(a.code, static_cast<int>(ExitCode::bad_input)) << name;
    EXPECT_EQ(a.said.find("r1-test: " + name + ": "), 0) << a.said;
  }
  EXPECT_EQ(parse({"train", "--layers", ""}, true).code, static_cast<int>(ExitCode::bad_input));
}

TEST(CommandLine, a_misspelt_command_is_named_and_options_are_those_of_the_command_that_was_given) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"kernls"}, "unknown command 'kernls': did you mean kernels?"},
      {{"zebra"}, "unknown command 'zebra'"},
      {{"train", "--layer", "2"}, "unknown option '--layer': did you mean --layers?"},
      {{"train", "--shap", "2"}, "unknown option '--shap'"},
      {{"train", "more"}, "'more' is one argument too many"},
  };
  for (const auto& [words, said] : cases) {
    const Answer a = parse(words, true);
    ASSERT_EQ(a.code, static_cast<int>(ExitCode::bad_input)) << said;
    EXPECT_EQ(a.said, "r1-test: " + said + "\nRun with --help for more information.\n");
  }
}

TEST(CommandLine, what_is_no_number_within_its_bounds_is_refused) {
  for (const char* number : {"nan", "-nan", "inf", "-inf", "-1", "100.5", "1e400", "0x1", "1 ", "one", ""}) {
    const Answer a = parse({"m", "--data", "d", "--temperature", number});
    ASSERT_EQ(a.code, static_cast<int>(ExitCode::bad_input)) << number;
    EXPECT_NE(a.said.find("is not a number from 0 to 100"), std::string::npos) << a.said;
  }
  for (const char* number : {"0", "1e-3", "100"})
    EXPECT_FALSE(parse({"m", "--data", "d", "--temperature", number}).code.has_value()) << number;
}

TEST(CommandLine, a_right_one_says_nothing) {
  const Answer a = parse({"m", "--data", "d", "--problems", "5"});
  EXPECT_FALSE(a.code.has_value());
  EXPECT_EQ(a.said, "");
}

}  // namespace
}  // namespace r1
