#include "tools/chat/conversation_file.h"

#include <fmt/format.h>

#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"

namespace r1 {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

bool ConversationFile::waits_for_user() const { return messages.empty() || messages.back().at("role") != "user"; }

ConversationFile read_conversation(const fs::path& file) {
  ConversationFile out;
  if (!fs::exists(file)) return out;
  const JsonOptions options{.hint = "a list of {\"role\", \"content\"} is expected"};
  constexpr size_t kMostBytes = size_t{64} << 20;
  const std::string text = read_small_file(file, kMostBytes);
  parse_json(text, {file.string()}, options);  // says what is wrong, and where
  ordered_json json = ordered_json_or_null(text);
  const auto refuse = [&](const std::string& what) -> void { throw bad_input(what, {file.string()}, options.hint); };
  if (json.is_object() && json.contains("messages")) {
    out.messages = json["messages"];
    out.around = std::move(json);
  } else {
    out.messages = std::move(json);
  }
  if (!out.messages.is_array()) refuse("no list of messages");
  static const std::set<std::string> kRoles = {"system", "developer", "user", "assistant", "tool"};
  for (size_t i = 0; i < out.messages.size(); ++i) {
    const ordered_json& m = out.messages[i];
    if (!m.is_object() || !m.contains("role") || !m["role"].is_string() || kRoles.count(m["role"].get<std::string>()) == 0)
      refuse(fmt::format("message {} has no role (system, user, assistant)", i + 1));
    if (!m.contains("content") || !m["content"].is_string()) refuse(fmt::format("the content of message {} is no text", i + 1));
  }
  return out;
}

void ConversationFile::set_system(const std::string& text) {
  const ordered_json system = {{"role", "system"}, {"content", text}};
  if (!messages.empty() && messages[0]["role"] == "system")
    messages[0] = system;
  else
    messages.insert(messages.begin(), system);
}

void write_conversation(const fs::path& file, const ConversationFile& conversation) {
  ordered_json json = conversation.around.is_object() ? conversation.around : conversation.messages;
  if (conversation.around.is_object()) json["messages"] = conversation.messages;
  write_file_atomically(behind_links(file), json.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n");
}

}  // namespace r1
