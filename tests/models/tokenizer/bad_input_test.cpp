// Malformed tokenizer.json files: each gives bad_input that names the file and what is wrong with it.
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "base/error.h"
#include "models/tokenizer/tokenizer.h"
#include "tests/models/tokenizer/small_tokenizer.h"

namespace r1 {
namespace {

using nlohmann::json;

std::string refusal(const std::string& text) {
  try {
    Tokenizer::from_json(text, "dir/tokenizer.json");
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::bad_input);
    EXPECT_EQ(e.where().file, "dir/tokenizer.json");
    return e.what();
  }
  return "accepted";
}

struct Case {
  const char* expected;  // part of the message
  std::function<void(json&)> tamper;
};

TEST(TokenizerBadInput, each_fault_is_named) {
  const std::vector<Case> cases = {
      {"no \"model\"", [](json& j) { j.erase("model"); }},
      {"model.type 'Unigram' is not supported", [](json& j) { j["model"]["type"] = "Unigram"; }},
      {"model: expected an object", [](json& j) { j["model"] = 3; }},
      {"model.vocab: expected an object", [](json& j) { j["model"].erase("vocab"); }},
      {"model.vocab is empty", [](json& j) { j["model"]["vocab"] = json::object(); }},
      {"model.vocab['abc']: expected an id", [](json& j) { j["model"]["vocab"]["abc"] = "x"; }},
      {"expected an id", [](json& j) { j["model"]["vocab"]["abc"] = -1; }},
      {"expected an id", [](json& j) { j["model"]["vocab"]["abc"] = 9e15; }},
      {"expected an id", [](json& j) { j["model"]["vocab"]["abc"] = 99999999999; }},
      {"id 256 belongs to both", [](json& j) { j["model"]["vocab"]["abc"] = 256; }},
      {"id 258 belongs to both", [](json& j) { j["added_tokens"][0]["id"] = 258; }},
      {"has id 300, but 258 in the vocabulary", [](json& j) { j["added_tokens"][0]["content"] = "abc"; }},
      {"is listed twice", [](json& j) { j["added_tokens"].push_back(j["added_tokens"][0]); }},
      {"added_tokens: expected a list", [](json& j) { j["added_tokens"] = "x"; }},
      {"added_tokens[0].content: expected a string", [](json& j) { j["added_tokens"][0].erase("content"); }},
      {"added_tokens[0].id: expected an id", [](json& j) { j["added_tokens"][0].erase("id"); }},
      {"added_tokens[0].special: expected true or false", [](json& j) { j["added_tokens"][0]["special"] = "yes"; }},
      {"model.merges: expected a list", [](json& j) { j["model"].erase("merges"); }},
      {"model.merges[5]: the token 'q!' is not in the vocabulary", [](json& j) { j["model"]["merges"].push_back("q! a"); }},
      {"model.merges[5]: the token 'qa' is not in the vocabulary", [](json& j) { j["model"]["merges"].push_back("q a"); }},
      {"expected two tokens with one space", [](json& j) { j["model"]["merges"].push_back("qa"); }},
      {"expected two tokens with one space", [](json& j) { j["model"]["merges"].push_back("q a b"); }},
      {"expected \"left right\"",
       [](json& j) {
         j["model"]["merges"].push_back({"a", "b", "c"});
       }},
      {"model.dropout is not supported", [](json& j) { j["model"]["dropout"] = 0.1; }},
      {"model.end_of_word_suffix is not supported", [](json& j) { j["model"]["end_of_word_suffix"] = "</w>"; }},
      {"model.byte_fallback is not supported", [](json& j) { j["model"]["byte_fallback"] = true; }},
      {"model.unk_token '<unk>' is not in the vocabulary", [](json& j) { j["model"]["unk_token"] = "<unk>"; }},
      {"no token 'q' for the byte 0x71", [](json& j) { j["model"]["vocab"].erase("q"); }},
      {"normalizer.type 'Lowercase' is not supported",
       [](json& j) {
         j["normalizer"] = {{"type", "Lowercase"}};
       }},
      {"normalizer.normalizers: expected a list",
       [](json& j) {
         j["normalizer"] = {{"type", "Sequence"}};
       }},
      {"pre_tokenizer: no ByteLevel", [](json& j) { j["pre_tokenizer"] = nullptr; }},
      {"type 'Metaspace' is not supported",
       [](json& j) {
         j["pre_tokenizer"] = {{"type", "Metaspace"}};
       }},
      {"'Split' after ByteLevel",
       [](json& j) {
         auto& p = j["pre_tokenizer"]["pretokenizers"];
         p.push_back(p[0]);
       }},
      {"is not valid at character", [](json& j) { j["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "a("; }},
      {"pattern: expected", [](json& j) { j["pre_tokenizer"]["pretokenizers"][0]["pattern"] = "a"; }},
      {"behavior 'Glued' is not known", [](json& j) { j["pre_tokenizer"]["pretokenizers"][0]["behavior"] = "Glued"; }},
      {"post_processor.type 'BertProcessing'",
       [](json& j) {
         j["post_processor"] = {{"type", "BertProcessing"}};
       }},
      {"post_processor.single: expected a list",
       [](json& j) {
         j["post_processor"] = {{"type", "TemplateProcessing"}};
       }},
      {"special_tokens has no entry '<y>'",
       [](json& j) {
         j["post_processor"] = {{"type", "TemplateProcessing"},
                                {"single", {{{"SpecialToken", {{"id", "<y>"}}}}, {{"Sequence", {{"id", "A"}}}}}}};
       }},
      {"expected exactly one",
       [](json& j) {
         j["post_processor"] = {{"type", "TemplateProcessing"}, {"single", json::array()}};
       }},
      {"decoder: expected ByteLevel", [](json& j) { j["decoder"] = nullptr; }},
      {"decoder.type 'Metaspace' is not supported",
       [](json& j) {
         j["decoder"] = {{"type", "Metaspace"}};
       }},
  };
  for (const Case& c : cases) {
    json j = small_tokenizer();
    c.tamper(j);
    EXPECT_NE(refusal(j.dump()).find(c.expected), std::string::npos) << c.expected << "\n  got: " << refusal(j.dump());
  }
}

TEST(TokenizerBadInput, the_untouched_file_is_accepted) { EXPECT_EQ(refusal(small_tokenizer().dump()), "accepted"); }

TEST(TokenizerBadInput, text_that_is_not_json_is_placed_by_line_and_column) {
  EXPECT_NE(refusal("{\n  \"model\": oops }").find("dir/tokenizer.json:2:1"), std::string::npos)
      << refusal("{\n  \"model\": oops }");
  EXPECT_NE(refusal("").find("not JSON"), std::string::npos);
  EXPECT_NE(refusal("[1]").find("expected a JSON object"), std::string::npos);
  EXPECT_NE(refusal("\xFF\xFE{}").find("this is UTF-16"), std::string::npos);
  EXPECT_NE(refusal(small_tokenizer().dump().substr(0, 500)).find("not JSON"), std::string::npos);
}

// Each of these once took gigabytes, crashed, or left as an exception of the JSON library.
TEST(TokenizerBadInput, hostile_files_are_refused_with_bounded_work) {
  const auto with = [](const std::string& key, const std::string& value) {
    json j = small_tokenizer();
    j[key] = "<here>";
    std::string text = j.dump();
    return text.replace(text.find("\"<here>\""), 8, value);
  };
  const auto repeated = [](int n, const std::string& text) {
    std::string all;
    for (int i = 0; i < n; ++i) all += text;
    return all;
  };
  const std::string nfc = R"({"type":"NFC"})", digits = R"({"type":"Digits"})";
  const struct {
    const char* name;
    std::string text;
    const char* expected;
  } cases[] = {
      {"number", with("version", "1e400"), "the number 1e400 is out of range"},
      {"deep id", with("added_tokens", R"([{"content":"x","id":)" + std::string(200'000, '[') + "]"),
       "nested more than 64 deep"},
      {"deep normalizer", with("normalizer", repeated(20'000, R"({"type":"Sequence","normalizers":[)")), "nested more than 64"},
      {"long normalizer",
       with("normalizer", R"({"type":"Sequence","normalizers":[)" + repeated(100'000, nfc + ",") + nfc + "]}"),
       "normalizer.normalizers: more than 16 steps"},
      {"long pre-tokenizer",
       with("pre_tokenizer", R"({"type":"Sequence","pretokenizers":[)" + repeated(100'000, digits + ",") + digits + "]}"),
       "more than 64 steps"},
      {"large id", with("added_tokens", R"([{"content":"<x>","id":49999999}])"),
       "expected an id from 0 to 4194303, not 49999999"},
      {"gap", with("added_tokens", R"([{"content":"<x>","id":4194303}])"), "id 4194303 of '<x>' leaves a gap"},
      {"id that wraps around", with("added_tokens", R"([{"content":"<x>","id":18446744073709551615}])"),
       "expected an id from 0"},
      {"key twice", with("version", "1, \"version\": 2"), "the key \"version\" stands twice"},
  };
  for (const auto& c : cases) {
    EXPECT_NE(refusal(c.text).find(c.expected), std::string::npos) << c.name << ": " << refusal(c.text);
    EXPECT_LT(refusal(c.text).size(), 400u) << c.name;
  }
}

TEST(TokenizerBadInput, a_missing_file_is_bad_input) {
  EXPECT_THROW(Tokenizer::from_file("/nonexistent/tokenizer.json"), Error);
}

}  // namespace
}  // namespace r1
