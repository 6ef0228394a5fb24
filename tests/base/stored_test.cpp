#include "base/stored.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <regex>

#include "base/error.h"
#include "tests/source_dir.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

const StoredPlace kPlace = {"runs/a/run.db", "batch_stats", "stage=3 and version=7"};

// What the error says; a failure that names file, table and row.
std::string complaint(const std::function<void()>& read) {
  try {
    read();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::failed);
    const std::string what = e.what();
    for (const char* word : {"runs/a/run.db", "table batch_stats", "stage=3 and version=7", "damaged"})
      EXPECT_NE(what.find(word), std::string::npos) << word << " in " << what;
    return what;
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

TEST(Stored, json_of_the_right_shape_is_what_was_written) {
  const char* text = R"({"b": 1, "a": {"x": 2.5, "y": null}, "list": [[1, 2], []], "name": "n", "else": {"deep": [true]}})";
  const char* shape = R"({"a!": {"*": "number?"}, "list": [["number"]], "b": "integer", "name": "text", "absent": "text"})";
  EXPECT_EQ(stored_json(text, kPlace, shape), nlohmann::json::parse(text));
  EXPECT_EQ(stored_ordered_json(text, kPlace, shape).dump(), nlohmann::ordered_json::parse(text).dump());
}

TEST(Stored, damaged_json_is_a_failure_that_names_the_row_and_what_is_wrong) {
  const struct {
    const char *text, *shape, *says;
  } cases[] = {
      {"", "{}", "not JSON"},
      {"{\"a\":", "{}", "not JSON"},
      {"{\"a\": 1e999}", "{}", "out of range"},
      {"[1]", "{}", "it is [1] and no object"},
      {"null", "{}", "it is null and no object"},
      {R"({"a": "1"})", R"({"a": "number"})", "a is \"1\" and no number"},
      {R"({"a": 1.5})", R"({"a": "integer"})", "a is 1.5 and no integer"},
      {R"({"a": 18446744073709551615})", R"({"a": "integer"})", "no integer"},
      {R"({"a": null})", R"({"*": "number"})", "a is null and no number"},
      {R"({"a": {"b": 7}})", R"({"a": {"b": "text"}})", "a.b is 7 and no text"},
      {R"({"a": [[1], 2]})", R"({"a": [["number"]]})", "a.1 is 2 and no list"},
      {R"({"b": 1})", R"({"a!": "number"})", "a is missing"},
      {R"({"a": {}})", R"({"a": {"b!": "number"}})", "a.b is missing"},
  };
  for (const auto& c : cases)
    EXPECT_NE(complaint([&] { stored_json(c.text, kPlace, c.shape); }).find(c.says), std::string::npos) << c.text << c.shape;
}

TEST(Stored, damaged_numbers_are_a_failure_that_names_the_row) {
  EXPECT_EQ(stored_integer("-12", kPlace), -12);
  EXPECT_EQ(stored_number("1.5e3", kPlace), 1500);
  for (const char* text : {"", "x", "1x", " 1", "1.5", "99999999999999999999"})
    complaint([&] { stored_integer(text, kPlace); });
  for (const char* text : {"", "x", "1x", "1e999", "nan", "inf"}) complaint([&] { stored_number(text, kPlace); });
}

// Everything outside base/ reads JSON by base/json.h and base/stored.h, and numbers by std::from_chars: none of these throws
// what is not ours, or takes "12x" for 12.
TEST(Stored, no_text_is_parsed_raw_outside_base) {
  const std::regex raw(
      R"((\bjson|\bJson)::(parse|accept|sax_parse|from_\w+)\b|\bstd::sto(i|l|ll|ul|ull|f|d|ld)\b|\b(std::)?(strto\w+|ato(i|l|ll|f))\()");
  int files = 0;
  for (const char* folder : {"kernels", "models", "rewards", "tasks", "runtime", "actors", "tools"})
    for (const auto& entry : fs::recursive_directory_iterator(source_dir() / folder)) {
      if (entry.path().extension() != ".cpp" && entry.path().extension() != ".h") continue;
      if (entry.path().parent_path().filename() == "guard") continue;  // reads what the kernel wrote, and links nothing of ours
      ++files;
      std::ifstream in(entry.path());
      int number = 0;
      for (std::string line; std::getline(in, line);) {
        ++number;
        EXPECT_FALSE(std::regex_search(line, raw)) << entry.path().string() << ":" << number << ": " << line;
      }
    }
  EXPECT_GT(files, 100);
}

}  // namespace
}  // namespace r1
