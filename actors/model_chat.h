// How a model speaks: its tokenizer, its chat template, and the tokens that end what it says - of a model directory, and of a
// node of a graph. What r1-chat and r1-eval render with is what a run renders with.
//
//   const ModelChat chat = load_model_chat(dir);                       // template=auto: the directory's own
//   Conversation c = Conversation::of_user("1 + 1?");                  // or .messages of one's own
//   weights->set_token_ids(chat.tokenizer->vocab_size());               // a padded vocabulary is not sampled
//   request.prompt = chat.prompt_tokens(c);  request.stop_ids = chat.end_ids;
//   c.messages.push_back({{"role", "assistant"}, {"content", chat.reply(c, text)}});
//
// Thread rule: ModelChat is immutable; functions are pure but for the files they read.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "actors/run_env.h"
#include "tasks/chat_template.h"

namespace r1 {

struct ModelChat {
  std::shared_ptr<const Tokenizer> tokenizer;
  std::shared_ptr<const ChatTemplate> chat;
  std::vector<int32_t> end_ids;  // config.json, generation_config.json, "eos_token", and the template's end token

  // The conversation up to where the reply begins, as tokens. Throws bad_input for what the template cannot say, also when
  // there is none: a plain text (Conversation::plain) is then taken as it stands.
  std::vector<int32_t> prompt_tokens(const Conversation& conversation) const;
  // What the model wrote behind such a prompt (decoded, end token and all) as the content of the assistant's message.
  std::string reply(const Conversation& conversation, const std::string& completion) const;
};

// `name`: "auto", "none" or a built-in template. Throws bad_input for a directory that is no model, a name that is unknown and
// a template whose tags the tokenizer lacks.
ModelChat load_model_chat(const std::filesystem::path& model, const std::string& name = "auto");

// ---- in a graph
// What template=auto means for what `node` reads: the template that a prompter (or a data set) of its stage names; else the one
// that an earlier stage taught the model; else that of the model itself (`template` of its node, by default its directory's
// own; of the tiny tokenizer: tiny). Reads the model's files. Throws bad_input for files that are malformed. `tokenizer`: that
// of the node where it is at hand; else it is read.
std::shared_ptr<const ChatTemplate> node_chat(const RunEnv&, const GraphView&, const NodePlan& node,
                                              std::shared_ptr<const Tokenizer> tokenizer = {});
// Files beside a tokenizer.json that may hold its template: those that are there.
std::vector<std::filesystem::path> chat_files_beside(const std::filesystem::path& tokenizer_json);

// The chat template and special tokens of a model directory or a GGUF file. Throws bad_input for files that are malformed.
ChatFiles model_chat_files(const std::filesystem::path& model);

// Throws bad_input when a text that the template writes and that has to be one token is none of the tokenizer's. `reader`: the
// source, for the message; `model`: whose tokenizer it is.
void check_tags(const ChatTemplate&, const Tokenizer&, const std::string& reader, const std::string& model);

// The tokenizer's special tokens, as texts.
std::vector<std::string> special_texts(const Tokenizer&);

}  // namespace r1
