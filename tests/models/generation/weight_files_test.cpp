// Hugging Face model directories: what is written is read back, and what is wrong is named.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "models/safetensors.h"
#include "tests/models/generation/random_models.h"
#include "tests/models/generation/temporary_dir.h"
#include "tools/sim/power_cut.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;
using testing::random_model_config;
using testing::random_weights;
using testing::TemporaryDir;

// A file's tensors as values that a test can edit.
struct Tensors {
  struct One {
    std::string dtype;
    std::vector<int64_t> shape;
    std::string bytes;
  };
  std::map<std::string, One> all;

  explicit Tensors(const fs::path& path) {
    const SafetensorsFile file(path);
    for (const auto& e : file.entries())
      all[e.name] = {e.dtype, e.shape, std::string(static_cast<const char*>(e.data), e.bytes)};
  }
  void write(
      const fs::path& path, const std::function<bool(const std::string&)>& chosen = [](const auto&) { return true; }) const {
    std::vector<SafetensorsEntry> entries;
    for (const auto& [name, t] : all)
      if (chosen(name)) entries.push_back({name, t.dtype, t.shape, t.bytes.data(), t.bytes.size()});
    write_safetensors(path, entries, {});
  }
};

std::string what(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::bad_input) << e.message();
    EXPECT_FALSE(e.where().file.empty()) << e.message();
    return e.message() + " | " + e.hint();
  }
  return "nothing was thrown";
}

void expect_says(const fs::path& dir, const std::string& part, bool headers_suffice = true) {
  const std::string loading = what([&] { load_weights(open_device("cpu"), dir, DType::f32); });
  EXPECT_NE(loading.find(part), std::string::npos) << "load_weights: " << loading;
  if (!headers_suffice) return;
  const std::string checking = what([&] { check_model_dir(dir); });
  EXPECT_NE(checking.find(part), std::string::npos) << "check_model_dir: " << checking;
}

class WeightFiles : public ::testing::Test {
 protected:
  Device& device = open_device("cpu");
  TemporaryDir temporary;
  fs::path dir = temporary.path() / "model";
  fs::path file = dir / "model.safetensors";
  ModelConfig config = random_model_config(Architecture::qwen2);
  std::shared_ptr<WeightSet> weights = random_weights(device, config, DType::f32, 5);

  void SetUp() override { save_model_dir(dir, *weights, "{}"); }
  void shard() {
    const Tensors t(file);
    fs::remove(file);
    const auto second = [](const std::string& name) { return name.find("layers.1.") != std::string::npos; };
    t.write(dir / "model-00001-of-00002.safetensors", [&](const std::string& n) { return !second(n); });
    t.write(dir / "model-00002-of-00002.safetensors", second);
    for (const auto& [name, one] : t.all)
      index["weight_map"][name] = second(name) ? "model-00002-of-00002.safetensors" : "model-00001-of-00002.safetensors";
    write_index();
  }
  void write_index() { write_file_atomically(dir / "model.safetensors.index.json", index.dump()); }
  nlohmann::json index;
};

TEST_F(WeightFiles, every_architecture_and_type_is_read_back_bit_by_bit) {
  for (const Architecture a : {Architecture::llama, Architecture::qwen2, Architecture::qwen3, Architecture::deepseek_v3}) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      const auto original = random_weights(device, random_model_config(a), dtype, 8);
      save_model_dir(dir, *original, "{\"t\":1}");
      check_model_dir(dir);
      EXPECT_EQ(load_weights(device, dir, dtype)->hash(), original->hash());
      EXPECT_EQ(load_weights(open_device("fake"), dir, dtype)->hash(), original->hash());
      EXPECT_EQ(read_file(dir / "tokenizer.json"), "{\"t\":1}");
      EXPECT_FALSE(fs::exists(dir.string() + ".tmp"));
    }
  }
}

TEST_F(WeightFiles, a_directory_outlives_a_power_cut_as_soon_as_it_is_saved) {
  fs::remove_all(dir);
  const fs::path copies = temporary.path().string() + "_left";
  PowerCut power(temporary.path());
  for (const std::string tokenizer : {"{\"t\":1}", "{\"t\":2}"}) {  // a new one, and one in the place of another
    save_model_dir(dir, *weights, tokenizer);
    fs::remove_all(copies);
    power.restore(copies);
    EXPECT_NO_THROW(check_model_dir(copies / "model"));
    EXPECT_EQ(load_weights(device, copies / "model", weights->dtype())->hash(), weights->hash());
    EXPECT_EQ(read_file(copies / "model/tokenizer.json"), tokenizer);
  }
  fs::remove_all(copies);
}

TEST_F(WeightFiles, a_file_of_tensors_outlives_a_power_cut_as_soon_as_it_is_written) {
  const fs::path copies = temporary.path().string() + "_left";
  const Tensors tensors(file);
  PowerCut power(temporary.path());
  tensors.write(temporary.path() / "other.safetensors");
  power.restore(copies);
  EXPECT_EQ(read_file(copies / "other.safetensors"), read_file(temporary.path() / "other.safetensors"));
  fs::remove_all(copies);
}

TEST_F(WeightFiles, files_carry_the_published_names_and_shapes) {
  const SafetensorsFile f(file);
  const std::string p = "model.layers.1.";
  EXPECT_EQ(f.find(p + "self_attn.q_proj.weight")->shape, (std::vector<int64_t>{48, 48}));
  EXPECT_EQ(f.find(p + "self_attn.k_proj.weight")->shape, (std::vector<int64_t>{24, 48}));
  EXPECT_EQ(f.find(p + "self_attn.v_proj.bias")->shape, (std::vector<int64_t>{24}));
  EXPECT_EQ(f.find(p + "mlp.up_proj.weight")->shape, (std::vector<int64_t>{64, 48}));
  EXPECT_EQ(f.find("lm_head.weight")->shape, (std::vector<int64_t>{67, 48}));
  for (const auto& e : f.entries()) EXPECT_EQ(e.name.find("qkv_proj") + e.name.find("gate_up"), 2 * std::string::npos);
  // The rows of a fused parameter are its parts, in order: q, k, v.
  for (size_t i = 0; i < weights->specs().size(); ++i) {
    const ParamSpec& spec = weights->specs()[i];
    std::string joined;
    for (const ParamPart& part : spec.parts) {
      const auto e = f.find(part.name);
      ASSERT_TRUE(e) << part.name;
      joined.append(static_cast<const char*>(e->data), e->bytes);
    }
    const auto host = download_as<float>(weights->param(i));
    EXPECT_EQ(joined, std::string(reinterpret_cast<const char*>(host.data()), host.size() * 4)) << spec.name;
  }
}

TEST_F(WeightFiles, types_are_converted_when_reading) {
  const auto bf16 = load_weights(device, dir, DType::bf16);
  for (size_t i = 0; i < weights->specs().size(); ++i) {
    const auto f = download_as<float>(weights->param(i));
    const auto b = download_as<uint16_t>(bf16->param(i));
    for (size_t k = 0; k < f.size(); ++k) ASSERT_EQ(b[k], bf16_from_f32(f[k]));
  }
  save_model_dir(dir, *bf16, "");
  const auto back = load_weights(device, dir, DType::f32);
  const auto b = download_as<uint16_t>(bf16->param(0));
  const auto f = download_as<float>(back->param(0));
  for (size_t k = 0; k < f.size(); ++k) ASSERT_EQ(f[k], f32_from_bf16(b[k]));
}

TEST_F(WeightFiles, half_precision_is_read) {
  Tensors t(file);
  auto& norm = t.all.at("model.norm.weight");
  norm.dtype = "F16";
  // 1, -2, 65504, smallest normal, smallest subnormal, largest subnormal, -0, 1/3
  const std::vector<uint16_t> halves = {0x3C00, 0xC000, 0x7BFF, 0x0400, 0x0001, 0x03FF, 0x8000, 0x3555};
  const std::vector<float> values = {1, -2, 65504, 0x1p-14f, 0x1p-24f, 1023 * 0x1p-24f, -0.0f, 0.333251953125f};
  std::vector<uint16_t> all(48, 0x4200);
  std::copy(halves.begin(), halves.end(), all.begin());
  norm.bytes.assign(reinterpret_cast<const char*>(all.data()), 96);
  t.write(file);
  const auto loaded = load_weights(device, dir, DType::f32);
  for (size_t i = 0; i < loaded->specs().size(); ++i) {
    if (loaded->specs()[i].name != "model.norm.weight") continue;
    const auto f = download_as<float>(loaded->param(i));
    for (size_t k = 0; k < values.size(); ++k) {
      EXPECT_EQ(f[k], values[k]);
      EXPECT_EQ(std::signbit(f[k]), std::signbit(values[k]));
    }
    EXPECT_EQ(f[20], 3);
  }
}

TEST_F(WeightFiles, a_value_that_is_no_number_is_refused_by_tensor_and_place) {
  const std::string q = "model.layers.0.self_attn.q_proj.weight";
  const Tensors good(file);
  for (const char* value : {"nan", "inf", "-inf"}) {
    Tensors t = good;
    const float bad = std::strtof(value, nullptr);
    std::memcpy(t.all.at(q).bytes.data() + (2 * 48 + 5) * sizeof bad, &bad, sizeof bad);
    t.write(file);
    expect_says(dir, "tensor '" + q + "' holds " + value + " at [2, 5]");
  }
  Tensors t = good;
  auto& norm = t.all.at("model.norm.weight");
  norm.dtype = "F16";
  std::vector<uint16_t> halves(48, 0x3C00);
  halves[47] = 0xFC00;
  norm.bytes.assign(reinterpret_cast<const char*>(halves.data()), 96);
  t.write(file);
  expect_says(dir, "tensor 'model.norm.weight' holds -inf at [47]");
}

TEST_F(WeightFiles, a_value_that_is_too_large_for_bf16_is_refused_when_it_is_rounded) {
  Tensors t(file);
  const float large = std::numeric_limits<float>::max();
  std::memcpy(t.all.at("model.norm.weight").bytes.data() + 4, &large, sizeof large);
  t.write(file);
  EXPECT_NO_THROW(load_weights(device, dir, DType::f32));
  EXPECT_NE(what([&] { load_weights(device, dir, DType::bf16); }).find("'model.norm.weight' holds inf at [1]"),
            std::string::npos);
}

TEST_F(WeightFiles, wrong_tensors_are_named) {
  const Tensors good(file);
  const std::string q = "model.layers.0.self_attn.q_proj.weight";
  Tensors t = good;
  t.all.erase(q);
  t.write(file);
  expect_says(dir, "tensor '" + q + "' is missing");
  t = good;
  t.all.erase("lm_head.weight");
  t.write(file);
  expect_says(dir, "tie_word_embeddings");
  t = good;
  t.all["model.layers.0.self_attn.q_proj.wieght"] = t.all[q];
  t.write(file);
  expect_says(dir, "unexpected tensor 'model.layers.0.self_attn.q_proj.wieght'");
  t = good;
  t.all[q].shape = {24, 96};
  t.write(file);
  expect_says(dir, "'" + q + "' has shape [24, 96], config.json needs [48, 48]");
  t = good;
  t.all[q].dtype = "I32";
  t.write(file);
  expect_says(dir, "'" + q + "' is I32");
  t = good;
  t.all["model.layers.0.self_attn.rotary_emb.inv_freq"] = {"F32", {1}, "abcd"};
  t.write(file);
  EXPECT_EQ(load_weights(device, dir, DType::f32)->hash(), weights->hash()) << "old buffers are ignored";
}

TEST_F(WeightFiles, missing_parts_of_a_directory_are_named) {
  expect_says(temporary.path() / "nowhere", "no such model directory");
  fs::remove(file);
  expect_says(dir, "neither model.safetensors nor model.safetensors.index.json");
}

TEST_F(WeightFiles, a_tied_model_accepts_a_head_only_if_it_is_the_embedding) {
  const auto tied = random_weights(device, random_model_config(Architecture::qwen3), DType::f32, 6);
  ASSERT_TRUE(tied->config().tied_head);
  save_model_dir(dir, *tied, "");
  Tensors t(file);
  EXPECT_EQ(t.all.count("lm_head.weight"), 0u);
  t.all["lm_head.weight"] = t.all["model.embed_tokens.weight"];
  t.write(file);
  EXPECT_EQ(load_weights(device, dir, DType::f32)->hash(), tied->hash());
  t.all["lm_head.weight"].bytes[5] ^= 1;
  t.write(file);
  expect_says(dir, "ties them", false);
}

TEST_F(WeightFiles, shards_are_read) {
  shard();
  check_model_dir(dir);
  EXPECT_EQ(load_weights(device, dir, DType::f32)->hash(), weights->hash());
}

TEST_F(WeightFiles, a_bad_index_of_shards_is_refused) {
  shard();
  const nlohmann::json good = index;
  write_file_atomically(dir / "model.safetensors.index.json", "{");
  expect_says(dir, "not JSON");
  index = {{"metadata", 1}};
  write_index();
  expect_says(dir, "weight_map");
  for (const char* name : {"../model-00001-of-00002.safetensors", "/etc/passwd", "..", "", "a\\b"}) {
    index = good;
    index["weight_map"]["lm_head.weight"] = name;
    write_index();
    expect_says(dir, "expected a bare file name");
  }
  index = good;
  index["weight_map"]["lm_head.weight"] = 3;
  write_index();
  expect_says(dir, "not a file name");
  index = good;
  index["weight_map"]["lm_head.weight"] = "model-00003-of-00003.safetensors";
  write_index();
  expect_says(dir, "no such file");
  index = good;
  index["weight_map"]["lm_head.weight"] = "model-00002-of-00002.safetensors";
  write_index();
  expect_says(dir, "the index says model-00002-of-00002.safetensors");
  index = good;
  index["weight_map"]["ghost"] = "model-00002-of-00002.safetensors";
  write_index();
  expect_says(dir, "'ghost' is in the index but not in");
  index = good;
  index["weight_map"].erase("lm_head.weight");
  write_index();
  expect_says(dir, "'lm_head.weight' is not in the index");
  index = good;
  write_index();
  Tensors second(dir / "model-00002-of-00002.safetensors");
  second.all["lm_head.weight"] = {"F32", {1}, "abcd"};
  second.write(dir / "model-00002-of-00002.safetensors");
  expect_says(dir, "'lm_head.weight' is also in");
}

TEST_F(WeightFiles, saving_replaces_a_directory_as_a_whole) {
  write_file_atomically(dir / "stale.txt", "x");
  fs::create_directories(dir.string() + ".tmp");
  write_file_atomically(dir.string() + ".tmp/left over", "x");
  const auto other = random_weights(device, config, DType::f32, 77);
  save_model_dir(dir.string() + "/", *other, "{}");
  EXPECT_EQ(load_weights(device, dir, DType::f32)->hash(), other->hash());
  EXPECT_FALSE(fs::exists(dir / "stale.txt"));
  EXPECT_FALSE(fs::exists(dir / "left over"));
  EXPECT_FALSE(fs::exists(dir.string() + ".tmp"));
}

TEST_F(WeightFiles, a_file_of_another_architecture_says_so) {
  Tensors t(file);
  Tensors renamed = t;
  renamed.all.clear();
  for (const auto& [name, one] : t.all) renamed.all["transformer." + name] = one;
  renamed.write(file);
  expect_says(dir, "has a name of this architecture (the first is 'transformer.lm_head.weight')");
}

TEST_F(WeightFiles, a_module_for_several_tokens_that_the_files_have_left_out_is_not_missed) {
  ModelConfig with = random_model_config(Architecture::deepseek_v3);
  with.mtp_layers = 1;
  const auto original = random_weights(device, with, DType::f32, 8);
  save_model_dir(dir, *original, "");
  EXPECT_EQ(read_model_config(dir).mtp_layers, 1);
  const Tensors t(file);
  const std::string module = "model.layers." + std::to_string(with.layers) + ".";
  t.write(file, [&](const std::string& name) { return !name.starts_with(module); });
  check_model_dir(dir);
  EXPECT_EQ(read_model_config(dir).mtp_layers, 0) << "so that mtp=true and draft=true are refused";
  EXPECT_FALSE(load_weights(device, dir, DType::f32)->config().has_mtp());
  t.write(file, [&](const std::string& name) { return name != module + "enorm.weight"; });
  expect_says(dir, "tensor '" + module + "enorm.weight' is missing");
}

}  // namespace
}  // namespace r1
