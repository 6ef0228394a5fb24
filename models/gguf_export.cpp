// Writing GGUF files that llama.cpp runs (models/model_export.h). Source of keys and names: convert_hf_to_gguf.py of llama.cpp.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/stop.h"
#include "models/gguf_model.h"
#include "models/model_files.h"
#include "models/model_export.h"
#include "models/weight_files.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kAlignment = 32;

uint64_t padded(uint64_t n) { return (n + kAlignment - 1) / kAlignment * kAlignment; }

// The header as bytes.
class Header {
 public:
  template <class T>
  void raw(T value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void raw_text(std::string_view s) {
    raw<uint64_t>(s.size());
    bytes += s;
  }
  void text(const std::string& key, std::string_view value) {
    start(key, GgufType::text);
    raw_text(value);
  }
  void u32(const std::string& key, int64_t value) {
    start(key, GgufType::u32);
    raw(static_cast<uint32_t>(value));
  }
  void f32(const std::string& key, double value) {
    start(key, GgufType::f32);
    raw(static_cast<float>(value));
  }
  void flag(const std::string& key, bool value) {
    start(key, GgufType::boolean);
    raw(static_cast<uint8_t>(value));
  }
  void texts(const std::string& key, const std::vector<std::string>& values) {
    list(key, GgufType::text, values.size());
    for (const std::string& v : values) raw_text(v);
  }
  void i32s(const std::string& key, const std::vector<int32_t>& values) {
    list(key, GgufType::i32, values.size());
    for (const int32_t v : values) raw(v);
  }
  std::string bytes;
  uint64_t keys = 0;

 private:
  void start(const std::string& key, GgufType type) {
    raw_text(key);
    raw(static_cast<uint32_t>(type));
    ++keys;
  }
  void list(const std::string& key, GgufType type, size_t n) {
    start(key, GgufType::array);
    raw(static_cast<uint32_t>(type));
    raw<uint64_t>(n);
  }
};

void model_keys(const ModelConfig& c, const std::string& a, Header& out) {
  out.u32(a + ".block_count", c.layers);
  out.u32(a + ".context_length", c.max_positions);
  out.u32(a + ".embedding_length", c.hidden);
  out.u32(a + ".feed_forward_length", c.ffn);
  out.u32(a + ".attention.head_count", c.heads);
  out.u32(a + ".attention.head_count_kv", c.kv_heads);
  out.u32(a + ".attention.key_length", c.head_dim);
  out.u32(a + ".attention.value_length", c.head_dim);
  out.f32(a + ".attention.layer_norm_rms_epsilon", c.rms_eps);
  out.u32(a + ".rope.dimension_count", c.head_dim);
  out.f32(a + ".rope.freq_base", c.rope_theta);
  out.u32(a + ".vocab_size", c.vocab_size);
  if (c.yarn.factor == 0) return;
  out.text(a + ".rope.scaling.type", "yarn");
  out.f32(a + ".rope.scaling.factor", c.yarn.factor);
  out.u32(a + ".rope.scaling.original_context_length", static_cast<int64_t>(c.yarn.original_context));
}

// "chat_template" of tokenizer_config.json may be a list of named ones.
std::string chat_template(const ModelTexts& texts, const nlohmann::json& config) {
  if (const auto it = texts.find("chat_template.jinja"); it != texts.end()) return it->second;
  const auto found = config.find("chat_template");
  if (found == config.end()) return {};
  if (found->is_string()) return found->get<std::string>();
  if (found->is_array())
    for (const nlohmann::json& t : *found)
      if (t.is_object() && t.value("name", nlohmann::json()) == "default" && t.contains("template") &&
          t["template"].is_string())
        return t["template"].get<std::string>();
  return {};
}

void tokenizer_keys(const ModelConfig& c, const ModelTexts& texts, const std::string& place, std::string pre, Header& out) {
  const auto file = texts.find("tokenizer.json");
  if (file == texts.end())
    throw bad_input("the model has no tokenizer.json", {place}, "llama.cpp needs the tokenizer inside the file");
  const Tokenizer tokenizer = Tokenizer::from_json(file->second, place);
  check_tokenizer_fits(tokenizer, c, "its tokenizer", {place});
  const nlohmann::json j = parse_json(file->second, {place});
  const GgufPreTokenizer* found = find_pre_tokenizer(j);
  if (pre.empty() && found == nullptr)
    throw bad_input("llama.cpp has no name for the way this tokenizer cuts texts", {place},
                    "--pre NAME writes one all the same; texts may become other tokens there");
  if (pre.empty()) pre = found->names[0];
  out.text("tokenizer.ggml.model", "gpt2");
  out.text("tokenizer.ggml.pre", pre);

  std::vector<std::string> tokens;
  std::vector<int32_t> types;
  for (int32_t id = 0; id < c.vocab_size; ++id) {
    const auto token = tokenizer.token_of(id);
    tokens.push_back(token ? *token : fmt::format("[PAD{}]", id));
    types.push_back(token ? kNormal : kUnused);
  }
  if (const auto added = j.find("added_tokens"); added != j.end() && added->is_array())
    for (const nlohmann::json& t : *added) {
      const auto id = json_integer(t.at("id"));
      if (id && *id < c.vocab_size)
        types[static_cast<size_t>(*id)] = tokenizer.is_special(static_cast<int32_t>(*id)) ? kControl : kUserDefined;
    }
  std::vector<std::string> merges;
  for (const nlohmann::json& m : j["model"]["merges"])
    merges.push_back(m.is_string() ? m.get<std::string>() : m.at(0).get<std::string>() + " " + m.at(1).get<std::string>());
  out.texts("tokenizer.ggml.tokens", tokens);
  out.i32s("tokenizer.ggml.token_type", types);
  out.texts("tokenizer.ggml.merges", merges);

  const auto text = texts.find("tokenizer_config.json");
  const nlohmann::json config = text == texts.end() ? nlohmann::json::object() : parse_json(text->second, {place});
  const auto named = [&](const char* key) -> int64_t {
    const auto at = config.find(key);
    if (at == config.end()) return -1;
    const nlohmann::json& name = at->is_object() && at->contains("content") ? (*at)["content"] : *at;
    const auto id = name.is_string() ? tokenizer.id_of(name.get<std::string>()) : std::nullopt;
    return id ? *id : -1;
  };
  const auto set = [&](const char* key, int64_t id) {
    if (id >= 0) out.u32(std::string("tokenizer.ggml.") + key, id);
    return id;
  };
  const int64_t bos = set("bos_token_id", c.bos_id >= 0 ? c.bos_id : named("bos_token"));
  // The end token of the tokenizer first, because that is what llama.cpp may put behind a text; a second one ends turns.
  int64_t eos = named("eos_token");
  if (eos < 0 && !c.eos_ids.empty()) eos = c.eos_ids[0];
  set("eos_token_id", eos);
  for (const int32_t id : c.eos_ids)
    if (id != eos) {
      set("eot_token_id", id);
      break;
    }
  set("padding_token_id", c.pad_id >= 0 ? c.pad_id : named("pad_token"));
  set("unknown_token_id", named("unk_token"));
  const std::vector<int32_t> around = tokenizer.encode("", true);
  out.flag("tokenizer.ggml.add_bos_token", !around.empty() && around.front() == bos);
  out.flag("tokenizer.ggml.add_eos_token", !around.empty() && around.back() == eos && eos != bos);
  out.flag("tokenizer.ggml.add_space_prefix", false);
  if (const std::string chat = chat_template(texts, config); !chat.empty()) out.text("tokenizer.chat_template", chat);
}

struct Planned {
  std::string name, published;
  std::vector<int64_t> shape;
  GgufTensorType type = GgufTensorType::f32;
  int64_t head = 0;  // of rows that are interleaved
  uint64_t bytes = 0;
};

GgufTensorType tensor_type(FileType type, const std::vector<int64_t>& shape) {
  if (shape.size() < 2) return GgufTensorType::f32;
  switch (type) {
    case FileType::f32:
      return GgufTensorType::f32;
    case FileType::f16:
      return GgufTensorType::f16;
    case FileType::bf16:
      return GgufTensorType::bf16;
    case FileType::q8_0:
      return shape.back() % 32 == 0 ? GgufTensorType::q8_0 : GgufTensorType::f16;
  }
  return GgufTensorType::f32;
}

// Rows as the file has them: those of `head` rows each interleaved.
void read_rows(const TensorSource& source, const Planned& t, int64_t begin, int64_t end, int64_t size,
               std::vector<float>& out) {
  out.resize(static_cast<size_t>((end - begin) * size));
  if (t.head == 0) return source.read(t.published, begin, end, out.data());
  std::vector<float> head(static_cast<size_t>(t.head * size));
  for (int64_t row = begin; row < end; row += t.head) {
    source.read(t.published, row, row + t.head, head.data());
    for (int64_t r = 0; r < t.head; ++r)
      std::copy_n(head.data() + r * size, size, out.data() + (row - begin + gguf_row(r, t.head)) * size);
  }
}

void write_tensor(const TensorSource& source, const Planned& t, const std::string& place,
                  const std::function<void(uint64_t)>& progress, AtomicFile& out) {
  const GgufBlock& block = *gguf_block(static_cast<uint32_t>(t.type));
  const int64_t size = row_size(t.shape), unit = std::max<int64_t>(1, t.head);
  const int64_t most = std::max<int64_t>(unit, kPieceValues / size / unit * unit);
  std::vector<float> values;
  std::vector<std::byte> bytes;
  for (int64_t row = 0; row < t.shape[0]; row += most) {
    next_unit();
    const int64_t end = std::min(row + most, t.shape[0]);
    read_rows(source, t, row, end, size, values);
    for (const float v : values)
      if (!std::isfinite(v) || (std::fabs(v) > 65504 && (t.type == GgufTensorType::f16 || t.type == GgufTensorType::q8_0)))
        throw bad_input(fmt::format("tensor '{}' holds {}, which is no number in {}", t.published, v, block.name), {place},
                        "bf16 has room for every f32 that is a number");
    bytes.resize(values.size() / block.values * block.bytes);
    gguf_quantize(t.type, values.data(), static_cast<int64_t>(values.size()), bytes.data());
    out.write(bytes.data(), bytes.size());
    if (progress) progress(bytes.size());
  }
  const std::string zeros(static_cast<size_t>(padded(t.bytes) - t.bytes), '\0');
  out.write(zeros.data(), zeros.size());
}

}  // namespace

void write_gguf(const fs::path& file, const ModelConfig& config, const TensorSource& source, const ModelTexts& texts,
                const GgufOptions& options) {
  const std::string place = file.string();
  if (config.is_mla()) throw bad_input("deepseek_v3 cannot be written as GGUF", {place}, "supported: llama, qwen2, qwen3");
  if (config.scalar_head)
    throw bad_input("a reward model cannot be written as GGUF", {place}, "write a Hugging Face directory: --to hf");
  const char* architecture = config.architecture == Architecture::llama   ? "llama"
                             : config.architecture == Architecture::qwen2 ? "qwen2"
                                                                          : "qwen3";
  Header head;
  head.text("general.architecture", architecture);
  head.text("general.type", "model");
  head.text("general.name", options.name);
  constexpr int64_t kFileTypes[] = {0, 1, 32, 7};  // LLAMA_FTYPE of f32, f16, bf16, q8_0
  head.u32("general.file_type", kFileTypes[static_cast<size_t>(options.type)]);
  head.u32("general.quantization_version", 2);
  model_keys(config, architecture, head);
  tokenizer_keys(config, texts, place, options.pre_tokenizer, head);

  std::vector<Planned> plan;
  for (const TensorSource::Item& item : source.items) {
    Planned t{gguf_name(item.name),
              item.name,
              item.shape,
              tensor_type(options.type, item.shape),
              interleaved_head(config, item.name),
              0};
    R1_CHECK(!t.name.empty(), item.name);
    uint64_t values = 1;
    for (const int64_t n : item.shape) values *= static_cast<uint64_t>(n);
    const GgufBlock& block = *gguf_block(static_cast<uint32_t>(t.type));
    t.bytes = values / block.values * block.bytes;
    plan.push_back(std::move(t));
  }
  std::vector<float> factors;
  if (config.rope_factor > 0) {
    factors = llama3_rope_factors(config);
    plan.push_back({kRopeFactorsName,
                    kRopeFactorsName,
                    {static_cast<int64_t>(factors.size())},
                    GgufTensorType::f32,
                    0,
                    factors.size() * sizeof(float)});
  }
  Header infos;
  uint64_t offset = 0;
  for (const Planned& t : plan) {
    infos.raw_text(t.name);
    infos.raw(static_cast<uint32_t>(t.shape.size()));
    for (size_t i = t.shape.size(); i-- > 0;) infos.raw(static_cast<uint64_t>(t.shape[i]));
    infos.raw(static_cast<uint32_t>(t.type));
    infos.raw(offset);
    offset += padded(t.bytes);
  }
  Header whole;
  whole.bytes = "GGUF";
  whole.raw(uint32_t{3});
  whole.raw<uint64_t>(plan.size());
  whole.raw(head.keys);
  whole.bytes += head.bytes + infos.bytes;
  whole.bytes.resize(static_cast<size_t>(padded(whole.bytes.size())), '\0');

  TensorSource all = source;
  all.read = [&](const std::string& name, int64_t begin, int64_t end, float* to) {
    if (name != kRopeFactorsName) return source.read(name, begin, end, to);
    std::copy(factors.begin() + begin, factors.begin() + end, to);
  };
  AtomicFile out(file);
  out.write(whole.bytes.data(), whole.bytes.size());
  for (const Planned& t : plan) write_tensor(all, t, place, options.progress, out);
  out.finish();
}

}  // namespace r1
