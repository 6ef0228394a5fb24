#include "base/json.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/files.h"

namespace r1 {
namespace {

using nlohmann::json;

std::string refusal(std::string_view text, const JsonOptions& options = {}, const Where& where = {"a.json"}) {
  try {
    parse_json(text, where, options);
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::bad_input);
    return e.what();
  }
  return "accepted";
}

std::string nested(int depth) { return std::string(depth, '[') + std::string(depth, ']'); }

TEST(Json, gives_the_same_values_as_the_library) {
  for (const char* text : {"null", "true", "-3", "18446744073709551615", "1.5e3", "\"a\\u00e9\\ud83d\\ude00\\n\"", "[]", "{}",
                           "[1,[2,{\"a\":[3]},{}],4]", " { \"b\" : { \"c\" : [ { } , [ ] ] } , \"a\" : \"x\" } ",
                           "\xEF\xBB\xBF[1]", "1e-400", "-0", "-0.0"})
    EXPECT_EQ(parse_json(text, {}), json::parse(text)) << text;
}

TEST(Json, every_refusal_has_file_line_and_column) {
  const struct {
    const char* text;
    const char* message;
  } cases[] = {
      {"{\"a\":\n  1e400}", "a.json:2:3: the number 1e400 is out of range (the largest is about 1.8e308)"},
      {"[-1e999,1]", "a.json:1:2: the number -1e999 is out of range (the largest is about 1.8e308)"},
      {"{\"a\": 1,\n \"a\": 2}", "a.json:2:2: the key \"a\" stands twice in one object"},
      {"{\"x\\\"y\": 1, \"x\\\"y\": 2}", "a.json:1:13: the key \"x\\\"y\" stands twice in one object"},
      {"{\"a\": \"\\ud83d\"}", "half of a surrogate pair in a string"},
      {"{\"a\": \"\\ude00\"}", "half of a surrogate pair in a string"},
      {"{\"a\": \"\xff\"}", "a.json:1:8: not UTF-8"},
      {"[1, NaN]", "a.json:1:5: NaN and Infinity are no JSON"},
      {"[-Infinity]", "not JSON"},
      {"", "a.json:1:1: not JSON: unexpected end of input"},
      {"{\"a\":\n\n 1,}", "a.json:3:4: not JSON: unexpected '}'; expected string literal"},
      {"[1] 2", "a.json:1:5: not JSON"},
      {"{a: 1}", "a.json:1:2: not JSON"},
  };
  for (const auto& c : cases)
    EXPECT_NE(refusal(c.text).find(c.message), std::string::npos) << c.text << " -> " << refusal(c.text);
  EXPECT_NE(refusal(std::string_view("\xFF\xFE{\0}\0", 6)).find("this is UTF-16, not UTF-8"), std::string::npos);
  EXPECT_NE(refusal(std::string_view("{\0\"\0", 4)).find("this is UTF-16, not UTF-8"), std::string::npos);
  EXPECT_NE(refusal(std::string_view("[\0]", 3)).find("UTF-16"), std::string::npos);
  EXPECT_NE(refusal(std::string_view("[1,\0]", 5)).find("a.json:1:4: not JSON"), std::string::npos);
}

TEST(Json, a_line_of_a_file_is_refused_with_its_own_number) {
  EXPECT_EQ(refusal("{\"x\": 1e400}", {.hint = "one JSON object a line"}, {"d.jsonl", 41}),
            "d.jsonl:41:7: the number 1e400 is out of range (the largest is about 1.8e308)");
  EXPECT_EQ(refusal("{\"x\" 1}", {.hint = "one JSON object a line"}, {"d.jsonl", 41}),
            "d.jsonl:41:6: not JSON: unexpected number literal; expected ':' (one JSON object a line)");
}

TEST(Json, depth_is_limited_before_anything_recurses) {
  EXPECT_EQ(parse_json(nested(64), {}), json::parse(nested(64)));
  EXPECT_EQ(refusal(nested(65)), "a.json:1:65: lists and objects are nested more than 64 deep");
  EXPECT_EQ(refusal(std::string(1'000'000, '[')), "a.json:1:65: lists and objects are nested more than 64 deep");
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  EXPECT_EQ(refusal(objects), "a.json:1:321: lists and objects are nested more than 64 deep");
  EXPECT_EQ(refusal("[[1]]", {.max_depth = 1}), "a.json:1:2: lists and objects are nested more than 1 deep");
  EXPECT_EQ(refusal("[[],[],{}]", {.max_depth = 2}), "accepted");
}

TEST(Json, sizes_are_limited_and_messages_are_short) {
  EXPECT_EQ(refusal("[1,2,3]", {.max_bytes = 6}), "a.json: 7 bytes of JSON are more than the 6 allowed here");
  EXPECT_LT(refusal("[" + std::string(100'000, 'x')).size(), 300u);
  EXPECT_LT(refusal("[1e" + std::string(100'000, '9') + "]").size(), 200u);
  const std::string name(100'000, 'k');
  EXPECT_LT(refusal("{\"" + name + "\":1,\"" + name + "\":1}").size(), 200u);
  EXPECT_EQ(shown_json(json(std::string(100, 'a')), 10), "\"aaaaaa...");
  EXPECT_EQ(shown_json(json("\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9"), 7), "\"\u00e9...");
}

TEST(Json, an_integer_that_a_double_would_round_is_refused_where_it_is_data) {
  for (const char* beyond : {"18446744073709551616", "-9223372036854775809", "12345678901234567890123"})
    EXPECT_NE(
        refusal("[1, " + std::string(beyond) + "]", {.exact_integers = true}).find(std::string(beyond) + " is beyond 64 bits"),
        std::string::npos);
  EXPECT_EQ(parse_json("[18446744073709551615, -9223372036854775808, 1e30, 1.5]", {}, {.exact_integers = true}).size(), 4u);
  EXPECT_EQ(parse_json("1000000000000000019884624838656", {}), json(1e30)) << "model_max_length of tokenizers";
}

TEST(Json, a_key_twice_may_be_allowed_and_the_last_counts) {
  EXPECT_EQ(parse_json("{\"a\":[1],\"a\":2}", {}, {.unique_keys = false}), json::parse("{\"a\":2}"));
}

TEST(Json, integers_beyond_64_bits_do_not_wrap_around) {
  EXPECT_EQ(json_integer(json::parse("9223372036854775807")), INT64_MAX);
  EXPECT_EQ(json_integer(json::parse("-9223372036854775808")), INT64_MIN);
  for (const char* text :
       {"9223372036854775808", "18446744073709551615", "1e3", "1.0", "\"1\"", "null", "99999999999999999999"})
    EXPECT_FALSE(json_integer(json::parse(text))) << text;
}

TEST(Json, texts_that_may_be_left_out_give_an_absent_value) {
  EXPECT_FALSE(try_parse_json("{"));
  EXPECT_FALSE(try_parse_json("1e400"));
  EXPECT_EQ(*try_parse_json("[1]"), json::parse("[1]"));
  EXPECT_EQ(ordered_json_or_null("{\"b\":1,\"a\":2}").dump(), "{\"b\":1,\"a\":2}");
  EXPECT_TRUE(ordered_json_or_null(nested(100'000)).is_null());
}

TEST(Json, exceptions_of_the_library_become_errors_with_the_file) {
  const json j = {{"a", "text"}};
  const auto refused = [&](auto body) {
    try {
      with_json_errors({"a.json"}, "a hint", [&] { return body(); });
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  EXPECT_EQ(refused([&] { return j.at("a").get<int>(); }),
            "a.json: unexpected JSON: type must be number, but is string (a hint)");
  EXPECT_NE(refused([&] { return j.at("b"); }).find("a.json: unexpected JSON"), std::string::npos);
  EXPECT_EQ(refused([&]() -> int { throw failure("another"); }), "another");
}

TEST(Json, files_that_never_end_are_not_opened) {
  const auto dir = std::filesystem::temp_directory_path() / "r1_json_test";
  std::filesystem::create_directories(dir);
  const auto fifo = dir / "fifo", file = dir / "a.json";
  ::mkfifo(fifo.c_str(), 0600);
  const auto message = [](const std::filesystem::path& path, size_t most) {
    try {
      read_small_file(path, most);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::bad_input);
      return std::string(e.message());
    }
    return std::string("read");
  };
  write_file_atomically(file, "[1, 2]");
  EXPECT_EQ(message(fifo, 100), "not a regular file");
  EXPECT_EQ(message("/dev/zero", 100), "not a regular file");
  EXPECT_EQ(message(dir, 100), "not a regular file");
  EXPECT_EQ(message(dir / "none", 100), "no such file");
  EXPECT_EQ(message(file, 5), "6 bytes are more than the 5 that such a file may have");
  EXPECT_EQ(message(file, 6), "read");
  EXPECT_EQ(read_json_file(file), json::parse("[1, 2]"));
  std::filesystem::remove_all(dir);
}

}  // namespace
}  // namespace r1
