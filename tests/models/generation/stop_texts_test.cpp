// Texts that end a sample, wherever the borders of its tokens lie.
#include "models/generation/stop_texts.h"

#include <nlohmann/json.hpp>

#include "tests/models/generation/draft_models.h"
#include "tests/models/generation/generation_helpers.h"

namespace r1::testing {
namespace {

// A byte-level tokenizer: ids 0.. are the letters of `letters`, then the texts of `more`.
Tokenizer letters_tokenizer(const std::string& letters, const std::vector<std::string>& more) {
  nlohmann::json vocab = nlohmann::json::object();
  int id = 0;
  for (const char c : letters) vocab[std::string(1, c)] = id++;
  for (const std::string& text : more) vocab[text] = id++;
  const nlohmann::json root = {{"added_tokens", nlohmann::json::array()},
                               {"normalizer", nullptr},
                               {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
                               {"post_processor", nullptr},
                               {"decoder", {{"type", "ByteLevel"}}},
                               {"model", {{"type", "BPE"}, {"unk_token", "a"}, {"vocab", vocab}, {"merges", nlohmann::json::array()}}}};
  return Tokenizer::from_json(root.dump(), "letters");
}

TEST(StopTexts, are_found_across_the_borders_of_tokens_and_within_one) {
  const Tokenizer t = letters_tokenizer("abcde", {"abc", "cd"});  // 5: abc, 6: cd
  const StopTexts stops(t, {"bcd", "e"});
  const auto ends = [&](std::vector<int32_t> tokens) { return stops.end(tokens); };
  EXPECT_FALSE(ends({}));
  EXPECT_FALSE(ends({0, 1, 2}));
  EXPECT_TRUE(ends({0, 1, 2, 3})) << "b c d";
  EXPECT_TRUE(ends({1, 6})) << "b cd";
  EXPECT_TRUE(ends({5, 3})) << "abc d";
  EXPECT_TRUE(ends({0, 4}));
  EXPECT_FALSE(ends({5, 5}));
  EXPECT_EQ(stops.kept("abcdcd"), "abcd");
  EXPECT_EQ(stops.kept("aebcd"), "ae") << "the first, whichever it is";
  EXPECT_EQ(stops.kept("abab"), "abab");
}

TEST(StopTexts, that_hold_characters_of_several_bytes_are_found_byte_by_byte) {
  // "中" is E4 B8 AD: in the alphabet of byte-level BPE ä, ¸ and Ń's neighbour.
  nlohmann::json vocab = {{"ä", 0}, {"¸", 1}, {"\xC5\x83", 2}, {"a", 3}};
  const nlohmann::json root = {{"added_tokens", nlohmann::json::array()},
                               {"normalizer", nullptr},
                               {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
                               {"post_processor", nullptr},
                               {"decoder", {{"type", "ByteLevel"}}},
                               {"model", {{"type", "BPE"}, {"unk_token", "a"}, {"vocab", vocab}, {"merges", nlohmann::json::array()}}}};
  const Tokenizer t = Tokenizer::from_json(root.dump(), "bytes");
  const std::string text = t.decode(std::vector<int32_t>{0, 1, 2});
  const StopTexts stops(t, {text});
  EXPECT_FALSE(stops.end(std::vector<int32_t>{3, 0, 1}));
  EXPECT_TRUE(stops.end(std::vector<int32_t>{3, 0, 1, 2}));
}

// Every sample ends at the first token whose text completes one, as a search in all of its text says; nothing else changes.
void check(const std::shared_ptr<const WeightSet>& weights, const GeneratorConfig& config) {
  Device& device = open_device("cpu");
  const auto vocabulary = static_cast<int32_t>(weights->config().vocab_size);
  std::vector<std::string> texts;
  std::string letters;
  for (int32_t i = 0; i < vocabulary; ++i) {
    if (i < 26)
      letters += static_cast<char>('a' + i);
    else
      texts.push_back({static_cast<char>('a' + i % 26), static_cast<char>('a' + i / 26)});
  }
  const Tokenizer t = letters_tokenizer(letters, texts);
  const auto stops = std::make_shared<const StopTexts>(t, std::vector<std::string>{"ab", "c", "kd", "zz"});
  std::vector<GenRequest> requests = random_requests(11, 24, vocabulary);
  const Results free = generate(device, weights, config, requests);
  for (GenRequest& r : requests) r.stop_texts = stops;
  const Results stopped = generate(device, weights, config, requests);
  int64_t shorter = 0;
  for (const GenRequest& r : requests)
    for (size_t s = 0; s < free.at(r.id).samples.size(); ++s) {
      const auto& all = free.at(r.id).samples[s].tokens;
      const auto& kept = stopped.at(r.id).samples[s].tokens;
      size_t expected = r.prompt.size();
      bool found = false;
      while (expected < all.size() && !found) {
        ++expected;
        const std::string text = t.decode(std::vector<int32_t>(all.begin() + static_cast<std::ptrdiff_t>(r.prompt.size()),
                                                               all.begin() + static_cast<std::ptrdiff_t>(expected)));
        found = stops->kept(text) != text || text.ends_with("ab") || text.ends_with("c") || text.ends_with("kd") ||
                text.ends_with("zz");
      }
      ASSERT_EQ(kept, std::vector<int32_t>(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(expected)));
      EXPECT_EQ(stopped.at(r.id).finished[s], found ? 1 : free.at(r.id).finished[s]);
      shorter += kept.size() < all.size();
    }
  EXPECT_GT(shorter, 20);
  EXPECT_GT(expect_equal_to_packed(device, {{0, weights}}, requests, stopped), 100);
}

TEST(StopTexts, end_samples_at_the_token_that_completes_one) {
  check(random_weights(open_device("cpu"), random_model_config(Architecture::llama), DType::f32, 3), {});
}

TEST(StopTexts, end_samples_at_the_same_token_when_the_model_drafts) {
  GeneratorConfig config;
  config.draft = true;
  check(draft_weights(open_device("cpu"), DType::f32, 4, 0.0), config);
}

}  // namespace
}  // namespace r1::testing
