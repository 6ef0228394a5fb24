// A small model directory with random weights and the tiny world's tokenizer, and programs run on it.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <string>

#include "base/files.h"
#include "models/model_config.h"
#include "models/weights.h"
#include "tasks/tiny/tokenizer_json.h"
#include "tests/source_dir.h"

namespace r1 {

struct ModelTest : ::testing::Test {
  struct Result {
    int code;
    std::string out, err;
  };

  void SetUp() override {
    top = std::filesystem::temp_directory_path() /
          ("r1_model_" + std::to_string(::getpid()) + "_" + ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(top);
    std::filesystem::create_directories(top);
    WeightSet weights(open_device("cpu"), read_model_config_file(source_dir() / "tests/e2e/graphs/nano.json"), DType::f32);
    initialize(weights, 5);
    save_model_dir(top / "model", weights, tiny_tokenizer_json());
  }
  void TearDown() override { std::filesystem::remove_all(top); }

  std::string model() const { return (top / "model").string(); }
  std::string file(const std::string& name, const std::string& text) const {
    write_file_atomically(top / name, text);
    return (top / name).string();
  }
  // By the shell: quote what needs it. Runs in `top`.
  Result shell(const std::string& command, const std::string& input = "") const {
    const std::string in = file("stdin", input), out = (top / "stdout").string(), err = (top / "stderr").string();
    const int status = std::system(("cd " + top.string() + " && " + command + " <" + in + " >" + out + " 2>" + err).c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read_file(out), read_file(err)};
  }

  std::filesystem::path top;
};

}  // namespace r1
