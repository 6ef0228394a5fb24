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

// The text without its colours, which are paired: whatever begins one ends it on the same line.
std::string without_colours(const std::string& text) {
  std::string out;
  bool on = false;
  for (size_t i = 0; i < text.size(); ++i) {
    EXPECT_FALSE(on && text[i] == '\n') << "a colour that goes on behind its line: " << text;
    if (text[i] != '\x1b') {
      out += text[i];
      continue;
    }
    const size_t end = text.find('m', i);
    on = text.substr(i, end + 1 - i) != "\x1b[0m";
    i = end;
  }
  return out;
}

TEST(StoredSamples, are_coloured_by_the_probability_of_each_token_with_a_mark_where_the_version_changes) {
  StoredSample s = sample();
  s.draw = 3;
  s.sample = 1;
  s.reward = 0.25;
  s.versions = {4, 5};
  s.said = {{"sure", 0.95, 4}, {" so", 0.7, 4}, {" so\n\x1b[31m", 0.02, 5}, {"unknown", std::nullopt, -1}};
  const std::string text = samples_text({s}, true), plain = without_colours(text);
  EXPECT_NE(plain.find("probability of a token: at least 0.9, 0.6, 0.3, 0.1, or less\n"), std::string::npos) << plain;
  EXPECT_NE(plain.find("; reward 0.25; math 1; 7 tokens of versions 4 to 5\n"), std::string::npos) << plain;
  EXPECT_NE(plain.find(" > [v4]sure so[v5] so\n > \\x1b[31munknown\n"), std::string::npos) << plain;
  const auto colour_of = [&](const std::string& word) {
    const size_t at = text.find(word + "\x1b[0m");
    return at == text.npos ? "none" : text.substr(text.rfind('\x1b', at), at - text.rfind('\x1b', at));
  };
  EXPECT_EQ(colour_of("sure"), "none");
  EXPECT_EQ(colour_of(" so"), colour_of("0.6"));
  EXPECT_EQ(colour_of("\\x1b[31m"), colour_of("or less"));
  s.versions = {5, 5};
  s.said = {{"all", 1.0, 5}};
  EXPECT_NE(samples_text({s}, true).find("7 tokens of version 5\n"), std::string::npos);
  EXPECT_EQ(samples_text({s}, true).find("[v5]"), std::string::npos);
  EXPECT_EQ(samples_text({s}).find('\x1b'), std::string::npos) << "not where it was not asked for";
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
