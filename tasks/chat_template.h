// Chat templates: how a conversation becomes the text that a model continues. Plain functions for the families that the
// pipeline trains; no tools, no Jinja.
// Source: docs/recipe.md section 2. Every text holds its own beginning-of-sequence token where the family
// has one: tokenise without adding special tokens.
// Thread rule: pure functions.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace r1 {

enum class ChatFamily {
  none,            // the text as it is
  tiny,            // the built-in world: <bos><user> WORDS<asst>
  r1,              // DeepSeek-R1 and R1-Distill: the completion starts inside the thought
  r1_zero,         // DeepSeek-R1-Zero's prompt for a base model
  qwen25,          // Qwen2 and Qwen2.5
  qwen3,           // Qwen3, thinking
  qwen3_no_think,  // Qwen3, with an empty thought prefilled
};

enum class ChatRole { system, user, assistant };

struct ChatMessage {
  ChatRole role = ChatRole::user;
  std::string text;
};

// Names as options spell them: none, tiny, r1, r1_distill (the same as r1), r1_zero, qwen2.5, qwen3, qwen3_no_think.
// Throws bad_input with a suggestion.
ChatFamily chat_family(std::string_view name);
std::vector<std::string> chat_family_names();

// The conversation, ending where the assistant's next reply begins. Thoughts of earlier replies are left out (r1, qwen3).
// Throws bad_input for what a family cannot say (a system message in tiny; more than one user message in r1_zero).
std::string chat_prompt(ChatFamily family, std::span<const ChatMessage> messages);

// `reply` as the completion of such a prompt: what the prompt prefills is taken off, the end token is put on.
std::string chat_completion(ChatFamily family, std::string_view reply);

// The text of the token that ends a reply; "" for none.
std::string_view chat_end_token(ChatFamily family);

// The tags that the template writes, its end token among them: each is one token in the tokenizers of the family.
std::vector<std::string> chat_tags(ChatFamily family);

}  // namespace r1
