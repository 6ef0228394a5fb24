// The same ids and texts as huggingface/tokenizers, on files written by tools/golden/tokenizers.py.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/files.h"
#include "models/tokenizer/tokenizer.h"
#include "tests/source_dir.h"

namespace r1 {
namespace {

class Golden : public testing::TestWithParam<const char*> {};

TEST_P(Golden, encodes_and_decodes_as_huggingface_tokenizers_does) {
  const std::string path = source_dir() / ("tests/models/tokenizer/golden/" + std::string(GetParam()) + ".json");
  const auto golden = nlohmann::json::parse(read_file(path));
  const Tokenizer tokenizer = Tokenizer::from_json(golden["tokenizer"].get<std::string>(), path);
  ASSERT_GT(golden["cases"].size(), 40u);
  for (const auto& c : golden["cases"]) {
    const auto text = c[0].get<std::string>();
    const auto ids = c[1].get<std::vector<int32_t>>();
    EXPECT_EQ(tokenizer.encode(text), ids) << "text: " << c[0];
    EXPECT_EQ(tokenizer.decode(ids, true), c[2].get<std::string>()) << "text: " << c[0];
  }
  ASSERT_GT(golden["decodes"].size(), 5u);
  for (const auto& c : golden["decodes"])
    EXPECT_EQ(tokenizer.decode(c[0].get<std::vector<int32_t>>()), c[1].get<std::string>()) << c[0];
}

INSTANTIATE_TEST_SUITE_P(Families, Golden, testing::Values("qwen2", "llama3", "deepseek", "misc"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace r1
