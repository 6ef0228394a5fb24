// Chat templates: how a conversation becomes the text that a model continues, and how an assistant's reply becomes the text
// that a model learns. A template is Jinja (tasks/jinja): the one that a model's files carry (chat_files.h), or a built-in one
// (chat_families.h). Texts come out as Hugging Face's apply_chat_template(tokenize=False) gives them. Not tokens.
//
// Every text holds its own beginning-of-sequence token where the template writes one: tokenise without adding special tokens.
// Thread rule: immutable; any thread may call.
#pragma once

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace r1 {

namespace jinja {
class Template;
}

// What is said. Members keep the order in which they were written: a template may print them.
struct Conversation {
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();  // objects with "role", "content" and what else is there
  nlohmann::ordered_json tools;                                       // list of JSON schemas; null: none
  nlohmann::ordered_json variables;  // object: further variables of the template ("enable_thinking"); null: none
  bool plain = false;                // one text, not a list of messages: a model without a template continues it as it stands

  static Conversation of_user(std::string text);  // plain
  // One line of JSON: {"messages": [...]}, with "tools" and "variables" where there are any; and back. parse throws failure.
  std::string text() const;
  static Conversation parse(std::string_view text);
};

// What a model's files say about conversations.
struct ChatFiles {
  std::string place;                                           // the file, for messages
  std::vector<std::pair<std::string, std::string>> templates;  // (name, Jinja): "default", "tool_use", ...; none: it has none
  std::vector<std::pair<std::string, std::string>> special_tokens;  // ("bos_token", "<s>"), ...: variables of the template
};

class ChatTemplate {
 public:
  // A built-in one, by a name of chat_template_names(). Throws bad_input with a suggestion.
  static std::shared_ptr<const ChatTemplate> named(std::string_view name);
  // No template: a single text is continued as it stands, without a beginning-of-sequence token and without an end token.
  static std::shared_ptr<const ChatTemplate> none();
  // Of a model that has no template: as none(), but a conversation is bad_input with `what` and `hint`.
  static std::shared_ptr<const ChatTemplate> missing(std::string what, std::string hint);
  // The model's own. `special_texts`: its tokenizer's special tokens, among which the end token is looked for. One that cannot
  // be read is an error when it is asked to render, not before.
  static std::shared_ptr<const ChatTemplate> of_model(ChatFiles files, std::vector<std::string> special_texts);

  // The built-in name, "none", or the file that it stands in.
  const std::string& name() const { return name_; }
  bool is_none() const { return kind_ == Kind::none || kind_ == Kind::missing; }
  // Why the model has no template; null when it has one, or when none was asked for.
  const std::string* what_is_missing() const { return kind_ == Kind::missing ? &what_ : nullptr; }
  const std::string& hint() const { return hint_; }

  // The conversation, ending where the assistant's next reply begins. Throws bad_input for what the template cannot say.
  std::string prompt(const Conversation& conversation) const;

  // The conversation ends with the assistant's message. prompt: what comes before it, as prompt() gives it; completion: what
  // the template writes behind that, through the token that ends the reply (`finished`: without it, the reply was cut off).
  // Blanks that a template writes behind its end token are left out: no model samples them. Throws bad_input when the template
  // writes a reply elsewhere than behind its own generation prompt (DeepSeek-R1's does: it takes thoughts out).
  struct Taught {
    std::string prompt, completion;
  };
  Taught example(const Conversation& conversation, bool finished = true) const;

  // The other way: what a model wrote behind such a prompt, as the content of the assistant's message. The end token is taken
  // off; a thought that the prompt opened ("<think>\n" at its end) is put back.
  std::string reply(std::string_view prompt, std::string_view completion) const;

  // The text of the token that ends a reply; "" when there is none, or none that the tokenizer knows.
  const std::string& end_token() const { return end_; }
  // The text that ends a document (pre-training): the model's "eos_token", else end_token().
  const std::string& document_end() const { return document_end_; }
  // The texts that it writes and that have to be one token each: tags like <|im_start|>, end and beginning of a sequence.
  const std::vector<std::string>& tags() const { return tags_; }
  // The Jinja text that checkpoints carry on; "" for none. A model's further templates (tool_use) are in files().
  const std::string& source() const;
  const ChatFiles& files() const { return files_; }

 private:
  enum class Kind { none, missing, built_in, model };
  ChatTemplate() = default;
  void learn_ends(const std::vector<std::string>& special_texts);
  std::string render(const Conversation& conversation, const nlohmann::ordered_json& messages, bool generation_prompt) const;
  std::optional<std::string> try_render(const nlohmann::ordered_json& messages, bool generation_prompt) const;
  const jinja::Template& chosen(const Conversation& conversation) const;

  Kind kind_ = Kind::none;
  std::string name_ = "none", what_, hint_;
  ChatFiles files_;
  std::vector<std::pair<std::string, std::shared_ptr<const jinja::Template>>> parsed_;
  std::optional<Error> broken_;            // why it cannot be used
  std::string end_, lead_, document_end_;  // lead_: what stands between the generation prompt and a reply
  std::vector<std::string> tags_;
};

// Built-in names: tiny, r1, r1_distill, r1_zero, qwen2.5, qwen3, qwen3_no_think, llama3, chatml.
std::vector<std::string> chat_template_names();

}  // namespace r1
