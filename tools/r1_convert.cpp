// r1-convert: a model from one format into another. See docs/models.md.
#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "base/say.h"
#include "base/stop.h"
#include "models/model_export.h"
#include "models/version_files.h"
#include "tools/command_line.h"
#include "tools/guarded_main.h"
#include "tools/interrupts.h"
#include "tools/status_line.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

constexpr const char* kExamples = R"(Examples:
  r1-convert runs/r1_full/checkpoints/rl2                        what it is: architecture, size, types, tokens
  r1-convert runs/my/checkpoints/sft out --to hf                 a directory for transformers, in bf16
  r1-convert big big_f16 --to hf --dtype f16 --max-shard-size 2GB
  r1-convert runs/my/checkpoints/sft out.gguf --to gguf          for llama.cpp, in bf16
  r1-convert runs/my/versions/rl1                                which versions keep_versions= has kept
  r1-convert runs/my/versions/rl1 out --to hf --at 120           one of them
  r1-convert SmolLM2.Q4_1.gguf smol.gguf --to gguf --type q8_0   from GGUF too, or --to hf

MODEL is a Hugging Face directory, a GGUF file, or a directory that holds one; or RUN/versions/STAGE. Memory: a few MiB,
whatever the model's size; with --at the model's.
Exit codes: 0 done, 1 failed, 2 bad input, 130 interrupted.)";

struct Arguments {
  std::string model, out, to, type = "bf16", pre, name, shard = "5GB";
  int64_t version = -1;
  bool force = false, json = false;
};

uint64_t parse_size(const std::string& text) {
  static const std::map<std::string, uint64_t> kUnits = {
      {"", 1}, {"B", 1}, {"KB", 1'000}, {"MB", 1'000'000}, {"GB", 1'000'000'000}, {"TB", 1'000'000'000'000}};
  uint64_t n = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  const auto unit = kUnits.find(std::string(rest, text.data() + text.size()));
  uint64_t bytes = 0;
  if (error != std::errc() || n == 0 || unit == kUnits.end() || __builtin_mul_overflow(n, unit->second, &bytes))
    throw bad_input(fmt::format("--max-shard-size {}: expected a size", text), {}, "for example 500MB or 5GB");
  return bytes;
}

nlohmann::ordered_json description(const std::string& path, const StoredModel& model, const ModelTexts& texts) {
  const ModelConfig& c = model.config();
  nlohmann::ordered_json j;
  j["model"] = path;
  j["architecture"] = parse_json(model_config_json(c, "float32"), {})["architectures"][0];
  j["parameters"] = c.parameter_count();
  j["layers"] = c.layers;
  j["hidden"] = c.hidden;
  j["heads"] = fmt::format("{} of {}, {} for keys", c.heads, c.head_dim, c.kv_heads);
  j["positions"] = c.max_positions;
  std::map<std::string, uint64_t> types;
  for (const auto& [name, tensor] : model.tensors()) types[tensor.type] += tensor.bytes;
  for (const auto& [type, bytes] : types) j["bytes"][type] = bytes;
  j["vocabulary"] = c.vocab_size;
  if (texts.contains("tokenizer.json")) {
    const Tokenizer tokenizer = Tokenizer::from_json(texts.at("tokenizer.json"), path);
    j["tokens"] = tokenizer.vocab_size();
    for (const int32_t id : c.eos_ids)
      j["end_tokens"].push_back(fmt::format("{} ({})", tokenizer.token_of(id).value_or("no token"), id));
  }
  return j;
}

std::string as_text(const nlohmann::ordered_json& j) {
  std::string out;
  for (const auto& [key, value] : j.items())
    out += fmt::format("{:<14}{}\n", key, value.is_string() ? value.get<std::string>() : value.dump());
  return out;
}

// What may be replaced: nothing, a file, or a directory that is a model.
void check_output(const Arguments& a) {
  std::error_code none;
  if (!fs::exists(a.out, none)) return;
  if (!a.force) throw bad_input("exists already", {a.out}, "give another name, or replace it with --force");
  const bool directory = fs::is_directory(a.out, none);
  if (a.to == "gguf" && !directory && !fs::is_regular_file(a.out, none))
    throw bad_input("is no file that could be replaced", {a.out}, "give another name");
  if (a.to == "gguf" && directory) throw bad_input("is a directory", {a.out}, "a GGUF file is one file");
  if (a.to == "hf" && (!directory || !fs::exists(fs::path(a.out) / "config.json", none)))
    throw bad_input("is no model directory, and is not replaced", {a.out}, "give another name");
  if (fs::equivalent(a.model, a.out, none)) throw bad_input("a model cannot replace itself", {a.out}, "give another name");
}

int list_versions(const Arguments& a, const std::vector<int64_t>& segments) {
  nlohmann::ordered_json j;
  j["versions"] = a.model;
  for (const int64_t base : segments) j["kept"].push_back(fmt::format("{} to {}", base, last_of_segment(a.model, base)));
  std::cout << (a.json ? j.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n" : as_text(j));
  return 0;
}

// Kept versions as a model in memory; else the stored model.
struct Input {
  std::optional<KeptVersion> kept;
  std::optional<StoredModel> stored;
  const ModelConfig& config() const { return kept ? kept->weights->config() : stored->config(); }
  TensorSource tensors() const { return kept ? tensor_source(*kept->weights) : tensor_source(*stored); }
};
Input open_input(const Arguments& a) {
  Input in;
  if (a.version >= 0)
    in.kept = rebuild_version(open_device("cpu"), a.model, a.version);
  else
    in.stored.emplace(a.model);
  return in;
}

int convert(const Arguments& a) {
  if (a.version >= 0 && a.out.empty()) throw bad_input("--at needs a second argument: where to write");
  if (const auto segments = version_segments(a.model); !segments.empty() && a.version < 0) {
    if (a.out.empty()) return list_versions(a, segments);
    throw bad_input("these are the versions of a stage: which one?", {a.model},
                    fmt::format("--at N, at most {}", last_of_segment(a.model, segments.back())));
  }
  if (a.out.empty()) {
    if (!a.to.empty()) throw bad_input("--to needs a second argument: where to write");
    const StoredModel model(a.model);
    (void)tensor_source(model);
    const auto j = description(a.model, model, stored_texts(a.model));
    std::cout << (a.json ? j.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n" : as_text(j));
    return 0;
  }
  if (a.to.empty()) throw bad_input("--to is missing", {}, "--to hf or --to gguf");
  const auto type = file_type(a.type);
  if (!type || (a.to == "hf" && *type == FileType::q8_0))
    throw bad_input(fmt::format("unknown type {} of {}", a.type, a.to), {},
                    a.to == "hf" ? "bf16, f16, f32" : "bf16, f16, q8_0, f32");
  check_output(a);
  const uint64_t shard = parse_size(a.shard);
  const Input in = open_input(a);
  const TensorSource source = in.tensors();
  const ModelTexts texts = export_texts(stored_texts(in.kept ? in.kept->base : fs::path(a.model)), in.config(), a.model);
  StatusLine progress(StatusLine::Shown::on_terminals);
  uint64_t done = 0;
  const auto add = [&](uint64_t bytes) { progress.show(fmt::format("{:.2f} GB", static_cast<double>(done += bytes) / 1e9)); };
  if (a.to == "hf") {
    if (const auto json = texts.find("tokenizer.json"); json != texts.end())
      check_tokenizer_fits(Tokenizer::from_json(json->second, a.model), in.config(), "its tokenizer", {a.model});
    write_model_dir(a.out, in.config(), source, texts, {*type, shard, add});
  } else {
    fs::path name = fs::path(a.model).lexically_normal();
    if (!name.has_filename()) name = name.parent_path();
    write_gguf(a.out, in.config(), source, texts, {*type, a.name.empty() ? name.stem().string() : a.name, a.pre, add});
  }
  progress.clear();
  fmt::print("{}: {:.1f} MB in {}\n", a.out, static_cast<double>(done) / 1e6, file_type_name(*type));
  return 0;
}

int main_checked(int argc, char** argv) {
  Arguments a;
  CLI::App app("Reads a model and writes it in another format.", "r1-convert");
  add_common_flags(app, kExamples);
  app.add_option("model", a.model, "what to read")->required()->type_name("MODEL");
  app.add_option("out", a.out, "where to write; without it the model is described")->type_name("OUT");
  app.add_option("--to", a.to, "hf: a Hugging Face directory; gguf: a file for llama.cpp")
      ->check(CLI::IsMember({"hf", "gguf"}));
  app.add_option("--dtype,--type", a.type, "of the weights: bf16, f16, f32; in GGUF q8_0 too")->capture_default_str();
  app.add_option("--max-shard-size", a.shard, "hf: more becomes several files and an index")->capture_default_str();
  app.add_option(
      "--pre", a.pre,
      "gguf: llama.cpp's name of the pre-tokenizer, where r1 finds none; r1 reads back only the names that it knows");
  app.add_option("--name", a.name, "gguf: the model's name");
  app.add_option("--at", a.version, "of RUN/versions/STAGE: the version to make again")->check(CLI::NonNegativeNumber);
  app.add_flag("--force", a.force, "replace what is there");
  app.add_flag("--json", a.json, "describe the model as JSON");
  if (const auto code = parse_command_line(app, argc, argv)) return *code;
  catch_interrupts();
  const StopScope scope(&begin_gently());
  try {
    return convert(a);
  } catch (const Stopped&) {
    say("r1-convert: interrupted; nothing was written\n");
    return static_cast<int>(ExitCode::interrupted);
  }
}

}  // namespace
}  // namespace r1

int main(int argc, char** argv) { return r1::guarded_main("r1-convert", argc, argv, r1::main_checked); }
