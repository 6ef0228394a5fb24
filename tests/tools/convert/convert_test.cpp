// r1-convert as a user starts it: what it refuses, and that it leaves nothing behind.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "tests/source_dir.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

struct Answer {
  int code = -1;
  std::string text;  // both outputs
};

class Convert : public ::testing::Test {
 protected:
  fs::path top, model = source_dir() / "tests/models/golden/gguf/llama.gguf";
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "r1_convert_XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    top = name;
  }
  void TearDown() override { fs::remove_all(top); }
  Answer run(const std::string& arguments) const {
    const std::string command = "cd '" + top.string() + "' && '" R1_CONVERT "' " + arguments + " 2>&1";
    FILE* out = ::popen(command.c_str(), "r");
    Answer answer;
    std::array<char, 4096> piece{};
    for (size_t n = 0; (n = std::fread(piece.data(), 1, piece.size(), out)) > 0;) answer.text.append(piece.data(), n);
    const int status = ::pclose(out);
    answer.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
    return answer;
  }
  size_t files() const { return static_cast<size_t>(std::distance(fs::directory_iterator(top), fs::directory_iterator())); }
};

TEST_F(Convert, a_gguf_file_becomes_a_directory_and_a_gguf_file_again) {
  Answer a = run(model.string());
  EXPECT_EQ(a.code, 0) << a.text;
  EXPECT_NE(a.text.find("LlamaForCausalLM"), std::string::npos) << a.text;
  EXPECT_EQ(run(model.string() + " hf --to hf --dtype f32").code, 0);
  for (const char* name :
       {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "generation_config.json"})
    EXPECT_TRUE(fs::exists(top / "hf" / name)) << name;
  a = run("hf back.gguf --to gguf --type f32");
  EXPECT_EQ(a.code, 0) << a.text;
  EXPECT_EQ(run("back.gguf again.gguf --to gguf --type f32").code, 0);
  EXPECT_EQ(fs::file_size(top / "back.gguf"), fs::file_size(top / "again.gguf"));
  EXPECT_EQ(files(), 3u);
}

TEST_F(Convert, a_tokenizer_with_more_ids_than_the_model_goes_into_neither_format) {
  ASSERT_EQ(run(model.string() + " hf --to hf --dtype f32").code, 0);
  const fs::path file = top / "hf/tokenizer.json";
  std::stringstream text;
  text << std::ifstream(file).rdbuf();
  nlohmann::json tokenizer = nlohmann::json::parse(text.str());
  tokenizer["added_tokens"].push_back({{"id", 60000},
                                       {"content", "<one too many>"},
                                       {"single_word", false},
                                       {"lstrip", false},
                                       {"rstrip", false},
                                       {"normalized", false},
                                       {"special", true}});
  std::ofstream(file) << tokenizer;
  for (const char* to : {" out --to hf", " out --to gguf"}) {
    const Answer a = run("hf" + std::string(to));
    EXPECT_EQ(a.code, 2) << a.text;
    EXPECT_NE(a.text.find("has 60001 ids, the model only"), std::string::npos) << a.text;
    EXPECT_FALSE(fs::exists(top / "out"));
  }
}

TEST_F(Convert, what_is_wrong_is_one_line_and_exit_code_2_and_nothing_is_left) {
  fs::create_directory(top / "full");
  std::ofstream(top / "full" / "diary.txt") << "x";
  ASSERT_EQ(::mkfifo((top / "pipe").c_str(), 0600), 0);
  struct Case {
    std::string arguments;
    const char* says;
  };
  const std::string m = model.string();
  for (const Case& c : std::vector<Case>{
           {"", "model is required"},
           {"none", "no such model directory"},
           {m + " out", "--to is missing"},
           {m + " --to hf", "where to write"},
           {m + " out --to onnx", "--to"},
           {m + " out --to hf --dtype q8_0", "unknown type q8_0 of hf"},
           {m + " out --to gguf --type q3", "unknown type q3"},
           {m + " out --to hf --max-shard-size 5XB", "expected a size"},
           {m + " out --to hf --max-shard-size 0", "expected a size"},
           {m + " out --to hf --max-shard-size 99999999999TB", "expected a size"},
           {m + " full --to hf", "exists already"},
           {m + " full --to hf --force", "is no model directory, and is not replaced"},
           {m + " full --to gguf --force", "is a directory"},
           {m + " pipe --to gguf --force", "is no file"},
           {"full", "neither model.safetensors"},
       }) {
    const Answer a = run(c.arguments);
    EXPECT_EQ(a.code, 2) << c.arguments << ": " << a.text;
    EXPECT_NE(a.text.find(c.says), std::string::npos) << c.arguments << ": " << a.text;
    EXPECT_EQ(files(), 2u) << c.arguments;
    EXPECT_TRUE(fs::is_fifo(top / "pipe")) << "it was not replaced: " << c.arguments;
  }
  EXPECT_TRUE(fs::exists(top / "full" / "diary.txt"));
}

}  // namespace
}  // namespace r1
