// What models/model_export.h writes is read back, by our own reader; transformers and llama.cpp read it in tools/bench/peers.
#include "models/model_export.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "models/gguf_model.h"
#include "models/safetensors.h"
#include "tests/models/generation/random_models.h"
#include "tests/models/generation/temporary_dir.h"
#include "tools/sim/power_cut.h"
#include "tests/source_dir.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;
using testing::random_model_config;
using testing::random_weights;
using testing::TemporaryDir;
using Json = nlohmann::json;

Hash128 loaded_hash(const fs::path& model, DType dtype) { return load_weights(open_device("cpu"), model, dtype)->hash(); }

// The tokenizer of the golden GGUF file; its pre-tokenizer replaced by `pre`.
std::string tokenizer_text(const Json& pre = nullptr) {
  Json j = Json::parse(*model_text(source_dir() / "tests/models/golden/gguf/llama.gguf", "tokenizer.json"));
  if (!pre.is_null()) j["pre_tokenizer"] = pre;
  return j.dump();
}

class ModelExport : public ::testing::Test {
 protected:
  Device& device = open_device("cpu");
  TemporaryDir temporary;
  fs::path dir = temporary.path() / "out", file = temporary.path() / "out.gguf";

  std::string refusal(const std::function<void()>& f) {
    try {
      f();
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::bad_input);
      return e.message() + " | " + e.hint();
    }
    return "nothing was thrown";
  }
};

TEST_F(ModelExport, a_directory_in_f32_or_bf16_holds_the_weights_of_that_type_whole_or_in_shards) {
  for (const Architecture a : {Architecture::llama, Architecture::qwen2, Architecture::qwen3, Architecture::deepseek_v3}) {
    const auto weights = random_weights(device, random_model_config(a), DType::f32, 3);
    const Hash128 bf16 = convert_weights(*weights, weights->config(), DType::bf16).hash();
    for (const uint64_t shard : {uint64_t{1} << 40, uint64_t{20'000}}) {
      write_model_dir(dir, weights->config(), tensor_source(*weights), {},
                      {.type = FileType::f32, .max_shard_bytes = shard, .progress = {}});
      EXPECT_EQ(loaded_hash(dir, DType::f32), weights->hash());
      EXPECT_EQ(fs::exists(dir / "model.safetensors.index.json"), shard == 20'000);
      for (const auto& entry : fs::directory_iterator(dir))
        if (shard == 20'000 && entry.path().extension() == ".safetensors") {
          EXPECT_TRUE(entry.file_size() < 24'000 || SafetensorsFile(entry.path()).entries().size() == 1) << entry.path();
        }
      // From there into another type, as r1-convert does.
      const StoredModel stored(dir);
      write_model_dir(temporary.path() / "narrow", stored.config(), tensor_source(stored), {},
                      {.type = FileType::bf16, .max_shard_bytes = shard, .progress = {}});
      EXPECT_EQ(loaded_hash(temporary.path() / "narrow", DType::bf16), bf16);
    }
  }
}

TEST_F(ModelExport, half_precision_is_exact_where_it_can_be_and_refused_where_a_value_does_not_fit) {
  const auto weights = random_weights(device, random_model_config(Architecture::llama), DType::f32, 3);
  write_model_dir(dir, weights->config(), tensor_source(*weights), {},
                  {.type = FileType::f16, .max_shard_bytes = 1u << 30, .progress = {}});
  const StoredModel once(dir);
  EXPECT_EQ(once.at("model.norm.weight").type, "F16");
  write_model_dir(temporary.path() / "again", once.config(), tensor_source(once), {},
                  {.type = FileType::f32, .max_shard_bytes = 1u << 30, .progress = {}});
  EXPECT_EQ(loaded_hash(temporary.path() / "again", DType::f32), loaded_hash(dir, DType::f32));
  const std::vector<float> large(48, 70'000.0f);
  for (size_t i = 0; i < weights->specs().size(); ++i)
    if (weights->specs()[i].name == "model.norm.weight") upload(weights->param(i), large);
  fs::remove_all(dir);
  const std::string says = refusal([&] {
    write_model_dir(dir, weights->config(), tensor_source(*weights), {},
                    {.type = FileType::f16, .max_shard_bytes = 1u << 30, .progress = {}});
  });
  EXPECT_NE(says.find("tensor 'model.norm.weight' holds inf at [0] (70000 as f32)"), std::string::npos) << says;
  std::vector<float> diverged(48, 1.0f);
  diverged[3] = std::nanf("");
  for (size_t i = 0; i < weights->specs().size(); ++i)
    if (weights->specs()[i].name == "model.norm.weight") upload(weights->param(i), diverged);
  for (const FileType type : {FileType::f32, FileType::bf16, FileType::f16})
    EXPECT_NE(refusal([&] {
                write_model_dir(dir, weights->config(), tensor_source(*weights), {},
                                {.type = type, .max_shard_bytes = 1u << 30, .progress = {}});
              }).find("tensor 'model.norm.weight' holds nan at [3] | the training"),
              std::string::npos);
  EXPECT_FALSE(fs::exists(dir) || fs::exists(dir.string() + ".tmp"));
}

TEST_F(ModelExport, a_gguf_file_is_read_back_as_the_same_model) {
  for (const Architecture a : {Architecture::llama, Architecture::qwen2, Architecture::qwen3}) {
    ModelConfig config = random_model_config(a);
    config.vocab_size = 150;
    config.bos_id = 1;
    config.eos_ids = {2, 0};
    if (a == Architecture::llama) {  // as Llama 3.1
      config.head_dim = 64;
      config.rope_theta = 500000;
      config.rope_factor = 8;
      config.rope_low = 1;
      config.rope_high = 4;
      config.rope_original_context = 8192;
      config.attention_bias = true;
    }
    const auto weights = random_weights(device, config, DType::f32, 3);
    const ModelTexts texts = export_texts(
        {{"tokenizer.json", tokenizer_text()}, {"tokenizer_config.json", R"({"chat_template":"x {{ y }}"})"}}, config, "test");
    write_gguf(file, config, tensor_source(*weights), texts,
               {.type = FileType::f32, .name = "a", .pre_tokenizer = "", .progress = {}});
    check_model_dir(file);
    EXPECT_EQ(loaded_hash(file, DType::f32), weights->hash());
    EXPECT_EQ(model_config_json(read_model_config(file), "float32"), model_config_json(config, "float32"));
    EXPECT_EQ(Json::parse(gguf_tokenizer_config_json(GgufFile(file))).at("chat_template"), "x {{ y }}");
    const Tokenizer before = Tokenizer::from_json(tokenizer_text(), "test"), after = model_tokenizer(file);
    for (const std::string text : {"hello world 12 it's", "<|im_start|>user\n<|im_end|>", ""})
      EXPECT_EQ(after.encode(text), before.encode(text)) << text;
    write_gguf(file, config, tensor_source(*weights), texts,
               {.type = FileType::bf16, .name = "a", .pre_tokenizer = "", .progress = {}});
    EXPECT_EQ(loaded_hash(file, DType::bf16), convert_weights(*weights, config, DType::bf16).hash());
    write_gguf(file, config, tensor_source(*weights), texts,
               {.type = FileType::q8_0, .name = "a", .pre_tokenizer = "", .progress = {}});
    EXPECT_EQ(StoredModel(file).at("model.layers.0.mlp.down_proj.weight").type, "Q8_0") << "rows of 64";
    EXPECT_EQ(StoredModel(file).at("model.layers.0.mlp.up_proj.weight").type, "F16") << "rows of 48 are no blocks";
  }
}

TEST_F(ModelExport, what_a_gguf_file_cannot_hold_is_refused) {
  const auto write = [&](const ModelConfig& config, const std::string& tokenizer) {
    const auto weights = random_weights(device, config, DType::f32, 3);
    ModelTexts texts;
    if (!tokenizer.empty()) texts["tokenizer.json"] = tokenizer;
    return refusal([&] {
      write_gguf(file, config, tensor_source(*weights), texts,
                 {.type = FileType::f32, .name = "", .pre_tokenizer = "", .progress = {}});
    });
  };
  ModelConfig config = random_model_config(Architecture::llama);
  config.vocab_size = 150;
  EXPECT_NE(write(random_model_config(Architecture::deepseek_v3), "").find("deepseek_v3 cannot be written as GGUF"),
            std::string::npos);
  EXPECT_NE(write(config, "").find("no tokenizer.json"), std::string::npos);
  const Json odd = {{"type", "Sequence"},
                    {"pretokenizers",
                     {{{"type", "Split"}, {"pattern", {{"Regex", " ?\\S+"}}}, {"behavior", "Isolated"}, {"invert", false}},
                      {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}};
  EXPECT_NE(write(config, tokenizer_text(odd)).find("no name for the way this tokenizer cuts"), std::string::npos);
  config.vocab_size = 3;
  EXPECT_NE(write(config, tokenizer_text()).find("ids, the model only 3"), std::string::npos);
  config.vocab_size = 150;
  config.scalar_head = true;
  EXPECT_NE(write(config, tokenizer_text()).find("a reward model cannot"), std::string::npos);
  EXPECT_FALSE(fs::exists(file));
}

TEST_F(ModelExport, the_texts_make_transformers_read_tokenizer_json_as_it_stands) {
  ModelConfig config = random_model_config(Architecture::llama);
  config.bos_id = 1;
  config.eos_ids = {2, 0};
  ModelTexts out = export_texts(
      {{"tokenizer.json", tokenizer_text()},
       {"tokenizer_config.json", R"({"tokenizer_class":"GPT2Tokenizer","model_max_length":7,"pad_token":"<|endoftext|>"})"},
       {"generation_config.json", R"({"temperature":0.6,"eos_token_id":2})"},
       {"chat_template.jinja", "x"}},
      config, "test");
  Json j = Json::parse(out.at("tokenizer_config.json"));
  EXPECT_EQ(j["tokenizer_class"], "PreTrainedTokenizerFast");
  EXPECT_EQ(j["bos_token"], "<|im_start|>");
  EXPECT_EQ(j["eos_token"], "<|im_end|>");
  EXPECT_EQ(j["pad_token"], "<|endoftext|>");
  EXPECT_EQ(j["model_max_length"], 7);
  EXPECT_FALSE(j.contains("auto_map"));
  EXPECT_EQ(out.at("chat_template.jinja"), "x");
  const Json generation = Json::parse(out.at("generation_config.json"));
  EXPECT_EQ(generation["temperature"], 0.6);
  EXPECT_EQ(generation["eos_token_id"], (std::vector<int>{2, 0}));

  // Every qwen2 is given Qwen2's own pattern by transformers 5, unless the directory brings a class along.
  config.architecture = Architecture::qwen2;
  out = export_texts({{"tokenizer.json", tokenizer_text()}}, config, "test");
  EXPECT_EQ(Json::parse(out.at("tokenizer_config.json"))["auto_map"]["AutoTokenizer"][1], "tokenization_plain.PlainTokenizer");
  EXPECT_TRUE(out.contains("tokenization_plain.py"));
  EXPECT_THROW(export_texts({{"tokenizer.json", tokenizer_text()}, {"tokenizer_config.json", "[]"}}, config, "test"), Error);
}

TEST_F(ModelExport, a_gguf_file_outlives_a_power_cut_as_soon_as_it_is_written) {
  ModelConfig config = random_model_config(Architecture::qwen3);
  config.vocab_size = Tokenizer::from_json(tokenizer_text(), "test").vocab_size();
  const auto weights = random_weights(device, config, DType::f32, 3);
  const ModelTexts texts = export_texts({{"tokenizer.json", tokenizer_text()}}, config, "test");
  const fs::path copies = temporary.path().string() + "_left";
  PowerCut power(temporary.path());
  write_gguf(file, config, tensor_source(*weights), texts,
             {.type = FileType::f32, .name = "a", .pre_tokenizer = "", .progress = {}});
  power.restore(copies);
  EXPECT_TRUE(fs::exists(copies / file.filename()) && read_file(copies / file.filename()) == read_file(file));
  fs::remove_all(copies);
}

}  // namespace
}  // namespace r1
