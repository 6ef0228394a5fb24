// Bad model directories, configurations, tokenizers and data sets through the program (P10).
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "tests/e2e/bad_input.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

json read_json(const fs::path& file) { return json::parse(read_file(file)); }

void edit_json(const fs::path& file, const std::function<void(json&)>& edit) {
  json j = read_json(file);
  edit(j);
  write_text(file, j.dump(1));
}

std::function<void(const fs::path&)> edit(const char* file, std::function<void(json&)> change) {
  return [=](const fs::path& dir) { edit_json(dir / file, change); };
}

// A safetensors file as its header and its data.
struct Tensors {
  explicit Tensors(const fs::path& f) : file(f) {
    const std::string all = read_file(f);
    uint64_t length = 0;
    std::memcpy(&length, all.data(), 8);
    header = json::parse(all.substr(8, length));
    data = all.substr(8 + length);
  }
  void write() const {
    const std::string text = header.dump();
    const uint64_t length = text.size();
    write_text(file, std::string(reinterpret_cast<const char*>(&length), 8) + text + data);
  }
  fs::path file;
  json header;
  std::string data;
};

std::function<void(const fs::path&)> edit_tensors(const std::function<void(Tensors&)>& change) {
  return [=](const fs::path& dir) {
    Tensors t(dir / "model.safetensors");
    change(t);
    t.write();
  };
}

constexpr const char* kNorm = "model.norm.weight";                        // [32]
constexpr const char* kDown = "model.layers.0.mlp.down_proj.weight";      // [32, 64]
constexpr const char* kQuery = "model.layers.1.self_attn.q_proj.weight";  // [32, 32]

struct BadCheckpoint : BadInputTest, ::testing::WithParamInterface<BadCase> {
  fs::path dir;
  // A checkpoint of a real run.
  void SetUp() override {
    BadInputTest::SetUp();
    write_text(top / "ok.graph", minimal());
    ASSERT_EQ(run_program({(top / "ok.graph").string(), "--run", (top / "ok").string(), "-q"}).code, 0);
    dir = top / "ok/checkpoints/a";
    write_text(top / "g.graph", graph());
    const ProgramResult good = run_program({(top / "g.graph").string(), "--check"});
    ASSERT_EQ(good.code, 0) << good.err;
  }
  std::string graph() const { return graph_on("path=\"" + dir.string() + "\""); }
};

TEST_P(BadCheckpoint, is_refused) {
  GetParam().spoil(dir);
  std::vector<std::string> words = GetParam().words;
  words.push_back("g.graph:2:");
  expect_refused(graph(), words);
}

const BadCase kCheckpoints[] = {
    {"wrong_shape",
     edit_tensors([](Tensors& t) {
       t.header[kDown]["shape"] = {64, 32};
     }),
     {"model.safetensors", kDown, "[64, 32]", "[32, 64]"}},
    {"missing_tensor",
     edit_tensors([](Tensors& t) {
       t.header["extra"] = t.header[kNorm];
       t.header.erase(kNorm);
     }),
     {"model.safetensors", kNorm, "missing"}},
    {"norm_that_is_not_a_number",
     edit_tensors([](Tensors& t) {
       const float nan = std::nanf("");
       std::memcpy(t.data.data() + t.header[kNorm]["data_offsets"][0].get<size_t>() + 3 * sizeof nan, &nan, sizeof nan);
     }),
     {"model.safetensors", kNorm, "nan at [3]"}},
    {"unexpected_tensor",
     edit_tensors([](Tensors& t) {
       const size_t end = t.data.size();
       t.header["model.layers.2.mlp.down_proj.weight"] = {{"dtype", "F32"}, {"shape", {1}}, {"data_offsets", {end, end + 4}}};
       t.data += "four";
     }),
     {"model.safetensors", "model.layers.2.mlp.down_proj.weight", "unexpected"}},
    {"tensor_of_another_type",
     edit_tensors([](Tensors& t) { t.header[kQuery]["dtype"] = "I32"; }),
     {"model.safetensors", kQuery, "I32", "BF16"}},
    {"header_that_is_not_json",
     [](const fs::path& dir) {
       std::string bytes = read_file(dir / "model.safetensors");
       bytes[bytes.find("\"shape\"")] = 'x';
       write_text(dir / "model.safetensors", bytes);
     },
     {"model.safetensors", "JSON"}},
    {"truncated_data",
     [](const fs::path& dir) { fs::resize_file(dir / "model.safetensors", fs::file_size(dir / "model.safetensors") - 10); },
     {"model.safetensors", "cut short"}},
    {"truncated_header",
     [](const fs::path& dir) { fs::resize_file(dir / "model.safetensors", 100); },
     {"model.safetensors", "cut short"}},
    {"empty_file",
     [](const fs::path& dir) { fs::resize_file(dir / "model.safetensors", 0); },
     {"model.safetensors", "cut short"}},
    {"web_page_instead_of_weights",
     [](const fs::path& dir) { write_text(dir / "model.safetensors", "<!DOCTYPE html><html>not found</html>"); },
     {"model.safetensors", "no safetensors file"}},
    {"pointer_of_git_lfs_instead_of_weights",
     [](const fs::path& dir) {
       write_text(dir / "model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 179568\n");
     },
     {"model.safetensors", "no safetensors file", "git lfs pull"}},
    {"offsets_that_overlap",
     edit_tensors([](Tensors& t) {
       auto& at = t.header[kNorm]["data_offsets"];
       at = {at[0].get<int64_t>() - 4, at[1].get<int64_t>() - 4};
     }),
     {"model.safetensors", "begins at byte", "expected"}},
    {"offsets_that_do_not_fit_the_shape",
     edit_tensors([](Tensors& t) {
       auto& at = t.header[kNorm]["data_offsets"];
       at = {at[0].get<int64_t>(), at[1].get<int64_t>() + 4};
     }),
     {"model.safetensors", kNorm, "132 bytes", "128"}},
    {"shape_that_overflows",
     edit_tensors([](Tensors& t) {
       t.header[kNorm]["shape"] = {int64_t{1} << 62, 16};
     }),
     {"model.safetensors", kNorm, "overflows"}},
    {"no_weights",
     [](const fs::path& dir) { fs::remove(dir / "model.safetensors"); },
     {"model.safetensors.index.json", "neither"}},
    {"index_that_names_a_missing_shard",
     [](const fs::path& dir) {
       json index = {{"weight_map", json::object()}};
       const Tensors whole(dir / "model.safetensors");
       for (const auto& [name, unused] : whole.header.items())
         if (name != "__metadata__")
           index["weight_map"][name] = name == kNorm ? "model-00002-of-00002.safetensors" : "model-00001-of-00002.safetensors";
       fs::rename(dir / "model.safetensors", dir / "model-00001-of-00002.safetensors");
       write_text(dir / "model.safetensors.index.json", index.dump());
     },
     {"model-00002-of-00002.safetensors", "no such file"}},
    {"index_that_is_not_json",
     [](const fs::path& dir) {
       fs::remove(dir / "model.safetensors");
       write_text(dir / "model.safetensors.index.json", "{");
     },
     {"model.safetensors.index.json", "JSON"}},
    {"index_that_leads_out_of_the_directory",
     [](const fs::path& dir) {
       fs::remove(dir / "model.safetensors");
       write_text(dir / "model.safetensors.index.json", R"({"weight_map":{"a":"../other.safetensors"}})");
     },
     {"model.safetensors.index.json", "../other.safetensors", "bare file name"}},
    {"no_config", [](const fs::path& dir) { fs::remove(dir / "config.json"); }, {"config.json"}},
    {"config_cut_short", [](const fs::path& dir) { fs::resize_file(dir / "config.json", 40); }, {"config.json:", "JSON"}},
    {"unknown_model_type",
     edit("config.json", [](json& j) { j["model_type"] = "qwen33"; }),
     {"config.json", "qwen33", "did you mean \"qwen3\""}},
    {"hidden_size_of_another_model",
     edit("config.json", [](json& j) { j["hidden_size"] = 48; }),
     {"model.safetensors", "[400, 32]", "[400, 48]"}},
    {"more_layers_than_the_weights",
     edit("config.json", [](json& j) { j["num_hidden_layers"] = 3; }),
     {"model.safetensors", "model.layers.2", "missing"}},
    {"hidden_size_that_is_text", edit("config.json", [](json& j) { j["hidden_size"] = "32"; }), {"config.json", "hidden_size"}},
    {"hidden_size_below_zero",
     edit("config.json", [](json& j) { j["hidden_size"] = -32; }),
     {"config.json", "hidden_size", "-32"}},
    {"hidden_size_too_large_for_a_machine",
     edit("config.json", [](json& j) { j["hidden_size"] = int64_t{1} << 40; }),
     {"config.json", "hidden_size"}},
    {"no_vocabulary_size", edit("config.json", [](json& j) { j.erase("vocab_size"); }), {"config.json", "vocab_size"}},
    {"no_tokenizer", [](const fs::path& dir) { fs::remove(dir / "tokenizer.json"); }, {"tokenizer.json"}},
    {"tokenizer_that_is_not_json",
     [](const fs::path& dir) { write_text(dir / "tokenizer.json", "{\n \"model\": tiktoken\n}"); },
     {"tokenizer.json:2:", "JSON"}},
    {"tokenizer_of_another_kind",
     [](const fs::path& dir) { write_text(dir / "tokenizer.json", R"({"model":{"type":"WordPiece"}})"); },
     {"tokenizer.json", "WordPiece", "BPE"}},
    {"merge_of_an_unknown_token",
     edit("tokenizer.json", [](json& j) { j["model"]["merges"] = {"qq zz"}; }),
     {"tokenizer.json", "model.merges[0]", "'qq'"}},
    {"ids_outside_of_the_model",
     edit("tokenizer.json",
          [](json& j) {
            j["added_tokens"].push_back({{"id", 5000}, {"content", "<late>"}, {"special", true}});
          }),
     {"5001", "400"}},
    {"id_given_twice",
     edit("tokenizer.json",
          [](json& j) {
            j["added_tokens"].push_back({{"id", 1}, {"content", "<x>"}, {"special", true}});
          }),
     {"tokenizer.json", "<x>"}},
    {"id_below_zero",
     edit("tokenizer.json",
          [](json& j) {
            j["added_tokens"].push_back({{"id", -1}, {"content", "<x>"}, {"special", true}});
          }),
     {"tokenizer.json", "added_tokens", "-1"}},
    {"end_token_outside_of_the_vocabulary",
     edit("config.json", [](json& j) { j["eos_token_id"] = 400; }),
     {"config.json", "eos_token_id", "400"}},
};
INSTANTIATE_TEST_SUITE_P(Table, BadCheckpoint, ::testing::ValuesIn(kCheckpoints), case_name);

// ---- configurations of DeepSeek-V3 ------------------------------------------------------------------------------------

json deepseek() {
  return json::parse(R"({"model_type": "deepseek_v3", "vocab_size": 400, "hidden_size": 32, "intermediate_size": 64,
    "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 256,
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16,
    "n_routed_experts": 8, "n_shared_experts": 1, "num_experts_per_tok": 2, "moe_intermediate_size": 16,
    "first_k_dense_replace": 1, "n_group": 4, "topk_group": 2, "routed_scaling_factor": 2.5, "scoring_func": "sigmoid",
    "topk_method": "noaux_tc", "norm_topk_prob": true, "rope_theta": 10000, "num_nextn_predict_layers": 0,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0})");
}

struct BadDeepseek : BadInputTest, ::testing::WithParamInterface<BadCase> {
  void SetUp() override {
    BadInputTest::SetUp();
    write_text(top / "nano.json", deepseek().dump(1));
    write_text(top / "g.graph", minimal());
    const ProgramResult good = run_program({(top / "g.graph").string(), "--check"});
    ASSERT_EQ(good.code, 0) << good.err;
  }
};

TEST_P(BadDeepseek, is_refused) {
  GetParam().spoil(top);
  std::vector<std::string> words = GetParam().words;
  words.insert(words.end(), {"g.graph:2:", "nano.json"});
  expect_refused(minimal(), words);
}

const BadCase kDeepseek[] = {
    {"more_experts_per_token_than_experts",
     edit("nano.json", [](json& j) { j["num_experts_per_tok"] = 9; }),
     {"num_experts_per_tok 9"}},
    {"experts_not_divided_by_groups",
     edit("nano.json", [](json& j) { j["n_group"] = 3; }),
     {"n_routed_experts 8", "n_group 3"}},
    {"more_groups_chosen_than_there_are",
     edit("nano.json", [](json& j) { j["topk_group"] = 5; }),
     {"topk_group 5", "n_group 4"}},
    {"weights_in_fp8",
     edit("nano.json",
          [](json& j) {
            j["quantization_config"] = {{"quant_method", "fp8"}, {"fmt", "e4m3"}};
          }),
     {"quantization_config", "BF16"}},
    {"odd_rotary_dimension", edit("nano.json", [](json& j) { j["qk_rope_head_dim"] = 7; }), {"qk_rope_head_dim 7", "odd"}},
    {"two_prediction_modules",
     edit("nano.json", [](json& j) { j["num_nextn_predict_layers"] = 2; }),
     {"num_nextn_predict_layers is 2"}},
    {"unknown_scoring_function",
     edit("nano.json", [](json& j) { j["scoring_func"] = "tanh"; }),
     {"scoring_func", "tanh", "sigmoid"}},
    {"no_latent_rank", edit("nano.json", [](json& j) { j.erase("kv_lora_rank"); }), {"kv_lora_rank"}},
    {"yarn_without_factor",
     edit("nano.json",
          [](json& j) {
            j["rope_scaling"] = {{"type", "yarn"}};
          }),
     {"rope_scaling", "factor"}},
};
INSTANTIATE_TEST_SUITE_P(Table, BadDeepseek, ::testing::ValuesIn(kDeepseek), case_name);

// ---- reward models ----------------------------------------------------------------------------------------------------

TEST_F(BadInputTest, a_reward_model_goes_on_with_what_it_sees) {
  edit_json(top / "nano.json", [](json& j) {
    j["r1_head"] = "scalar";
    j["r1_sees"] = "answer";
  });
  expect_refused(R"__(digraph g {
  m [kind=model, config="nano.json", tokenizer=tiny];
  subgraph cluster_a {
    p [role=prompter, source="tiny:helpful_pairs", count=8];
    t [role=trainer, objective=reward_model, epochs=1];
    p -> t;
  }
  m -> t;
})__",
                 {"g.graph:5:", "'m'", "sees=answer"});
}

// ---- data sets --------------------------------------------------------------------------------------------------------

struct BadDataset : BadInputTest, ::testing::WithParamInterface<BadCase> {};

TEST_P(BadDataset, is_refused) {
  GetParam().spoil(top);
  std::string text = minimal(", epochs=1", "  d [kind=dataset, path=\"d.jsonl\"];\n  d -> t;\n");
  text.insert(text.find("tiny:pretrain") + 14, ", count=4");
  std::vector<std::string> words = GetParam().words;
  words.insert(words.end(), {"d.jsonl"});
  expect_refused(text, words);
}

std::function<void(const fs::path&)> lines(const std::string& text) {
  return [=](const fs::path& dir) { write_text(dir / "d.jsonl", text); };
}
constexpr const char* kGoodLine = "{\"prompt\":\"a\",\"completion\":\"b\"}\n";

const BadCase kDatasets[] = {
    {"broken_line", lines(std::string(kGoodLine) + kGoodLine + "{\"prompt\":\"a\"\n"), {"d.jsonl:3", "JSON"}},
    {"line_without_completion", lines(std::string(kGoodLine) + "{\"prompt\":\"a\"}\n"), {"d.jsonl:2", "completion"}},
    {"line_that_is_a_list", lines("[1, 2]\n"), {"d.jsonl:1", "object"}},
    {"completion_that_is_a_number", lines("{\"prompt\":\"a\",\"completion\":7}\n"), {"d.jsonl:1", "completion"}},
    {"text_that_is_not_utf8", lines("{\"prompt\":\"\xff\xfe\",\"completion\":\"b\"}\n"), {"d.jsonl:1", "UTF-8"}},
    {"empty_file", lines(""), {"empty"}},
    {"blank_lines_only", lines("\n\n"), {"no records"}},
    {"directory_instead_of_a_file", [](const fs::path& dir) { fs::create_directory(dir / "d.jsonl"); }, {"directory"}},
};
INSTANTIATE_TEST_SUITE_P(Table, BadDataset, ::testing::ValuesIn(kDatasets), case_name);

}  // namespace
}  // namespace r1
