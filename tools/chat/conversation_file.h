// A conversation as a JSON file: a list of {"role", "content"}, or an object whose "messages" is that list (its other members
// stay as they are). What chat programs and training data exchange. Thread rule: functions read and write files.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

namespace r1 {

struct ConversationFile {
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  nlohmann::ordered_json around;  // the object that held them; null: the file is the list

  // Messages alternate from here on: the next one is the user's.
  bool waits_for_user() const;
  // The first message, in the place of one that stands there already.
  void set_system(const std::string& text);
};

// Throws bad_input: no JSON, no such list, a role other than system, developer, user, assistant or tool, a content that is no
// text. A file that does not exist yet is an empty conversation.
ConversationFile read_conversation(const std::filesystem::path& file);
// Atomically. Throws failure.
void write_conversation(const std::filesystem::path& file, const ConversationFile& conversation);

}  // namespace r1
