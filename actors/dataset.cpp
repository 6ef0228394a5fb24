#include "actors/dataset.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "actors/examples.h"
#include "actors/model_chat.h"
#include "base/directories.h"
#include "base/files.h"
#include "base/hash_stream.h"
#include "base/stop.h"

namespace r1 {

using Ordered = nlohmann::ordered_json;

std::string dataset_line(const PromptMessage& prompt, const Completion& completion, bool finished, const ChatTemplate& chat) {
  Ordered line;
  if (prompt.conversation.empty()) {
    line = {{"prompt", prompt.text}, {"completion", completion.text + completion.end}, {"rendered", true}};
  } else {
    const Conversation said = Conversation::parse(prompt.conversation);
    line["prompt"] = said.messages;
    line["completion"] =
        Ordered::array({Ordered{{"role", "assistant"}, {"content", chat.reply(prompt.text, completion.text)}}});
    if (!said.tools.is_null()) line["tools"] = said.tools;
    if (!said.variables.is_null()) line["chat_template_kwargs"] = said.variables;
    if (!finished) line["finished"] = false;
  }
  return line.dump(-1, ' ', false, Ordered::error_handler_t::replace) + "\n";
}

void write_dataset(const RunEnv& env, const std::string& stage, StageJournal& journal) {
  const auto file = dataset_file(env, stage);
  make_directories(file.parent_path());
  AtomicFile out(file);
  HashStream hash;
  for (int64_t v = 0; v < journal.batches(); ++v) {
    next_unit();
    const std::string lines = journal.batch(v).payload;
    out.write(lines.data(), lines.size());
    hash.add(lines);
  }
  out.finish();
  env.once->keep(file, file_stamp(file), hash.value().hex());
  journal.artifact("dataset", {"datasets/" + stage + ".jsonl", hash.value().hex()});
}

uint64_t read_dataset(const RunEnv& env, const std::filesystem::path& file, const Tokenizer& tokenizer,
                      const std::shared_ptr<const ChatTemplate>& chat, const std::function<void(const Sequence&)>& each,
                      const std::function<bool(const std::vector<std::string>&)>& left_out) {
  const auto source =
      open_data(env, "jsonl:" + file.string(), 0, {.want = RecordKind::example, .chat = chat, .left_out = left_out});
  for (uint64_t i = 0; i < source->size().value(); ++i) {
    next_unit();
    each(tokenise_example(tokenizer, source->example(i)));
  }
  return source->left_out();
}

std::shared_ptr<const ChatTemplate> dataset_chat(const RunEnv& env, const GraphView& graph, const EdgePlan& edge) {
  const NodePlan& from = graph.nodes[edge.from];
  if (from.artifact && from.attrs.text("template") != "auto") return ChatTemplate::named(from.attrs.text("template"));
  return node_chat(env, graph, graph.nodes[edge.to]);
}

void check_dataset_edges(const RunEnv& env, const GraphView& graph) {
  for (const EdgePlan& edge : graph.edges) {
    const NodePlan &from = graph.nodes[edge.from], &to = graph.nodes[edge.to];
    if (edge.carries != "dataset" || from.artifact) continue;
    const NodePlan* prompter = stage_node(graph, from.stage, "prompter");
    if (prompter == nullptr) continue;
    const auto asked = source_chat(prompter->attrs.text("source"), node_chat(env, graph, *prompter));
    if (asked->is_none()) continue;  // texts, which stand as they are
    const auto chat = dataset_chat(env, graph, edge);
    if (chat->what_is_missing() != nullptr)
      throw bad_input(fmt::format("'{}' leaves conversations to '{}', and {}", from.id, to.id, *chat->what_is_missing()),
                      edge.where, chat->hint());
    if (chat->is_none())
      throw bad_input(fmt::format("'{}' leaves conversations to '{}', whose model has template=none", from.id, to.id),
                      edge.where, "template=auto, or the name of a built-in template, on the model");
    try {
      check_tags(*chat, *node_tokenizer(env, graph, to), chat->name(), model_root(graph, to).id);
    } catch (const Error& e) {
      throw bad_input(e.message(), edge.where, e.hint());
    }
  }
}

std::filesystem::path dataset_path(const RunEnv& env, const GraphView& graph, const EdgePlan& edge) {
  const NodePlan& from = graph.nodes[edge.from];
  return from.artifact ? resolve_path(env, from.attrs.text("path")) : dataset_file(env, graph.stages[from.stage].name);
}

}  // namespace r1
