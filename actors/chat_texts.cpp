#include "actors/chat_texts.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "actors/model_chat.h"
#include "base/json.h"
#include "models/model_files.h"

namespace r1 {

namespace {

namespace fs = std::filesystem;
using Ordered = nlohmann::ordered_json;

// A JSON object of the model that the weights came from, in the order of its file; empty when it has none.
Ordered given_object(const std::optional<fs::path>& model, const char* name) {
  const auto text = model ? model_text(*model, name) : std::nullopt;
  if (!text) return Ordered::object();
  const Where where = model_text_place(*model, name);
  if (!parse_json(*text, where).is_object()) throw bad_input("a JSON object is expected", where);
  return ordered_json_or_null(*text);
}

}  // namespace

std::map<std::string, std::string> chat_texts(const RunEnv& env, const GraphView& graph, const NodePlan& trainer,
                                              const ModelConfig& config) {
  const NodePlan& root = model_root(graph, trainer);
  const auto tokenizer = node_tokenizer(env, graph, trainer);
  const auto chat = node_chat(env, graph, trainer, tokenizer);
  // With a tokenizer of another place, what the model's directory says about its own does not hold.
  std::optional<fs::path> model;
  if (root.attrs.has("path") && root.attrs.text("tokenizer").empty()) model = resolve_path(env, root.attrs.text("path"));
  Ordered settings = given_object(model, "tokenizer_config.json"), generation = given_object(model, "generation_config.json"),
          tokens = given_object(model, "special_tokens_map.json");
  std::map<std::string, std::string> out;
  if (!chat->is_none()) {
    const bool several = chat->files().templates.size() > 1;
    if (several) {
      settings["chat_template"] = Ordered::array();
      for (const auto& [name, text] : chat->files().templates)
        settings["chat_template"].push_back({{"name", name}, {"template", text}});
    } else {
      settings.erase("chat_template");
      out["chat_template.jinja"] = chat->source();
    }
    const bool named = chat->files().special_tokens.empty();
    for (Ordered* j : {&settings, &tokens})
      if (!chat->end_token().empty() && (j == &settings || j->contains("eos_token")) && (named || !j->contains("eos_token")))
        (*j)["eos_token"] = chat->end_token();
  }
  if (config.eos_ids.size() == 1) generation["eos_token_id"] = config.eos_ids[0];
  if (config.eos_ids.size() > 1) generation["eos_token_id"] = config.eos_ids;
  if (config.bos_id >= 0 && !generation.contains("bos_token_id")) generation["bos_token_id"] = config.bos_id;
  if (config.pad_id >= 0 && !generation.contains("pad_token_id")) generation["pad_token_id"] = config.pad_id;
  if (!settings.empty() && !settings.contains("tokenizer_class")) settings["tokenizer_class"] = "PreTrainedTokenizerFast";
  if (config.scalar_head) generation.clear();
  const auto put = [&](const char* name, const Ordered& j) {
    if (!j.empty()) out[name] = j.dump(2) + "\n";
  };
  put("tokenizer_config.json", settings);
  put("special_tokens_map.json", tokens);
  put("generation_config.json", generation);
  return out;
}

}  // namespace r1
