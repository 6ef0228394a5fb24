#include "actors/end_tokens.h"

#include <fmt/format.h>

#include <set>

#include "actors/model_chat.h"
#include "models/model_files.h"
#include "tasks/spec.h"

namespace r1 {

namespace {

namespace fs = std::filesystem;

bool gives_pairs(const RunEnv& env, const NodePlan& node) {
  for (const std::string& spec : split_sources(node.attrs.text("source")))
    if (source_kind(located_source(spec, env.graph_dir)) != RecordKind::pair) return false;
  return true;
}

// What is said of a source that no template renders: "" for one that has a template, or that gives documents.
std::string what_stands_as_it_is(const RunEnv& env, const NodePlan& node, const std::string& source, const ChatTemplate& chat,
                                 const Tokenizer& tokenizer) {
  const std::string spec = located_source(source, env.graph_dir);
  if (!chat.is_none()) return "";
  const RecordKind kind = source_kind(spec);
  if (kind == RecordKind::example && node.role == "prompter") {
    const auto text = open_source(spec, 0, {.in_file_order = true});
    try {
      if (text->example(0).loss_on_prompt) return "";
    } catch (const Error&) {  // a conversation: its error is that of the data
      return "";
    }
  }
  const std::vector<int32_t> before = tokenizer.encode("", true);
  std::string said =
      fmt::format("{}: '{}' is read without a chat template ({}): texts are used as they stand", node.where.str(), source,
                  chat.what_is_missing() != nullptr ? *chat.what_is_missing() : "template=none");
  if (!before.empty())
    said += fmt::format(", without the {} that the tokenizer puts in front of a text",
                        tokenizer.token_of(before[0]).value_or("token"));
  if (kind == RecordKind::example) said += ", and completions are learned without an end token";
  if (!chat.hint().empty()) said += " (" + chat.hint() + ")";
  return said;
}

}  // namespace

std::vector<int32_t> stage_end_tokens(const RunEnv& env, const GraphView& graph, const NodePlan& node,
                                      const Tokenizer& tokenizer) {
  std::set<int32_t> ids;
  const NodePlan& root = model_root(graph, node);
  if (root.attrs.has("path")) {
    const fs::path model = resolve_path(env, root.attrs.text("path"));
    const ChatFiles files = model_chat_files(model);
    for (const auto& [name, token] : files.special_tokens) {
      if (name != "eos_token") continue;
      const auto id = tokenizer.id_of(token);
      if (!id)
        throw bad_input("the \"eos_token\" " + token + " is not in tokenizer.json",
                        model_text_place(model, "tokenizer_config.json"));
      ids.insert(*id);
    }
  }
  const auto own = node_chat(env, graph, node, std::make_shared<const Tokenizer>(tokenizer));
  const auto add = [&](const ChatTemplate& chat) {
    if (const auto id = tokenizer.id_of(chat.end_token()); id && !chat.end_token().empty()) ids.insert(*id);
  };
  add(*own);
  if (node.stage >= 0)
    for (const int n : graph.stages[node.stage].nodes) {
      const NodePlan& other = graph.nodes[n];
      if (other.role != "prompter" && other.role != "evaluator") continue;
      for (const std::string& spec : split_sources(other.attrs.text("source"))) add(*source_chat(spec, own));
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
      if (node.role == "prompter" || node.role == "evaluator") {
        const auto tokenizer = node_tokenizer(env, graph, node);
        const auto own = node_chat(env, graph, node, tokenizer);
        for (const std::string& source : split_sources(node.attrs.text("source")))
          if (std::string said = what_stands_as_it_is(env, node, source, *source_chat(source, own), *tokenizer); !said.empty())
            report.warnings.push_back(std::move(said));
      }
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
