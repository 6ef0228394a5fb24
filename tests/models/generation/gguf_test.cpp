// GGUF files: values, tensors, tokenizer and configuration as the package `gguf` wrote them (tools/golden/gguf.py), and a table
// of files that are wrong.
#include "models/gguf.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "models/float16.h"
#include "models/gguf_model.h"
#include "models/model_files.h"
#include "models/safetensors.h"
#include "models/weights.h"
#include "tests/models/generation/temporary_dir.h"
#include "tests/source_dir.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;
using testing::TemporaryDir;

fs::path golden(const std::string& name) { return source_dir() / "tests/models/golden/gguf" / name; }

std::string bytes_of(const SafetensorsEntry& e) { return {static_cast<const char*>(e.data), e.bytes}; }

std::vector<float> floats(const SafetensorsEntry& e) {
  std::vector<float> out(e.bytes / sizeof(float));
  std::memcpy(out.data(), e.data, e.bytes);
  return out;
}

TEST(Gguf, blocks_of_every_type_are_the_numbers_that_the_reference_reads) {
  const SafetensorsFile file(golden("blocks.safetensors"));
  for (const GgufTensorType type : {GgufTensorType::q4_0, GgufTensorType::q4_1, GgufTensorType::q8_0, GgufTensorType::q6_k,
                                    GgufTensorType::f16, GgufTensorType::bf16}) {
    const std::string name = gguf_block(static_cast<uint32_t>(type))->name;
    const std::vector<float> wanted = floats(*file.find(name + "/f32"));
    std::vector<float> found(wanted.size());
    gguf_dequantize(type, file.find(name + "/raw")->data, static_cast<int64_t>(found.size()), found.data());
    for (size_t i = 0; i < found.size(); ++i) ASSERT_EQ(found[i], wanted[i]) << name << " at " << i;
  }
}

TEST(Gguf, quantised_blocks_are_the_bytes_that_the_reference_writes) {
  const SafetensorsFile file(golden("blocks.safetensors"));
  const std::vector<float> values = floats(*file.find("values"));
  for (const GgufTensorType type : {GgufTensorType::q8_0, GgufTensorType::f16, GgufTensorType::bf16}) {
    const GgufBlock& block = *gguf_block(static_cast<uint32_t>(type));
    std::string found(values.size() / block.values * block.bytes, '\0');
    gguf_quantize(type, values.data(), static_cast<int64_t>(values.size()), found.data());
    EXPECT_EQ(found, bytes_of(*file.find(std::string(block.name) + "/quantised"))) << block.name;
  }
}

TEST(Gguf, half_precision_rounds_to_nearest_even_and_keeps_what_is_not_finite) {
  for (uint32_t h = 0; h < 0x10000; ++h) {
    const float f = f32_from_f16(static_cast<uint16_t>(h));
    if (std::isnan(f)) {
      EXPECT_TRUE(std::isnan(f32_from_f16(f16_from_f32(f))));
      continue;
    }
    ASSERT_EQ(f16_from_f32(f), h);
    if (!std::isfinite(f) || (h & 0x7FFF) == 0x7BFF) continue;
    const float next = f32_from_f16(static_cast<uint16_t>(h + 1)), middle = (f + next) / 2;
    ASSERT_EQ(f16_from_f32(middle), (h & 1) ? h + 1 : h) << h;
    ASSERT_EQ(f16_from_f32(std::nextafterf(middle, next)), h + 1) << h;
  }
  EXPECT_EQ(f16_from_f32(65519.996f), 0x7BFF);
  EXPECT_EQ(f16_from_f32(65520.0f), 0x7C00);
  EXPECT_EQ(f16_from_f32(-1e30f), 0xFC00);
}

TEST(Gguf, a_model_has_the_published_tensors_with_rows_in_the_published_order) {
  const StoredModel model(golden("llama.gguf"));
  const SafetensorsFile wanted(golden("llama.safetensors"));
  EXPECT_EQ(model.tensors().size(), wanted.entries().size());
  for (const auto& e : wanted.entries()) {
    const StoredTensor& t = model.at(e.name);
    ASSERT_EQ(t.shape, e.shape) << e.name;
    std::vector<float> found(static_cast<size_t>(t.shape[0] * t.row_size()));
    t.read(0, t.shape[0], found.data());
    ASSERT_EQ(found, floats(e)) << e.name << " " << t.type;
  }
}

TEST(Gguf, a_model_loads_with_its_configuration_as_a_hugging_face_directory_does) {
  const fs::path file = golden("llama.gguf");
  check_model_dir(file);
  const auto weights = load_weights(open_device("cpu"), file, DType::f32);
  const ModelConfig& c = weights->config();
  EXPECT_EQ(c.architecture, Architecture::llama);
  EXPECT_EQ(c.hidden, 32);
  EXPECT_EQ(c.heads, 4);
  EXPECT_EQ(c.kv_heads, 2);
  EXPECT_EQ(c.head_dim, 8);
  EXPECT_EQ(c.layers, 2);
  EXPECT_EQ(c.max_positions, 128);
  EXPECT_EQ(c.rope_theta, 100000);
  EXPECT_EQ(c.rms_eps, 1e-5f);
  EXPECT_TRUE(c.tied_head);
  EXPECT_EQ(c.bos_id, 1);
  EXPECT_EQ(c.eos_ids, std::vector<int32_t>{2});
  EXPECT_EQ(c.vocab_size, model_tokenizer(file).vocab_size() + 2) << "unused tokens pad the embedding";

  const TemporaryDir dir;  // the same through a directory, and saved as one
  fs::copy_file(file, dir.path() / "any name.gguf");
  EXPECT_EQ(load_weights(open_device("cpu"), dir.path(), DType::f32)->hash(), weights->hash());
  save_model_dir(dir.path() / "saved", *weights, "");
  EXPECT_EQ(load_weights(open_device("cpu"), dir.path() / "saved", DType::f32)->hash(), weights->hash());
  fs::copy_file(file, dir.path() / "second.gguf");
  try {
    check_model_dir(dir.path());
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_EQ(e.message(), "the directory holds 2 GGUF files and no config.json");
  }
}

TEST(Gguf, its_tokenizer_gives_the_ids_of_the_reference_and_drops_bytes_without_a_token) {
  const Tokenizer tokenizer = model_tokenizer(golden("llama.gguf"));
  const auto j = nlohmann::json::parse(std::ifstream(golden("llama_tokens.json")));
  for (const auto& c : j["cases"])
    EXPECT_EQ(tokenizer.encode(c[0].get<std::string>()), c[1].get<std::vector<int32_t>>()) << c[0];
  EXPECT_TRUE(tokenizer.is_special(*tokenizer.id_of("<|im_end|>")));
  const auto config = nlohmann::json::parse(*model_text(golden("llama.gguf"), "tokenizer_config.json"));
  EXPECT_EQ(config["chat_template"], j["template"]);
  EXPECT_EQ(config["eos_token"], "<|im_end|>");
}

// ---- files that are wrong -------------------------------------------------------------------------------------------------

std::string u32(uint32_t n) { return {reinterpret_cast<const char*>(&n), sizeof n}; }
std::string u64(uint64_t n) { return {reinterpret_cast<const char*>(&n), sizeof n}; }
std::string text(const std::string& s) { return u64(s.size()) + s; }
std::string head(uint64_t tensors, uint64_t keys, uint32_t version = 3) {
  return "GGUF" + u32(version) + u64(tensors) + u64(keys);
}
std::string number(const std::string& key, uint32_t n) { return text(key) + u32(4) + u32(n); }
std::string tensor(const std::string& name, const std::vector<uint64_t>& dims, uint32_t type, uint64_t offset) {
  std::string out = text(name) + u32(static_cast<uint32_t>(dims.size()));
  for (const uint64_t d : dims) out += u64(d);
  return out + u32(type) + u64(offset);
}
std::string padded(std::string s, size_t data = 0) {
  s.resize((s.size() + 31) / 32 * 32 + data, '\0');
  return s;
}

struct Corruption {
  const char* name;
  std::string bytes;
  const char* says;
};

std::vector<Corruption> corruptions() {
  const uint64_t huge = ~uint64_t{0};
  return {
      {"empty", "", "cut short"},
      {"another magic", "GGML" + u32(3), "does not begin with 'GGUF'"},
      {"big-endian", "GGUF" + std::string("\0\0\0\3", 4), "big-endian"},
      {"version 1", head(0, 0, 1), "version 1"},
      {"header cut short", head(0, 0).substr(0, 20), "are left"},
      {"2^64 tensors", head(huge, 0), "tensors, expected at most"},
      {"2^64 keys", head(0, huge), "keys, expected at most"},
      {"keys cut short", head(0, 1), "are left"},
      {"key of 2^64 bytes", head(0, 1) + u64(huge), "takes 18446744073709551615 bytes"},
      {"long key", head(0, 1) + text(std::string(70'000, 'k')) + u32(4) + u32(0), "expected at most 65535"},
      {"empty key", head(0, 1) + number("", 1), "a key is empty"},
      {"a key twice", head(0, 2) + number("a", 1) + number("a", 1), "the key 'a' stands twice"},
      {"unknown type", head(0, 1) + text("a") + u32(13), "unknown type 13"},
      {"list of lists", head(0, 1) + text("a") + u32(9) + u32(9) + u64(1), "list of lists"},
      {"list of 2^64", head(0, 1) + text("a") + u32(9) + u32(8) + u64(huge), "elements, expected at most"},
      {"list longer than the file", head(0, 1) + text("a") + u32(9) + u32(4) + u64(1 << 20), "but only 0 bytes are left"},
      {"texts longer than the file", head(0, 1) + text("a") + u32(9) + u32(8) + u64(1) + u64(huge),
       "takes 18446744073709551615"},
      {"neither true nor false", head(0, 1) + text("a") + u32(7) + "\2", "neither true nor false"},
      {"alignment 3", head(0, 1) + number("general.alignment", 3), "power of two"},
      {"alignment 2^31", head(0, 1) + number("general.alignment", 1u << 31), "power of two"},
      {"nameless tensor", head(1, 0) + tensor("", {1}, 0, 0), "no name"},
      {"name of 65 bytes", head(1, 0) + tensor(std::string(65, 'x'), {1}, 0, 0), "expected at most 64"},
      {"no dimension", head(1, 0) + tensor("t", {}, 0, 0), "0 dimensions"},
      {"five dimensions", head(1, 0) + tensor("t", {1, 1, 1, 1, 1}, 0, 0), "5 dimensions"},
      {"dimension 0", head(1, 0) + tensor("t", {0}, 0, 0), "dimension of 0"},
      {"dimensions overflow", head(1, 0) + tensor("t", {1ull << 40, 1ull << 40}, 0, 0), "too many values"},
      {"unknown tensor type", head(1, 0) + tensor("t", {32}, 99, 0), "type 99, which is not supported"},
      {"half a block", head(1, 0) + tensor("t", {33}, 8, 0), "no multiple of 32"},
      {"a tensor twice", head(2, 0) + tensor("t", {1}, 0, 0) + tensor("t", {1}, 0, 32), "stands twice"},
      {"a hole", padded(head(1, 0) + tensor("t", {1}, 0, 32), 64), "a hole"},
      {"an overlap", padded(head(2, 0) + tensor("t", {1}, 0, 0) + tensor("u", {1}, 0, 0), 64), "an overlap"},
      {"data cut short", padded(head(1, 0) + tensor("t", {9}, 0, 0), 32), "ends beyond the file"},
      {"no data at all", head(1, 0) + tensor("t", {1}, 0, 0), "ends beyond the file"},
  };
}

std::string refusal(const std::function<void()>& f, const std::string& name) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::bad_input) << name << ": " << e.message();
    EXPECT_FALSE(e.where().file.empty()) << name;
    EXPECT_EQ(e.message().find('\n'), std::string::npos) << name;
    return e.message() + " | " + e.hint();
  }
  return "nothing was thrown";
}

TEST(Gguf, every_corruption_is_refused_in_one_line_that_names_the_file) {
  const TemporaryDir dir;
  const fs::path path = dir.path() / "x.gguf";
  for (const Corruption& c : corruptions()) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << c.bytes;
    const std::string says = refusal([&] { GgufFile file(path); }, c.name);
    EXPECT_NE(says.find(c.says), std::string::npos) << c.name << ": " << says;
  }
}

TEST(Gguf, every_prefix_and_every_flipped_byte_of_a_header_is_read_or_refused) {
  const TemporaryDir dir;
  const fs::path path = dir.path() / "x.gguf";
  std::string whole;
  {
    std::ifstream in(golden("llama.gguf"), std::ios::binary);
    whole.assign(std::istreambuf_iterator<char>(in), {});
  }
  const size_t header = GgufFile(golden("llama.gguf")).tensors()[0].offset;
  const auto look = [&](const std::string& bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
    try {
      const StoredModel model(path);
      (void)model_tokenizer(path);
    } catch (const Error& e) {
      ASSERT_EQ(e.code(), ExitCode::bad_input) << e.message();
    }
  };
  for (size_t n = 0; n < header; n += 41) look(whole.substr(0, n));
  for (size_t at = 0; at < header; at += 13) {
    std::string bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] ^ 0xFF);
    look(bytes);
  }
}

// A value of the golden file replaced by one of the same length.
void replace_value(std::string& bytes, const std::string& key, size_t skip, const std::string& value) {
  const size_t at = bytes.find(text(key));
  ASSERT_NE(at, std::string::npos) << key;
  bytes.replace(at + 8 + key.size() + 4 + skip, value.size(), value);
}

TEST(Gguf, a_model_that_r1_cannot_run_is_refused_by_the_name_of_the_key) {
  const TemporaryDir dir;
  const fs::path path = dir.path() / "x.gguf";
  std::string whole;
  {
    std::ifstream in(golden("llama.gguf"), std::ios::binary);
    whole.assign(std::istreambuf_iterator<char>(in), {});
  }
  struct Case {
    const char* key;
    size_t skip;
    std::string value;
    const char* says;
  };
  for (const Case& c : std::vector<Case>{
           {"general.architecture", 8, "falco", "architecture \"falco\" is not supported"},
           {"llama.attention.head_count", 0, u32(0), "\"llama.attention.head_count\" is 0"},
           {"llama.attention.head_count", 0, u32(5), "a head has 6"},
           {"llama.block_count", 0, u32(1'000'000), "num_hidden_layers"},
           {"llama.block_count", 0, u32(3), "tensor 'model.layers.2."},
           {"llama.embedding_length", 0, u32(64), "a head has 16"},
           {"llama.rope.dimension_count", 0, u32(4), "\"llama.rope.dimension_count\" is 4"},
           {"llama.attention.layer_norm_rms_epsilon", 0, u32(0x7FC00000), "must be a number"},
           {"tokenizer.ggml.model", 8, "bert", "the tokenizer \"bert\" is not supported"},
           {"tokenizer.ggml.pre", 8, "smellm", "the pre-tokenizer \"smellm\" is not known"},
           {"tokenizer.ggml.eos_token_id", 0, u32(100'000), "eos_token_id"},
           {"tokenizer.ggml.token_type", 12, u32(77), "unknown type 77"},
       }) {
    std::string bytes = whole;
    replace_value(bytes, c.key, c.skip, c.value);
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
    const std::string says = refusal(
        [&] {
          (void)model_tokenizer(path);
          check_model_dir(path);
        },
        c.key);
    EXPECT_NE(says.find(c.says), std::string::npos) << c.key << ": " << says;
  }
}

}  // namespace
}  // namespace r1
