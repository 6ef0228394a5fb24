#include "actors/model_chat.h"

#include <fmt/format.h>

#include <algorithm>

#include "models/model_files.h"
#include "tasks/chat_files.h"
#include "tasks/spec.h"

namespace r1 {

namespace {

namespace fs = std::filesystem;

// A built-in template whose tags the tokenizer has; "" for none.
std::string fitting_template(const Tokenizer& tokenizer) {
  for (const char* name : {"llama3", "r1", "chatml", "tiny"}) {
    const auto chat = ChatTemplate::named(name);
    const std::vector<std::string>& tags = chat->tags();
    if (std::all_of(tags.begin(), tags.end(), [&](const std::string& tag) { return tokenizer.id_of(tag).has_value(); }))
      return name;
  }
  return "";
}

// Of the first of `dirs` that has one.
std::shared_ptr<const ChatTemplate> own_template(const std::vector<fs::path>& dirs, const std::string& model,
                                                 const Tokenizer& tokenizer) {
  for (const fs::path& dir : dirs)
    if (ChatFiles files = model_chat_files(dir); !files.templates.empty())
      return ChatTemplate::of_model(std::move(files), special_texts(tokenizer));
  const std::string fits = fitting_template(tokenizer);
  return ChatTemplate::missing(
      fmt::format("{} has no chat template in {}", model, dirs.empty() ? "its files" : dirs.back().lexically_normal().string()),
      fits.empty() ? "template=NAME names a built-in one (chatml, llama3, qwen2.5, ...), on the model or on the source"
                   : fmt::format("template={} would fit its tokenizer, on the model or on the source", fits));
}

// The template that the sources and data sets of a stage name; "" when none does.
std::string stage_template(const GraphView& graph, int stage) {
  if (stage < 0) return "";
  for (const int n : graph.stages[static_cast<size_t>(stage)].nodes) {
    const NodePlan& node = graph.nodes[static_cast<size_t>(n)];
    if (node.role == "prompter")
      for (const std::string& spec : split_sources(node.attrs.text("source"))) {
        const auto chat = source_chat(spec, nullptr);
        if (!chat->is_none()) return chat->name();
      }
    for (const int e : node.in_edges)
      if (const NodePlan& from = graph.nodes[static_cast<size_t>(graph.edges[static_cast<size_t>(e)].from)];
          from.role == "dataset")
        if (const std::string& name = from.attrs.text("template"); name != "auto" && name != "none") return name;
  }
  return "";
}

// What the model of `node` is taught to speak when its stage is over: a name, or "auto" for its files' own.
std::string taught_template(const GraphView& graph, const NodePlan& node) {
  const NodePlan* at = &node;
  while (!at->artifact) {
    if (std::string name = stage_template(graph, at->stage); !name.empty()) return name;
    at = &model_origin(graph, *at);
  }
  return at->attrs.text("template");
}

}  // namespace

ChatFiles model_chat_files(const fs::path& model) {
  const auto gguf = gguf_of(model);
  if (!gguf) return read_chat_files(model);
  return read_chat_files(*gguf, [&](const std::string& name) -> std::optional<std::string> {
    return name == "special_tokens_map.json" || name == "chat_template.json" ? std::nullopt : model_text(model, name);
  });
}

std::vector<std::string> special_texts(const Tokenizer& tokenizer) {
  std::vector<std::string> out;
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id)
    if (tokenizer.is_special(id))
      if (auto text = tokenizer.token_of(id)) out.push_back(std::move(*text));
  return out;
}

void check_tags(const ChatTemplate& chat, const Tokenizer& tokenizer, const std::string& reader, const std::string& model) {
  for (const std::string& tag : chat.tags())
    if (!tokenizer.id_of(tag))
      throw bad_input(
          fmt::format("the chat template of '{}' writes {}, which the tokenizer of '{}' has no token for", reader, tag, model),
          {}, "choose the template of the model's family");
}

std::vector<fs::path> chat_files_beside(const fs::path& tokenizer_json) {
  std::vector<fs::path> out;
  for (const char* name : {"chat_template.jinja", "chat_template.json", "special_tokens_map.json", "tokenizer_config.json"})
    if (fs::exists(tokenizer_json.parent_path() / name)) out.push_back(tokenizer_json.parent_path() / name);
  return out;
}

std::shared_ptr<const ChatTemplate> node_chat(const RunEnv& env, const GraphView& graph, const NodePlan& node,
                                              std::shared_ptr<const Tokenizer> tokenizer) {
  model_root(graph, node);  // bounds the walk
  const std::string name = taught_template(graph, node);
  if (name != "auto") return ChatTemplate::named(name);
  const NodePlan& root = model_root(graph, node);
  const std::string file = root.attrs.text("tokenizer");
  if (file == "tiny") return ChatTemplate::named("tiny");
  std::vector<fs::path> dirs;
  if (!file.empty()) dirs.push_back(resolve_path(env, file).parent_path());
  if (root.attrs.has("path")) {
    dirs.push_back(resolve_path(env, root.attrs.text("path")));
    env.once->check_kept(dirs.back());
  }
  if (!tokenizer) tokenizer = node_tokenizer(env, graph, node);
  return own_template(dirs, fmt::format("the model '{}'", root.id), *tokenizer);
}

ModelChat load_model_chat(const fs::path& dir, const std::string& name) {
  if (!fs::exists(dir)) throw bad_input("no such model directory or GGUF file", {dir.string()});
  ModelConfig config = read_model_config(dir);
  ModelChat out;
  out.tokenizer = std::make_shared<const Tokenizer>(model_tokenizer(dir));
  check_tokenizer_fits(*out.tokenizer, config, "its tokenizer", {dir.string()});
  out.chat = name == "auto" ? own_template({dir}, dir.string(), *out.tokenizer) : ChatTemplate::named(name);
  check_tags(*out.chat, *out.tokenizer, out.chat->name(), dir.string());
  std::vector<std::string> ends = {out.chat->end_token()};
  const ChatFiles files = model_chat_files(dir);
  for (const auto& [token, text] : files.special_tokens)
    if (token == "eos_token") ends.push_back(text);
  for (const std::string& end : ends)
    if (const auto id = out.tokenizer->id_of(end); !end.empty() && id) add_end_tokens(config, {*id});
  out.end_ids = config.eos_ids;
  return out;
}

std::vector<int32_t> ModelChat::prompt_tokens(const Conversation& conversation) const {
  return tokenizer->encode(chat->prompt(conversation), false);
}

std::string ModelChat::reply(const Conversation& conversation, const std::string& completion) const {
  return chat->reply(chat->prompt(conversation), completion);
}

}  // namespace r1
