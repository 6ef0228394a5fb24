#include "models/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "base/error.h"
#include "tests/models/generation/temporary_dir.h"

namespace r1 {
namespace {

using testing::TemporaryDir;

std::string file_bytes(const std::string& header, const std::string& data) {
  std::string bytes(8, '\0');
  const uint64_t n = header.size();
  std::memcpy(bytes.data(), &n, 8);
  return bytes + header + data;
}

std::string with_length(uint64_t length, const std::string& rest) {
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + rest;
}

// Without fsync: hundreds of small files.
void write_quickly(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

struct BrokenHeader {
  const char* name;
  std::string bytes;
  const char* says;  // part of the message
};

std::vector<BrokenHeader> broken_headers() {
  const std::string a4 = R"("a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  const std::string data4(4, 'x'), data8(8, 'x');
  return {
      {"empty file", "", "cut short"},
      {"seven bytes", "1234567", "cut short"},
      {"header over the limit", with_length(100'000'001, "{}"), "over the limit"},
      {"header length near 2^64", with_length(~uint64_t{0}, "{}"), "over the limit"},
      {"header beyond the file", with_length(100, "{}"), "does not fit"},
      {"no header at all", with_length(0, ""), "begin with '{'"},
      {"leading space", file_bytes(" {}", ""), "begin with '{'"},
      {"an array", file_bytes("[]", ""), "begin with '{'"},
      {"newline padding", file_bytes("{}\n", ""), "spaces"},
      {"zero padding", file_bytes(std::string("{}\0", 3), ""), "spaces"},
      {"not JSON", file_bytes("{a}", ""), "not valid JSON"},
      {"comment in JSON", file_bytes("{/* */}", ""), "not valid JSON"},
      {"two documents", file_bytes("{}{}", ""), "not valid JSON"},
      {"invalid UTF-8", file_bytes("{\"\xff\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", data4),
       "not valid JSON"},
      {"duplicate tensor", file_bytes("{" + a4 + "," + a4 + "}", data4), "the key \"a\" stands twice"},
      {"duplicate inner key", file_bytes(R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", data4),
       "the key \"dtype\" stands twice"},
      {"duplicate escaped key", file_bytes("{" + a4 + R"(,"\u0061":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", data8),
       "the key \"a\" stands twice"},
      {"entry is no object", file_bytes(R"({"a":3})", ""), "'a': expected an object"},
      {"unknown inner key", file_bytes(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}})", data4),
       "unknown key 'x'"},
      {"no dtype", file_bytes(R"({"a":{"shape":[1],"data_offsets":[0,4]}})", data4), "'dtype' is missing"},
      {"no shape", file_bytes(R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", data4), "'shape' is missing"},
      {"no offsets", file_bytes(R"({"a":{"dtype":"F32","shape":[1]}})", data4), "'data_offsets' is missing"},
      {"unknown dtype", file_bytes(R"({"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}})", data4), "unknown dtype 'F31'"},
      {"dtype is a number", file_bytes(R"({"a":{"dtype":32,"shape":[1],"data_offsets":[0,4]}})", data4),
       "dtype must be a string"},
      {"shape is a number", file_bytes(R"({"a":{"dtype":"F32","shape":1,"data_offsets":[0,4]}})", data4),
       "shape must be an array"},
      {"negative dimension", file_bytes(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", data4), "non-negative"},
      {"fractional dimension", file_bytes(R"({"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})", data4),
       "non-negative"},
      {"negative offset", file_bytes(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}})", data4), "non-negative"},
      {"one offset", file_bytes(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4]}})", data4), "[begin, end]"},
      {"end before begin", file_bytes(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", data4), "before begin"},
      {"wrong size", file_bytes(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", data4), "need 8"},
      {"product of dimensions overflows",
       file_bytes(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", ""), "overflows"},
      {"bits overflow", file_bytes(R"({"a":{"dtype":"F64","shape":[4611686018427387904],"data_offsets":[0,0]}})", ""),
       "overflows"},
      {"dimension over 63 bits", file_bytes(R"({"a":{"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,0]}})", ""),
       "too large"},
      {"half a byte", file_bytes(R"({"a":{"dtype":"F4","shape":[1],"data_offsets":[0,1]}})", "x"), "whole bytes"},
      {"hole at the start", file_bytes(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", data8), "a hole"},
      {"hole between", file_bytes("{" + a4 + R"(,"b":{"dtype":"U8","shape":[1],"data_offsets":[5,6]}})", "xxxxxx"),
       "'b' begins at byte 5"},
      {"overlap", file_bytes("{" + a4 + R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})", "xxxxxx"), "an overlap"},
      {"same range twice", file_bytes("{" + a4 + R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", data4),
       "an overlap"},
      {"tail", file_bytes("{" + a4 + "}", data8), "its tensors need 4"},
      {"data cut short", file_bytes("{" + a4 + "}", "xx"), "its tensors need 4"},
      {"metadata is no object", file_bytes(R"({"__metadata__":1})", ""), "object of strings"},
      {"metadata value is no string", file_bytes(R"({"__metadata__":{"step":1}})", ""), "'step' is not a string"},
  };
}

TEST(Safetensors, every_corruption_is_refused_in_one_line_that_names_the_file) {
  const TemporaryDir dir;
  const auto path = dir.path() / "model.safetensors";
  for (const BrokenHeader& c : broken_headers()) {
    write_quickly(path, c.bytes);
    try {
      SafetensorsFile file(path);
      ADD_FAILURE() << c.name << ": accepted";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::bad_input) << c.name;
      EXPECT_EQ(e.where().file, path.string()) << c.name;
      EXPECT_NE(e.message().find(c.says), std::string::npos) << c.name << ": " << e.message();
      EXPECT_EQ(e.message().find('\n'), std::string::npos) << c.name;
    }
  }
}

TEST(Safetensors, a_missing_file_and_a_directory_are_bad_input) {
  const TemporaryDir dir;
  for (const auto& path : {dir.path() / "none", dir.path()}) {
    try {
      SafetensorsFile file(path);
      ADD_FAILURE() << path;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::bad_input);
    }
  }
}

TEST(Safetensors, cutting_a_valid_file_anywhere_is_noticed) {
  const TemporaryDir dir;
  const float data[3] = {1, 2, 3};
  const auto path = dir.path() / "a";
  write_safetensors(path, {{"x", "F32", {3}, data, sizeof data}}, {{"format", "pt"}});
  const std::string bytes = read_file(path);
  for (size_t n = 0; n < bytes.size(); ++n) {
    write_quickly(dir.path() / "b", bytes.substr(0, n));
    EXPECT_THROW(SafetensorsFile(dir.path() / "b"), Error) << n;
  }
}

TEST(Safetensors, what_was_written_is_read_back) {
  const TemporaryDir dir;
  const auto path = dir.path() / "a.safetensors";
  const std::vector<float> f = {1.5f, -2, 3, 4, 5, 6};
  const std::vector<uint16_t> h = {1, 2};
  const std::vector<int64_t> l = {-7};
  write_safetensors(path,
                    {{"zeta", "BF16", {2}, h.data(), 4},
                     {"weird \"name\" \xE6\xB0\xB4", "F32", {2, 3}, f.data(), 24},
                     {"empty", "F32", {0, 5}, nullptr, 0},
                     {"also empty", "F32", {5, 0}, nullptr, 0},
                     {"scalar", "I64", {}, l.data(), 8},
                     {"alpha", "BF16", {1, 2}, h.data(), 4}},
                    {{"format", "pt"}, {"step", "12"}});
  const SafetensorsFile file(path);
  ASSERT_EQ(file.entries().size(), 6u);
  EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"format", "pt"}, {"step", "12"}}));
  const auto x = file.find("weird \"name\" \xE6\xB0\xB4");
  ASSERT_TRUE(x);
  EXPECT_EQ(x->shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(x->dtype, "F32");
  ASSERT_EQ(x->bytes, 24u);
  EXPECT_EQ(std::memcmp(x->data, f.data(), 24), 0);
  EXPECT_EQ(file.find("empty")->bytes, 0u);
  EXPECT_EQ(file.find("scalar")->shape, std::vector<int64_t>{});
  EXPECT_EQ(std::memcmp(file.find("scalar")->data, l.data(), 8), 0);
  EXPECT_FALSE(file.find("nothing"));
}

TEST(Safetensors, the_writer_puts_wide_types_first_and_pads_the_header) {
  const TemporaryDir dir;
  const auto path = dir.path() / "a.safetensors";
  const uint64_t zeros[4] = {};
  write_safetensors(
      path, {{"a", "U8", {1}, zeros, 1}, {"c", "F32", {1}, zeros, 4}, {"b", "F32", {1}, zeros, 4}, {"d", "I64", {1}, zeros, 8}},
      {});
  const std::string bytes = read_file(path);
  uint64_t n = 0;
  std::memcpy(&n, bytes.data(), 8);
  EXPECT_EQ(n % 8, 0u);
  const std::string header = bytes.substr(8, n);
  EXPECT_LT(header.find("\"d\""), header.find("\"b\""));
  EXPECT_LT(header.find("\"b\""), header.find("\"c\""));
  EXPECT_LT(header.find("\"c\""), header.find("\"a\""));
}

}  // namespace
}  // namespace r1
