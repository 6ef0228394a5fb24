#include "tasks/chat_template.h"

#include <fmt/format.h>

#include "base/error.h"

namespace r1 {

namespace {

struct Name {
  const char* name;
  ChatFamily family;
};
constexpr Name kNames[] = {{"none", ChatFamily::none},       {"tiny", ChatFamily::tiny},
                           {"r1", ChatFamily::r1},           {"r1_distill", ChatFamily::r1},
                           {"r1_zero", ChatFamily::r1_zero}, {"qwen2.5", ChatFamily::qwen25},
                           {"qwen3", ChatFamily::qwen3},     {"qwen3_no_think", ChatFamily::qwen3_no_think}};

#define R1_BAR "\uFF5C"  // fullwidth vertical line
#define R1_LOW "\u2581"  // lower one eighth block
constexpr std::string_view kDeepSeekBegin = "<" R1_BAR "begin" R1_LOW "of" R1_LOW "sentence" R1_BAR ">";
constexpr std::string_view kDeepSeekEnd = "<" R1_BAR "end" R1_LOW "of" R1_LOW "sentence" R1_BAR ">";
constexpr std::string_view kDeepSeekUser = "<" R1_BAR "User" R1_BAR ">";
constexpr std::string_view kDeepSeekAssistant = "<" R1_BAR "Assistant" R1_BAR ">";
#undef R1_BAR
#undef R1_LOW

constexpr std::string_view kQwenSystem = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.";
constexpr std::string_view kEmptyThought = "<think>\n\n</think>\n\n";

constexpr std::string_view kR1Zero =
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. The assistant first "
    "thinks "
    "about the reasoning process in the mind and then provides the user with the answer. The reasoning process and answer are "
    "enclosed within <think> </think> and <answer> </answer> tags, respectively, i.e., <think> reasoning process here </think> "
    "<answer> answer here </answer>. User: {}. Assistant:";

std::string_view after_thought(std::string_view text) {
  const size_t at = text.rfind("</think>");
  return at == std::string_view::npos ? text : text.substr(at + 8);
}

std::string_view without_leading_newlines(std::string_view text) {
  while (text.starts_with('\n')) text.remove_prefix(1);
  return text;
}

std::string deepseek(std::span<const ChatMessage> messages) {
  std::string out(kDeepSeekBegin);
  for (const ChatMessage& m : messages)
    if (m.role == ChatRole::system) out += m.text;
  for (const ChatMessage& m : messages) {
    if (m.role == ChatRole::user) out.append(kDeepSeekUser).append(m.text);
    if (m.role == ChatRole::assistant) out.append(kDeepSeekAssistant).append(after_thought(m.text)).append(kDeepSeekEnd);
  }
  return out.append(kDeepSeekAssistant) + "<think>\n";
}

std::string qwen(ChatFamily family, std::span<const ChatMessage> messages) {
  std::string out;
  const bool has_system = !messages.empty() && messages[0].role == ChatRole::system;
  if (family == ChatFamily::qwen25 && !has_system) out += fmt::format("<|im_start|>system\n{}<|im_end|>\n", kQwenSystem);
  for (const ChatMessage& m : messages) {
    const char* role = m.role == ChatRole::system ? "system" : m.role == ChatRole::user ? "user" : "assistant";
    const bool drop_thought = m.role == ChatRole::assistant && family != ChatFamily::qwen25;
    out += fmt::format("<|im_start|>{}\n{}<|im_end|>\n", role,
                       drop_thought ? without_leading_newlines(after_thought(m.text)) : m.text);
  }
  out += "<|im_start|>assistant\n";
  if (family == ChatFamily::qwen3_no_think) out += kEmptyThought;
  return out;
}

// Words of the tiny world carry a leading space each.
std::string tiny(std::span<const ChatMessage> messages) {
  std::string out = "<bos>";
  for (const ChatMessage& m : messages) {
    if (m.role == ChatRole::system) throw bad_input("the tiny chat template has no system message");
    out += m.role == ChatRole::user ? "<user>" : "<asst>";
    if (m.role == ChatRole::assistant) {
      out += m.text + "<eos>";
      continue;
    }
    bool space = true;
    for (const char c : m.text) {
      const bool now = c == ' ' || c == '\n' || c == '\t' || c == '\r';
      if (!now && space) out += ' ';
      if (!now) out += c;
      space = now;
    }
  }
  return out + "<asst>";
}

std::string r1_zero(std::span<const ChatMessage> messages) {
  if (messages.size() != 1 || messages[0].role != ChatRole::user)
    throw bad_input("the r1_zero template takes exactly one user message");
  return fmt::format(fmt::runtime(kR1Zero), messages[0].text);
}

}  // namespace

ChatFamily chat_family(std::string_view name) {
  for (const Name& n : kNames)
    if (name == n.name) return n.family;
  const auto names = chat_family_names();
  const std::string near = nearest(name, names);
  throw bad_input(fmt::format("unknown chat template '{}'", name), {},
                  near.empty() ? fmt::format("known are {}", fmt::join(names, ", ")) : fmt::format("did you mean '{}'?", near));
}

std::vector<std::string> chat_family_names() {
  std::vector<std::string> out;
  for (const Name& n : kNames) out.emplace_back(n.name);
  return out;
}

std::string chat_prompt(ChatFamily family, std::span<const ChatMessage> messages) {
  switch (family) {
    case ChatFamily::none: {
      if (messages.size() != 1) throw bad_input("a conversation needs a chat template", {}, "add ?template=NAME to the source");
      return messages[0].text;
    }
    case ChatFamily::tiny:
      return tiny(messages);
    case ChatFamily::r1:
      return deepseek(messages);
    case ChatFamily::r1_zero:
      return r1_zero(messages);
    case ChatFamily::qwen25:
    case ChatFamily::qwen3:
    case ChatFamily::qwen3_no_think:
      return qwen(family, messages);
  }
  return {};
}

std::string_view chat_end_token(ChatFamily family) {
  switch (family) {
    case ChatFamily::none:
      return "";
    case ChatFamily::tiny:
      return "<eos>";
    case ChatFamily::r1:
    case ChatFamily::r1_zero:
      return kDeepSeekEnd;
    case ChatFamily::qwen25:
    case ChatFamily::qwen3:
    case ChatFamily::qwen3_no_think:
      return "<|im_end|>";
  }
  return "";
}

std::vector<std::string> chat_tags(ChatFamily family) {
  switch (family) {
    case ChatFamily::none:
      return {};
    case ChatFamily::tiny:
      return {"<bos>", "<user>", "<asst>", "<eos>"};
    case ChatFamily::r1:
      return {std::string(kDeepSeekBegin), std::string(kDeepSeekUser), std::string(kDeepSeekAssistant),
              std::string(kDeepSeekEnd)};
    case ChatFamily::r1_zero:
      return {std::string(kDeepSeekEnd)};
    case ChatFamily::qwen25:
    case ChatFamily::qwen3:
    case ChatFamily::qwen3_no_think:
      return {"<|im_start|>", "<|im_end|>"};
  }
  return {};
}

std::string chat_completion(ChatFamily family, std::string_view reply) {
  if (family == ChatFamily::r1 && reply.starts_with("<think>")) {
    reply.remove_prefix(7);
    reply = without_leading_newlines(reply);
  }
  if (family == ChatFamily::qwen3_no_think) reply = without_leading_newlines(after_thought(reply));
  const std::string_view end = chat_end_token(family);
  std::string out;
  if (family == ChatFamily::r1_zero && !reply.starts_with(' ')) out += ' ';
  out += reply;
  if (!reply.ends_with(end)) out += end;
  return out;
}

}  // namespace r1
