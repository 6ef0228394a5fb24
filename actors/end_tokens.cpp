#include "actors/end_tokens.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>

#include "actors/graph_checks.h"
#include "base/json.h"
#include "models/model_files.h"

namespace r1 {

namespace {

namespace fs = std::filesystem;

constexpr const char* kTokenizerConfig = "tokenizer_config.json";

// "eos_token" of tokenizer_config.json: a text, or an object with its "content".
std::string declared_end_token(const std::string& text, const Where& where) {
  const nlohmann::json json = parse_json(text, where, {.hint = "a Hugging Face tokenizer_config.json is expected"});
  if (!json.is_object()) throw bad_input("expected an object", where);
  const auto at = json.find("eos_token");
  if (at == json.end() || at->is_null()) return "";
  if (at->is_string()) return at->get<std::string>();
  if (at->is_object() && at->contains("content") && (*at)["content"].is_string()) return (*at)["content"].get<std::string>();
  throw bad_input("\"eos_token\" must be a text, not " + shown_json(*at), where);
}

bool gives_pairs(const RunEnv& env, const NodePlan& node) {
  for (const std::string& spec : split_sources(node.attrs.text("source")))
    if (source_kind(located_source(spec, env.graph_dir)) != RecordKind::pair) return false;
  return true;
}

// Prompts with completions (not documents) that no template closes.
bool teaches_no_end(const RunEnv& env, const GraphView& graph, const NodePlan& node) {
  const std::string spec = located_source(node.attrs.text("source"), env.graph_dir);
  if (!source_end_token(spec).empty() || source_kind(spec) != RecordKind::example) return false;
  const NodePlan* trainer = stage_trainer(graph, node.stage);
  return trainer != nullptr && !open_source(spec, 0)->example(0).loss_on_prompt;
}

}  // namespace

std::vector<int32_t> stage_end_tokens(const RunEnv& env, const GraphView& graph, const NodePlan& node,
                                      const Tokenizer& tokenizer) {
  std::set<int32_t> ids;
  const NodePlan& root = model_root(graph, node);
  if (root.attrs.has("path")) {
    const fs::path model = resolve_path(env, root.attrs.text("path"));
    const Where where = model_text_place(model, kTokenizerConfig);
    if (const auto text = model_text(model, kTokenizerConfig))
      if (const std::string token = declared_end_token(*text, where); !token.empty()) {
        const auto id = tokenizer.id_of(token);
        if (!id) throw bad_input("the \"eos_token\" " + token + " is not in tokenizer.json", where);
        ids.insert(*id);
      }
  }
  if (node.stage >= 0)
    for (const int n : graph.stages[node.stage].nodes) {
      const NodePlan& other = graph.nodes[n];
      if (other.role != "prompter" && other.role != "evaluator") continue;
      for (const std::string& spec : split_sources(other.attrs.text("source")))
        if (const std::string token = source_end_token(located_source(spec, env.graph_dir)); !token.empty())
          if (const auto id = tokenizer.id_of(token)) ids.insert(*id);
    }
  return {ids.begin(), ids.end()};
}

EndTokenReport report_end_tokens(const RunEnv& env, const GraphView& graph) {
  EndTokenReport report;
  for (const StagePlan& stage : graph.stages) {
    const NodePlan* writer = nullptr;
    for (const int n : stage.nodes) {
      const NodePlan& node = graph.nodes[n];
      if (node.role == "generator" || (node.role == "evaluator" && writer == nullptr && !gives_pairs(env, node)))
        writer = &node;
      if (node.role == "prompter" && teaches_no_end(env, graph, node))
        report.warnings.push_back(fmt::format(
            "{}: '{}' has no chat template (template=none): its completions are learned as they stand, without an end token",
            node.where.str(), node.attrs.text("source")));
    }
    if (writer == nullptr) continue;
    const auto tokenizer = node_tokenizer(env, graph, *writer);
    ModelConfig config = origin_config(env, model_root(graph, *writer));
    add_end_tokens(config, stage_end_tokens(env, graph, *writer, *tokenizer));
    std::string text;
    for (const int32_t id : config.eos_ids)
      text += fmt::format("{}{} ({})", text.empty() ? "" : ", ", tokenizer->token_of(id).value_or("no token"), id);
    if (config.eos_ids.empty())
      report.warnings.push_back(
          fmt::format("stage '{}': nothing ends a completion before max_tokens: neither the model's files nor a "
                      "chat template name an end token",
                      stage.name));
    else
      report.lines.push_back(fmt::format("stage '{}': completions end with {}", stage.name, text));
  }
  return report;
}

}  // namespace r1
