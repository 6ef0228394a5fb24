#include "actors/end_tokens.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "actors/dataset.h"
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

// What ends a completion of this node's stage.
ModelConfig with_end_tokens(const RunEnv& env, const GraphView& graph, const NodePlan& node, const Tokenizer& tokenizer) {
  ModelConfig config = origin_config(env, model_root(graph, node));
  add_end_tokens(config, stage_end_tokens(env, graph, node, tokenizer));
  return config;
}

// Of examples that a template renders and that end with none of `ends`: "" where one of the first does, or none is to be read.
std::string what_teaches_no_end(const std::string& spec, const SourceUse& use, const Tokenizer& tokenizer,
                                const std::vector<int32_t>& ends) {
  constexpr uint64_t kLookedAt = 8;  // some of a file may have been cut off
  const auto chat = source_chat(spec, use.chat);
  if (chat->is_none() || (use.want.value_or(source_kind(spec)) != RecordKind::example)) return "";
  const auto examples = open_source(spec, 0, use);
  bool any = false;
  try {
    for (uint64_t i = 0; i < std::min(examples->size().value_or(kLookedAt), kLookedAt); ++i) {
      const Example example = examples->example(i);
      if (example.loss_on_prompt) return "";
      const std::vector<int32_t> tokens = tokenizer.encode(example.completion);
      if (!tokens.empty() && std::find(ends.begin(), ends.end(), tokens.back()) != ends.end()) return "";
      any = any || !tokens.empty();
    }
  } catch (const Error&) {  // its error is that of the data
    return "";
  }
  std::string names;
  for (const int32_t id : ends) names += (names.empty() ? "" : ", ") + tokenizer.token_of(id).value_or("?");
  return !any ? ""
              : fmt::format(
                    "completions are learned without an end token: the chat template '{}' writes {} behind a reply, and what "
                    "learns from it stops at max_tokens only",
                    chat->name(), ends.empty() ? "no token that ends one" : "none of " + names);
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
        if (node.role != "prompter") continue;
        const std::vector<int32_t> ends = with_end_tokens(env, graph, node, *tokenizer).eos_ids;
        for (const std::string& source : split_sources(node.attrs.text("source")))
          if (const std::string said = what_teaches_no_end(located_source(source, env.graph_dir),
                                                           {.in_file_order = true, .chat = own}, *tokenizer, ends);
              !said.empty())
            report.warnings.push_back(fmt::format("{}: '{}': {}", node.where.str(), source, said));
      } else if (node.role == "trainer" || node.role == "distiller") {
        for (const int e : node.in_edges) {
          const EdgePlan& edge = graph.edges[static_cast<size_t>(e)];
          if (edge.carries != "dataset" || !graph.nodes[static_cast<size_t>(edge.from)].artifact) continue;
          const auto tokenizer = node_tokenizer(env, graph, node);
          const std::string said =
              what_teaches_no_end("jsonl:" + dataset_path(env, graph, edge).string(),
                                  {.want = RecordKind::example, .in_file_order = true, .chat = dataset_chat(env, graph, edge)},
                                  *tokenizer, with_end_tokens(env, graph, node, *tokenizer).eos_ids);
          if (!said.empty())
            report.warnings.push_back(fmt::format("{}: {}", graph.nodes[static_cast<size_t>(edge.from)].where.str(), said));
        }
      }
    }
    if (writer == nullptr) continue;
    const auto tokenizer = node_tokenizer(env, graph, *writer);
    const ModelConfig config = with_end_tokens(env, graph, *writer, *tokenizer);
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
