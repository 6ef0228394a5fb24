#include "tools/terminal/stored_samples.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace r1::terminal {
namespace {

StoredSample sample() {
  StoredSample s;
  s.stage = "rl";
  s.moment = "before";
  s.what = "tiny:reasoning_test 4";
  s.prompt = "two\nlines";
  s.response = "an escape \x1b[2J, a bell \a, a C1 control \xc2\x9b, and 四";
  s.tokens = 7;
  s.scores = {{"math", 1}};
  s.verdict = "right";
  return s;
}

TEST(StoredSamples, are_printed_without_what_would_steer_a_terminal) {
  const std::string text = samples_text({sample()});
  EXPECT_NE(text.find("==== rl, held out, before"), std::string::npos) << text;
  EXPECT_NE(text.find("-- tiny:reasoning_test 4: right; math 1; 7 tokens"), std::string::npos) << text;
  EXPECT_NE(text.find("   two\n   lines\n"), std::string::npos) << text;
  EXPECT_NE(text.find(R"( > an escape \x1b[2J, a bell \x07, a C1 control \x9b, and 四)"), std::string::npos) << text;
  for (const char c : text) EXPECT_TRUE(c == '\n' || static_cast<unsigned char>(c) >= 0x20);
}

TEST(StoredSamples, are_json_lines_in_which_what_was_not_computed_is_null) {
  StoredSample scored = sample();
  scored.reward = 0.25;
  const std::string text = samples_jsonl({sample(), scored});
  const size_t end = text.find('\n');
  const auto first = nlohmann::json::parse(text.substr(0, end)), second = nlohmann::json::parse(text.substr(end + 1));
  EXPECT_TRUE(first.at("reward").is_null());
  EXPECT_EQ(second.at("reward"), 0.25);
  EXPECT_EQ(first.at("scores").at("math"), 1);
  EXPECT_EQ(first.at("response"), sample().response);
}

}  // namespace
}  // namespace r1::terminal
