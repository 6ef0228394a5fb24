#include "models/tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/files.h"
#include "models/tokenizer/bpe.h"
#include "models/tokenizer/regex.h"
#include "models/tokenizer/utf8.h"
#include "tests/models/tokenizer/small_tokenizer.h"

namespace r1 {
namespace {

using Ids = std::vector<int32_t>;

// The pieces that `pattern` cuts `text` into, joined by '|'.
std::string cut(const std::string& pattern, const std::string& text) {
  std::vector<std::pair<size_t, size_t>> matches;
  Regex(pattern, "test").find_all(text, matches);
  std::string out;
  size_t done = 0;
  for (const auto& [b, e] : matches) {
    if (b > done) out += "~" + text.substr(done, b - done) + "|";
    out += text.substr(b, e - b) + "|";
    done = e;
  }
  return out + (done < text.size() ? "~" + text.substr(done) : "");
}

const std::string kContraction = R"((?i:'s|'t|'re|'ve|'m|'ll|'d))";
const std::string kTail = R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const std::string kQwen2 = kContraction + R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)" + kTail;
const std::string kLlama3 = kContraction + R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)" + kTail;

TEST(TokenizerRegex, qwen2_takes_digits_one_by_one_and_llama3_by_three) {
  EXPECT_EQ(cut(kQwen2, "x 1234"), "x| |1|2|3|4|");
  EXPECT_EQ(cut(kLlama3, "x 1234"), "x| |123|4|");
}

TEST(TokenizerRegex, contractions_spaces_and_newlines_split_as_derived_by_hand) {
  EXPECT_EQ(cut(kQwen2, "it's  IT'LL"), "it|'s| | IT|'LL|");  // the last space of a run goes with the word
  EXPECT_EQ(cut(kQwen2, "a.\n\nb"), "a|.\n\n|b|");            // punctuation takes the newlines after it
  EXPECT_EQ(cut(kQwen2, "a \n \n b"), "a| \n \n| b|");        // \s*[\r\n]+ up to the last newline
  EXPECT_EQ(cut(kQwen2, "end   "), "end|   |");
  EXPECT_EQ(cut(kQwen2, "(x)"), "(x|)|");  // one non-letter may open a word
  EXPECT_EQ(cut(kQwen2, "你好 мир"), "你好| мир|");
}

TEST(TokenizerRegex, deepseeks_third_pattern_keeps_punctuation_with_ascii_letters) {
  const std::string third = R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|)"
                            R"([^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  EXPECT_EQ(cut(third, ".method(x)"), ".method|(x|)|");
  EXPECT_EQ(cut(third, "a ++\n"), "a| ++\n|");
  EXPECT_EQ(cut(third, "é.é"), "é|.|é|");
}

TEST(TokenizerRegex, a_long_run_of_spaces_needs_no_deep_stack) {
  const std::string text(200000, ' ');
  EXPECT_EQ(cut(kQwen2, text), text + "|");
}

TEST(Utf8, malformed_bytes_become_one_replacement_for_each_maximal_subpart) {
  const std::string r = "\xEF\xBF\xBD";
  EXPECT_EQ(utf8::replace_malformed("a\x80z"), "a" + r + "z");
  EXPECT_EQ(utf8::replace_malformed("\xE4\xBD"), r);  // two bytes of three
  EXPECT_EQ(utf8::replace_malformed("\xE4\xBDx"), r + "x");
  EXPECT_EQ(utf8::replace_malformed("\xC0\xAF"), r + r);          // overlong
  EXPECT_EQ(utf8::replace_malformed("\xED\xA0\x80"), r + r + r);  // a surrogate
  EXPECT_EQ(utf8::replace_malformed("\xF0\x9F\x98"), r);
  EXPECT_EQ(utf8::replace_malformed("\xF4\x90\x80\x80"), r + r + r + r);  // above U+10FFFF
  EXPECT_EQ(utf8::replace_malformed("\xF0\x9F\x98\x80"), "\xF0\x9F\x98\x80");
}

TEST(Utf8, the_byte_alphabet_is_gpt2s) {
  const auto& a = utf8::byte_alphabet();
  EXPECT_EQ(a.text_of[' '], "\xC4\xA0");   // U+0120
  EXPECT_EQ(a.text_of['\n'], "\xC4\x8A");  // U+010A
  EXPECT_EQ(a.text_of['A'], "A");
  EXPECT_EQ(a.text_of[0xAD], "\xC5\x83");  // U+0143: the last of the 68
  for (int b = 0; b < 256; ++b) EXPECT_EQ(a.byte_of[utf8::decode(a.text_of[static_cast<size_t>(b)]).code_point], b);
}

Tokenizer make(const nlohmann::json& j) { return Tokenizer::from_json(j.dump(), "small.json"); }

TEST(Tokenizer, merges_the_lowest_rank_first_and_leftmost_on_ties) {
  const Tokenizer t = make(small_tokenizer());
  EXPECT_EQ(t.encode("abc"), (Ids{258}));        // b+c (rank 0), then a+bc
  EXPECT_EQ(t.encode("abcd"), (Ids{258, 'd'}));  // bc goes before cd
  EXPECT_EQ(t.encode("abab"), (Ids{256, 256}));
  EXPECT_EQ(t.encode("cda"), (Ids{259, 'a'}));
  EXPECT_EQ(t.encode(" abc"), (Ids{' ', 258}));  // bc, a+bc before space+a
  EXPECT_EQ(t.encode(" ac"), (Ids{260, 'c'}));
}

TEST(Tokenizer, ignore_merges_takes_a_piece_that_is_a_token_whole) {
  auto j = small_tokenizer();
  j["model"]["vocab"]["zzz"] = 270;
  EXPECT_EQ(make(j).encode("zzz"), (Ids{'z', 'z', 'z'}));
  j["model"]["ignore_merges"] = true;
  EXPECT_EQ(make(j).encode("zzz"), (Ids{270}));
  EXPECT_EQ(make(j).encode("zzzz"), (Ids{'z', 'z', 'z', 'z'}));
}

TEST(Tokenizer, heap_merging_equals_the_naive_definition) {
  std::mt19937 gen(7);
  Bpe bpe;
  for (int b = 0; b < 256; ++b) bpe.byte_ids[b] = b;
  struct Rule {
    int l, r, id;
  };
  std::vector<Rule> rules;
  for (int i = 0; i < 60; ++i) {
    const auto symbol = [&] {
      const int k = static_cast<int>(gen() % (4 + rules.size()));
      return k < 4 ? 'a' + k : 256 + k - 4;
    };
    const Rule r{symbol(), symbol(), 256 + i};
    bool known = false;
    for (const Rule& o : rules) known |= o.l == r.l && o.r == r.r;
    if (known) {
      --i;
      continue;
    }
    bpe.merges.add(r.l, r.r, static_cast<uint32_t>(rules.size()), r.id);
    rules.push_back(r);
  }
  for (int round = 0; round < 400; ++round) {
    std::string text;
    for (size_t n = 1 + gen() % 60; n > 0; --n) text += static_cast<char>('a' + gen() % 4);
    Ids naive(text.begin(), text.end());
    for (bool merged = true; merged;) {
      merged = false;
      for (const Rule& r : rules) {
        for (size_t i = 0; i + 1 < naive.size() && !merged; ++i) {
          if (naive[i] != r.l || naive[i + 1] != r.r) continue;
          naive[i] = r.id;
          naive.erase(naive.begin() + static_cast<long>(i) + 1);
          merged = true;
        }
        if (merged) break;
      }
    }
    Ids got;
    bpe.encode(text, got);
    ASSERT_EQ(got, naive) << text;
  }
}

TEST(Tokenizer, decodes_what_it_encoded_for_any_valid_text) {
  const Tokenizer t = make(small_tokenizer(kQwen2));
  std::mt19937 gen(11);
  for (int round = 0; round < 200; ++round) {
    std::string text;
    for (size_t n = gen() % 30; n > 0; --n) {
      static const uint32_t kinds[] = {0x20, 0x7F, 0x250, 0x3040, 0x5000, 0x1F600};
      uint32_t c = 0;
      do c = kinds[gen() % 6] - 0x20 + gen() % 0x60;
      while (c == 0);
      utf8::append(text, c);
    }
    ASSERT_EQ(t.decode(t.encode(text)), text);
  }
}

TEST(Tokenizer, a_character_cut_in_two_decodes_to_a_replacement_until_it_is_whole) {
  const Tokenizer t = make(small_tokenizer());
  const Ids ids = t.encode("\xE4\xBD\xA0");
  ASSERT_EQ(ids.size(), 3u);
  EXPECT_EQ(t.decode(std::span(ids).first(2)), "\xEF\xBF\xBD");
  EXPECT_EQ(t.decode_bytes(std::span(ids).first(2)), "\xE4\xBD");
  EXPECT_EQ(t.decode(ids), "\xE4\xBD\xA0");
}

TEST(Tokenizer, malformed_text_is_read_as_replacement_characters) {
  const Tokenizer t = make(small_tokenizer());
  EXPECT_EQ(t.encode("a\xFFz"), t.encode("a\xEF\xBF\xBDz"));
}

TEST(Tokenizer, added_tokens_are_cut_out_and_specials_skipped_on_request) {
  const Tokenizer t = make(small_tokenizer());
  const Ids ids = t.encode("ab<x>c");
  EXPECT_EQ(ids, (Ids{256, 300, 'c'}));
  EXPECT_EQ(t.decode(ids), "ab<x>c");
  EXPECT_EQ(t.decode(ids, true), "abc");
  EXPECT_TRUE(t.is_special(300));
  EXPECT_FALSE(t.is_special(256));
}

TEST(Tokenizer, ids_and_sizes) {
  const auto j = small_tokenizer();
  const Tokenizer t = make(j);
  EXPECT_EQ(t.vocab_size(), 301);
  EXPECT_EQ(t.id_of("<x>"), 300);
  EXPECT_EQ(t.id_of("abc"), 258);
  EXPECT_EQ(t.id_of("nothing"), std::nullopt);
  EXPECT_EQ(t.token_of(258), "abc");
  EXPECT_EQ(t.token_of(299), std::nullopt);
  EXPECT_EQ(t.token_of(-1), std::nullopt);
  EXPECT_EQ(t.decode(Ids{'a', 299, 5000, -7, 'b'}), "ab");
  EXPECT_EQ(t.json(), j.dump());
}

TEST(Tokenizer, the_template_adds_tokens_only_when_asked) {
  auto j = small_tokenizer();
  j["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single", {{{"SpecialToken", {{"id", "<x>"}, {"type_id", 0}}}}, {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
      {"pair", nlohmann::json::array()},
      {"special_tokens", {{"<x>", {{"id", "<x>"}, {"ids", {300}}, {"tokens", {"<x>"}}}}}}};
  EXPECT_EQ(make(j).encode("ab"), (Ids{300, 256}));
  EXPECT_EQ(make(j).encode("ab", false), (Ids{256}));
  EXPECT_EQ(make(j).encode(""), (Ids{300}));
}

TEST(Tokenizer, many_threads_encode_alike) {
  const Tokenizer t = make(small_tokenizer(kLlama3));
  const std::string text = "The quick brown fox, it's 12345 abcabc\n\n  done <x> 你好";
  const Ids expected = t.encode(text);
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (int k = 0; k < 4; ++k)
    threads.emplace_back([&, k] {
      for (int i = 0; i < 300; ++i) wrong[static_cast<size_t>(k)] += t.encode(text) != expected;
    });
  for (auto& th : threads) th.join();
  EXPECT_EQ(wrong, (std::vector<int>{0, 0, 0, 0}));
}

}  // namespace
}  // namespace r1
